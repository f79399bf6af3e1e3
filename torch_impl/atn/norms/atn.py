"""Assorted-time normalization on layer normalization, Eqs. (7)-(9)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from atn.backend.interface import NormSettings
from atn.norms.interface import LayerNorm, NormArguments, affine_gains
from atn.state import StreamOrigin
from atn.validation import epsilon, whole_number


@dataclass(frozen=True)
class AssortedTime(LayerNorm):
    """Statistics over the last k steps of a case."""

    takes: ClassVar[frozenset[str]] = frozenset({"k", "eps", "affine", "bias_placement", "gamma"})

    k: int

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings with a window."""
        if arguments.k is None:
            raise ValueError("k must be an integer of at least 1 for norm='atn', got None")
        return cls(
            k=whole_number("k", arguments.k),
            eps=epsilon(arguments.eps),
            affine=arguments.affine,
            bias_placement=arguments.bias_placement,
            gamma=affine_gains(arguments),
        )

    @property
    def window(self) -> int:
        """The k that was chosen."""
        return self.k

    def settings(self) -> NormSettings:
        """Window, epsilon and the place of the biases."""
        return NormSettings(self.k, self.eps, self.bias_placement)

    def origin(self) -> StreamOrigin:
        """All that the statistics in a state depend on."""
        return StreamOrigin("atn", self.k, self.eps, self.bias_placement)
