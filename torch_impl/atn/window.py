"""Mean and variance over a window of time steps (Eqs. 7-8), and the norm that uses them (Eq. 9).

The statistics come from one mean and one variance of each step. With `m[s]` the mean and `q[s]` the biased variance of
the features of step s, and `S(t)` the last K_t = min(k, t+1) steps up to t,

    mean[t] = mean over s in S(t) of m[s]
    var[t]  = mean over s in S(t) of (q[s] + (m[s] - mean[t])^2)

equals Eqs. (7)-(8) exactly and is never negative. It needs K_t pairs of numbers where the equations need K_t rows, so
the cost of a step does not grow with the number of features remembered, and a stream carries k-1 pairs.

Three forms: `WindowOfSteps` and `LongWindowOfSteps` take one step after the other, as the recurrence does, the first
with a few operations on k numbers, the second with O(log k) operations on one; `window_statistics` takes a whole
sequence at once, in O(log k) operations on arrays.

Letters: T time, B batch, N features, M steps in memory; R is the axis that keeps a statistic of its own: B for
`base="layer"`, N for `base="batch"`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from atn.choices import Base
from atn.sliding_window import Parts, SlidingWindow

LONGEST_DIRECT_WINDOW = 256
"""Up to this k a recurrence keeps its window in one tensor; beyond it the copies, and what autograd keeps of them, grow
with T k, and windows are merged from shorter ones. The choice is by k alone, so that a stream equals the whole."""


class StepStatistics(NamedTuple):
    """Mean and biased variance, one pair for each time step (rows) and each case or feature (columns)."""

    mean: Float[Tensor, "T R"]
    var: Float[Tensor, "T R"]

    @classmethod
    def none(cls, columns: int, like: Tensor, dtype: torch.dtype) -> "StepStatistics":
        """No step at all, on the device of `like`."""
        return cls(like.new_zeros(0, columns, dtype=dtype), like.new_zeros(0, columns, dtype=dtype))

    def last(self, count: int) -> "StepStatistics":
        """The last `count` steps, or all where there are fewer."""
        start = max(0, len(self.mean) - count)
        return StepStatistics(self.mean[start:], self.var[start:])

    def followed_by(self, later: "StepStatistics") -> "StepStatistics":
        """These steps and the `later` ones in one."""
        return StepStatistics(torch.cat((self.mean, later.mean)), torch.cat((self.var, later.var)))


def step_statistics(rows: Float[Tensor, "*R F"]) -> tuple[Float[Tensor, "*R 1"], Float[Tensor, "*R 1"]]:
    """Mean and biased variance over the last axis, which is kept, in two passes."""
    count = rows.shape[-1]
    mean = rows.sum(-1, keepdim=True) / count
    return mean, centered(rows, mean).square().sum(-1, keepdim=True) / count


def centered(rows: Float[Tensor, "*R F"], mean: Float[Tensor, "*R 1"]) -> Float[Tensor, "*R F"]:
    """`rows - mean`, in the form whose gradient negates one number a row rather than all of them."""
    return rows + (-mean)


def steps_of(a: Float[Tensor, "T B N"], base: Base) -> StepStatistics:
    """Statistics of each step alone: (T, B) over the features, or (T, N) over the batch.

    The axis that is summed is laid out last, so that the order of the additions depends on its length alone and not on
    T: this is what makes a stream equal the whole bit for bit (on the CPU).
    """
    rows = a if base == "layer" else a.transpose(1, 2)
    mean, var = step_statistics(rows.contiguous())
    return StepStatistics(mean.squeeze(-1), var.squeeze(-1))


def window_statistics(steps: StepStatistics, k: int) -> StepStatistics:
    """Statistics over the last min(k, t+1) steps up to each step t (Eqs. 7-8).

    Windows are merged from shorter ones, in the order of the binary digits of k: a window of 2n steps is the one of n
    steps up to t-n and the one of n steps up to t; a window of n+1 steps is the one of n steps up to t-1 and step t.
    The order of the merges depends on k alone, never on T or on where a chunk of a stream begins.
    """
    windows, length = steps, 1
    for digit in f"{k:b}"[1:]:
        windows, length = _merge(windows, length, windows, length), 2 * length
        if digit == "1":
            windows, length = _merge(windows, length, steps, 1), length + 1
    return windows


def _merge(older: StepStatistics, older_length: int, newer: StepStatistics, newer_length: int) -> StepStatistics:
    """Join, at each step t, the window `newer` up to t with the window `older` up to t - newer_length.

    The pairwise update of Chan, Golub and LeVeque (1979), with the share w of the older window: mean + w*delta and
    (1-w)*var_new + w*var_old + w*(1-w)*delta^2. Near the start of the sequence the older window is short or empty
    (w = 0). Written so that rounding cannot make a variance negative.
    """
    T = len(newer.mean)
    if newer_length >= T:
        return newer  # no step has an older window
    counts = torch.arange(1, T + 1, device=newer.mean.device).unsqueeze(1)
    older_counts = (counts - newer_length).clamp(0, older_length).to(newer.mean.dtype)
    share = older_counts / (older_counts + counts.clamp(max=newer_length))
    older_mean, older_var = _earlier(older.mean, newer_length), _earlier(older.var, newer_length)
    delta = older_mean - newer.mean
    mean = newer.mean + share * delta
    var = newer.var + share * (older_var - newer.var) + (share * (1 - share)) * delta.square()
    return StepStatistics(mean, var)


def _earlier(rows: Float[Tensor, "T R"], steps: int) -> Float[Tensor, "T R"]:
    """Move `rows` later by `steps`, with zeros in front."""
    T = len(rows)
    return torch.cat((torch.zeros_like(rows[: min(steps, T)]), rows[: max(0, T - steps)]))


class WindowOfSteps:
    """The window of a recurrence: each step goes in, the statistics of the last min(k, t+1) steps come out (Eqs. 7-8).

    A constant number of operations a step, on at most k numbers a case. It lives as long as one call of a layer.

    Parameters
    ----------
    k
        Length of the window.
    memory
        Steps in front of the first, at most k-1, with R = B.
    """

    def __init__(self, k: int, memory: StepStatistics) -> None:
        self._k = k
        self._means, self._vars = memory.mean.unsqueeze(-1), memory.var.unsqueeze(-1)

    def add(self, mean: Float[Tensor, "B 1"], var: Float[Tensor, "B 1"]) -> tuple[Tensor, Tensor]:
        """Take in the statistics of the next step; mean and variance of the window that ends in it, (B, 1) each."""
        if self._k == 1:
            return mean, var
        means = torch.cat((self._means, mean.unsqueeze(0)))
        variances = torch.cat((self._vars, var.unsqueeze(0)))
        self._means, self._vars = (means[1:], variances[1:]) if len(means) == self._k else (means, variances)
        window_mean = means.mean(0)
        return window_mean, (variances + (means - window_mean).square()).mean(0)

    def memory(self) -> StepStatistics:
        """The last k-1 steps, or all where there were fewer: what the next call needs."""
        return StepStatistics(self._means.squeeze(-1), self._vars.squeeze(-1))


class LongWindowOfSteps:
    """As `WindowOfSteps`, merged pairwise: O(log k) operations a step on one number a case."""

    def __init__(self, k: int, memory: StepStatistics) -> None:
        self._k = k
        self._steps: list[StepStatistics] = []
        self._windows = SlidingWindow(k, _merged)
        for mean, var in zip(memory.mean.unsqueeze(-1), memory.var.unsqueeze(-1), strict=True):
            self.add(mean, var)

    def add(self, mean: Float[Tensor, "B 1"], var: Float[Tensor, "B 1"]) -> tuple[Tensor, Tensor]:
        """Take in the statistics of the next step; mean and variance of the window that ends in it, (B, 1) each."""
        step = StepStatistics(mean, var)
        self._steps.append(step)
        return self._windows.add(step)

    def memory(self) -> StepStatistics:
        """The last k-1 steps, or all where there were fewer: what the next call needs."""
        means, variances = zip(*self._steps[-(self._k - 1) :], strict=True)
        return StepStatistics(torch.stack(means).squeeze(-1), torch.stack(variances).squeeze(-1))


def _merged(parts: Parts[StepStatistics]) -> StepStatistics:
    """Statistics of two parts of a window, as `_merge` has them for every step at once."""
    near, far = parts.near, parts.far
    share = parts.far_length / (parts.far_length + parts.near_length)
    delta = far.mean - near.mean
    spread = torch.add(near.var, far.var - near.var, alpha=share)
    var = torch.addcmul(spread, delta, delta, value=share * (1 - share))
    return StepStatistics(torch.add(near.mean, delta, alpha=share), var)


def window_of_steps(k: int, memory: StepStatistics) -> WindowOfSteps | LongWindowOfSteps:
    """The form of a recurrence's window that suits its length k, after the steps in `memory`."""
    return WindowOfSteps(k, memory) if k <= LONGEST_DIRECT_WINDOW else LongWindowOfSteps(k, memory)


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
    y = centered(a, mean) * (var + eps).rsqrt()
    # Two roundings rather than a fused one, whose use could depend on where an element lies: streams equal the whole.
    if weight is not None:
        y = y * weight.to(a.dtype)
    return y if bias is None else y + bias.to(a.dtype)
