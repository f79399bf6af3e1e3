"""The state of a layer as one vector: h, c where there is one, and the windows' pairs of mean and variance.

The coordinates are, in this order, h, c, and for each norm the means and then the variances of its window, the oldest
step first: D = 2H + 6(k - 1) for an LSTM with windows of k steps, H + 4(k - 1) for a GRU or an RNN. Some of them the
next state does not depend on except through others: the window of W_ih x follows from the inputs alone, and the newest
pair of c from c. Without these a minimal set is left, D = 2H + 4k - 6 for an LSTM with k >= 2, H + 2(k - 1) for a GRU
or an RNN, 2H or H for k = 1 and without windows.

Letters: L layers, B cases, H hidden, D coordinates, M rows of a window, k window length.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from atn.state import HiddenState, LSTMState
from atn.window import StepStatistics, step_statistics

S = TypeVar("S", LSTMState, HiddenState)


def kept_pairs(k: int, *, minimal: bool) -> dict[str, int]:
    """For each norm, how many of the k - 1 pairs of its window, from the oldest on, are coordinates."""
    rows = k - 1
    return {"ih": 0, "hh": rows, "c": max(rows - 1, 0)} if minimal else {"ih": rows, "hh": rows, "c": rows}


def dimension(state: LSTMState | HiddenState, kept: Mapping[str, int]) -> int:
    """Number D of coordinates of one layer."""
    (memory, *_), H = state.memory, state.h.shape[-1]
    norms: tuple[str, ...] = () if memory is None else memory._fields
    return H * len(_names(state)) + 2 * sum(kept[norm] for norm in norms)


def pack(state: LSTMState | HiddenState, layer: int, kept: Mapping[str, int]) -> Float[Tensor, "B D"]:
    """Coordinates of one layer of a state with a batch."""
    parts = [getattr(state, name)[layer] for name in _names(state)]
    memory: Any = state.memory[layer]
    for norm in () if memory is None else memory._fields:
        steps: StepStatistics = getattr(memory, norm)
        parts += [steps.mean[: kept[norm]].t(), steps.var[: kept[norm]].t()]
    return torch.cat(parts, 1)


def unpack(vector: Float[Tensor, "B D"], state: S, layer: int, kept: Mapping[str, int]) -> S:
    """The state with these coordinates of one layer; what is no coordinate stays, but the newest pair of c is c's."""
    changes: dict[str, Any] = {}
    H = state.h.shape[-1]
    for name in _names(state):
        own, vector = vector[:, :H], vector[:, H:]
        layers: tuple[Tensor, ...] = getattr(state, name).unbind()
        changes[name] = torch.stack([*layers[:layer], own, *layers[layer + 1 :]])
    memory: Any = state.memory[layer]
    if memory is not None:
        norms = {}
        for norm in memory._fields:
            pairs = kept[norm]
            mean, var, vector = vector[:, :pairs].t(), vector[:, pairs : 2 * pairs].t(), vector[:, 2 * pairs :]
            rest = StepStatistics(*(rows[pairs:] for rows in getattr(memory, norm)))
            if norm == "c" and rest.mean.shape[0]:
                newest = step_statistics(changes["c"][layer])
                rest = StepStatistics(*(rows.t() for rows in newest))
            norms[norm] = StepStatistics(mean, var).followed_by(rest)
        memories = (*state.memory[:layer], type(memory)(**norms), *state.memory[layer + 1 :])
        return state._replace(**changes, memory=memories)
    return state._replace(**changes)


def joined(states: list[S]) -> S:
    """States of as many cases each, as one whose cases follow each other."""
    first = states[0]
    changes: dict[str, Any] = {name: torch.cat([getattr(state, name) for state in states], 1) for name in _names(first)}
    memory = tuple(_side_by_side([state.memory[layer] for state in states]) for layer in range(len(first.memory)))
    return first._replace(**changes, memory=memory)


def _side_by_side(memories: list[Any]) -> Any:
    """Windows of one layer of several states, along their cases; None where there are none."""
    if memories[0] is None:
        return None
    norms = [
        StepStatistics(*(torch.cat(rows, 1) for rows in zip(*steps, strict=True)))
        for steps in zip(*memories, strict=True)
    ]
    return type(memories[0])(*norms)


def _names(state: LSTMState | HiddenState) -> tuple[str, ...]:
    """Names of the states, which are the fields in front of `memory`."""
    return state._fields[: state._fields.index("memory")]
