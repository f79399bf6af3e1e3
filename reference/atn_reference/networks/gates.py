"""The pointwise part of the LSTM: Eq. (15) and the product of Eq. (16).

Gate order i, f, g, o, that of ``torch.nn.LSTM``; Eq. (14) lists f, i, o, g, which names the rows differently and
changes nothing else, since one statistic covers all 4H of them.

Letters: B batch, H hidden.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array


class GatesCache(NamedTuple):
    """What the backward pass of Eq. (15) needs: the activated gates and the old cell, each (B, H)."""

    i: Array
    f: Array
    g: Array
    o: Array
    c_prev: Array


class CellOutputCache(NamedTuple):
    """What the backward pass of Eq. (16) needs: the output gate and tanh of the normalized cell, each (B, H)."""

    o: Array
    tanh_z: Array


def sigmoid(x: Array) -> Array:
    """Logistic function of Eqs. (15)-(16) as (1 + tanh(x/2)) / 2: no overflow at any x, and analytic for complex-step.

    Parameters
    ----------
    x : any shape
    """
    y: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return y


def lstm_gates_forward(gates: Array, c_prev: Array) -> tuple[tuple[Array, Array], GatesCache]:
    """Activate the gates and update the cell, Eq. (15).

    The carried cell c is raw: Eqs. (15)-(16) normalize it only on its way into h.

    Parameters
    ----------
    gates : (B, 4H), the sum of Eq. (14), rows i, f, g, o
    c_prev : (B, H)

    Returns
    -------
    (c, o) : new cell and output gate, each (B, H)
    cache
    """
    pre_i, pre_f, pre_g, pre_o = np.split(gates, 4, axis=1)
    i, f, g, o = sigmoid(pre_i), sigmoid(pre_f), np.tanh(pre_g), sigmoid(pre_o)
    c = f * c_prev + i * g
    return (c, o), GatesCache(i, f, g, o, c_prev)


def lstm_gates_backward(dc: Array, do: Array, cache: GatesCache) -> tuple[Array, Array]:
    """Gradients of Eq. (15).

    Parameters
    ----------
    dc, do : (B, H)

    Returns
    -------
    dgates : (B, 4H)
    dc_prev : (B, H)
    """
    i, f, g, o, c_prev = cache
    dgates = np.concatenate(
        [
            dc * g * i * (1.0 - i),
            dc * c_prev * f * (1.0 - f),
            dc * i * (1.0 - g * g),
            do * o * (1.0 - o),
        ],
        axis=1,
    )
    return dgates, dc * f


def cell_output_forward(o: Array, z: Array) -> tuple[Array, CellOutputCache]:
    """Hidden state o * tanh(z), Eq. (16) with z the normalized cell; all (B, H)."""
    tanh_z = np.tanh(z)
    return o * tanh_z, CellOutputCache(o, tanh_z)


def cell_output_backward(dh: Array, cache: CellOutputCache) -> tuple[Array, Array]:
    """Gradients (do, dz) of Eq. (16), each (B, H), for dh (B, H)."""
    return dh * cache.tanh_z, dh * cache.o * (1.0 - cache.tanh_z * cache.tanh_z)
