"""The LSTM with weight normalization (Salimans and Kingma 2016): the baseline of Recurrent Normalization Propagation.

Each row of W_ih and W_hh is a gain times a direction, W[j] = gamma[j] * v[j] / |v[j]|, NP (13). The weights are made
once, and what runs is the plain LSTM of Eqs. (14)-(16): no statistics, nothing that depends on time.

Letters: T time, B batch, I input, H hidden.
"""

from typing import NamedTuple

from atn_reference.arrays import Array
from atn_reference.networks.lstm import (
    LSTMCache,
    LSTMMemory,
    LSTMOutput,
    LSTMParameters,
    LSTMState,
    PopulationNorm,
    lstm_backward,
    lstm_forward,
)
from atn_reference.networks.recurrence import Layout, check_forward
from atn_reference.norms.unit_rows import row_lengths
from atn_reference.norms.weight_norm import WeightNormCache, weight_norm_backward, weight_norm_forward
from atn_reference.validation import check_instance


class WeightNormLSTMParameters(NamedTuple):
    """Parameters, rows in the order i, f, g, o; also the shape of their gradients.

    Attributes
    ----------
    weight_ih : (4H, I), v of W_x; its rows count by their direction alone
    weight_hh : (4H, H), v of W_h
    gamma_ih, gamma_hh : (4H,), the lengths of the rows
    bias_ih, bias_hh : (4H,) or None
    gamma_c : gain (H,) of the cell on its way into h, or None
    """

    weight_ih: Array
    weight_hh: Array
    gamma_ih: Array
    gamma_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    gamma_c: Array | None = None


class WeightNormLSTMCache(NamedTuple):
    """What the backward pass needs: the caches of the two weights and of the plain LSTM."""

    ih: WeightNormCache
    hh: WeightNormCache
    lstm: LSTMCache


class WeightNormLSTMGradients(NamedTuple):
    """Gradient of every input and parameter.

    Attributes
    ----------
    x : (T, B, I)
    parameters : WeightNormLSTMParameters, None where the parameter was None
    h_0, c_0 : (B, H)
    """

    x: Array
    parameters: WeightNormLSTMParameters
    h_0: Array
    c_0: Array


_LAYOUT = Layout(
    parameters=WeightNormLSTMParameters,
    state=LSTMState,
    memory=LSTMMemory,
    population=PopulationNorm,
    arrays={
        "weight_ih": "4H I",
        "weight_hh": "4H H",
        "gamma_ih": "4H",
        "gamma_hh": "4H",
        "bias_ih": "4H",
        "bias_hh": "4H",
        "gamma_c": "H",
    },
    sites={},
    carried={"h": "B H", "c": "B H"},
)


def weight_norm_lstm_parameters(parameters: LSTMParameters) -> WeightNormLSTMParameters:
    """Weight normalization of a plain LSTM, NP (13), that leaves it as it is: the lengths of its rows as gains.

    Parameters
    ----------
    parameters : LSTMParameters without gain and shift of a norm

    Raises
    ------
    TypeError
        For another class, naming it.
    """
    check_instance("parameters", parameters, LSTMParameters)
    p = parameters
    return WeightNormLSTMParameters(
        weight_ih=p.weight_ih,
        weight_hh=p.weight_hh,
        gamma_ih=row_lengths(p.weight_ih),
        gamma_hh=row_lengths(p.weight_hh),
        bias_ih=p.bias_ih,
        bias_hh=p.bias_hh,
        gamma_c=p.gamma_c,
    )


def weight_norm_lstm_forward(
    x: Array, parameters: WeightNormLSTMParameters, state: LSTMState | None = None
) -> tuple[LSTMOutput, WeightNormLSTMCache]:
    """Run the LSTM of Eqs. (14)-(16) on weights made by weight normalization, NP (13).

    Parameters
    ----------
    x : (T, B, I)
    parameters : WeightNormLSTMParameters
    state : LSTMState without memory, or None for zeros

    Returns
    -------
    LSTMOutput
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_forward(x, parameters, None, "outside", state, _LAYOUT)
    p = parameters
    weight_ih, cache_ih = weight_norm_forward(p.weight_ih, p.gamma_ih)
    weight_hh, cache_hh = weight_norm_forward(p.weight_hh, p.gamma_hh)
    plain = LSTMParameters(weight_ih, weight_hh, p.bias_ih, p.bias_hh, gamma_c=p.gamma_c)
    output, cache = lstm_forward(x, plain, None, state=state)
    return output, WeightNormLSTMCache(cache_ih, cache_hh, cache)


def weight_norm_lstm_backward(
    dh: Array,
    cache: WeightNormLSTMCache,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
    *,
    dc: Array | None = None,
) -> WeightNormLSTMGradients:
    """Back-propagate through the LSTM in time, then through the two weights, NP (18) with its gain.

    Parameters
    ----------
    dh : (T, B, H)
    cache : what ``weight_norm_lstm_forward`` returned
    dh_n, dc_n : (B, H), gradient of the last state, added to that of the last step; None for zeros
    dc : (T, B, H), gradient of the cells of all steps; None for zeros

    Returns
    -------
    WeightNormLSTMGradients

    Raises
    ------
    TypeError, ValueError
        For an upstream gradient unlike its output.
    """
    check_instance("cache", cache, WeightNormLSTMCache)
    gradients = lstm_backward(dh, cache.lstm, dh_n, dc_n, dc=dc)
    of = gradients.parameters
    dweight_ih, dgamma_ih = weight_norm_backward(of.weight_ih, cache.ih)
    dweight_hh, dgamma_hh = weight_norm_backward(of.weight_hh, cache.hh)
    dparameters = WeightNormLSTMParameters(
        dweight_ih, dweight_hh, dgamma_ih, dgamma_hh, of.bias_ih, of.bias_hh, of.gamma_c
    )
    return WeightNormLSTMGradients(gradients.x, dparameters, gradients.h_0, gradients.c_0)
