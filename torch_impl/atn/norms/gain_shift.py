"""Gain and shift of a norm, as a module."""

import torch
from torch import nn

from atn.initialization import start_anew


class GainShift(nn.Module):
    """Gain `weight` and shift `bias` of one norm, (N,) each."""

    def __init__(self, num_features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the gain to 1 and the shift to 0."""
        start_anew(self, "weight", nn.init.ones_)
        start_anew(self, "bias", nn.init.zeros_)

    def extra_repr(self) -> str:
        """Number of features."""
        return str(self.weight.shape[0])
