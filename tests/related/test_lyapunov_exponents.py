"""Lyapunov exponents of given matrices, where they are known exactly, or with a known distribution."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from atn import lyapunov
from atn_reference import lyapunov_exponents, positive_qr
from tests.support.comparison import assert_close
from tests.support.problems import Array
from tests.support.tolerances import STANDARD_ERRORS

EULER = 0.57721566490153286
"""Euler and Mascheroni's constant, -psi(1)."""

PERIOD_3 = np.array([[[0, 1], [1, 0]], [[2, 1], [0, 1]], [[1, 0], [3, 1]]], dtype=float)
"""A_1, A_2, A_3, whose product depends on its order in more than the determinant: A_3 A_2 A_1 has the trace 7 and
A_1 A_2 A_3 the trace 4."""

RIGHT_ORDER = (math.log((7 + math.sqrt(57)) / 2) / 3, math.log((math.sqrt(57) - 7) / 2) / 3)
"""0.66148, -0.43043: logarithms of the eigenvalues of A_3 A_2 A_1, a step."""

WRONG_ORDER = (math.log(2 + math.sqrt(6)) / 3, math.log(math.sqrt(6) - 2) / 3)
"""0.49760, -0.26655: those of A_1 A_2 A_3."""


Exponents = Callable[..., Array]


def of_the_library(jacobians: Array, Q: Array, burn_in: int = 0, every: int = 1) -> Array:
    """The library's exponents, with the arguments of the oracle's."""
    one_case = torch.from_numpy(np.ascontiguousarray(jacobians)).unsqueeze(1)
    found: Array = lyapunov.exponents(one_case, torch.from_numpy(Q), burn_in=burn_in, every=every)[0].numpy()
    return found


@pytest.fixture(params=[lyapunov_exponents, of_the_library], ids=["oracle", "library"])
def exponents(request: pytest.FixtureRequest) -> Exponents:
    """The exponents by the oracle, and by the library."""
    function: Exponents = request.param
    return function


def test_exponents_inside_transforms_are_those_of_each_case_alone() -> None:
    jacobians = torch.from_numpy(normal(5, 4, 2, 3, 3))
    for start in (None, torch.eye(3, dtype=torch.float64)):
        each = torch.stack([lyapunov.exponents(jacobians[:, case], start) for case in range(4)])
        found = torch.func.vmap(lambda given, start=start: lyapunov.exponents(given, start), 1)(jacobians)
        assert_close(found, each, quantity="output")
    forward, reverse = torch.func.jacfwd(lyapunov.exponents), torch.func.jacrev(lyapunov.exponents)
    assert_close(forward(jacobians[:, 0]), reverse(jacobians[:, 0]), quantity="gradient")
    assert forward(jacobians[:, 0]).shape == (2, 3, 5, 2, 3, 3)


def test_an_exponent_that_rounding_hid_at_times_is_an_upper_bound() -> None:
    """600 steps turn the second direction wholly into the first, whose growth a last single step then sees."""
    jacobians = torch.diag(torch.tensor([1.0, 0.25], dtype=torch.float64)).expand(601, 1, 2, 2)
    first, second = lyapunov.exponents(jacobians, every=600)[0].tolist()
    assert first == pytest.approx(0, abs=0.01)
    assert math.log(0.25) <= second < first


def test_a_last_block_that_is_cut_short_hides_no_more_than_a_whole_one() -> None:
    """The bound on the rounding is that of the columns as they are decomposed."""
    jacobians = torch.diag(torch.tensor([1e6, 1.0], dtype=torch.float64)).expand(2, 1, 2, 2)
    whole, short = (lyapunov.exponents(jacobians, every=every) for every in (2, 3))
    torch.testing.assert_close(short, whole)


def test_an_infinite_jacobian_is_no_decay() -> None:
    assert lyapunov.exponents(torch.full((3, 1, 1, 1), math.inf)).isposinf().all()


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def directions(D: int, p: int | None = None) -> Array:
    """Orthonormal columns (D, p) in general position."""
    return np.linalg.qr(normal(D, D, seed=99))[0][:, :p]


def periodic(matrices: Array, T: int) -> Array:
    return np.stack([matrices[t % len(matrices)] for t in range(T)])


