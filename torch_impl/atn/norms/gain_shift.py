"""Gain and shift of a norm, as modules."""

from functools import partial

import torch
from torch import Tensor, nn

from atn.backend.interface import Affine
from atn.initialization import start_anew
from atn.validation import check_range_of


class Gain(nn.Module):
    """Gain `weight` of one norm, (N,), which starts at `start`."""

    def __init__(
        self, num_features: int, start: float, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        check_range_of("gamma", start, dtype)
        self.start = start
        self.weight = nn.Parameter(torch.full((num_features,), start, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the gain to its start."""
        start_anew(self, "weight", partial(Tensor.fill_, value=self.start))

    def extra_repr(self) -> str:
        """Number of features, and the start where it is not 1."""
        return str(self.weight.shape[0]) + (f", start={self.start}" if self.start != 1 else "")


class GainShift(Gain):
    """Gain `weight` and shift `bias` of one norm, (N,) each."""

    def __init__(
        self, num_features: int, start: float, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__(num_features, start, device, dtype)
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the gain to its start and the shift to 0."""
        super().reset_parameters()
        start_anew(self, "bias", nn.init.zeros_)


def affine_of(site: nn.Module | None) -> Affine | None:
    """Gain and shift of a site for a backend; None where there is no gain."""
    gamma = getattr(site, "weight", None)
    return None if gamma is None else Affine(gamma, getattr(site, "bias", None))
