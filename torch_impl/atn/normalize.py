"""Eq. (9) with given statistics."""

from jaxtyping import Float
from torch import Tensor

from atn.statistics import Base, StepStatistics, centred


def normalize(
    a: Float[Tensor, "T B N"],
    statistics: StepStatistics,
    weight: Float[Tensor, " N"] | None,
    bias: Float[Tensor, " N"] | None,
    eps: float,
    base: Base,
) -> Float[Tensor, "T B N"]:
    """Eq. (9) with given statistics, (T, B) for `base="layer"` and (T, N) for `base="batch"`."""
    axis = 2 if base == "layer" else 1
    mean, var = (statistic.unsqueeze(axis) for statistic in statistics)
    y = centred(a, mean) * (var + eps).rsqrt()
    # Two roundings rather than a fused one, whose use could depend on where an element lies: streams equal the whole.
    if weight is not None:
        y = y * weight.to(a.dtype)
    return y if bias is None else y + bias.to(a.dtype)