class TestKnown:
    """Matrices whose exponents have a closed form."""

    @pytest.mark.claim("ly-algorithm")
    def test_constant_matrix(self, exponents: Exponents) -> None:
        """The logarithms of the absolute eigenvalues, once the directions have settled."""
        V = normal(4, 4, seed=1)
        eigenvalues = np.array([3.0, -1.0, 0.5, 0.1])
        W = V @ np.diag(eigenvalues) @ np.linalg.inv(V)
        found = exponents(periodic(W[None], 120), directions(4), burn_in=60)
        assert_close(found, np.log(np.abs(eigenvalues)), quantity="output")

    @pytest.mark.claim("ly-algorithm")
    def test_orthogonal_matrix(self, exponents: Exponents) -> None:
        """0 at any number of steps."""
        found = exponents(periodic(directions(5)[None], 7), directions(5, 3))
        assert_close(found, np.zeros(3), quantity="output", scale=1.0)

    @pytest.mark.claim("ly-algorithm")
    def test_triangular_matrices(self, exponents: Exponents) -> None:
        """Mean logarithm of the diagonal, in its order, at any number of steps if Q starts as the identity."""
        jacobians = np.triu(normal(9, 4, 4, seed=2))
        expected = np.log(np.abs(np.diagonal(jacobians, axis1=1, axis2=2))).mean(axis=0)
        assert_close(exponents(jacobians, np.eye(4)), expected, quantity="output")

    @pytest.mark.claim("ly-algorithm")
    def test_gaussian_matrices(self, exponents: Exponents) -> None:
        """(log 2 + psi((N - i + 1) / 2)) / 2 (Newman 1986); R[i, i]^2 is chi-squared, independent from step to step."""
        N, T = 5, 10_000
        psi = {1: -EULER - 2 * math.log(2), 2: -EULER}
        psi |= {3: psi[1] + 2, 4: psi[2] + 1, 5: psi[1] + 2 + 2 / 3}  # psi(n / 2): psi(x + 1) = psi(x) + 1 / x
        expected = np.array([(math.log(2) + psi[n]) / 2 for n in (5, 4, 3, 2, 1)])
        assert [f"{value:.5f}" for value in expected] == ["0.69815", "0.55797", "0.36482", "0.05797", "-0.63518"]
        found = exponents(normal(T, N, N, seed=3), directions(N))
        # Var log R = psi'(n / 2) / 4.
        trigamma = {1: math.pi**2 / 2, 2: math.pi**2 / 6}
        trigamma |= {3: trigamma[1] - 4, 4: trigamma[2] - 1, 5: trigamma[1] - 4 - 4 / 9}
        error = np.sqrt([trigamma[n] / 4 / T for n in (5, 4, 3, 2, 1)])
        assert (np.abs(found - expected) < STANDARD_ERRORS * error).all()

    @pytest.mark.claim("ly-order")
    def test_order_of_the_product(self, exponents: Exponents) -> None:
        """What J^T in the place of J computes is the other product: the sum rule cannot tell them apart, this can."""
        J = periodic(PERIOD_3, 90)
        assert_close(exponents(J, directions(2), burn_in=60), np.array(RIGHT_ORDER), quantity="output")
        transposed = exponents(J.transpose(0, 2, 1), directions(2), burn_in=60)
        assert_close(transposed, np.array(WRONG_ORDER), quantity="output")
        assert_close(np.array(sum(WRONG_ORDER)), np.array(sum(RIGHT_ORDER)), quantity="output")

    @pytest.mark.claim("ly-adjoint")
    def test_transposes_in_reverse_order(self, exponents: Exponents) -> None:
        """The way of a gradient, back in time, has the exponents of the way forward."""
        backward = periodic(PERIOD_3, 90)[::-1].transpose(0, 2, 1)
        assert_close(exponents(backward, directions(2), burn_in=60), np.array(RIGHT_ORDER), quantity="output")


def test_more_directions_than_coordinates(exponents: Exponents) -> None:
    by_oracle, by_library = "Q: was 3 x 5, must have at most as many columns as rows", "start must .* D = 3 .*, got 5"
    with pytest.raises(ValueError, match=f"^({by_oracle}|{by_library})$"):
        exponents(normal(4, 3, 3), normal(3, 5))


class TestSums:
    """What holds at any number of steps."""

    @pytest.mark.claim("ly-sum")
    @pytest.mark.parametrize(("burn_in", "every"), [(0, 1), (0, 4), (3, 4), (7, 20)])
    def test_sum_rule(self, exponents: Exponents, burn_in: int, every: int) -> None:
        """All exponents together are the mean of log|det J|, however rarely Q is made orthonormal again."""
        jacobians = normal(11, 5, 5, seed=4)
        expected = np.linalg.slogdet(jacobians[burn_in:])[1].mean()
        found = exponents(jacobians, directions(5), burn_in, every).sum()
        assert_close(np.array(found), np.array(expected), quantity="output")

    def test_steps_between_decompositions_change_nothing(self, exponents: Exponents) -> None:
        """The last, shorter block counts: 11 steps are two blocks of four and one of three."""
        jacobians = normal(11, 5, 5, seed=5)
        every_step = exponents(jacobians, directions(5, 3))
        assert_close(exponents(jacobians, directions(5, 3), every=4), every_step, quantity="output")

    @pytest.mark.parametrize("factor", [1e3, 1e-3])
    def test_steps_between_decompositions_neither_over_nor_underflow(self, exponents: Exponents, factor: float) -> None:
        """1000^240 is beyond the numbers of float64."""
        found = exponents(np.full((480, 1, 1), factor), np.eye(1), burn_in=10, every=240)
        assert_close(found, np.array([math.log(factor)]), quantity="output")

    def test_burn_in_turns_the_directions(self, exponents: Exponents) -> None:
        """The growth after it is that of the directions that the steps before have turned."""
        jacobians = normal(11, 4, 4, seed=6)
        Q, _ = positive_qr(jacobians[1] @ jacobians[0] @ directions(4, 2))
        after = exponents(jacobians[2:], Q)
        assert_close(exponents(jacobians, directions(4, 2), burn_in=2), after, quantity="output")

    def test_a_forgotten_direction(self, exponents: Exponents) -> None:
        jacobians = periodic(np.diag([2.0, 0.0])[None], 3)
        assert exponents(jacobians, np.eye(2)).tolist() == [pytest.approx(math.log(2)), -math.inf]
