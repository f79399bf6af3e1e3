"""Sums over a window of symbolic size, brought to one form so that equal ones cancel."""

from functools import reduce
from operator import add, mul
from typing import Any

import sympy as sp

n, k = sp.symbols("n k", integer=True, positive=True)
"""Units, and steps in the window: in the warm-up k stands for K_t = min(k, t)."""

j, s = sp.symbols("j s", integer=True)
"""Dummies: the lag behind the current step, 0..k-1, and the unit, 1..n."""

UNITS = (s, 1, n)
LAGS = (j, 0, k - 1)


def over_units(term: Any) -> Any:
    """Sum of a term in `s` over the n units."""
    return sp.Sum(term, UNITS)


def over_window(term: Any) -> Any:
    """Sum of a term in `j` and `s` over the n units and k steps of the window."""
    return sp.Sum(term, UNITS, LAGS)


def distribute(expression: Any) -> Any:
    """Expand; split every sum into terms, and move every factor that is free of the dummy out of its sum.

    A term free of the dummy is multiplied by the number of terms. A Kronecker delta in the dummy selects one term,
    whose index is assumed to lie in the range: leaves are always entries of the window.
    """
    if isinstance(expression, sp.Sum):
        return reduce(_distribute_over, expression.limits, distribute(expression.function))
    if isinstance(expression, sp.Add | sp.Mul | sp.Pow):
        return sp.expand(expression.func(*(distribute(argument) for argument in expression.args)))
    return expression


def residual(left: Any, right: Any) -> Any:
    """`left - right`, brought to the one form of `distribute`: 0 if they are equal as sums."""
    return sp.simplify(distribute(left - right))


def _distribute_over(body: Any, limit: Any) -> Any:
    return sp.expand(reduce(add, (_sum_term(term, *limit) for term in sp.Add.make_args(sp.expand(body)))))


def _sum_term(term: Any, dummy: Any, lower: Any, upper: Any) -> Any:
    if lower == upper:
        return term.subs(dummy, lower)
    factors = sp.Mul.make_args(term)
    for factor in factors:
        if isinstance(factor, sp.KroneckerDelta) and dummy in factor.free_symbols:
            (selected,) = (index for index in factor.args if index != dummy)
            rest = reduce(mul, (other for other in factors if other is not factor), sp.S.One)
            return rest.subs(dummy, selected)
    outside = reduce(mul, (factor for factor in factors if dummy not in factor.free_symbols), sp.S.One)
    inside = reduce(mul, (factor for factor in factors if dummy in factor.free_symbols), sp.S.One)
    if inside == 1:
        return outside * (upper - lower + 1)
    return outside * sp.Sum(inside, (dummy, lower, upper))
