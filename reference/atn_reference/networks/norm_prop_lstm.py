"""The Norm-Prop LSTM (Laurent, Ballas, Vincent, *Recurrent Normalization Propagation*).

"NP (13)" is Eq. (13) of that paper. With What the rows of W over their lengths, and two constants (``NormProp``)::

    gates = gamma_ih * (What_ih x) + gamma_hh * (What_hh h) + b           NP (13), rows i, f, g, o
    c     = sigmoid(f) * c + sigmoid(i) * tanh(g)                         NP (14)
    h     = sigmoid(o) * tanh(gamma_c * c / sqrt(Var c)) / sqrt(Var h)    NP (15)

Nothing here depends on time or on other cases, so it runs as a plain LSTM: with h' = sqrt(Var h) * h as the state, the
recurrent gain gamma_hh / sqrt(Var h) and the gain of the cell gamma_c / sqrt(Var c) it is weight normalization around
Eqs. (14)-(16), and the output is h' / sqrt(Var h). What enters and leaves is h, not h'.

The paper calls gamma_x and gamma_h trainable and prints gamma_c without saying; here all three are arrays, one number a
row and a unit.

Letters: T time, B batch, I input, H hidden.
"""

import math
from typing import NamedTuple, cast

from atn_reference.arrays import Array
from atn_reference.networks.lstm import LSTMMemory, LSTMOutput, LSTMState, PopulationNorm
from atn_reference.networks.recurrence import Layout, check_forward, check_upstream
from atn_reference.networks.weight_norm_lstm import (
    WeightNormLSTMCache,
    WeightNormLSTMParameters,
    weight_norm_lstm_backward,
    weight_norm_lstm_forward,
)
from atn_reference.norms.norm_prop import NormProp
from atn_reference.validation import check_instance, check_real


class NormPropLSTMParameters(NamedTuple):
    """Parameters of NP (13)-(15), rows in the order i, f, g, o; also the shape of their gradients.

    Attributes
    ----------
    weight_ih : (4H, I), W_x; its rows count by their direction alone
    weight_hh : (4H, H), W_h
    gamma_ih, gamma_hh : (4H,), the paper's gamma_x and gamma_h
    gamma_c : (H,)
    bias_ih, bias_hh : (4H,) or None; their sum is the paper's b
    """

    weight_ih: Array
    weight_hh: Array
    gamma_ih: Array
    gamma_hh: Array
    gamma_c: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None


class NormPropLSTMCache(NamedTuple):
    """What the backward pass needs: the cache of the weight-normalized LSTM, the constants, and the output."""

    lstm: WeightNormLSTMCache
    norm: NormProp
    output: LSTMOutput


class NormPropLSTMGradients(NamedTuple):
    """Gradient of every input and parameter.

    Attributes
    ----------
    x : (T, B, I)
    parameters : NormPropLSTMParameters, None where the parameter was None
    h_0, c_0 : (B, H)
    """

    x: Array
    parameters: NormPropLSTMParameters
    h_0: Array
    c_0: Array


_LAYOUT = Layout(
    parameters=NormPropLSTMParameters,
    state=LSTMState,
    memory=LSTMMemory,
    population=PopulationNorm,
    arrays={
        "weight_ih": "4H I",
        "weight_hh": "4H H",
        "gamma_ih": "4H",
        "gamma_hh": "4H",
        "gamma_c": "H",
        "bias_ih": "4H",
        "bias_hh": "4H",
    },
    sites={},
    carried={"h": "B H", "c": "B H"},
)


def norm_prop_lstm_forward(
    x: Array, parameters: NormPropLSTMParameters, norm: NormProp, state: LSTMState | None = None
) -> tuple[LSTMOutput, NormPropLSTMCache]:
    """Run a Norm-Prop LSTM over a sequence, NP (13)-(15).

    Chunks run one after the other, each with the state of the one before, give what the whole sequence gives.

    Parameters
    ----------
    x : (T, B, I)
    parameters : NormPropLSTMParameters
    norm : NormProp, see ``norm_prop``
    state : LSTMState without memory, or None for zeros

    Returns
    -------
    LSTMOutput
        h and c (T, B, H), and the state after the last step.
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_instance("norm", norm, NormProp)
    norm = NormProp(*(check_real(f"norm.{name}", value, positive=True) for name, value in norm._asdict().items()))
    check_forward(x, parameters, None, "outside", state, _LAYOUT)
    p, scale_c, scale_h = parameters, 1.0 / math.sqrt(norm.var_c), 1.0 / math.sqrt(norm.var_h)
    inner = WeightNormLSTMParameters(
        weight_ih=p.weight_ih,
        weight_hh=p.weight_hh,
        gamma_ih=p.gamma_ih,
        gamma_hh=scale_h * p.gamma_hh,
        bias_ih=p.bias_ih,
        bias_hh=p.bias_hh,
        gamma_c=scale_c * p.gamma_c,
    )
    start = None if state is None else state._replace(h=state.h / scale_h)
    output, cache = weight_norm_lstm_forward(x, inner, start)
    end = output.state._replace(h=scale_h * output.state.h)
    scaled = LSTMOutput(scale_h * output.h, output.c, end)
    return scaled, NormPropLSTMCache(cache, norm, scaled)


def norm_prop_lstm_backward(
    dh: Array,
    cache: NormPropLSTMCache,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
    *,
    dc: Array | None = None,
) -> NormPropLSTMGradients:
    """Back-propagate through NP (13)-(15) in time; the gradient of a weight is NP (18) with its gain.

    Parameters
    ----------
    dh : (T, B, H)
    cache : what ``norm_prop_lstm_forward`` returned
    dh_n, dc_n : (B, H), gradient of the last state, added to that of the last step; None for zeros
    dc : (T, B, H), gradient of the cells of all steps; None for zeros

    Returns
    -------
    NormPropLSTMGradients

    Raises
    ------
    TypeError, ValueError
        For an upstream gradient unlike its output.
    """
    check_instance("cache", cache, NormPropLSTMCache)
    output = cache.output
    upstream = {
        "dh": (dh, output.h),
        "dh_n": (dh_n, output.state.h),
        "dc_n": (dc_n, output.state.c),
        "dc": (dc, output.c),
    }
    check_upstream(upstream, None, None, _LAYOUT)
    scale_c, scale_h = 1.0 / math.sqrt(cache.norm.var_c), 1.0 / math.sqrt(cache.norm.var_h)
    inner = weight_norm_lstm_backward(scale_h * dh, cache.lstm, None if dh_n is None else scale_h * dh_n, dc_n, dc=dc)
    of = inner.parameters
    dparameters = NormPropLSTMParameters(
        weight_ih=of.weight_ih,
        weight_hh=of.weight_hh,
        gamma_ih=of.gamma_ih,
        gamma_hh=scale_h * of.gamma_hh,
        # The forward pass gave the cell of the inner LSTM a gain, so that there is a gradient of it.
        gamma_c=scale_c * cast("Array", of.gamma_c),
        bias_ih=of.bias_ih,
        bias_hh=of.bias_hh,
    )
    return NormPropLSTMGradients(inner.x, dparameters, inner.h_0 / scale_h, inner.c_0)
