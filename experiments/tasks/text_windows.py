"""The windows of a text that a language model is trained on, one after another."""

import functools
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

SHORTEST = 5
"""Smallest length, in words, of a window whose length is drawn."""


class WindowSettings(Protocol):
    """The settings of a language model that determine its windows."""

    @property
    def seed(self) -> int:
        """Seed of the lengths, where they are drawn."""

    @property
    def bptt(self) -> int:
        """Number of words in a window, or the mean around which it is drawn."""

    @property
    def vary_bptt(self) -> bool:
        """Whether the lengths are drawn."""

    @property
    def random_start(self) -> bool:
        """Whether a window begins anywhere, so that each is as long as any other."""


class Window(NamedTuple):
    """The part of the text that one step is trained on.

    The model reads rows ``start`` to ``start + length - 1`` and predicts rows ``start + 1`` to ``start + length``.
    """

    epoch: int
    """Number of the epoch, counted from 0."""
    start: int
    """First row that the model reads."""
    length: int
    """Number of rows that the model reads."""
    scale: float
    """Factor of the learning rate at this step."""

    @property
    def end(self) -> int:
        """First row that the model does not read."""
        return self.start + self.length


def window_lengths(bptt: int, key: list[int]) -> Iterator[int]:
    """An endless sequence of window lengths, drawn as AWD-LSTM and the released script draw them.

    Each length is drawn from a normal distribution with standard deviation 5, rounded towards zero, and raised to 5 if
    it is shorter. The mean of the distribution is `bptt` with probability 0.95 and ``bptt / 2`` with probability 0.05.
    Equal keys give equal lengths.
    """
    random = np.random.default_rng(key)
    while True:
        mean = bptt if random.random() < 0.95 else bptt / 2
        yield max(SHORTEST, int(random.normal(mean, 5)))


class Windows:
    """The window of each training step. Each epoch reads the text once, from beginning to end.

    Parameters
    ----------
    settings : WindowSettings
        Settings of a language model.
    rows : int
        Number of rows of the training text.
    """

    def __init__(self, settings: WindowSettings, rows: int) -> None:
        self.settings = settings
        self.rows = rows
        self._ends: list[int] = []
        """Last step of each epoch, for the epochs that have been computed so far."""
        self._epoch = functools.lru_cache(maxsize=1)(self._make_epoch)

    def of(self, step: int) -> Window:
        """Window of a step, counted from 1."""
        while not self._ends or self._ends[-1] < step:
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + len(self._epoch(len(self._ends))))
        epoch = int(np.searchsorted(self._ends, step))
        first = self._ends[epoch - 1] if epoch else 0
        return self._epoch(epoch)[step - first - 1]

    def _make_epoch(self, epoch: int) -> list[Window]:
        bptt = self.settings.bptt
        if self.settings.random_start:
            # As many as read the text once; where they begin is drawn for each column.
            return [Window(epoch, 0, bptt, 1.0)] * ((self.rows - 1) // bptt)
        lengths = (
            window_lengths(bptt, [self.settings.seed, epoch]) if self.settings.vary_bptt else iter(lambda: bptt, 0)
        )
        windows, start = [], 0
        # The last row is only predicted, never read. A window of a single word is left out, as in the released script.
        while start < self.rows - 2:
            length = next(lengths)
            windows.append(Window(epoch, start, min(length, self.rows - 1 - start), length / bptt))
            start += length
        return windows
