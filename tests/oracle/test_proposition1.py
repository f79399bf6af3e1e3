"""The explicit Jacobian against backward pass and complex step; Proposition 1 as printed against the Jacobian."""

from fractions import Fraction

import numpy as np
import pytest

from atn_reference import (
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    atn_jacobian,
    independent_table,
    mean_derivative,
    output_derivative,
    output_derivative_a12,
    variance_derivative_a3,
    variance_derivative_eq13,
    window_mean,
    window_statistics_forward,
    window_variance,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import STEP, Array

T, B, N, EPS = 5, 2, 3, 1e-2


def problem() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((T, B, N)) + 0.4, rng.uniform(0.5, 1.5, N)


def backward_window(a: Array, t: int, b: int, k: int) -> list[list[float]]:
    """The window of Proposition 1, newest row first."""
    return [[float(entry) for entry in a[t - j, b]] for j in range(min(k, t + 1))]


@pytest.mark.claim("prop-1")
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_jacobian_equals_complex_step_entry_by_entry(k: int) -> None:
    a, gamma = problem()
    J = atn_jacobian(a, k, gamma, EPS)
    assert J.shape == (T, B, N, k, N)
    expected = np.zeros_like(J)
    for s, b, p in np.ndindex(T, B, N):
        moved = a.astype(np.complex128)
        moved[s, b, p] += 1j * STEP
        dy = assorted_time_norm_forward(moved, k, gamma.astype(np.complex128), eps=EPS)[0].imag / STEP
        for t in range(T):
            if 0 <= t - s < k:
                expected[t, b, :, t - s, p] = dy[t, b]
                dy[t, b] = 0.0
        assert not dy.any(), "an output depends on a row outside its window, or on another case"
    assert_close(J, expected, quantity="gradient")


@pytest.mark.claim("prop-1")
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_backward_is_the_transposed_jacobian(k: int) -> None:
    a, gamma = problem()
    y, cache = assorted_time_norm_forward(a, k, gamma, eps=EPS)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    J = atn_jacobian(a, k, gamma, EPS)
    da = np.zeros_like(a)
    for t in range(T):
        for m in range(min(k, t + 1)):
            da[t - m] += np.einsum("bi,bip->bp", dy[t], J[t, :, :, m, :])
    assert_close(assorted_time_norm_backward(dy, cache).a, da, quantity="gradient")


def test_jacobian_without_gain_is_that_of_gain_one() -> None:
    a, _ = problem()
    assert_close(atn_jacobian(a, 3, eps=EPS), atn_jacobian(a, 3, np.ones(N), EPS), quantity="exact")


@pytest.mark.claim("eq-7", "eq-8", "eq-a4-a7", "eq-a8-a10")
def test_mean_and_variance_of_a_printed_window() -> None:
    a, _ = problem()
    (mean, var), _ = window_statistics_forward(a, 3)
    for t, b in np.ndindex(T, B):
        window = backward_window(a, t, b, 3)
        assert_close(window_mean(window), mean[t, b, 0], quantity="output")
        assert_close(window_variance(window), var[t, b, 0], quantity="output")


@pytest.mark.claim("prop-1", "eq-11", "eq-12", "eq-13", "eq-a1-a3", "eq-a11-a12")
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_printed_formulas_are_the_jacobian_for_independent_rows(k: int) -> None:
    """Entry by entry on the diagonal i = p, of which Proposition 1 speaks; at m = 0 the product of (A.13) is 1."""
    a, gamma = problem()
    J = atn_jacobian(a, k, gamma, EPS)
    for t, b, i in np.ndindex(T, B, N):
        window = backward_window(a, t, b, k)
        for m in range(len(window)):
            table, product = independent_table(m), 1.0 if m == 0 else 0.0
            dmean = mean_derivative(window, table)
            for variance_derivative in (variance_derivative_eq13, variance_derivative_a3):
                dvariance = variance_derivative(window, i, table, dmean)
                derivative = output_derivative(window, i, product, product, dmean, dvariance, gamma[i], EPS)
                assert_close(derivative, J[t, b, i, m, i], quantity="gradient", scale=float(np.abs(J).max()))


@pytest.mark.claim("eq-12", "eq-13", "eq-a1-a3")
def test_printed_formulas_with_a_hand_made_table() -> None:
    """N = 2, K = 3, m = 2, all by fractions: rows (1, 2), (3, 5), (2, -1), newest first, mean 2."""
    window = [[Fraction(1), Fraction(2)], [Fraction(3), Fraction(5)], [Fraction(2), Fraction(-1)]]
    table = [Fraction(7), Fraction(1, 2), Fraction(1)]
    dmean = mean_derivative(window, table)
    assert dmean == Fraction(17, 12)
    # (1 - 2) * 7 + (3 - 2) / 2 + (2 - 2) * 1 = -13/2, and the deviations sum to zero.
    assert variance_derivative_eq13(window, 0, table, dmean) == Fraction(2, 6) * Fraction(-13, 2)
    assert variance_derivative_a3(window, 0, table, dmean) == Fraction(2, 6) * Fraction(-13, 2)


@pytest.mark.claim("eq-13", "eq-a1-a3")
def test_the_printed_bracket_is_missing_in_eq_13_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """About another center than the mean the second sum is not zero, and the two printed forms part."""
    monkeypatch.setattr("atn_reference.printed.proposition1.window_mean", lambda _: Fraction(0))
    window = [[Fraction(1), Fraction(2)], [Fraction(3), Fraction(6)]]
    first, second = Fraction(1), 12 * Fraction(5)
    assert variance_derivative_eq13(window, 0, [1], Fraction(5)) == Fraction(2, 4) * first - second
    assert variance_derivative_a3(window, 0, [1], Fraction(5)) == Fraction(2, 4) * (first - second)


@pytest.mark.claim("eq-11", "eq-a11-a12", "eq-a13")
def test_eq_11_puts_the_product_of_a13_into_a12() -> None:
    window = [[0.5, 1.5], [2.0, -1.0]]
    arguments = (0.25, -0.75, 1.5, EPS)
    direct = output_derivative_a12(window, 1, 3.0 * 0.5, *arguments)
    assert_close(output_derivative(window, 1, 3.0, 0.5, *arguments), np.float64(direct), quantity="exact")
    mean, root = 0.75, np.sqrt(window_variance(window) + EPS)
    expected = 1.5 * (3.0 * 0.5 - 0.25) / root - 1.5 * (1.5 - mean) / (2 * root**3) * -0.75
    assert_close(direct, expected, quantity="output")
