"""The batch policies: which windows an update trains on, from which states they begin, and which states are kept.

    rmb    random mini-batches: overlapping windows in an order drawn anew in each epoch, all from the zero state
    mptt   the same batches, from the states that the memory has for them; after every forward pass it is written
    smb    stateful mini-batches: the series in rows beside each other, each window from the last state before it
    ssmb   sequential stateful mini-batches: window after window, one at a time, with an update for a batch of them

States are constants to the gradient. Every epoch of smb and ssmb begins in the zero state, which is the right one for
the first window of the series.
"""

import abc
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from atn import LSTMState
from experiments.related.mptt.state_memory import StateMemory
from experiments.related.mptt.state_rows import StateRows
from experiments.related.mptt.windows import (
    Integers,
    later_places,
    one_by_one,
    rows_in_order,
    shuffled_batches,
    window_heads,
)

Strategy = Literal["rmb", "smb", "ssmb", "mptt-0", "mptt-1"]

STRATEGIES: tuple[Strategy, ...] = ("rmb", "smb", "ssmb", "mptt-0", "mptt-1")
"""The last two are MPTT with delta = 0 and 1."""

DELTA: Mapping[Strategy, float] = {"mptt-0": 0.0, "mptt-1": 1.0}


class BatchPolicy(abc.ABC):
    """What a strategy makes of a series of N steps.

    The steps of training are counted from 1. A step calls `passes` and then, for each forward pass in order, `initial`
    and `keep`; `end_step` follows the update.

    Attributes
    ----------
    n : int
        Steps of a window.
    epoch_steps : int
        Updates of an epoch.
    """

    n: int
    epoch_steps: int

    @abc.abstractmethod
    def passes(self, step: int) -> list[Integers]:
        """Heads of the windows of each forward pass of a step, in order."""

    def initial(self, step: int, heads: Integers) -> LSTMState | None:  # noqa: ARG002 - rmb needs neither
        """State in which the windows of a pass begin; None for zero states and empty windows."""
        return None

    def cuts(self, heads: Integers) -> list[int]:  # noqa: ARG002 - all but MPTT keep at most the last state
        """Numbers of steps after which `keep` needs the state, ascending, and n."""
        return [self.n]

    def keep(self, heads: Integers, states: Mapping[int, LSTMState]) -> None:  # noqa: B027 - rmb keeps nothing
        """Take the states of a pass after each number of steps in `cuts`, without a gradient."""

    def end_step(self, step: int) -> None:  # noqa: B027 - rmb keeps nothing
        """Do what the end of a step, and of an epoch, needs."""

    def state_dict(self) -> dict[str, Tensor]:
        """What later steps depend on."""
        return {}

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        ValueError
            If it has something else.
        """
        if carried.keys() != self.state_dict().keys():
            raise ValueError(f"carried has {', '.join(carried)}; it must have {', '.join(self.state_dict())}")

    def epoch(self, step: int) -> int:
        """Number of epochs before this step's."""
        return (step - 1) // self.epoch_steps

    def place_in_epoch(self, step: int) -> int:
        """Number of steps of the epoch before this step."""
        return (step - 1) % self.epoch_steps


