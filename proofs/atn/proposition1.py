"""Proposition 1 (errata, items 1 and 2): the printed formulas against differentiation of Eqs. (7)-(9), any n and k.

As partial derivatives a is a set of leaves, d a_s^(t-j) / d a_i^(t-m) = [j = m][s = i]. As total derivatives a_s^(t-j)
is any function of a variable x: `A(j, s, x)`.
"""

from typing import Any

import sympy as sp

from proofs.atn.window import a, eps, window_mean, window_variance
from proofs.evidence import Difference, Evidence, Identity
from proofs.sums import j, k, n, over_window, residual, s

i, p, m = sp.symbols("i p m", integer=True)
x = sp.Symbol("x", real=True)
A = sp.Function("A")
delta = sp.KroneckerDelta


def printed_mean_derivative(partial: Any) -> Any:
    """Eq. (12) = (A.2): `partial` is d a_i^(t-j) / d a_i^(t-m) as a term in `j`."""
    return sp.Sum(partial, (j, 0, m)) / (n * k)


def printed_variance_derivative_13(partial: Any, dmean: Any) -> Any:
    """Eq. (13): the factor 2/(nk) stands on the first sum alone."""
    first = sp.Sum((a[j, i] - window_mean()) * partial, (j, 0, m))
    return 2 * first / (n * k) - over_window((a[j, s] - window_mean()) * dmean)


def printed_variance_derivative_a3(partial: Any, dmean: Any) -> Any:
    """Eq. (A.3): the factor 2/(nk) stands on both sums."""
    first = sp.Sum((a[j, i] - window_mean()) * partial, (j, 0, m))
    return 2 * (first - over_window((a[j, s] - window_mean()) * dmean)) / (n * k)


def leaves() -> tuple[Evidence, ...]:
    """For leaves, (12), (13) and (A.3) are the derivatives of (7) and (8) in a_i^(t-m)."""
    leaf = a[m, i]
    dmean, dvariance = sp.diff(window_mean(), leaf), sp.diff(window_variance(), leaf)
    partial = delta(j, m)
    printed_mean = printed_mean_derivative(partial)
    return (
        Identity("(12) against d(7)", residual(printed_mean, dmean)),
        Identity("(13) against d(8)", residual(printed_variance_derivative_13(partial, printed_mean), dvariance)),
        Identity("(A.3) against d(8)", residual(printed_variance_derivative_a3(partial, printed_mean), dvariance)),
    )


def bracket() -> tuple[Evidence, ...]:
    """Errata, item 1: (13) and (A.3) have the same value, since their second sum is 0 for any d mu.

    `dmean` stands for any number, a total derivative included, and k for K_t in the warm-up, so this holds there too.
    """
    partial, dmean = sp.IndexedBase("da")[j], sp.Symbol("dmu")
    second_sum = over_window((a[j, s] - window_mean()) * dmean)
    return (
        Identity("second sum of (13) and (A.3)", residual(second_sum, sp.S.Zero)),
        Identity(
            "(13) - (A.3)",
            residual(printed_variance_derivative_13(partial, dmean), printed_variance_derivative_a3(partial, dmean)),
        ),
    )


def bracket_with_k_as_count() -> tuple[Evidence, ...]:
    """The only case in which the bracket would matter: the warm-up with k itself as the count of Eq. (7).

    t = 1, n = 2, k = 3, a^(1) = (1, 3): mu = 4/6, the deviations sum to 4 - 2 * 2/3 = 8/3 and d mu / d a_1 = 1/6, so
    that the second sum is 4/9 in (13) and 2/6 of it in (A.3). The true derivative of the variance that divides by
    n k = 6 is 2/6 * (1 - 2/3 - 4/9), which is (A.3).
    """
    a1, a2 = sp.symbols("a1 a2")
    point = {a1: 1, a2: 3}
    mean = (a1 + a2) / 6
    deviations = (a1 - mean) + (a2 - mean)
    variance = ((a1 - mean) ** 2 + (a2 - mean) ** 2) / 6
    eq_13 = 2 * (a1 - mean) / 6 - deviations / 6
    a_3 = 2 * ((a1 - mean) - deviations / 6) / 6
    return (
        Identity("(A.3) against differentiation", sp.expand(a_3 - sp.diff(variance, a1)).subs(point)),
        Difference("(13) against (A.3)", eq_13.subs(point), a_3.subs(point)),
    )


