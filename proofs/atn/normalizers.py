"""The five normalizers of Table B.1 as one quotient each, on exact or symbolic entries, with eps = 0.

Every output before gain and shift is `numerator / sqrt(square)`, both polynomials: the deviation from the mean over the
variance of a pool of preactivations, or v . x over v . v for weight normalization. Entries are numbers, or elements of
a polynomial ring.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import sympy as sp

K = 2
"""Window length of the ATN columns: the smallest for which ATN is neither BN nor LN."""

Entries = dict[tuple[int, ...], Any]
"""Entries by index."""


class Problem(NamedTuple):
    """A layer and its inputs.

    Attributes
    ----------
    H : entries [unit, input], the weight matrix
    x : entries [t, b, input], the inputs
    T, B, n, d : steps, cases, units, inputs
    """

    H: Entries
    x: Entries
    T: int
    B: int
    n: int
    d: int

    def preactivation(self, t: int, b: int, i: int) -> Any:
        """a[t, b, i] = H[i] . x[t, b]."""
        return sum(self.H[i, l] * self.x[t, b, l] for l in range(self.d))


class Quotient(NamedTuple):
    """An output `numerator / sqrt(square)`."""

    numerator: Any
    square: Any

    @property
    def value(self) -> Any:
        """The output itself, exact."""
        return self.numerator / sp.sqrt(self.square)


def _pooled(pool: Callable[[Problem, int, int, int], list[tuple[int, int, int]]]) -> Callable[..., Quotient]:
    def normalize(problem: Problem, t: int, b: int, i: int) -> Quotient:
        entries = [problem.preactivation(*index) for index in pool(problem, t, b, i)]
        share = sp.Rational(1, len(entries))
        mean = share * sum(entries)
        variance = share * sum((entry - mean) ** 2 for entry in entries)
        return Quotient(problem.preactivation(t, b, i) - mean, variance)

    return normalize


def _window(t: int) -> range:
    return range(max(0, t - K + 1), t + 1)


def weight_norm(problem: Problem, t: int, b: int, i: int) -> Quotient:
    """WN with g = 1: v . x / |v|, v the unit's row of H."""
    return Quotient(problem.preactivation(t, b, i), sum(problem.H[i, l] ** 2 for l in range(problem.d)))


batch_norm = _pooled(lambda problem, t, _b, i: [(t, case, i) for case in range(problem.B)])
layer_norm = _pooled(lambda problem, t, b, _i: [(t, b, unit) for unit in range(problem.n)])
atn_batch = _pooled(lambda problem, t, _b, i: [(step, case, i) for step in _window(t) for case in range(problem.B)])
atn_layer = _pooled(lambda problem, t, b, _i: [(step, b, unit) for step in _window(t) for unit in range(problem.n)])

NORMALIZERS: dict[str, Callable[..., Quotient]] = {
    "bn": batch_norm,
    "wn": weight_norm,
    "ln": layer_norm,
    "atn-bn": atn_batch,
    "atn-ln": atn_layer,
}
"""The columns of Table B.1, in its order: `norm(problem, t, b, i)`."""
