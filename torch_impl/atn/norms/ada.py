"""AdaNorm (Xu, Sun, Zhang, Zhao, Lin 2019, *Understanding and Improving Layer Normalization*, section 4).

Layer normalization without gain and shift, times C (1 - slope y) of the normalized y. The factor is a constant to the
gradient, which therefore is C (1 - slope y) and not the derivative C (1 - 2 slope y): `gradcheck` fails by that.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from atn.backend.interface import AdaSettings
from atn.norms.interface import NormArguments, RecurrentNorm
from atn.precision import state_dtype
from atn.state import StreamOrigin
from atn.validation import check_range_of, epsilon, number


@dataclass(frozen=True)
class AdaNorm(RecurrentNorm):
    """The factor's scale C and its slope, the k of that paper."""

    takes: ClassVar[frozenset[str]] = frozenset({"eps", "bias_placement", "scale", "slope"})

    scale: float
    slope: float

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings without gains and shifts."""
        slope = number("slope", arguments.slope)
        if slope < 0:
            raise ValueError(f"slope must be at least 0, got {arguments.slope!r}")
        return cls(
            k=None,
            eps=epsilon(arguments.eps),
            affine=True,
            bias_placement=arguments.bias_placement,
            gamma=(1.0, 1.0, 1.0),
            scale=number("scale", arguments.scale, positive=True),
            slope=slope,
        )

    @property
    def eager_only(self) -> str:
        """Its gradient is no derivative, which no kernel has."""
        return "norm='ada'"

    def check_range_in(self, dtype: torch.dtype | None) -> None:
        """Also scale and slope."""
        super().check_range_in(dtype)
        computed = state_dtype(dtype or torch.get_default_dtype())
        check_range_of("scale", self.scale, computed, positive=True)
        check_range_of("slope", self.slope, computed, positive=self.slope > 0)

    def settings(self) -> AdaSettings:
        """Scale, slope, epsilon and the place of the biases."""
        return AdaSettings(self.scale, self.slope, self.eps, self.bias_placement)

    def site(self, name: str, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """No parameters."""

    @property
    def window(self) -> int:
        """One step."""
        return 1

    def origin(self) -> StreamOrigin:
        """The norm; a state holds no statistics of it."""
        return StreamOrigin("ada", None, self.eps, self.bias_placement)
