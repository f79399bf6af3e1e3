"""Layers and directions of any cell of the oracle on top of each other, beyond the LSTMs that its own stack takes.

The oracle has the RNN, the GRU, the Norm-Prop LSTM, the LSTM with weight normalization and the one with AdaNorm as
single layers.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from atn_reference import (
    AdaNorm,
    LSTMState,
    lstm_backward,
    lstm_forward,
    norm_prop,
    norm_prop_lstm_backward,
    norm_prop_lstm_forward,
    weight_norm_lstm_backward,
    weight_norm_lstm_forward,
)
from tests.support.problems import Array, LSTMProblem

NORM_PROP = norm_prop(2.0, 2.0, 1.0)
"""The constants that a module has which starts at the paper's gains."""


class Layer(NamedTuple):
    """One layer in one direction: `forward(x, parameters, state)`, `backward(dh, cache, dh_n, ...)`."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]
    state: Callable[..., Any] = LSTMState
    names: tuple[str, ...] = ("h", "c")
    """Of the states, in the order in which `state` and `backward` take them."""


class Stack(NamedTuple):
    """What a stack gives and takes back; gradients are named as the fields of the oracle's own."""

    outputs: dict[str, Array]
    backward: Callable[..., tuple[dict[str, Array], list[list[Any]]]]


def _norm_prop(_: LSTMProblem) -> Layer:
    return Layer(lambda x, p, state: norm_prop_lstm_forward(x, p, NORM_PROP, state), norm_prop_lstm_backward)


def _weight_norm(_: LSTMProblem) -> Layer:
    return Layer(weight_norm_lstm_forward, weight_norm_lstm_backward)


def _ada_norm(problem: LSTMProblem) -> Layer:
    norm = AdaNorm(eps=problem.eps)
    return Layer(lambda x, p, state: lstm_forward(x, p, norm, problem.bias_placement, state), lstm_backward)


LAYERS: dict[str, Callable[[LSTMProblem], Layer]] = {"prop": _norm_prop, "wn": _weight_norm, "ada": _ada_norm}
"""By norm of the problem."""


def run_stack(layer: Layer, x: Array, layers: Sequence[Sequence[Any]], start: Sequence[Array] | None) -> Stack:
    """Run the layers, each direction from its own end of time; `start` has the states, None for zeros."""
    D, below, caches, ends = len(layers[0]), x, [], []
    for depth, directions in enumerate(layers):
        outputs = []
        for d, parameters in enumerate(directions):
            cell = depth * D + d
            state = None if start is None else layer.state(*(states[cell] for states in start))
            output, cache = layer.forward(_turned(below, d), parameters, state)
            outputs.append(_turned(output.h, d))
            caches.append(cache)
            ends.append(output.state)
        below = np.concatenate(outputs, axis=2)

    def backward(doutput: Array, *dends: Array) -> tuple[dict[str, Array], list[list[Any]]]:
        dabove, dlayers = doutput, []
        dstates: dict[str, list[Array]] = {f"{name}_0": [] for name in layer.names}
        for depth in reversed(range(len(layers))):
            cells = range(depth * D, (depth + 1) * D)
            pairs = zip(cells, np.split(dabove, D, axis=2), strict=True)
            found = [
                layer.backward(_turned(dh, cell % D), caches[cell], *(dend[cell] for dend in dends))
                for cell, dh in pairs
            ]
            dabove = np.stack([_turned(gradients.x, d) for d, gradients in enumerate(found)]).sum(axis=0)
            dlayers.append([gradients.parameters for gradients in found])
            for name, values in dstates.items():
                values[:0] = [getattr(gradients, name) for gradients in found]
        return {"x": dabove, **{name: np.stack(values) for name, values in dstates.items()}}, dlayers[::-1]

    last = {f"{name}_n": np.stack([getattr(end, name) for end in ends]) for name in layer.names}
    return Stack({"output": below, **last}, backward)


def _turned(sequence: Array, direction: int) -> Array:
    return sequence[::-1] if direction else sequence
