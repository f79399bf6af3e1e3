"""Layers and directions of any LSTM of the oracle on top of each other, for the norms that its own stack does not take.

The oracle has the Norm-Prop LSTM, the LSTM with weight normalization, AdaNorm and detached statistics as single layers.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from atn_reference import (
    LSTMState,
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
    """One layer in one direction: `forward(x, parameters, state)`, `backward(dh, cache, dh_n, dc_n)`."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]


class Stack(NamedTuple):
    """What a stack gives and takes back; gradients are named as the fields of the oracle's own."""

    outputs: dict[str, Array]
    backward: Callable[[Array, Array, Array], tuple[dict[str, Array], list[list[Any]]]]


def _norm_prop(_: LSTMProblem) -> Layer:
    return Layer(lambda x, p, state: norm_prop_lstm_forward(x, p, NORM_PROP, state), norm_prop_lstm_backward)


def _weight_norm(_: LSTMProblem) -> Layer:
    return Layer(weight_norm_lstm_forward, weight_norm_lstm_backward)


LAYERS: dict[str, Callable[[LSTMProblem], Layer]] = {"prop": _norm_prop, "wn": _weight_norm}
"""By norm of the problem."""


def run_stack(layer: Layer, x: Array, layers: Sequence[Sequence[Any]], h_0: Array | None, c_0: Array | None) -> Stack:
    """Run the layers, each direction from its own end of time."""
    D, below, caches, ends = len(layers[0]), x, [], []
    for depth, directions in enumerate(layers):
        outputs = []
        for d, parameters in enumerate(directions):
            cell = depth * D + d
            state = None if h_0 is None or c_0 is None else LSTMState(h_0[cell], c_0[cell])
            output, cache = layer.forward(_turned(below, d), parameters, state)
            outputs.append(_turned(output.h, d))
            caches.append(cache)
            ends.append(output.state)
        below = np.concatenate(outputs, axis=2)

    def backward(doutput: Array, dh_n: Array, dc_n: Array) -> tuple[dict[str, Array], list[list[Any]]]:
        dabove, dlayers = doutput, []
        dstates: dict[str, list[Array]] = {"h_0": [], "c_0": []}
        for depth in reversed(range(len(layers))):
            cells = range(depth * D, (depth + 1) * D)
            pairs = zip(cells, np.split(dabove, D, axis=2), strict=True)
            found = [layer.backward(_turned(dh, cell % D), caches[cell], dh_n[cell], dc_n[cell]) for cell, dh in pairs]
            dabove = np.stack([_turned(gradients.x, d) for d, gradients in enumerate(found)]).sum(axis=0)
            dlayers.append([gradients.parameters for gradients in found])
            for name, values in dstates.items():
                values[:0] = [getattr(gradients, name) for gradients in found]
        return {"x": dabove, **{name: np.stack(values) for name, values in dstates.items()}}, dlayers[::-1]

    outputs_by_name = {
        "output": below,
        "h_n": np.stack([end.h for end in ends]),
        "c_n": np.stack([end.c for end in ends]),
    }
    return Stack(outputs_by_name, backward)


def _turned(sequence: Array, direction: int) -> Array:
    return sequence[::-1] if direction else sequence
