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
    """Sum of ``dvar[t] * (mean[s] - mean[t])``; the differences stay small if the means share a large offset."""


def gradients_of_steps(dwindows: Tensor, mean: Tensor, step_mean: Tensor, k: int) -> Tensor:
    """Gradients (2, M + T, B) of mean and variance of each step from those of the windows that contain it.

        dm[s] = sum_t (dmean[t] + 2 dvar[t] (m[s] - mean[t]))        dq[s] = sum_t dvar[t]

    over the windows t of the sequence with s <= t < s + k. `dwindows` (2, T, B) has been divided by the sizes of the
    windows; `mean` (T, B) is the mean of each window, `step_mean` (M + T, B) that of each step, memory in front.
    """
    M = step_mean.shape[0] - mean.shape[0]
    # The windows of the memory's steps belong to an earlier chunk: their gradient is 0, whatever their mean.
    before = step_mean[:M]
    center = torch.cat((before, mean))
    level, slope = (torch.cat((torch.zeros_like(before), gradient)) for gradient in dwindows)
    step = Sums(level, slope, torch.zeros_like(slope))
    sums = step
    for near_length, far_length in merges(k):
        sums = _merge(sums, far_length, step if near_length == 1 else sums, center)
    return torch.stack((sums.level + 2 * (sums.moment + sums.slope * (step_mean - center)), sums.slope))


def _merge(first: Sums, length: int, later: Sums, center: Tensor) -> Sums:
    """Join the sums over `length` windows from s on with the sums over the windows from s + length on."""
    if length >= center.shape[0]:
        return first  # no step has a later window
    level, slope, moment, at = (_later(rows, length) for rows in (*later, center))
    return Sums(first.level + level, first.slope + slope, first.moment + moment + slope * (center - at))


def _later(rows: Tensor, steps: int) -> Tensor:
    """The rows shifted so that row s is row s + steps of `rows`, with zeros beyond the end."""
    return torch.cat((rows[steps:], torch.zeros_like(rows[:steps])))
