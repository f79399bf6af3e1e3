"""Proposition 1 exactly as printed: Eqs. (11)-(13) and their appendix forms, Eqs. (A.1)-(A.3).

Every function works on one concrete window of one case, by plain arithmetic and Python sums, so that its numbers may
be floats, fractions or SymPy expressions; exact numbers give exact results.

A window is a nested sequence, newest row first as the paper's index j counts: ``window[j][s]`` is a_s^(t-j) with
j = 0..K-1, s = 0..n-1. The paper's count nk is n*K, also in the warm-up, where the window is shorter than k. The lag m
is given by the table of derivatives ``table[j]`` = d a_i^(t-j) / d a_i^(t-m), j = 0..m, whose last entry is 1.

What the printed formulas assume. They keep the unit i alone: of all d a_s^(t-j) / d a_i^(t-m) only s = i occurs. For
partial derivatives of independent rows (``independent_table``) nothing is lost. As total derivatives through a
recurrence they hold only where no other unit of the window depends on a_i^(t-m).

Letters: n features, K rows in the window, m lag, i unit.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

Number: TypeAlias = Any
"""A float, fraction or SymPy expression."""

Window: TypeAlias = Sequence[Sequence[Number]]
"""``window[j][s]`` = a_s^(t-j), newest row first."""

HALF = Fraction(1, 2)
"""The exponent of a root that stays exact for SymPy."""


def independent_table(m: int) -> list[int]:
    """Table of d a_i^(t-j) / d a_i^(t-m), j = 0..m, for independent rows in Eqs. (12)-(13): 0 but for the last, 1."""
    return [0] * m + [1]


def window_count(window: Window) -> int:
    """Entries of the window: the nk of Eqs. (7)-(8)."""
    return sum(len(row) for row in window)


def window_mean(window: Window) -> Number:
    """Mean of the window, Eqs. (7) and (A.4)."""
    return Fraction(1, window_count(window)) * sum(entry for row in window for entry in row)


def window_variance(window: Window) -> Number:
    """Biased variance of the window, Eqs. (8) and (A.8)."""
    mean = window_mean(window)
    return Fraction(1, window_count(window)) * sum((entry - mean) ** 2 for row in window for entry in row)


def mean_derivative(window: Window, table: Sequence[Number]) -> Number:
    """Derivative of the mean, Eqs. (12), (A.2) and (A.7): the sum of the table over nk.

    It assumes that no unit except i depends on a_i^(t-m): Eq. (A.6) keeps only s = i of the sum in Eq. (A.5).

    Parameters
    ----------
    window : K rows of n
    table : m + 1 derivatives d a_i^(t-j) / d a_i^(t-m)
    """
    return Fraction(1, window_count(window)) * sum(table)


def variance_derivative_eq13(window: Window, i: int, table: Sequence[Number], dmean: Number) -> Number:
    """Derivative of the variance as Eq. (13) prints it: the factor 2/(nk) stands before the first sum alone.

    Beside the assumption of Eq. (12), the missing bracket is harmless only because the second sum, the deviations of
    a window from its own mean, is zero.

    Parameters
    ----------
    window : K rows of n
    i : unit
    table : m + 1 derivatives d a_i^(t-j) / d a_i^(t-m)
    dmean : derivative of the mean, Eq. (12)
    """
    mean = window_mean(window)
    first = sum((window[j][i] - mean) * derivative for j, derivative in enumerate(table))
    second = sum((entry - mean) * dmean for row in window for entry in row)
    return Fraction(2, window_count(window)) * first - second


def variance_derivative_a3(window: Window, i: int, table: Sequence[Number], dmean: Number) -> Number:
    """Derivative of the variance, Eqs. (A.3) and (A.10): Eq. (13) with both sums in the bracket after 2/(nk).

    It assumes that no unit except i depends on a_i^(t-m): Eq. (A.10) keeps only s = i of the sum in Eq. (A.9).

    Parameters
    ----------
    window : K rows of n
    i : unit
    table : m + 1 derivatives d a_i^(t-j) / d a_i^(t-m)
    dmean : derivative of the mean, Eq. (A.2)
    """
    mean = window_mean(window)
    first = sum((window[j][i] - mean) * derivative for j, derivative in enumerate(table))
    second = sum((entry - mean) * dmean for row in window for entry in row)
    return Fraction(2, window_count(window)) * (first - second)


def output_derivative_a12(
    window: Window, i: int, da: Number, dmean: Number, dvariance: Number, gamma: Number, eps: Number
) -> Number:
    """Derivative of the output Eq. (A.11), which is Eq. (9), as Eq. (A.12) prints it.

    It is the quotient rule and assumes nothing but that its arguments are right. Eq. (A.13) put into it gives Eq. (11).

    Parameters
    ----------
    window : K rows of n
    i : unit
    da : d a_i^(t) / d a_i^(t-m)
    dmean, dvariance : derivatives of the window's mean and variance with respect to a_i^(t-m)
    gamma : gain of unit i
    eps : the epsilon under the root
    """
    power = window_variance(window) + eps
    deviation = window[0][i] - window_mean(window)
    return gamma * ((da - dmean) / power**HALF) - gamma * (deviation / (2 * power ** (3 * HALF))) * dvariance


def output_derivative(
    window: Window,
    i: int,
    da_dy: Number,
    dy_da: Number,
    dmean: Number,
    dvariance: Number,
    gamma: Number,
    eps: Number,
) -> Number:
    """Derivative of the output, Eqs. (11) and (A.1): Eq. (A.12) with the product da_dy * dy_da of Eq. (A.13) put in.

    Eq. (A.13) assumes that a_i^(t-m) reaches a_i^(t) through y_i^(t-m) alone; from m = 2 on a recurrence also carries
    it through the outputs in between, whose windows contain it. At m = 0 the product has to be read as d a_i^(t) / d
    a_i^(t) = 1, and for independent rows it is 0 at m > 0.

    Parameters
    ----------
    window : K rows of n
    i : unit
    da_dy : d a_i^(t) / d y_i^(t-m)
    dy_da : d y_i^(t-m) / d a_i^(t-m)
    dmean : Eq. (12)
    dvariance : Eq. (13) or Eq. (A.3)
    gamma : gain of unit i
    eps : the epsilon under the root
    """
    return output_derivative_a12(window, i, da_dy * dy_da, dmean, dvariance, gamma, eps)
