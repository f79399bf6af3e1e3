"""Section 5.1 as a theorem (errata, item 8): LN of one feature without bias keeps only its sign; ATN keeps more."""

from typing import Any

import sympy as sp

from proofs.atn.scaling import output
from proofs.atn.window import window_mean, window_variance
from proofs.evidence import Difference, Evidence, Identity, Positive
from proofs.sums import j, n, over_units, residual, s

w, x = sp.IndexedBase("w"), sp.IndexedBase("x")
i = sp.Symbol("i", integer=True)


def layer_norm_keeps_the_sign() -> tuple[Evidence, ...]:
    """LN(w x) = sign(x) (w - mean w)/std w for eps = 0 and x != 0, any n."""
    pixel = sp.Symbol("x", real=True, nonzero=True)
    mean = over_units(w[s]) / n
    variance = over_units((w[s] - mean) ** 2) / n
    mean_a = over_units(w[s] * pixel) / n
    variance_a = over_units((w[s] * pixel - mean_a) ** 2) / n
    v = sp.Symbol("v", positive=True)
    return (
        Identity("deviation of w x", residual(w[i] * pixel - mean_a, pixel * (w[i] - mean))),
        Identity("variance of w x", residual(variance_a, pixel**2 * variance)),
        Identity("x over its root", sp.simplify(pixel / sp.sqrt(pixel**2 * v) - sp.sign(pixel) / sp.sqrt(v))),
    )


def squeezed(value: Any, v: Any, eps: Any) -> Any:
    """The factor x/sqrt(v x^2 + eps) by which LN multiplies w - mean w; v is the variance of w."""
    return value / sp.sqrt(v * value**2 + eps)


def eps_keeps_the_magnitude() -> tuple[Evidence, ...]:
    """For eps > 0 LN is strictly increasing in x: its slope is eps/(v x^2 + eps)^(3/2) > 0, and no input is erased.

    As eps tends to 0 the factor tends to sign(x)/sqrt(v). At the paper's eps = 1, v = 1: x = 3/4 and 4/3.
    """
    value = sp.Symbol("x", real=True)
    v, eps, positive = sp.symbols("v eps x", positive=True)
    slope = eps / (v * value**2 + eps) ** sp.Rational(3, 2)
    return (
        Identity("slope", sp.simplify(sp.diff(squeezed(value, v, eps), value) - slope)),
        Positive("slope", slope),
        Identity("limit as eps tends to 0", sp.limit(squeezed(positive, v, eps), eps, 0) - 1 / sp.sqrt(v)),
        Difference(
            "eps = 1, v = 1, x = 3/4 against 4/3",
            squeezed(sp.Rational(3, 4), 1, 1),
            squeezed(sp.Rational(4, 3), 1, 1),
        ),
    )


def window_keeps_the_magnitude() -> tuple[Evidence, ...]:
    """ATN(w x_t) with eps = 0: the earlier inputs of the window have the effect that eps has on LN.

    The window variance is mean(w^2) mean(x^2) - mean(w)^2 mean(x)^2 for any n and k. Where mean w = 0 this makes
    y_i = w_i x_t / sqrt(mean(w^2) (x_t^2 + S)/k), S the sum of the squares of the earlier inputs: where S > 0 strictly
    monotonic in x_t. The example has w = (1, -1), x_(t-1) = 1: x_t = 1 gives 1, x_t = 7 gives 7/5; LN gives 1 twice.
    """
    spread = over_units(w[s] ** 2) / n * window_mean(x[j] ** 2)
    offset = (over_units(w[s]) / n * window_mean(x[j])) ** 2
    value, S = sp.Symbol("x", real=True), sp.Symbol("S", positive=True)
    slope = S / (value**2 + S) ** sp.Rational(3, 2)
    return (
        Identity("window mean", residual(window_mean(w[s] * x[j]), over_units(w[s]) / n * window_mean(x[j]))),
        Identity("window variance", residual(window_variance(w[s] * x[j]), spread - offset)),
        Identity("slope", sp.simplify(sp.diff(value / sp.sqrt(value**2 + S), value) - slope)),
        Positive("slope", slope),
        Difference("ATN at x_t = 1 against 7", output((1, -1, 1, -1), 0), output((7, -7, 1, -1), 0)),
        Identity("LN at x_t = 1 against 7", output((1, -1), 0) - output((7, -7), 0)),
    )
