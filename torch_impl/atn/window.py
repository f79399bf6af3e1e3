"""Mean and variance over a window of time steps, Eqs. (7)-(8), and the norm that uses them, Eq. (9).

The statistics of a window are computed from the mean and the variance of each of its steps. With `m[s]` the mean and
`q[s]` the biased variance of the features of step s, and `S(t)` the last K_t = min(k, t+1) steps up to t,

    mean[t] = mean over s in S(t) of m[s]
    var[t]  = mean over s in S(t) of (q[s] + (m[s] - mean[t])^2)

equal Eqs. (7)-(8) exactly, and the variance is never negative. The equations need K_t rows; this form needs K_t pairs
of numbers. The cost of a step therefore does not grow with the number of features, and the memory of a stream has k-1
pairs for each case.

There are three implementations. `WindowOfSteps` and `LongWindowOfSteps` process one step after the other, as a
recurrence needs it: the first takes a few operations on k numbers for a step, the second O(log k) operations on one
number. `window_statistics` processes a whole sequence in O(log k) operations on arrays.

Letters: T time, B batch, N features, M steps in memory. R is the axis along which statistics differ: B for
`base="layer"`, N for `base="batch"`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from atn.choices import Base
from atn.sliding_window import Parts, SlidingWindow, merges

LONGEST_KEPT_WINDOW = 256
"""Largest k for which a recurrence keeps its window in one tensor. The copies of that tensor, which autograd keeps,
take memory proportional to T k; for a larger k windows are merged from shorter ones. The choice depends on k alone, so
that a stream computes the same bits as the whole sequence."""


class StepStatistics(NamedTuple):
    """Mean and biased variance for each time step (rows) and each case or feature (columns)."""

    mean: Float[Tensor, "T R"]
    var: Float[Tensor, "T R"]

    @classmethod
    def none(cls, columns: int, like: Tensor, dtype: torch.dtype) -> "StepStatistics":
        """Statistics of zero steps, with the given number of columns, on the device of `like`."""
        return cls(like.new_zeros(0, columns, dtype=dtype), like.new_zeros(0, columns, dtype=dtype))

    def last(self, count: int) -> "StepStatistics":
        """The last `count` steps, or all steps if there are fewer."""
        T = self.mean.shape[0]
        kept = _least(T, count)
        if not _is_symbol(T):
            return StepStatistics(self.mean[T - kept :], self.var[T - kept :])
        # A slice would ask whether T is larger than `count`.
        rows = torch.arange(kept, device=self.mean.device) + (T - kept)
        return StepStatistics(self.mean[rows], self.var[rows])

    def followed_by(self, later: "StepStatistics") -> "StepStatistics":
        """These steps followed by the `later` steps."""
        return StepStatistics(torch.cat((self.mean, later.mean)), torch.cat((self.var, later.var)))


def _least(first: int, second: int) -> int:
    """The smaller of two sizes, of which one may stand for any size."""
    if not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None:  # noqa: SLF001 - torch has no public function for this
        raise RuntimeError(
            "torch.jit.trace must not trace a norm with windows, whose lengths depend on the number of steps; "
            "torch.export and torch.compile keep that number free"
        )
    least: int = torch.sym_min(first, second)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return least


def _is_symbol(size: object) -> bool:
    """Whether it stands for any size, as in torch.export: a comparison would settle its answer for every later one."""
    return isinstance(size, torch.SymInt)


def step_statistics(rows: Float[Tensor, "*R F"]) -> tuple[Float[Tensor, "*R 1"], Float[Tensor, "*R 1"]]:
    """Mean and biased variance over the last axis, Eq. (5), in two passes; the axis is kept with length 1."""
    count = rows.shape[-1]
    mean = rows.sum(-1, keepdim=True) / count
    return mean, centered(rows, mean).square().sum(-1, keepdim=True) / count


def centered(rows: Float[Tensor, "*R"], mean: Float[Tensor, "*#R"]) -> Float[Tensor, "*R"]:
    """`rows - mean`, written as a sum so that the backward pass negates the means instead of every element."""
    return rows + (-mean)


def reciprocal_deviation(var: Float[Tensor, "*R"], eps: float) -> Float[Tensor, "*R"]:
    """1/sqrt(var + eps), in the form whose gradient has no third power: in float32 one of 1e-15 would vanish."""
    return (var + eps).sqrt().reciprocal()


def steps_of(a: Float[Tensor, "T B N"], base: Base) -> StepStatistics:
    """Statistics of each single step: (T, B) over the features, or (T, N) over the batch.

    The summed axis is made the last one in memory, so that the order of the additions depends on its length and not on
    T. A stream therefore computes the same bits as the whole sequence on the CPU.
    """
    rows = a if base == "layer" else a.transpose(1, 2)
    mean, var = step_statistics(rows.contiguous())
    return StepStatistics(mean.squeeze(-1), var.squeeze(-1))


def window_statistics(steps: StepStatistics, k: int) -> StepStatistics:
    """Statistics over the last min(k, t+1) steps up to each step t, Eqs. (7)-(8).

    Windows are merged from shorter ones, in the order of the binary digits of k. A window of 2n steps is merged from
    the windows of n steps that end at t-n and at t. A window of n+1 steps is merged from the window of n steps that
    ends at t-1 and from step t. The order of the merges depends on k alone, not on T or on where a chunk of a stream
    begins.
    """
    windows = steps
    for near_length, far_length in merges(k):
        near = steps if near_length == 1 else windows
        windows = _merge_all(windows, far_length, near, near_length)
    return windows


def _merge_all(older: StepStatistics, older_length: int, newer: StepStatistics, newer_length: int) -> StepStatistics:
    """Merge, at each step t, the window `newer` that ends at t with the window `older` that ends at t - newer_length.

    This is the pairwise update of Chan, Golub and LeVeque (1979). With w the fraction of the steps that lie in the
    older window, it gives mean_new + w*delta and (1-w)*var_new + w*var_old + w*(1-w)*delta^2. Near the start of the
    sequence the older window is short or empty (w = 0). In this form rounding cannot make a variance
    negative, and an infinite variance stays infinite.
    """
    T = newer.mean.shape[0]
    if not _is_symbol(T) and newer_length >= T:  # otherwise the arithmetic below gives `newer` too
        return newer  # no step has an older window
    counts = torch.arange(1, T + 1, device=newer.mean.device).unsqueeze(1)
    older_counts = (counts - newer_length).clamp(0, older_length).to(newer.mean.dtype)
    share = older_counts / (older_counts + counts.clamp(max=newer_length))
    older_mean, older_var = _earlier(older.mean, newer_length), _earlier(older.var, newer_length)
    delta = older_mean - newer.mean
    step = share * delta
    var = (1 - share) * newer.var + share * older_var + step * ((1 - share) * delta)
    return StepStatistics(newer.mean + step, var)


def _earlier(rows: Float[Tensor, "T R"], steps: int) -> Float[Tensor, "T R"]:
    """Delay `rows` by `steps`: row t of the result is row t - steps, and the first rows are zero."""
    steps = _least(steps, rows.shape[0])
    if not _PADS_ROWS_OF_NOTHING and rows.numel() == 0:
        return rows
    return torch.nn.functional.pad(rows, (0, 0, steps, -steps))


def _pads_rows_of_nothing() -> bool:
    """Whether `pad` takes rows of no numbers, those of a batch without cases: it does not in torch 2.6.

    Found out once, since torch.compile cannot ask it of rows whose number of cases it does not know.
    """
    try:
        torch.nn.functional.pad(torch.empty(1, 0), (0, 0, 1, -1))
    except RuntimeError:
        return False
    return True


_PADS_ROWS_OF_NOTHING = _pads_rows_of_nothing()


class WindowOfSteps:
    """The window of a recurrence: statistics of the last min(k, t+1) steps after each step t, Eqs. (7)-(8).

    A step takes a constant number of operations on at most k numbers for each case. An instance serves one call of a
    layer.

    Parameters
    ----------
    k
        Length of the window.
    memory
        Statistics of the steps before the first one, at most k-1 steps, with R = B.
    """

    def __init__(self, k: int, memory: StepStatistics) -> None:
        self._k = k
        self._means, self._vars = memory.mean.unsqueeze(-1), memory.var.unsqueeze(-1)

    def add(self, mean: Float[Tensor, "B 1"], var: Float[Tensor, "B 1"]) -> tuple[Tensor, Tensor]:
        """Add the statistics of the next step; return mean and variance (B, 1) of the window that ends in it."""
        if self._k == 1:
            return mean, var
        means = torch.cat((self._means, mean.unsqueeze(0)))
        variances = torch.cat((self._vars, var.unsqueeze(0)))
        self._means, self._vars = (means[1:], variances[1:]) if means.shape[0] == self._k else (means, variances)
        window_mean = means.mean(0)
        deviations = means - window_mean
        # Divided before they are added up: a sum of k variances might overflow.
        return window_mean, (torch.addcmul(variances, deviations, deviations) / means.shape[0]).sum(0)

    def memory(self) -> StepStatistics:
        """Statistics of the last k-1 steps, or of all steps if there are fewer, with which the next call begins."""
        return StepStatistics(self._means.squeeze(-1), self._vars.squeeze(-1))


class LongWindowOfSteps:
    """The window of a recurrence for a large k, merged pairwise: O(log k) operations per step on one number per case.

    It has the methods of `WindowOfSteps` and gives the same statistics up to rounding.
    """

    def __init__(self, k: int, memory: StepStatistics) -> None:
        self._k = k
        self._steps: list[StepStatistics] = []
        self._windows = SlidingWindow(k, _merge)
        for mean, var in zip(memory.mean.unsqueeze(-1), memory.var.unsqueeze(-1), strict=True):
            self.add(mean, var)

    def add(self, mean: Float[Tensor, "B 1"], var: Float[Tensor, "B 1"]) -> tuple[Tensor, Tensor]:
        """Add the statistics of the next step; return mean and variance (B, 1) of the window that ends in it."""
        step = StepStatistics(mean, var)
        self._steps.append(step)
        return self._windows.add(step)

    def memory(self) -> StepStatistics:
        """Statistics of the last k-1 steps, or of all steps if there are fewer, with which the next call begins."""
        means, variances = zip(*self._steps[-(self._k - 1) :], strict=True)
        return StepStatistics(torch.stack(means).squeeze(-1), torch.stack(variances).squeeze(-1))


def _merge(parts: Parts[StepStatistics]) -> StepStatistics:
    """Statistics of a window from those of its two parts, by the update of Chan, Golub and LeVeque (1979)."""
    near, far = parts.near, parts.far
    share = parts.far_length / (parts.far_length + parts.near_length)
    delta = far.mean - near.mean
    spread = torch.add((1 - share) * near.var, far.var, alpha=share)
    var = torch.addcmul(spread, delta, delta, value=share * (1 - share))
    return StepStatistics(torch.add(near.mean, delta, alpha=share), var)


def window_of_steps(k: int, memory: StepStatistics) -> WindowOfSteps | LongWindowOfSteps:
    """The window of a recurrence, in the implementation for its length k, after the steps in `memory`."""
    return WindowOfSteps(k, memory) if k <= LONGEST_KEPT_WINDOW else LongWindowOfSteps(k, memory)


def normalize(
    a: Float[Tensor, "T B N"],
    statistics: StepStatistics,
    weight: Float[Tensor, " N"] | None,
    bias: Float[Tensor, " N"] | None,
    eps: float,
    base: Base,
) -> Float[Tensor, "T B N"]:
    """Eq. (9), or Eq. (6) for k = 1, with given statistics: (T, B) for `base="layer"`, (T, N) for `base="batch"`."""
    axis = 2 if base == "layer" else 1
    mean, var = (statistic.unsqueeze(axis) for statistic in statistics)
    y = centered(a, mean) * reciprocal_deviation(var, eps)
    # Gain and shift round separately. Whether a fused operation is used could depend on the place of an element in
    # memory, and a stream would then differ from the whole sequence.
    if weight is not None:
        y = y * weight.to(a.dtype)
    return y if bias is None else y + bias.to(a.dtype)
