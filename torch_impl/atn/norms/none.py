"""No norm: the plain cell."""

from typing import NamedTuple, Self

import torch

from atn.choices import BiasPlacement
from atn.norms.interface import NormArguments
from atn.state import StreamOrigin
from atn.validation import epsilon


class NoNorm(NamedTuple):
    """Epsilon and gains have no effect: they may be given, so that one set of arguments serves every norm."""

    eps: float
    affine: bool

    @property
    def k(self) -> None:
        """There is no window."""

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings without a window."""
        if arguments.k is not None:
            raise ValueError(f"k must be left out for norm='none', which has no window to choose, got {arguments.k!r}")
        return cls(epsilon(arguments.eps), arguments.affine)

    def site(self, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """No parameters."""

    def settings(self, bias_placement: BiasPlacement) -> None:
        """Nothing to compute."""

    def origin(self, bias_placement: BiasPlacement) -> StreamOrigin:
        """The name alone: the rest has no effect, the place of the biases included."""
        del bias_placement
        return StreamOrigin("none", None, None, None)
