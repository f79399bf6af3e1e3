"""A norm in the loops of the fallback: one step after the other, and its backward pass by hand.

With the upstream gradient `g = gain * dy`, per step and case,

    dmu[t]  = -r[t] * sum_n g                      dvar[t] = -r[t]^2 * sum_n g * xhat / 2

the gradients of the mean m[s] and variance q[s] of one step sum over the windows that contain it,

    dm[s] = sum_t (dmu[t] + 2 dvar[t] (m[s] - mu[t])) / K_t        dq[s] = sum_t dvar[t] / K_t

and `da = r g + dm / N + 2 dq (a - m) / N`. The first is summed as

    dm[s] = sum_t (dlast[t] + 2 dvar[t] (m[s] - m[t])) / K_t          dlast[t] = dmu[t] + 2 dvar[t] (m[t] - mu[t])

since two steps of a window are never far apart beside its deviation, as the means of two windows can be. For the same
reason a - m is what is kept of a row for the backward pass: of a - mu no digit of a would be left beside a far larger
step of the window. Where the variance of a window has overflowed, r is 0 and mu without effect, but a difference with
it might overflow: it is kept as 0.

Letters: T time, B cases, N features, k window length, M steps of memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atn.sliding_window import Parts, SlidingWindow
from atn.window import LONGEST_KEPT_WINDOW, LongWindowOfSteps, StepStatistics, WindowOfSteps, window_of_steps

MOST_INPUTS_COMPUTED_AGAIN = 64
"""The same constant as in `csrc/sequence.h`, which gives the reason for its value."""


def input_is_computed_again(x: Tensor) -> bool:
    """Whether a normalized layer recomputes the preactivations from x in its backward pass instead of keeping them."""
    return x.shape[2] <= MOST_INPUTS_COMPUTED_AGAIN


EVERY = slice(None)
"""Every step of a sequence."""


class LoopNorm(NamedTuple):
    """One norm: step statistics (mean, variance) (M + T, B), window statistics (mean, 1/sqrt(var + eps)) (T, B)."""

    k: int
    eps: float
    gamma: Tensor | None
    beta: Tensor | None
    step_mean: Tensor
    step_var: Tensor
    mean: Tensor
    rstd: Tensor

    @property
    def memory(self) -> int:
        """Number of steps of the memory, M."""
        return self.step_mean.shape[0] - self.mean.shape[0]

    def window(self) -> WindowOfSteps | LongWindowOfSteps:
        """The window before the first step, filled from the memory."""
        M = self.memory
        return window_of_steps(self.k, StepStatistics(self.step_mean[:M], self.step_var[:M]).last(self.k - 1))

    def forward(self, t: int, row: Tensor, window: WindowOfSteps | LongWindowOfSteps) -> Tensor:
        """The row (B, N) of step t as it is kept, after the statistics of its window."""
        s = self.memory + t
        torch.mean(row, 1, out=self.step_mean[s])
        torch.mean((row - self.step_mean[s].unsqueeze(1)).square(), 1, out=self.step_var[s])
        mean, variance = window.add(self.step_mean[s].unsqueeze(1), self.step_var[s].unsqueeze(1))
        r = self.rstd[t] = (variance.squeeze(1) + self.eps).rsqrt()
        self.mean[t] = torch.where(r == 0, mean.squeeze(1) * r, mean.squeeze(1))
        return self.kept(row, t)

    def center(self, steps: int | slice) -> Tensor:
        """Means m of some steps (..., B)."""
        return self.step_mean[self.memory :][steps]

    def kept(self, rows: Tensor, steps: int | slice = EVERY) -> Tensor:
        """Rows (..., B, N) of some steps as they are kept."""
        return rows - self.center(steps).unsqueeze(-1)

    def xhat(self, kept: Tensor, steps: int | slice = EVERY) -> Tensor:
        """Normalized rows (..., B, N) of some steps from the kept ones."""
        r = self.rstd[steps]
        xhat_center = (self.center(steps) - self.mean[steps]) * r
        return torch.addcmul(xhat_center.unsqueeze(-1), kept, r.unsqueeze(-1))

    def affine(self, xhat: Tensor) -> Tensor:
        """Multiply xhat by the gain and add the shift."""
        y = xhat if self.gamma is None else xhat * self.gamma
        return y if self.beta is None else y + self.beta


class _WindowSums(NamedTuple):
    """Sums over the windows t that contain a step: of dlast[t] + 2 dvar[t] (center - m[t]), and of dvar[t]."""

    level: Tensor
    slope: Tensor
    center: Tensor
    """Mean m of the step in which the nearest of the windows ends."""


def _merged_sums(parts: Parts[_WindowSums]) -> _WindowSums:
    near, far = parts.near, parts.far
    level = near.level + (far.level + 2 * far.slope * (near.center - far.center))
    return _WindowSums(level, near.slope + far.slope, near.center)


class LoopNormGradient:
    """Gradients of a norm's window and step statistics, from the last step to the first.

    Those of a window are divided by its number of steps.
    """

    def __init__(self, norm: LoopNorm, by_window: Tensor, by_step: Tensor) -> None:
        self.norm = norm
        self._dlast, self._dvar = by_window[0], by_window[1]
        self._dstep_mean, self._dstep_var = by_step[0], by_step[1]
        self._sums = SlidingWindow(norm.k, _merged_sums) if norm.k > LONGEST_KEPT_WINDOW else None

    def backward(self, t: int, dy: Tensor, kept: Tensor) -> Tensor:
        """Gradient of the row of step t; must have been called for every later step before."""
        norm = self.norm
        g = dy if norm.gamma is None else dy * norm.gamma
        r, share = norm.rstd[t], 1 / min(norm.k, norm.memory + t + 1)
        dvar = self._dvar[t] = -0.5 * r.square() * (g * norm.xhat(kept, t)).sum(1) * share
        self._dlast[t] = -r * g.sum(1) * share + 2 * dvar * (norm.center(t) - norm.mean[t])
        s, features = norm.memory + t, dy.shape[1]
        self._collect(s)
        level, slope = self._dstep_mean[s] / features, 2 * self._dstep_var[s] / features
        return r.unsqueeze(1) * g + level.unsqueeze(1) + slope.unsqueeze(1) * kept

    def finish(self) -> None:
        """Compute the gradients of the memory's steps."""
        for s in reversed(range(self.norm.memory)):
            self._collect(s)

    def _collect(self, s: int) -> None:
        """Sum over the windows that contain row s; rows are counted from the first row of the memory."""
        level, slope = self._direct_sums(s) if self._sums is None else self._merged_sums(s, self._sums)
        self._dstep_mean[s] += level
        self._dstep_var[s] += slope

    def _direct_sums(self, s: int) -> tuple[Tensor, Tensor]:
        norm = self.norm
        start, end = max(0, s - norm.memory), max(0, min(norm.mean.shape[0], s - norm.memory + norm.k))
        dvar, last = self._dvar[start:end], norm.center(slice(start, end))
        level = (self._dlast[start:end] + 2 * dvar * (norm.step_mean[s] - last)).sum(0)
        return level, dvar.sum(0)

    def _merged_sums(self, s: int, sums: SlidingWindow[_WindowSums]) -> tuple[Tensor, Tensor]:
        norm, t = self.norm, s - self.norm.memory
        if t >= 0:
            step = _WindowSums(self._dlast[t], self._dvar[t], norm.step_mean[s])
        else:  # a window that ends in the memory has no gradient
            nothing = torch.zeros_like(norm.step_mean[s])
            step = _WindowSums(nothing, nothing, norm.step_mean[s])
        total = sums.add(step)
        return total.level, total.slope


def norm_of(
    steps: Tensor, windows: Tensor, k: int, eps: float, gamma: Tensor | None, beta: Tensor | None = None
) -> LoopNorm:
    """The norm whose statistics are `steps` (2, M + T, B) and `windows` (2, T, B)."""
    return LoopNorm(k, eps, gamma, beta, steps[0], steps[1], windows[0], windows[1])


def with_memory(memory: Tensor, T: int) -> Tensor:
    """A tensor (..., M + T, B) for the statistics of memory and sequence, with the memory filled in."""
    steps = memory.new_empty(*memory.shape[:-2], memory.shape[-2] + T, memory.shape[-1])
    steps[..., : memory.shape[-2], :] = memory
    return steps