class RandomBatches(BatchPolicy):
    """Rmb: windows at heads 0, s, 2s, ..., drawn from the seed and the number of the epoch.

    Parameters
    ----------
    N, n, stride, batch : int
        Steps of the series and of a window, s, and windows of an update.
    seed : int
    """

    def __init__(self, N: int, n: int, stride: int, batch: int, seed: int) -> None:
        # Up to the last whole stride: a window that ends at N would be less than a stride behind the one before it.
        self.heads = window_heads(N - (N - n) % stride, n, stride)
        self.n = n
        self.epoch_steps = -(-len(self.heads) // batch)
        self._batch = batch
        self._seed = seed

    def passes(self, step: int) -> list[Integers]:
        """One pass with a batch of windows."""
        order = np.random.default_rng([self._seed, self.epoch(step)])
        return [self.heads[shuffled_batches(len(self.heads), self._batch, order)[self.place_in_epoch(step)]]]


class Messages(RandomBatches):
    """Mptt: random batches that begin in the states of a `StateMemory`.

    Parameters
    ----------
    N, n, stride, batch, seed : int
        As of `RandomBatches`.
    layout : StateRows
        Of the layer whose states are passed on.
    delta : float
    least : int
        As of `StateMemory`.
    warm_up : int
        Epochs in which nothing is read. Released code: 1, the first one.
    """

    def __init__(
        self,
        N: int,
        n: int,
        stride: int,
        batch: int,
        seed: int,
        *,
        layout: StateRows,
        delta: float,
        least: int,
        warm_up: int,
    ) -> None:
        super().__init__(N, n, stride, batch, seed)
        self.memory = StateMemory(layout.start, len(self.heads), delta=delta, least=least)
        self._layout = layout
        self._warm_up = warm_up
        self._later = later_places(self.heads, n)

    def initial(self, step: int, heads: Integers) -> LSTMState | None:
        """What the memory has for these heads, after the warm-up."""
        if self.epoch(step) < self._warm_up:
            return None
        return self._layout.state(self.memory.read(self._places(heads)))

    def cuts(self, heads: Integers) -> list[int]:
        """Distances to the later heads in reach, and n."""
        found = {int(self.heads[later] - head) for head, later in self._reached(heads)}
        return sorted(found | {self.n})

    def keep(self, heads: Integers, states: Mapping[int, LSTMState]) -> None:
        """Write the state at each later head in reach."""
        rows = {steps: self._layout.rows(state) for steps, state in states.items()}
        row_of = {int(head): row for row, head in enumerate(heads)}
        for steps, of_cases in rows.items():
            pairs = [
                (later, row_of[int(head)]) for head, later in self._reached(heads) if self.heads[later] - head == steps
            ]
            if pairs:
                later, cases = np.asarray(pairs).T
                self.memory.write(later, of_cases[cases])

    def end_step(self, step: int) -> None:
        """Pass on at the end of an epoch."""
        if self.place_in_epoch(step) == self.epoch_steps - 1:
            self.memory.pass_on()

    def state_dict(self) -> dict[str, Tensor]:
        """The memory."""
        return {name: torch.from_numpy(getattr(self.memory, name)) for name in ("mean", "total", "count")}

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore the memory; errors as of `BatchPolicy`."""
        super().load_state_dict(carried)
        for name, value in carried.items():
            setattr(self.memory, name, value.cpu().numpy().copy())

    def _places(self, heads: Integers) -> Integers:
        return np.searchsorted(self.heads, heads)

    def _reached(self, heads: Integers) -> list[tuple[int, int]]:
        """Pairs of a head and the place of a later head in reach."""
        places = self._places(heads)
        return [
            (int(head), int(later)) for head, place in zip(heads, places, strict=True) for later in self._later[place]
        ]


class _Stateful(BatchPolicy):
    """Windows that begin in the last state of the pass before, and in the zero state at the begin of an epoch."""

    def __init__(self, n: int, layout: StateRows) -> None:
        self.n = n
        self._layout = layout
        self._state: LSTMState | None = None

    def initial(self, step: int, heads: Integers) -> LSTMState | None:  # noqa: ARG002 - the passes are in order
        """Last state of the pass before."""
        return self._state

    def keep(self, heads: Integers, states: Mapping[int, LSTMState]) -> None:  # noqa: ARG002 - as above
        """Take the last state."""
        self._state = states[self.n]

    def end_step(self, step: int) -> None:
        """Forget the state at the end of an epoch."""
        if self.place_in_epoch(step) == self.epoch_steps - 1:
            self._state = None

    def state_dict(self) -> dict[str, Tensor]:
        """The state as rows, none at the begin of an epoch."""
        width = len(self._layout.start)
        rows = np.empty((0, width), self._layout.start.dtype) if self._state is None else self._layout.rows(self._state)
        return {"state": torch.from_numpy(rows)}

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore the state; errors as of `BatchPolicy`."""
        super().load_state_dict(carried)
        self._state = self._layout.state(carried["state"].cpu().numpy()) if len(carried["state"]) else None


class StatefulBatches(_Stateful):
    """Smb: a batch of rows, read beside each other.

    Parameters
    ----------
    N, n, batch : int
        As of `RandomBatches`.
    layout : StateRows
        Of the layer whose state is carried.
    """

    def __init__(self, N: int, n: int, batch: int, layout: StateRows) -> None:
        super().__init__(n, layout)
        self._heads = rows_in_order(N, n, batch)
        self.epoch_steps = len(self._heads)

    def passes(self, step: int) -> list[Integers]:
        """One pass with the next window of each row."""
        return [self._heads[self.place_in_epoch(step)]]


class OneByOne(_Stateful):
    """Ssmb: one window after the other; parameters as of `StatefulBatches`."""

    def __init__(self, N: int, n: int, batch: int, layout: StateRows) -> None:
        super().__init__(n, layout)
        self._batches = one_by_one(N, n, batch)
        self.epoch_steps = len(self._batches)

    def passes(self, step: int) -> list[Integers]:
        """A pass for each of the next windows."""
        return list(self._batches[self.place_in_epoch(step)][:, None])
