"""Gradients of a norm some of whose statistics are constants to it, and of AdaNorm, for any n.

`xhat` are the normalized values before gain and shift, `g` the upstream gradients times the gain, r = (V + eps)^(-1/2)
with V the variance. The proofs use only that xhat has sum 0 and sum of squares n V r^2.
"""

from typing import Any

import sympy as sp

from proofs.atn.gradients import g, r, window_gradient
from proofs.atn.window import a, window_mean
from proofs.evidence import Difference, Evidence, Identity, NonNegative, Positive
from proofs.sums import distribute, k, n, over_units, residual, s

xhat = sp.IndexedBase("xhat")
V = sp.Symbol("V", positive=True)
"""The variance."""

EPS = sp.Symbol("eps", nonnegative=True)

ATTACHED = ("mean", "var")


def layer_norm_gradient(unit: Any, attached: tuple[str, ...] = ATTACHED) -> Any:
    """Gradient of LN in one unit: r (g - mean(g) - xhat mean(g xhat)), a term less for a detached statistic."""
    gradient = g[unit]
    if "mean" in attached:
        gradient -= over_units(g[s]) / n
    if "var" in attached:
        gradient -= xhat[unit] * over_units(g[s] * xhat[s]) / n
    return r * gradient


def _with_sums(expression: Any) -> Any:
    """Expand and use the two sums of xhat."""
    known = {over_units(xhat[s]): 0, over_units(xhat[s] ** 2): n * V * r**2}
    return sp.expand(distribute(expression).subs(known))


def backward_terms() -> tuple[Evidence, ...]:
    """The chain rule through the mean and through the variance gives one term each.

    The backward pass of Eq. (9) with a window of one step, in which xhat = (a - mu) r.
    """
    unit = sp.Symbol("i", integer=True)
    printed = layer_norm_gradient(unit).replace(
        lambda term: isinstance(term, sp.Indexed) and term.base == xhat,
        lambda term: (a[0, term.indices[0]] - window_mean().subs(k, 1).doit()) * r,
    )
    full = window_gradient(sp.S.Zero, unit).subs(k, 1).doit()
    return (Identity("LN's gradient", residual(full, printed.doit())),)


def recentering() -> tuple[Evidence, ...]:
    """The gradient sums to 0 where the mean is attached, and to r sum(g) where it is not."""
    evidence: list[Evidence] = []
    for attached in (ATTACHED, ("mean",), ("var",), ()):
        total = _with_sums(over_units(layer_norm_gradient(s, attached)))
        expected = 0 if "mean" in attached else r * over_units(g[s])
        evidence.append(Identity(f"sum of da, attached {attached}", sp.expand(total - expected)))
    return tuple(evidence)


def along_the_deviations() -> tuple[Evidence, ...]:
    """<da, a - mu> is eps r^3 <g, a - mu> where the variance is attached, r <g, a - mu> where it is not.

    In xhat = (a - mu) r, and with 1 - V r^2 = eps r^2.
    """
    along = over_units(g[s] * xhat[s])
    evidence: list[Evidence] = [Identity("1 - V r^2", sp.simplify((1 - V / (V + EPS)) - EPS / (V + EPS)))]
    for attached in (ATTACHED, ("mean",), ("var",), ()):
        inner = _with_sums(over_units(layer_norm_gradient(s, attached) * xhat[s] / r))
        expected = (1 - V * r**2) * along if "var" in attached else along
        evidence.append(Identity(f"<da, a - mu>, attached {attached}", sp.expand(inner - expected)))
    return tuple(evidence)


def smaller_variance() -> tuple[Evidence, ...]:
    """Attaching the variance takes r^2 (2 - V r^2) (sum of g xhat)^2 / n from the sum of squares of da, for any eps.

    `rest` is 1 - V r^2 = eps r^2, which is not negative (`along_the_deviations`); at eps = 0 it is 0.
    """
    with_variance, without = (
        _with_sums(over_units(layer_norm_gradient(s, attached) ** 2)) for attached in (ATTACHED, ("mean",))
    )
    along, rest = sp.Symbol("along", real=True), sp.Symbol("rest", nonnegative=True)
    fall = sp.expand(without - with_variance).subs(over_units(g[s] * xhat[s]), along)
    expected = r**2 * (1 + rest) * along**2 / n
    return (
        Identity("decrease of the sum of squares", sp.simplify(fall - expected.subs(rest, 1 - V * r**2))),
        NonNegative("decrease of the sum of squares", expected),
    )


def ada_norm() -> tuple[Evidence, ...]:
    """With z = C (1 - k y) y the gradient in use, C (1 - k y), is not dz/dy = C (1 - 2 k y)."""
    C, slope = sp.symbols("C k", positive=True)
    y = sp.Symbol("y", real=True)
    derivative = sp.diff(C * (1 - slope * y) * y, y)
    published = C * (1 - slope * y)
    at = {C: 1, slope: sp.Rational(1, 10), y: 1}
    return (
        Identity("dz/dy", sp.expand(derivative - C * (1 - 2 * slope * y))),
        Identity("the gradient in use exceeds it by C k y", sp.expand(published - derivative - C * slope * y)),
        Difference("at C = 1, k = 1/10, y = 1", derivative.subs(at), published.subs(at)),
    )


def ada_norm_monotone() -> tuple[Evidence, ...]:
    """dz/dy = 2 k C (1/(2k) - y): positive below 1/(2k), negative above."""
    C, slope, distance = sp.symbols("C k d", positive=True)
    y = sp.Symbol("y", real=True)
    derivative = sp.diff(C * (1 - slope * y) * y, y)
    return (
        Positive("d below the turn", sp.expand(derivative.subs(y, 1 / (2 * slope) - distance))),
        Positive("d above it, negated", sp.expand(-derivative.subs(y, 1 / (2 * slope) + distance))),
    )
