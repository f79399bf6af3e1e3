"""HIPPO's test, its exact null, and its clustering: fixed values, exact laws, and counts of known types."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from experiments.related.hippo.clustering import Clustering, cluster, components, spread_of
from experiments.related.hippo.simulation import Cells, Design, simulate
from experiments.related.hippo.zero_proportion import occupancy, zero_shares
from tests.support.comparison import assert_close
from tests.support.tolerances import STANDARD_ERRORS

EQUAL = Design(genes=2000, sizes=(50, 50, 50, 50), markers=(60, 50, 40, 30), fold=6.0, depth_deviation=0.0)


def drawn(design: Design = EQUAL, seed: int = 0) -> Cells:
    return simulate(design, np.random.default_rng([seed, 31]))


def one_type(rate: float, genes: int, n: int, seed: int = 0) -> Any:
    """Counts of one Poisson rate."""
    return np.random.default_rng([seed, 32]).poisson(rate, (genes, n))


def null_deviation(rate: float) -> float:
    """Standard deviation of HIPPO's z for many cells of one Poisson rate l: sqrt((1 - e^-l (1 + l)) / (1 - e^-l))."""
    zero = math.exp(-rate)
    return math.sqrt((1 - zero * (1 + rate)) / (1 - zero))


def negative_binomial_share(rate: float, dispersion: float) -> float:
    """Share of zeros of a negative binomial of variance l + th l^2, th > 0: (1 + l th)^(-1/th)."""
    return math.exp(-math.log1p(rate * dispersion) / dispersion)


class TestDefinition:
    """The statistics of a gene by hand."""

    def test_one_gene(self) -> None:
        """Counts 0, 0, 3, 1: mean 1, zero share 1/2, given 4 balls in 4 boxes."""
        found = zero_shares(np.array([[0, 0, 3, 1], [0, 0, 0, 0]]))
        e = math.exp(-1)
        assert_close(found.z[:1], np.array([(0.5 - e) / math.sqrt(e * (1 - e) / 4)]), quantity="symbolic")
        # All placings of 4 balls in 4 boxes.
        empty = [4 - len(set(boxes)) for boxes in itertools.product(range(4), repeat=4)]
        expected = (2 - np.mean(empty)) / np.std(empty)
        assert_close(found.occupancy_z[:1], np.array([expected]), quantity="symbolic")
        assert (found.z[1], found.occupancy_z[1]) == (0, 0)

    @pytest.mark.claim("hp-negative-binomial")
    def test_negative_binomial(self) -> None:
        """Against draws, and the limit."""
        rate, dispersion = 1.5, 0.8
        rng = np.random.default_rng(33)
        share = (rng.poisson(rng.gamma(1 / dispersion, rate * dispersion, 200_000)) == 0).mean()
        expected = negative_binomial_share(rate, dispersion)
        assert abs(share - expected) <= STANDARD_ERRORS * math.sqrt(expected * (1 - expected) / 200_000)
        assert expected > negative_binomial_share(rate, 0.1) > math.exp(-rate)
        assert abs(negative_binomial_share(rate, 1e-9) - math.exp(-rate)) < 1e-8

    @pytest.mark.claim("hp-jensen")
    def test_two_rates_have_more_zeros_than_their_mean(self) -> None:
        X = np.concatenate([one_type(0.2, 50, 5000), one_type(1.8, 50, 5000, seed=1)], axis=1)
        expected = (math.exp(-0.2) + math.exp(-1.8)) / 2
        found = zero_shares(X)
        assert abs(found.share.mean() - expected) <= STANDARD_ERRORS * math.sqrt(0.25 / X.size)
        assert found.z.min() > 10


