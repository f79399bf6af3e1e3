"""Gradients of the step statistics for windows longer than a block, by O(log k) operations on arrays.

A kernel that reads every window makes k reads per step. This module merges the sums over the windows that contain a
step from sums over fewer windows, as `atn.window.window_statistics` merges the windows themselves.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atn.sliding_window import merges


class Sums(NamedTuple):
    """Sums over the windows that end with the steps s, ..., s + n - 1, one row for each s."""

    level: Tensor
    """Sum of dmean."""
    slope: Tensor
    """Sum of dvar."""
    moment: Tensor
    """Sum of ``dvar[t] * (m[s] - mean[t])``, with the mean m of step s. All of these windows contain the step, so that
    no difference is large beside the deviation of its window."""


def gradients_of_steps(dwindows: Tensor, mean: Tensor, step_mean: Tensor, k: int) -> Tensor:
    """Gradients (2, M + T, B) of mean and variance of each step from those of the windows that contain it.

        dm[s] = sum_t (dmean[t] + 2 dvar[t] (m[s] - mean[t]))        dq[s] = sum_t dvar[t]

    over the windows t of the sequence with s <= t < s + k. `dwindows` (2, T, B) has been divided by the sizes of the
    windows; `mean` (T, B) is the mean of each window, `step_mean` (M + T, B) that of each step, memory in front.
    """
    M = step_mean.shape[0] - mean.shape[0]
    # The windows of the memory's steps belong to an earlier chunk: their gradient is 0.
    moment = dwindows[1] * (step_mean[M:] - mean)
    step = Sums(*(torch.cat((torch.zeros_like(step_mean[:M]), rows)) for rows in (*dwindows, moment)))
    sums = step
    for near_length, far_length in merges(k):
        sums = _merge(sums, far_length, step if near_length == 1 else sums, step_mean)
    return torch.stack((sums.level + 2 * sums.moment, sums.slope))


def _merge(first: Sums, length: int, later: Sums, step_mean: Tensor) -> Sums:
    """Join the sums over `length` windows from s on with the sums over the windows from s + length on."""
    if length >= step_mean.shape[0]:
        return first  # no step has a later window
    level, slope, moment, at = (_later(rows, length) for rows in (*later, step_mean))
    return Sums(first.level + level, first.slope + slope, first.moment + moment + slope * (step_mean - at))


def _later(rows: Tensor, steps: int) -> Tensor:
    """The rows shifted so that row s is row s + steps of `rows`, with zeros beyond the end."""
    return torch.cat((rows[steps:], torch.zeros_like(rows[:steps])))
