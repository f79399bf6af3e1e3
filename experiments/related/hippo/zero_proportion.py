"""The zero-share test of HIPPO (Kim, Zhou and Chen 2020), and the exact null distribution of its statistic.

A gene whose counts are Poisson with one rate in all cells has a share e^-rate of zeros. A larger share speaks for rates
that differ between cells. HIPPO puts the mean of the counts in the place of the rate and takes the standardized excess
for standard normal. It is not: the mean comes from the same cells. Given the total S of a gene in n cells of one rate,
the counts are those of S balls thrown into n boxes, and the zeros are the empty boxes.

Letters: G genes, n cells, S total count of a gene.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.integer[Any]]
Array: TypeAlias = NDArray[np.float64]


class ZeroShares(NamedTuple):
    """Statistics of genes, each of shape (G,). A gene without counts has z = 0 in both."""

    mean: Array
    share: Array
    """Share of the cells in which the count is 0."""
    z: Array
    """As published: excess over e^-mean in standard errors sqrt(e^-mean (1 - e^-mean) / n)."""
    occupancy_z: Array
    """Excess of the number of zeros over its exact mean in its exact standard deviations, given the total count."""


def zero_shares(X: Counts) -> ZeroShares:
    """Zero-share statistics of genes, section "Zero proportion test" of the paper and the exact null beside it.

    Parameters
    ----------
    X : (G, n)
        Counts >= 0, n >= 2.

    Raises
    ------
    TypeError, ValueError
        If X is no array of counts.
    """
    check_counts(X)
    n = X.shape[1]
    mean, share = X.mean(axis=1), (X == 0).mean(axis=1)
    expected = np.exp(-mean)
    moments = occupancy(X.sum(axis=1), n)
    return ZeroShares(
        mean=mean,
        share=share,
        z=_standardized(share - expected, expected * (1 - expected) / n),
        occupancy_z=_standardized(share * n - moments.mean, moments.variance),
    )


def _standardized(excess: Array, variance: Array) -> Array:
    """Excess in standard deviations, 0 where there is no variance."""
    positive = variance > 0
    return np.where(positive, excess, 0.0) / np.sqrt(np.where(positive, variance, 1.0))


class Moments(NamedTuple):
    """Mean and variance of the number of zeros, each of the shape of the totals."""

    mean: Array
    variance: Array


def occupancy(totals: Counts, n: int) -> Moments:
    """Exact moments of the number of empty boxes after S balls were thrown into n.

    The mean is n (1 - 1/n)^S, the variance n (1 - 1/n)^S + n (n - 1) (1 - 2/n)^S less the squared mean.

    Parameters
    ----------
    totals : any shape
        S >= 0.
    n : int
        At least 2.

    Raises
    ------
    ValueError
        If n < 2 or a total is negative.
    """
    if n < 2:
        raise ValueError(f"n is {n}; it must be at least 2")
    if (totals < 0).any():
        raise ValueError(f"totals has {totals.min()}; it must be at least 0 everywhere")
    S = totals.astype(np.float64)
    one, two = (1 - 1 / n) ** S, (1 - 2 / n) ** S
    variance = n * one + n * (n - 1) * two - (n * one) ** 2
    # One ball at most leaves nothing to chance; what the difference of equal terms leaves there is rounding.
    return Moments(n * one, np.where(S <= 1, 0.0, variance))


def check_counts(X: object) -> None:
    """Check that X is an array of counts of genes in cells.

    Raises
    ------
    TypeError
        If it is no array of integers.
    ValueError
        If it is not of shape (G, n) with n >= 2, or has a negative entry.
    """
    if not isinstance(X, np.ndarray) or not np.issubdtype(X.dtype, np.integer):
        raise TypeError(f"X is {getattr(X, 'dtype', type(X).__name__)}; it must be a NumPy array of integers")
    if X.ndim != 2 or X.shape[0] < 1 or X.shape[1] < 2:
        raise ValueError(f"X has shape {X.shape}; it must have shape (G, n) with at least one gene and two cells")
    if X.min() < 0:
        raise ValueError(f"X has {X.min()}; counts must be at least 0")