class TestNull:
    """One population."""

    @pytest.mark.claim("hp-null")
    @pytest.mark.parametrize(
        ("rate", "deviation"),
        [(0.05, 0.157), (0.1, 0.222), (0.3, 0.378), (1.0, 0.647), (2.0, 0.829), (4.0, 0.962)],
    )
    def test_deviation_of_z(self, rate: float, deviation: float) -> None:
        """Of 4,000 genes in 400 cells; the standard error of a deviation is that of a kurtosis of 3.5 at most."""
        assert round(null_deviation(rate), 3) == deviation
        z = zero_shares(one_type(rate, 4000, 400)).z
        # At n = 400 the deviation is below its limit by a few parts in a thousand.
        assert abs(z.std() / deviation - 1) <= STANDARD_ERRORS * math.sqrt(2.5 / 4 / 4000) + 0.01

    @pytest.mark.claim("hp-null")
    def test_large_z_are_rare_at_small_rates(self) -> None:
        """P(z > 2) at n = 100: 0, 0, 0, 0.001, 0.009, 0.031 by rate, against 0.023 of a standard normal."""
        shares = {rate: (zero_shares(one_type(rate, 20_000, 100)).z > 2).mean() for rate in (0.05, 0.3, 1.0, 2.0, 4.0)}
        for rate, expected in {0.05: 0.0, 0.3: 0.0, 1.0: 0.001, 2.0: 0.009, 4.0: 0.031}.items():
            error = STANDARD_ERRORS * math.sqrt(max(expected, 1 / 20_000) / 20_000)
            assert abs(shares[rate] - expected) <= error + 0.0005, rate

    @pytest.mark.claim("hp-occupancy")
    def test_occupancy_moments(self) -> None:
        """N = S = 100: 36.603 and 9.740, where HIPPO has 36.788 and 23.254."""
        mean, variance = occupancy(np.array([100]), 100)
        assert (round(float(mean[0]), 3), round(float(variance[0]), 3)) == (36.603, 9.740)
        e = math.exp(-1)
        assert (round(100 * e, 3), round(100 * e * (1 - e), 3)) == (36.788, 23.254)

    @pytest.mark.claim("hp-occupancy")
    @pytest.mark.parametrize(("n", "S"), [(2, 0), (2, 1), (2, 5), (3, 4), (5, 4), (4, 6)])
    def test_occupancy_is_every_placing(self, n: int, S: int) -> None:
        empty = np.array([n - len(set(boxes)) for boxes in itertools.product(range(n), repeat=S)], dtype=np.float64)
        found = occupancy(np.array([S]), n)
        assert_close(found.mean, np.array([empty.mean()]), quantity="symbolic")
        assert_close(found.variance, np.array([empty.var()]), quantity="symbolic", scale=1.0)

    @pytest.mark.claim("hp-occupancy")
    @pytest.mark.parametrize("rate", [0.05, 0.3, 2.0])
    def test_occupancy_z_is_standard(self, rate: float) -> None:
        z = zero_shares(one_type(rate, 4000, 100, seed=2)).occupancy_z
        assert abs(z.mean()) <= STANDARD_ERRORS / math.sqrt(4000)
        assert abs(z.var() - 1) <= STANDARD_ERRORS * math.sqrt(2.5 / 4000)


