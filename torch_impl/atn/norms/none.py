"""No norm: the plain cell."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from atn.norms.interface import NormArguments, RecurrentNorm
from atn.state import StreamOrigin
from atn.validation import epsilon


@dataclass(frozen=True)
class NoNorm(RecurrentNorm):
    """Epsilon, gains and the place of the biases have no effect: one set of arguments then serves "ln" and "none"."""

    takes: ClassVar[frozenset[str]] = frozenset({"eps", "affine", "bias_placement"})

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings without a window."""
        return cls(
            k=None,
            eps=epsilon(arguments.eps),
            affine=arguments.affine,
            bias_placement=arguments.bias_placement,
            gamma=(1.0, 1.0, 1.0),
        )

    def site(self, name: str, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """No parameters."""

    def origin(self) -> StreamOrigin:
        """The name alone: the rest has no effect, the place of the biases included."""
        return StreamOrigin("none", None, None, None)
