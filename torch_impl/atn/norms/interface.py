"""What a recurrent layer needs to know about its norm: settings that are checked once, and the questions put to them.

A norm is a `NamedTuple` of its settings with these members. Adding one is a file here, a name in `registry`, and the
backends that compute it.
"""

from typing import NamedTuple, Protocol, Self

import torch
from torch import nn

from atn.backend.interface import NormSettings
from atn.choices import BiasPlacement
from atn.state import StreamOrigin


class NormArguments(NamedTuple):
    """What a user may choose about any norm; a norm refuses what it does not have."""

    k: int | None
    eps: float
    affine: bool


class LayerNorm(Protocol):
    """Settings of one norm."""

    @property
    def k(self) -> int | None:
        """Length of the window where the user chooses it."""

    @property
    def eps(self) -> float:
        """Added to each variance under the root."""

    @property
    def affine(self) -> bool:
        """Whether each site has a gain and a shift."""

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings from what the user chose; a TypeError or ValueError names what is wrong."""

    def site(self, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module | None:
        """Module with the parameters of the norm in one place of a layer, over so many features; None for none."""

    def settings(self, bias_placement: BiasPlacement) -> NormSettings | None:
        """What a backend needs; None for a layer without a norm."""

    def origin(self, bias_placement: BiasPlacement) -> StreamOrigin:
        """What a stream's state says about the norm that its windows are of."""