class TestDepth:
    """One type, two depths."""

    @pytest.mark.claim("hp-depth")
    def test_one_type_of_unequal_depth(self) -> None:
        """The excess is 2 e^-l sinh(l d/2)^2 at any n, and z four times as large for 16 times the cells."""
        rate, d = 1.0, 0.6
        z = {}
        for n in (400, 6400):
            depth = np.where(np.arange(n) < n // 2, 1 + d, 1 - d)
            X = np.random.default_rng([n, 34]).poisson(rate * depth, (300, n))
            found = zero_shares(X)
            z[n] = float(found.z.mean())
            excess = 2 * math.exp(-rate) * math.sinh(rate * d / 2) ** 2
            error = STANDARD_ERRORS * math.sqrt(0.25 / X.size)
            # e^-mean is above e^-rate on average, by e^-rate times half the variance of the mean.
            assert abs((found.share - np.exp(-found.mean)).mean() - excess) <= error + 0.5 / n
        assert 3.5 < z[6400] / z[400] < 4.5


class TestTypes:
    """Counts of four known types."""

    def test_excess_of_zeros_goes_with_the_types_and_not_with_the_number_of_cells(self) -> None:
        cells = drawn()
        whole = int((zero_shares(cells.X).z > 2).sum())
        within = [int((zero_shares(cells.X[:, cells.types == kind]).z > 2).sum()) for kind in range(4)]
        shuffled = np.random.default_rng(35).permutation(len(cells.types))
        at_random = [int((zero_shares(cells.X[:, part]).z > 2).sum()) for part in np.split(shuffled, 4)]
        assert whole > 60
        assert max(within) < whole / 20
        assert min(at_random) > whole / 3

    @pytest.mark.claim("hp-noise")
    def test_normalizing_first_makes_equal_genes_unequal(self) -> None:
        """Markers add to the total of their type alone; a gene without them then has unequal shares of the totals."""
        design = EQUAL._replace(genes=400, sizes=(400, 400), markers=(0, 80), fold=6.0)
        cells = drawn(design)
        totals = cells.X.sum(axis=0)
        normalized = cells.X / totals * np.median(totals)

        def standardized(values: Any) -> Any:
            first, second = (values[~cells.marked][:, cells.types == kind] for kind in range(2))
            error = np.sqrt(first.var(axis=1) / 400 + second.var(axis=1) / 400)
            return (second.mean(axis=1) - first.mean(axis=1)) / error

        before, after = (np.abs(standardized(values)) for values in (cells.X, normalized))
        assert (before > 2.58).mean() < 0.03
        assert (after > 2.58).mean() > 0.5

    def test_types_are_found(self) -> None:
        cells = drawn()
        found = cluster(cells.X, 4)
        assert adjusted_rand_score(cells.types, found.labels) > 0.9
        assert all(cells.marked[genes].mean() > 0.9 for genes in found.genes)


class TestClustering:
    """Rounds, and where they end."""

    def test_a_round_needs_its_share_of_the_genes(self) -> None:
        X = drawn().X
        (first, *_) = cluster(X, 4).genes
        assert cluster(X, 4, share=(len(first) + 1) / len(X)).genes == ()
        assert len(cluster(X, 2, share=len(first) / len(X)).genes) == 1

    def test_genes_of_a_round_are_among_those_of_the_round_before(self) -> None:
        found = cluster(drawn().X, 4)
        assert [len(genes) >= 10 for genes in found.genes] == [True] * 3
        for before, after in itertools.pairwise(found.genes):
            assert set(after) < set(before)

    def test_one_type_is_not_split(self) -> None:
        found = cluster(one_type(0.3, 500, 100), 4)
        assert (set(found.labels), found.genes) == ({0}, ())

    def test_small_clusters_are_not_split(self) -> None:
        assert cluster(drawn(EQUAL._replace(sizes=(3, 2, 2, 2))).X, 4).genes == ()

    def test_components_are_right_singular_vectors_unscaled_and_uncentered(self) -> None:
        X = drawn().X[:30]
        vectors = components(X)
        assert vectors.shape == (200, 9)
        assert_close(vectors.T @ vectors, np.eye(9), quantity="output")
        gram = np.log1p(X).T @ np.log1p(X)
        assert_close(gram @ vectors, vectors * (vectors.T @ gram @ vectors).diagonal(), quantity="gradient")
        assert components(X[:4]).shape == (200, 3)
        assert components(X[:, :5]).shape == (5, 4)

    def test_released_spread_has_no_center(self) -> None:
        """Two clusters of equal cells have no sum of squares, but components that vary within each cell."""
        equal = np.tile(np.array([[1.0, 2.0, 6.0]]), (4, 1))
        assert spread_of(equal, "within") == 0
        assert spread_of(equal, "released") == 4 * 7

    def test_same_seed_same_clusters(self) -> None:
        X = drawn(seed=3).X
        first, second = (cluster(X, 3, seed=5) for _ in range(2))
        assert isinstance(first, Clustering)
        assert np.array_equal(first.labels, second.labels)


# Untyped, for the calls below are wrong on purpose.
split: Any = cluster
X = one_type(1.0, 3, 12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: split(X.astype(float), 2), TypeError, "X is float64; it must be a NumPy array of integers"),
        (lambda: split([[1, 2]], 2), TypeError, "X is list; it must be a NumPy array of integers"),
        (lambda: split(X[0], 2), ValueError, r"X has shape \(12,\); it must have shape \(G, n\)"),
        (lambda: split(X[:, :1], 2), ValueError, "at least one gene and two cells"),
        (lambda: split(-X - 1, 2), ValueError, "X has -.*; counts must be at least 0"),
        (lambda: split(X, 0), ValueError, "K is 0; it must be at least 1"),
        (lambda: split(X, 2, spread="total"), ValueError, "spread is 'total'; it must be 'within' or 'released'"),
        (lambda: occupancy(np.array([3]), 1), ValueError, "n is 1; it must be at least 2"),
        (lambda: occupancy(np.array([3, -1]), 5), ValueError, "totals has -1; it must be at least 0 everywhere"),
        (lambda: drawn(EQUAL._replace(markers=(1,))), ValueError, "it must have 4 numbers, as sizes has"),
        (lambda: drawn(EQUAL._replace(genes=20)), ValueError, "it must be at most genes, 20"),
    ],
)
def test_wrong_call(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
