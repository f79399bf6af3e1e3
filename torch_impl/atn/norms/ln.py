"""Layer normalization, Eqs. (5)-(6)."""

from typing import NamedTuple, Self

import torch

from atn.backend.interface import NormSettings
from atn.choices import BiasPlacement
from atn.norms.gain_shift import GainShift
from atn.norms.interface import NormArguments
from atn.state import StreamOrigin
from atn.validation import epsilon


class LayerNormalization(NamedTuple):
    """Statistics of each step alone: assorted-time normalization with k = 1."""

    eps: float
    affine: bool

    @property
    def k(self) -> None:
        """There is no window to choose."""

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings without a window."""
        if arguments.k is not None:
            raise ValueError(f"k must be left out for norm='ln', which has no window to choose, got {arguments.k!r}")
        return cls(epsilon(arguments.eps), arguments.affine)

    def site(self, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> GainShift | None:
        """Gain and shift, if the norm is affine."""
        return GainShift(features, device, dtype) if self.affine else None

    def settings(self, bias_placement: BiasPlacement) -> NormSettings:
        """A window of one step."""
        return NormSettings(1, self.eps, bias_placement)

    def origin(self, bias_placement: BiasPlacement) -> StreamOrigin:
        """The norm; a state holds no statistics of it."""
        return StreamOrigin("ln", None, self.eps, bias_placement)