def total_derivatives() -> tuple[Evidence, ...]:
    """Correction of errata item 2: for any dependence of a on x, the sums keep every unit.

    d mu = (1/(nk)) sum_j sum_s da_s^(t-j) and d sigma^2 = (2/(nk)) sum_j sum_s (a_s^(t-j) - mu) da_s^(t-j). In an RNN,
    x = a_p^(t-m), terms with j > m vanish by causality, so the outer sum may stop at j = m; nothing else drops.
    """
    entry = A(j, s, x)
    slope = sp.Derivative(entry, x)
    mean, variance = window_mean(entry), window_variance(entry)
    return (
        Identity("d mu", residual(sp.diff(mean, x), over_window(slope) / (n * k))),
        Identity("d sigma^2", residual(sp.diff(variance, x), 2 * over_window((entry - mean) * slope) / (n * k))),
    )


def quotient_rule() -> tuple[Evidence, ...]:
    """(A.12) is the derivative of (A.11) = (9), with the true derivatives of a_i, mu and sigma^2 in x."""
    unit, mean, variance = (sp.Function(name)(x) for name in ("a_i", "mu", "var"))
    gamma, beta, epsilon = sp.symbols("gamma beta eps")
    output = gamma * (unit - mean) / sp.sqrt(variance + epsilon) + beta
    root = sp.sqrt(variance + epsilon)
    a_12 = gamma * (unit.diff(x) - mean.diff(x)) / root - gamma * (unit - mean) / (2 * root**3) * variance.diff(x)
    return (Identity("(A.12) against d(9)", sp.simplify(sp.diff(output, x) - a_12)),)


def explicit_jacobian(unit: Any, other: Any, lag: Any) -> Any:
    """Derivative d y_unit^(t) / d a_other^(t-lag) for leaves, with gamma = 1.

    [lag = 0][unit = other] r - r/(nk) - xhat_unit (a_other^(t-lag) - mu) r^2/(nk), r = (sigma^2 + eps)^(-1/2).
    """
    r = 1 / sp.sqrt(sp.Symbol("V", positive=True) + eps)
    xhat = (a[0, unit] - window_mean()) * r
    return (
        delta(lag, 0) * delta(unit, other) * r - r / (n * k) - xhat * (a[lag, other] - window_mean()) * r**2 / (n * k)
    )


def jacobian() -> tuple[Evidence, ...]:
    """The explicit Jacobian is the derivative of Eq. (9) in a_p^(t-m), any two units; (11) is its diagonal p = i.

    V stands for the window variance under the root, whose derivative is that of `window_variance`.
    """
    V = sp.Symbol("V", positive=True)
    leaf = a[m, p]
    dmean, dvariance = sp.diff(window_mean(), leaf), sp.diff(window_variance(), leaf)
    root = sp.sqrt(V + eps)
    by_definition = (delta(m, 0) * delta(i, p) - dmean) / root - (a[0, i] - window_mean()) / (2 * root**3) * dvariance
    printed_mean = printed_mean_derivative(delta(j, m))
    printed_variance = printed_variance_derivative_a3(delta(j, m), printed_mean)
    printed = (delta(m, 0) - printed_mean) / root - (a[0, i] - window_mean()) / (2 * root**3) * printed_variance
    return (
        Identity("explicit Jacobian against d(9)", residual(by_definition, explicit_jacobian(i, p, m))),
        Identity("(11) against the diagonal", residual(printed, explicit_jacobian(i, i, m))),
    )
