"""HIPPO's iterative clustering (Kim, Zhou and Chen 2020): select genes by their zeros, split a cluster, and so on.

A round takes one cluster of cells and the genes of the round before, and keeps the genes whose z is above a threshold.
The cells are split in two by k-means on the right singular vectors of log(X + 1) of these genes. The next round takes
the cluster with the largest spread.

Letters: G genes, n cells, K clusters, r components.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from experiments.related.hippo.zero_proportion import Array, Counts, check_counts, zero_shares

Spread = Literal["within", "released"]

FEWEST = 10
"""Genes and cells below which a round does not begin."""

COMPONENTS = 9
"""Singular vectors at most."""

STARTS = 10
"""Starts of k-means, the best of which counts."""


class Clustering(NamedTuple):
    """Clusters and how they came about."""

    labels: NDArray[np.intp]
    """Cluster 0, 1, ... of each cell, shape (n,)."""
    genes: tuple[NDArray[np.intp], ...]
    """Genes that each round selected; one round less than clusters."""


def cluster(
    X: Counts, K: int, *, threshold: float = 2.0, share: float = 0.001, spread: Spread = "within", seed: int = 0
) -> Clustering:
    """Split the cells into at most K clusters.

    Parameters
    ----------
    X : (G, n)
        Counts >= 0.
    K : int
        Clusters at most, at least 1. There are fewer where a round would begin with fewer than 10 cells, or would
        select fewer than 10 genes or fewer than a share of the G genes.
    threshold : float
        Genes with a larger z are selected. Released code 2, its manual page 1.5.
    share : float
        Released code 0.001.
    spread : {"within", "released"}
        What decides which cluster is split next: the sum of squared distances to the center of the cluster, or as in
        the released code the sum over its cells of the variance among the components of one cell.
    seed : int
        Of k-means.

    Raises
    ------
    TypeError, ValueError
        For an argument that is none of these, naming it.
    """
    check_counts(X)
    _check_choices(K, spread)
    labels, genes = np.zeros(X.shape[1], dtype=np.intp), np.arange(len(X))
    spreads: list[float] = [np.inf]
    rounds: list[NDArray[np.intp]] = []
    while len(spreads) < K:
        chosen = int(np.argmax(spreads))
        cells = np.flatnonzero(labels == chosen)
        genes = _selected(X, genes, cells, threshold)
        if len(genes) < max(FEWEST, share * len(X)):
            break
        vectors = components(X[np.ix_(genes, cells)])
        second = _halves(vectors, seed)
        spreads[chosen] = spread_of(vectors[~second], spread)
        spreads.append(spread_of(vectors[second], spread))
        labels[cells[second]] = len(spreads) - 1
        rounds.append(genes)
    return Clustering(labels, tuple(rounds))


def _check_choices(K: int, spread: str) -> None:
    if K < 1:
        raise ValueError(f"K is {K}; it must be at least 1")
    if spread not in {"within", "released"}:
        raise ValueError(f"spread is {spread!r}; it must be 'within' or 'released'")


def _selected(X: Counts, genes: NDArray[np.intp], cells: NDArray[np.intp], threshold: float) -> NDArray[np.intp]:
    """The genes whose z in these cells is above the threshold; none if there are fewer than `FEWEST` cells."""
    if len(cells) < FEWEST:
        return genes[:0]
    return genes[zero_shares(X[np.ix_(genes, cells)]).z > threshold]


def components(X: Counts) -> Array:
    """Right singular vectors of log(X + 1), neither scaled nor centered, shape (n, r), r = min(9, G - 1, n - 1)."""
    r = min(COMPONENTS, len(X) - 1, X.shape[1] - 1)
    vectors: Array = np.linalg.svd(np.log1p(X), full_matrices=False)[2][:r].T
    return vectors


def _halves(vectors: Array, seed: int) -> NDArray[np.bool_]:
    found: NDArray[Any] = KMeans(n_clusters=2, n_init=STARTS, random_state=seed).fit(vectors).labels_
    second: NDArray[np.bool_] = found == 1
    return second


def spread_of(vectors: Array, spread: Spread) -> float:
    """Spread of a cluster whose cells have these components, shape (n, r); see `cluster`."""
    if spread == "within":
        return float(((vectors - vectors.mean(axis=0)) ** 2).sum())
    return float(vectors.var(axis=1, ddof=1).sum())
