"""The evidence that a proof returns: a residual, a pair of exact values, or a certificate of sign."""

from dataclasses import dataclass
from typing import Any

import sympy as sp


@dataclass(frozen=True)
class Identity:
    """Established if `residual` is exactly 0."""

    name: str
    residual: Any

    @property
    def established(self) -> bool:
        """Whether the residual is the number 0, after the simplification that its proof did."""
        return bool(self.residual == 0)

    def __str__(self) -> str:
        """The residual, which should read 0."""
        return f"{self.name}: residual {self.residual}"


@dataclass(frozen=True)
class Difference:
    """Established if two exact numbers differ: a counterexample to their being equal."""

    name: str
    first: Any
    second: Any

    @property
    def established(self) -> bool:
        """Whether both values are rational numbers, and different ones."""
        first, second = sp.sympify(self.first), sp.sympify(self.second)
        return bool(first.is_Rational and second.is_Rational and first != second)

    def __str__(self) -> str:
        """Both values."""
        return f"{self.name}: {self.first} against {self.second}"


@dataclass(frozen=True)
class NonNegative:
    """Established if SymPy sees that `expression` is at least 0; an inequality is reduced to such an expression."""

    name: str
    expression: Any

    @property
    def established(self) -> bool:
        """Whether the signs of the symbols alone decide it."""
        return bool(sp.sympify(self.expression).is_nonnegative)

    def __str__(self) -> str:
        """The expression."""
        return f"{self.name}: {self.expression} >= 0"


@dataclass(frozen=True)
class Positive:
    """Established if SymPy sees that `expression` is greater than 0."""

    name: str
    expression: Any

    @property
    def established(self) -> bool:
        """Whether the signs of the symbols alone decide it."""
        return bool(sp.sympify(self.expression).is_positive)

    def __str__(self) -> str:
        """The expression."""
        return f"{self.name}: {self.expression} > 0"


Evidence = Identity | Difference | NonNegative | Positive


def open_ends(evidence: tuple[Evidence, ...]) -> list[str]:
    """Describe the pieces of evidence that are not established; empty if the proof holds.

    Raises
    ------
    ValueError
        If there is no evidence at all.
    """
    if not evidence:
        raise ValueError("a proof without evidence")
    return [str(piece) for piece in evidence if not piece.established]
