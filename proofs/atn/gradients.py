"""Gradients of scale-invariant weights (errata, item 7), for any loss and any upstream gradient g = gamma dy.

a = W x in every entry of the window, so <W, dL/dW> = sum of a dL/da, and dL/da comes from the explicit Jacobian.
"""

from typing import Any

import sympy as sp

from proofs.atn.window import a, window_mean, window_variance
from proofs.evidence import Difference, Evidence, Identity
from proofs.sums import distribute, j, k, n, over_units, over_window, residual, s

r = sp.Symbol("r", positive=True)
"""(sigma^2 + eps)^(-1/2)."""

g = sp.IndexedBase("g")


def window_gradient(lag: Any, unit: Any) -> Any:
    """Gradient in a_unit^(t-lag) from one window: the backward pass of Eq. (9) for upstream g."""
    dmean = -r * over_units(g[s])
    dvariance = -(r**3) * over_units(g[s] * (a[0, s] - window_mean())) / 2
    direct = sp.KroneckerDelta(lag, 0) * r * g[unit]
    return direct + (dmean + 2 * dvariance * (a[lag, unit] - window_mean())) / (n * k)


def orthogonality() -> tuple[Evidence, ...]:
    """<W, dL/dW> of one window is (1 - r^2 sigma^2) sum_s g_s xhat_s, for any n and k.

    1 - r^2 sigma^2 = eps/(sigma^2 + eps): 0 for eps = 0. Windows, cases and steps add up to

        <W, dL/dW> = sum over t, b of eps/(sigma^2 + eps) sum_s g_s xhat_s,

    exactly; also through a recurrence, where g includes the gradient from later steps.
    """
    inner = over_window(a[j, s] * window_gradient(j, s))
    aligned = over_units(g[s] * (a[0, s] - window_mean()) * r)
    V, E = sp.symbols("V eps", positive=True)
    return (
        Identity(
            "<W, dL/dW> of one window",
            residual(inner, distribute(aligned) * (1 - r**2 * distribute(window_variance()))),
        ),
        Identity("1 - r^2 sigma^2", sp.simplify(1 - V / (V + E) - E / (V + E))),
    )


def inverse_scaling() -> tuple[Evidence, ...]:
    """At delta W with eps = 0, dL/da is 1/delta times its value at W, for any n and k.

    So dL/dW = dL/da x^T is 1/delta times its value at W, and the gradient passed on, dL/dx = W^T dL/da, is the same.
    """
    delta = sp.Symbol("delta", positive=True)
    gradient = distribute(window_gradient(j, s))
    scaled = gradient.subs(r, r / delta).replace(
        lambda term: isinstance(term, sp.Indexed) and term.base == a, lambda term: delta * term
    )
    return (Identity("dL/da at delta W", residual(scaled, gradient / delta)),)


def weight_gradient(weight: Any) -> Any:
    """dL/dW for L = y_1 of one step of four units on a scalar input x = 1, LN with eps = 0: an exact example."""
    w = sp.symbols("w1:5")
    mean = sum(w) / 4
    variance = sum((entry - mean) ** 2 for entry in w) / 4
    loss = (w[0] - mean) / sp.sqrt(variance)
    point = dict(zip(w, weight, strict=True))
    return [sp.diff(loss, entry).subs(point) for entry in w]


def small_weights() -> tuple[Evidence, ...]:
    """Small weights have large gradients: W = (1, -1, 7, -7) has <W, dL/dW> = 0, and at W/10 a tenfold gradient."""
    weight = [sp.Integer(value) for value in (1, -1, 7, -7)]
    at_weight, at_tenth = weight_gradient(weight), weight_gradient([value / 10 for value in weight])
    return (
        Identity("<W, dL/dW>", sum(value * slope for value, slope in zip(weight, at_weight, strict=True))),
        Difference("dL/dw_1 at W and at W/10", at_weight[0], at_tenth[0]),
        Identity("ten times", sum(abs(ten - 10 * one) for one, ten in zip(at_weight, at_tenth, strict=True))),
    )
