"""Several LSTM layers, in one or both directions of time: Eqs. (14)-(16) stacked as in ``torch.nn.LSTM``.

The reverse direction reads the sequence from its end; each layer's output joins the directions feature by feature and
is the next layer's input.

Letters: T time, B batch, I input, H hidden, L layers, D directions (1 or 2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array
from atn_reference.networks.lstm import (
    LSTMCache,
    LSTMParameters,
    LSTMState,
    lstm_backward,
    lstm_forward,
)
from atn_reference.norms.settings import BiasPlacement, WindowNorm
from atn_reference.validation import check_arrays, check_instance, check_like


class StackCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    cells : cache of every layer and direction
    output, h_n, c_n : what the forward pass returned
    """

    cells: list[list[LSTMCache]]
    output: Array
    h_n: Array
    c_n: Array


class StackGradients(NamedTuple):
    """Gradient of every input and parameter.

    Attributes
    ----------
    x : (T, B, I)
    parameters : LSTMParameters by layer and direction
    h_0, c_0 : (L*D, B, H)
    """

    x: Array
    parameters: list[list[LSTMParameters]]
    h_0: Array
    c_0: Array


def stacked_lstm_forward(
    x: Array,
    layers: Sequence[Sequence[LSTMParameters]],
    norm: WindowNorm | None,
    bias_placement: BiasPlacement = "outside",
    state: tuple[Array, Array] | None = None,
) -> tuple[tuple[Array, Array, Array], StackCache]:
    """Run stacked LSTMs over whole sequences, Eqs. (14)-(16) layer by layer.

    Every layer and direction has windows of its own that start empty. To stream a stack, run ``lstm_forward`` layer
    by layer with its states; for statistics of the population, which differ by layer, likewise.

    Parameters
    ----------
    x : (T, B, I)
    layers : parameters by layer and direction; layers after the first read D*H features
    norm : WindowNorm, shared by all, or None
    bias_placement : "outside" or "inside"
    state : (h_0, c_0), each (L*D, B, H) ordered as torch.nn.LSTM's, or None for zeros

    Returns
    -------
    (output, h_n, c_n) : (T, B, D*H), (L*D, B, H), (L*D, B, H)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    D = _check_layers(x, layers, norm, state)
    below, cells, states = x, [], []
    for layer, directions in enumerate(layers):
        outputs, caches = [], []
        for d, parameters in enumerate(directions):
            cell = layer * D + d
            start = None if state is None else LSTMState(state[0][cell], state[1][cell])
            output, cache = lstm_forward(_turned(below, d), parameters, norm, bias_placement, start)
            outputs.append(_turned(output.h, d))
            caches.append(cache)
            states.append(output.state)
        below = np.concatenate(outputs, axis=2)
        cells.append(caches)
    h_n, c_n = np.stack([end.h for end in states]), np.stack([end.c for end in states])
    return (below, h_n, c_n), StackCache(cells, below, h_n, c_n)


def stacked_lstm_backward(doutput: Array, dh_n: Array | None, dc_n: Array | None, cache: StackCache) -> StackGradients:
    """Gradients of stacked LSTMs, Eqs. (14)-(16) from the last layer to the first.

    Parameters
    ----------
    doutput : (T, B, D*H)
    dh_n, dc_n : (L*D, B, H), or None for zeros

    Returns
    -------
    StackGradients

    Raises
    ------
    TypeError, ValueError
        For an upstream gradient unlike its output.
    """
    check_instance("cache", cache, StackCache)
    check_like("doutput", doutput, cache.output)
    dh_n = np.zeros_like(cache.h_n) if dh_n is None else dh_n
    dc_n = np.zeros_like(cache.c_n) if dc_n is None else dc_n
    check_like("dh_n", dh_n, cache.h_n)
    check_like("dc_n", dc_n, cache.c_n)
    D = len(cache.cells[0])
    dh_0, dc_0 = np.zeros_like(dh_n), np.zeros_like(dc_n)
    dabove, dlayers = doutput, []
    for layer in reversed(range(len(cache.cells))):
        gradients = []
        for d, dh in enumerate(np.split(dabove, D, axis=2)):
            cell = layer * D + d
            gradients.append(lstm_backward(_turned(dh, d), cache.cells[layer][d], dh_n[cell], dc_n[cell]))
            dh_0[cell], dc_0[cell] = gradients[d].h_0, gradients[d].c_0
        # Both directions read the same input.
        dabove = np.stack([_turned(gradient.x, d) for d, gradient in enumerate(gradients)]).sum(axis=0)
        dlayers.append([gradient.parameters for gradient in gradients])
    return StackGradients(dabove, dlayers[::-1], dh_0, dc_0)


def _turned(sequence: Array, direction: int) -> Array:
    """Sequence in the order in which a direction reads it: 0 from the start, 1 from the end."""
    return sequence[::-1] if direction else sequence


def _check_layers(
    x: Array,
    layers: Sequence[Sequence[LSTMParameters]],
    norm: WindowNorm | None,
    state: tuple[Array, Array] | None,
) -> int:
    """Check the arguments of the forward pass and return the number of directions."""
    check_instance("norm", norm, WindowNorm, type(None))
    counts = [len(directions) for directions in layers]
    if not counts or set(counts) not in ({1}, {2}):
        raise ValueError(f"layers: numbers of directions were {counts}, must be all 1 or all 2, in at least one layer")
    D = counts[0]
    arrays: list[tuple[str, object, str]] = [("x", x, "T B I")]
    for layer, directions in enumerate(layers):
        for d, parameters in enumerate(directions):
            name = f"layers[{layer}][{d}]"
            check_instance(name, parameters, LSTMParameters)
            arrays.append((f"{name}.weight_hh", parameters.weight_hh, "4H H"))
            arrays.append(
                (f"{name}.weight_ih", parameters.weight_ih, ("4H H" if D == 1 else "4H 2H") if layer else "4H I")
            )
    sizes = check_arrays(*arrays)
    if state is not None:
        if not isinstance(state, tuple) or len(state) != 2:
            raise TypeError(f"state: was {type(state).__name__}, must be the tuple (h_0, c_0) or None")
        for name, array in zip(("h_0", "c_0"), state, strict=True):
            check_like(name, array, np.empty((len(layers) * D, sizes["B"], sizes["H"]), dtype=x.dtype))
    return D
