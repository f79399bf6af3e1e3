"""The memory of initial states, and the three policies that filter what it keeps (Xu and others 2023).

A window at head h computes the states at every later head in (h, h + n], which are the initial states of other windows.
The memory has three entries for each of W windows: the mean mu of the epochs before, the states hbar that this epoch
has written, and their count. delta is the weight of mu, the paper's message keeper::

    read    mu                                          if count = 0
            (delta mu + count hbar) / (delta + count)   else
    write   hbar <- mean of hbar and the new state, count <- count + 1
    pass    at the end of an epoch, where count >= least:
            mu <- (delta mu + count hbar) / (delta + count), hbar <- 0, count <- 0

A state is a row of D numbers. mu begins as `start`, in which NaN stands for what there is none of, such as the windows
of a norm before its first step: nothing weighs nothing, so the mean is then hbar alone.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experiments.related.mptt.windows import Integers

Rows: TypeAlias = NDArray[np.floating[Any]]

RELEASED_LEAST = 2
"""Least count at which the released code passes an entry on."""


class StateMemory:
    """States of W windows.

    Parameters
    ----------
    start : (D,)
        Initial state before anything is written; its dtype is that of all rows.
    count : int
        W, at least 1.
    delta : float
        Weight of the mean of earlier epochs against one written state, at least 0. Paper: 0 and 1.
    least : int
        Count from which on an entry is passed on, at least 1. Released code: 2, so that an entry that is written once
        an epoch is passed on in every second one.

    Attributes
    ----------
    mean, total : (W, D)
        mu, and the sum count * hbar of the states written since the entry was last passed on.
    count : (W,)
        Their numbers.

    Raises
    ------
    ValueError
        A start that is no row, or a number below its bound.
    """

    def __init__(self, start: Rows, count: int, *, delta: float, least: int = RELEASED_LEAST) -> None:
        if start.ndim != 1:
            raise ValueError(f"start has shape {start.shape}; it must have shape (D,)")
        for name, value, bound in (("count", count, 1), ("delta", delta, 0), ("least", least, 1)):
            if not value >= bound:
                raise ValueError(f"{name} is {value}; it must be at least {bound}")
        self.delta = delta
        self.least = least
        self.mean = np.tile(start, (count, 1))
        self.total = np.zeros_like(self.mean)
        self.count = np.zeros(count, dtype=np.int64)

    def read(self, places: Integers) -> Rows:
        """Initial states of the windows at these places, shape (B, D)."""
        mean, total, count = self.mean[places], self.total[places], self.count[places, None]
        nothing = np.isnan(mean)
        weight = np.where(nothing, 0.0, self.delta)
        written = (weight * np.where(nothing, 0.0, mean) + total) / np.where(count > 0, weight + count, 1.0)
        rows: Rows = np.where(count > 0, written, mean).astype(mean.dtype)
        return rows

    def write(self, places: Integers, states: Rows) -> None:
        """Add states (B, D), computed by other windows, to the entries at these places; a place may come repeatedly."""
        np.add.at(self.total, places, states)
        np.add.at(self.count, places, 1)

    def pass_on(self) -> None:
        """End an epoch: turn what was written at least `least` times into the mean."""
        due = np.flatnonzero(self.count >= self.least)
        self.mean[due] = self.read(due)
        self.total[due] = 0
        self.count[due] = 0
