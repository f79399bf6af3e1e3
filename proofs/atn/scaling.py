"""Scaling the weights, Eq. (10), and the effect of eps > 0 on it (errata, item 4)."""

from fractions import Fraction
from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity, NonNegative
from proofs.sums import j, residual, s


def weight_scaling() -> tuple[Evidence, ...]:
    """Weights delta H multiply every preactivation by delta, for any n, k and input size.

    With `window.affine_lemma` (c = 0) this is Eq. (10), for delta > 0 and eps = 0 or eps scaled by delta^2.
    """
    H, x = sp.IndexedBase("H"), sp.IndexedBase("x")
    delta, l, d = sp.Symbol("delta"), sp.Symbol("l", integer=True), sp.Symbol("d", integer=True, positive=True)
    scaled = sp.Sum(delta * H[s, l] * x[j, l], (l, 1, d))
    return (Identity("delta H x against delta (H x)", residual(scaled, delta * sp.Sum(H[s, l] * x[j, l], (l, 1, d)))),)


def output(window: tuple[Any, ...], eps: Any) -> Any:
    """Eq. (9) for the first entry of a window, gamma = 1 and beta = 0."""
    mean = sum(window) / sp.Integer(len(window))
    variance = sum((entry - mean) ** 2 for entry in window) / sp.Integer(len(window))
    return (window[0] - mean) / sp.sqrt(variance + eps)


def where_it_fails() -> tuple[Evidence, ...]:
    """Eq. (10) at one unit, k = 2, a = (3/4, -3/4): eps = 1 and delta = 16/9, then eps = 0 and delta = -1."""
    window = (sp.Rational(3, 4), sp.Rational(-3, 4))
    delta = sp.Rational(16, 9)
    scaled = tuple(delta * entry for entry in window)
    return (
        Difference("eps = 1, delta = 16/9", output(window, 1), output(scaled, 1)),
        Difference("eps = 0, delta = -1", output(window, 0), output(tuple(-entry for entry in window), 0)),
        Identity("eps = 1 scaled by delta^2", output(window, 1) - output(scaled, delta**2)),
    )


def output_change_bound(deviation: Any, variance: Any, eps: Any, delta: Any) -> Any:
    """Bound on |y(delta a) - y(a)| for delta > 0, gamma = 1, from a - mu and sigma^2 of the unscaled window.

    |a - mu| eps |1 - 1/delta^2| / (2 (sigma^2 + eps min(1, 1/delta^2))^(3/2)): of the order of eps/sigma^2, and sharp
    to first order as delta tends to 1. Works on numbers and on SymPy's.
    """
    square = 1 / delta**2
    return abs(deviation) * eps * abs(1 - square) / (2 * (variance + eps * min(1, square)) ** Fraction(3, 2))


def bound() -> tuple[Evidence, ...]:
    """The bound of `output_change_bound`.

    y(delta a) = d / sqrt(V + eps/delta^2), so that the change is |d| (p^(-1/2) - q^(-1/2)) with p <= q the smaller and
    the larger of V + eps and V + eps/delta^2. For P = sqrt(p) and Q = sqrt(q) = P + h, h >= 0,

        (q - p) / (2 P^3) - (1/P - 1/Q) = h^2 (Q + 2 P) / (2 P^3 Q) >= 0.
    """
    d = sp.Symbol("d", real=True)
    V, E, delta, P = sp.symbols("V eps delta P", positive=True)
    h = sp.Symbol("h", nonnegative=True)
    Q = P + h
    gap = h**2 * (Q + 2 * P) / (2 * P**3 * Q)
    claimed = (Q**2 - P**2) / (2 * P**3) - (1 / P - 1 / Q)
    ratio = sp.limit(((Q**2 - P**2) / (2 * P**3)) / (1 / P - 1 / Q), h, 0)
    return (
        Identity(
            "output after scaling",
            sp.simplify(delta * d / sp.sqrt(delta**2 * V + E) - d / sp.sqrt(V + E / delta**2)),
        ),
        Identity("bound less change", sp.simplify(claimed - gap)),
        NonNegative("bound less change", gap),
        Identity("bound over change as delta tends to 1, less 1", ratio - 1),
    )
