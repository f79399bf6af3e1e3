"""The norms that only the eager backend computes: detached statistics, AdaNorm, and batch statistics.

A site normalizes one step at a time, also those of the input: for these norms the plain form of the equations is
preferred to speed.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.eager import affine, eager_layer, time_loop
from atn.backend.interface import (
    AdaSettings,
    BatchSettings,
    DetachedSettings,
    LayerOutput,
    LayerWeights,
    NormSettings,
    Settings,
    placed_biases,
    total,
)
from atn.state import HiddenMemory, LayerMemory
from atn.window import (
    LongWindowOfSteps,
    StepStatistics,
    WindowOfSteps,
    centered,
    reciprocal_deviation,
    step_statistics,
    window_of_steps,
)


@runtime_checkable
class Site(Protocol):
    """One norm of a layer: its settings and the statistics of the steps so far."""

    def step(self, a: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Normalize the next step, without gain and shift."""

    def memory(self) -> StepStatistics:
        """The statistics of this norm that the layer returns as its memory."""


def any_layer(
    x: Float[Tensor, "T B I"],
    weights: LayerWeights,
    h_0: Float[Tensor, "B H"],
    c_0: Float[Tensor, "B H"],
    memory: LayerMemory | None,
    norm: Settings | None,
    *,
    every_c: bool,
) -> LayerOutput:
    """Run one layer in one direction, with any norm; see `atn.backend.interface`."""
    if norm is None or isinstance(norm, NormSettings):
        return eager_layer(x, weights, h_0, c_0, memory, norm, every_c=every_c)
    ih, hh, cell = sites_of(norm, memory, h_0)
    inside, outside = placed_biases(weights, norm.bias_placement)
    after = total(*outside)
    weight_hh = weights.weight_hh.t()

    def rows_of_input(row: Tensor) -> Tensor:
        normalized = affine(ih.step(row), *(weights.norm_ih or (None, None)))
        return normalized if after is None else normalized + after

    def gates(from_input: Tensor, h: Tensor) -> Tensor:
        from_h = h @ weight_hh if inside[1] is None else torch.addmm(inside[1], h, weight_hh)
        return from_input + affine(hh.step(from_h), *(weights.norm_hh or (None, None)))

    def z_of(c: Tensor) -> Tensor:
        return affine(cell.step(c), *(weights.norm_c or (None, None)))

    a = torch.nn.functional.linear(x, weights.weight_ih, inside[0])
    h, c = time_loop(torch.stack([rows_of_input(row) for row in a.unbind()]), h_0, c_0, gates, z_of)
    return LayerOutput(h, c, LayerMemory(ih.memory(), hh.memory(), cell.memory()))


def sites_of(
    norm: DetachedSettings | AdaSettings | BatchSettings,
    memory: LayerMemory | HiddenMemory | None,
    like: Float[Tensor, "B H"],
    count: int = 3,
) -> Sequence[Site]:
    """The norms of a layer, one site for each, with these settings."""
    if isinstance(norm, AdaSettings):
        return [_Adaptive(norm, like) for _ in range(count)]
    if isinstance(norm, BatchSettings):
        return [_OfBatch(norm, given) for given in norm.population]
    none = StepStatistics.none(len(like), like, like.dtype)
    return [_Detached(norm, before) for before in memory or (none,) * count]


class _Detached:
    """ATN whose chosen statistics are constants to the gradient (DetachNorm, Xu et al. 2019, section 3)."""

    def __init__(self, norm: DetachedSettings, before: StepStatistics) -> None:
        self._norm, self._window = norm, window_of_steps(norm.k, before)

    def step(self, a: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Eq. (9) without gain and shift."""
        mean, var = self._window.add(*step_statistics(a))
        mean = mean.detach() if "mean" in self._norm.detach else mean
        var = var.detach() if "var" in self._norm.detach else var
        return centered(a, mean) * reciprocal_deviation(var, self._norm.eps)

    def memory(self) -> StepStatistics:
        """Statistics of the last k-1 steps."""
        return self._window.memory()


class _Adaptive:
    """LN times a factor C (1 - slope y), a constant to the gradient (AdaNorm, Xu et al. 2019, section 4)."""

    def __init__(self, norm: AdaSettings, like: Float[Tensor, "B H"]) -> None:
        self._norm, self._none = norm, StepStatistics.none(len(like), like, like.dtype)

    def step(self, a: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """AdaNorm's C (1 - slope y) y with y = LN(a)."""
        mean, var = step_statistics(a)
        y = centered(a, mean) * reciprocal_deviation(var, self._norm.eps)
        return (self._norm.scale * (1 - self._norm.slope * y)).detach() * y

    def memory(self) -> StepStatistics:
        """An empty window: AdaNorm reads no earlier step."""
        return self._none


class _OfBatch:
    """Batch normalization by statistics over the cases and the last k steps, or by given ones, as in evaluation."""

    def __init__(self, norm: BatchSettings, given: StepStatistics | None) -> None:
        self._norm, self._given = norm, given
        self._used: list[tuple[Tensor, Tensor]] = []
        self._window: WindowOfSteps | LongWindowOfSteps | None = None

    def step(self, a: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Eq. (9) with base "batch", without gain and shift."""
        t = len(self._used)
        mean, var = self._of_window(a) if self._given is None else (self._given.mean[t], self._given.var[t])
        self._used.append((mean, var))
        return centered(a, mean) * reciprocal_deviation(var, self._norm.eps)

    def memory(self) -> StepStatistics:
        """Mean and variance (T, N) by which each step was normalized."""
        means, variances = zip(*self._used, strict=True)
        return StepStatistics(torch.stack(means), torch.stack(variances))

    def _of_window(self, a: Float[Tensor, "B N"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        if self._window is None:
            self._window = window_of_steps(self._norm.k, StepStatistics.none(a.shape[1], a, a.dtype))
        mean, var = self._window.add(*step_statistics(a.t().contiguous()))
        return mean.squeeze(1), var.squeeze(1)
