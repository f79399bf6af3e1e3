"""Assorted-time normalization on layer normalization, Eqs. (7)-(9)."""

from typing import NamedTuple, Self

import torch

from atn.backend.interface import NormSettings
from atn.choices import BiasPlacement
from atn.norms.gain_shift import GainShift
from atn.norms.interface import NormArguments
from atn.state import StreamOrigin
from atn.validation import epsilon, whole_number


class AssortedTime(NamedTuple):
    """Statistics over the last k steps of a case."""

    k: int
    eps: float
    affine: bool

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings with a window."""
        if arguments.k is None:
            raise ValueError("k must be an integer of at least 1 for norm='atn', got None")
        return cls(whole_number("k", arguments.k), epsilon(arguments.eps), arguments.affine)

    def site(self, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> GainShift | None:
        """Gain and shift, if the norm is affine."""
        return GainShift(features, device, dtype) if self.affine else None

    def settings(self, bias_placement: BiasPlacement) -> NormSettings:
        """Window, epsilon and the place of the biases."""
        return NormSettings(self.k, self.eps, bias_placement)

    def origin(self, bias_placement: BiasPlacement) -> StreamOrigin:
        """All that the statistics in a state depend on."""
        return StreamOrigin("atn", self.k, self.eps, bias_placement)
