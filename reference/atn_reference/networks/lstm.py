"""The ATN-LSTM of Eqs. (14)-(16) and its relatives: plain, LN, BN, ATN-BN, and WN by its weights.

With N the normalizer of the site (see ``site.py``)::

    gates = N(W_hh h + b_hh*) + N(W_ih x + b_ih*) + b*        Eq. (14), rows i, f, g, o
    c     = sigmoid(f) * c + sigmoid(i) * tanh(g)             Eq. (15), the carry is raw
    h     = sigmoid(o) * tanh(N(c))                           Eq. (16)

Without a norm the cell may have a gain on its way into h, tanh(gamma_c * c), which Norm-Prop needs.
The bias stands outside the norms as in Eq. (14), there as b = b_ih + b_hh, or inside as in the paper's experiments
(its section 5.1). One statistic covers all 4H preactivations of a site.

Letters: T time, B batch, I input, H hidden, M rows of memory, S recorded steps, k window length.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.networks.gates import (
    CellOutputCache,
    GatesCache,
    cell_output_backward,
    cell_output_forward,
    lstm_gates_backward,
    lstm_gates_forward,
)
from atn_reference.networks.recurrence import (
    Layout,
    check_forward,
    check_upstream,
    joined_memory,
    network_sites,
    start_sites,
)
from atn_reference.networks.site import SiteBackward, SiteCache, site_statistics
from atn_reference.norms.gain_shift import GainShiftCache, gain_shift_backward, gain_shift_forward
from atn_reference.norms.population_norm import PopulationStatistics
from atn_reference.norms.settings import AdaNorm, Affine, BiasPlacement, WindowNorm
from atn_reference.norms.window import WindowStatistics
from atn_reference.validation import check_absent, check_instance


class PopulationNorm(NamedTuple):
    """Evaluation of BN or ATN-BN: what was recorded at each of the three sites.

    Attributes
    ----------
    ih, hh : mean and var (S, 4H)
    c : mean and var (S, H)
    eps : >= 0
    """

    ih: PopulationStatistics
    hh: PopulationStatistics
    c: PopulationStatistics
    eps: float = 1e-5


Norm: TypeAlias = WindowNorm | AdaNorm | PopulationNorm | None
"""LN, BN, ATN-LN, ATN-BN by a window; AdaNorm; BN and ATN-BN at evaluation; None for the plain LSTM and for WN."""


class LSTMParameters(NamedTuple):
    """Parameters of Eqs. (14)-(16), rows in the order i, f, g, o; also the shape of their gradients.

    Attributes
    ----------
    weight_ih : (4H, I), W_x
    weight_hh : (4H, H), W_h
    bias_ih, bias_hh : (4H,) or None
    norm_ih, norm_hh : gain and shift (4H,) or None
    norm_c : gain and shift (H,) or None
    gamma_c : gain (H,) of the cell on its way into h, or None; only without a norm, whose gain is in norm_c
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    norm_ih: Affine | None = None
    norm_hh: Affine | None = None
    norm_c: Affine | None = None
    gamma_c: Array | None = None


class LSTMMemory(NamedTuple):
    """Rows that each site carries from chunk to chunk, M = min(k - 1, steps so far); also the shape of their gradients.

    Attributes
    ----------
    ih, hh : (M, B, 4H), preactivations W_ih x and W_hh h, with the bias where it stands inside
    c : (M, B, H), raw cells
    """

    ih: Array
    hh: Array
    c: Array


class LSTMState(NamedTuple):
    """State between two steps.

    Attributes
    ----------
    h, c : (B, H)
    memory : LSTMMemory, or None at the start of a sequence and where nothing is windowed
    step : number of steps since the sequence began, which population statistics are looked up by
    """

    h: Array
    c: Array
    memory: LSTMMemory | None = None
    step: int = 0


class LSTMOutput(NamedTuple):
    """What a sequence gives.

    Attributes
    ----------
    h, c : (T, B, H)
    state : state after the last step
    """

    h: Array
    c: Array
    state: LSTMState


_LAYOUT = Layout(
    parameters=LSTMParameters,
    state=LSTMState,
    memory=LSTMMemory,
    population=PopulationNorm,
    arrays={
        "weight_ih": "4H I",
        "weight_hh": "4H H",
        "bias_ih": "4H",
        "bias_hh": "4H",
        "gamma_c": "H",
    },
    sites={"ih": "4H", "hh": "4H", "c": "H"},
    carried={"h": "B H", "c": "B H"},
)


class LSTMSites(NamedTuple):
    """What the backward pass of the three sites needs."""

    ih: SiteCache
    hh: SiteCache
    c: SiteCache


class LSTMStepCache(NamedTuple):
    """What the backward pass of one step needs between the sites: the caches of Eqs. (15) and (16)."""

    gates: GatesCache
    gamma_c: GainShiftCache
    output: CellOutputCache


class LSTMCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    x : (T, B, I)
    h_prev : (T, B, H), the hidden state that each step started from
    parameters : as passed in
    sites : caches of the sites
    steps : T caches
    output : what the forward pass returned
    """

    x: Array
    h_prev: Array
    parameters: LSTMParameters
    sites: LSTMSites
    steps: list[LSTMStepCache]
    output: LSTMOutput


class LSTMGradients(NamedTuple):
    """Gradient of every input and parameter.

    Attributes
    ----------
    x : (T, B, I)
    parameters : LSTMParameters, None where the parameter was None
    h_0, c_0 : (B, H)
    memory : LSTMMemory, or None where no memory was passed in
    """

    x: Array
    parameters: LSTMParameters
    h_0: Array
    c_0: Array
    memory: LSTMMemory | None


class LSTMStatistics(NamedTuple):
    """Window statistics at the three sites, Eqs. (7)-(8).

    Attributes
    ----------
    ih, hh, c : mean and var, (T, B, 1) for base "layer", (T, 1, 4H) or (T, 1, H) for "batch"
    """

    ih: WindowStatistics
    hh: WindowStatistics
    c: WindowStatistics


def lstm_forward(
    x: Array,
    parameters: LSTMParameters,
    norm: Norm,
    bias_placement: BiasPlacement = "outside",
    state: LSTMState | None = None,
) -> tuple[LSTMOutput, LSTMCache]:
    """Run an LSTM over a sequence, Eqs. (14)-(16).

    Chunks run one after the other, each with the state of the one before, give what the whole sequence gives.

    Parameters
    ----------
    x : (T, B, I)
    parameters : LSTMParameters; for WN, weights made by ``weight_norm_forward``
    norm : WindowNorm, AdaNorm, PopulationNorm or None
    bias_placement : "outside", Eq. (14), or "inside", section 5.1; the same thing where norm is None
    state : LSTMState, or None for zeros and an empty memory

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
    check_forward(x, parameters, norm, bias_placement, state, _LAYOUT)
    if norm is not None:
        check_absent("parameters.gamma_c", parameters.gamma_c, "the gain of the cell's norm is parameters.norm_c")
    x, p, state = copied((x, parameters, state))
    B, H = x.shape[1], p.weight_hh.shape[1]
    state = state or LSTMState(np.zeros((B, H), dtype=x.dtype), np.zeros((B, H), dtype=x.dtype))
    ih, hh, cell = start_sites(network_sites(p, norm, bias_placement, _LAYOUT), state)
    h, c = state.h, state.c
    hs, cs, steps = [h], [], []
    for t in range(len(x)):
        # Eq. (14), with the bias of each site.
        gates = hh.normalize(h @ p.weight_hh.T) + ih.normalize(x[t] @ p.weight_ih.T)
        # Eq. (15), then Eq. (16).
        (c, o), cache_gates = lstm_gates_forward(gates, c)
        z, cache_gamma_c = gain_shift_forward(cell.normalize(c), p.gamma_c, None)
        h, cache_output = cell_output_forward(o, z)
        hs.append(h)
        cs.append(c)
        steps.append(LSTMStepCache(cache_gates, cache_gamma_c, cache_output))

    memory = joined_memory(LSTMMemory, (site.memory() for site in (ih, hh, cell)))
    output = LSTMOutput(np.stack(hs[1:]), np.stack(cs), LSTMState(h, c, memory, state.step + len(x)))
    sites = LSTMSites(ih.cache(), hh.cache(), cell.cache())
    return copied(output), LSTMCache(x, np.stack(hs[:-1]), p, sites, steps, output)


def lstm_backward(
    dh: Array,
    cache: LSTMCache,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
    *,
    dc: Array | None = None,
    dmemory_n: LSTMMemory | None = None,
) -> LSTMGradients:
    """Back-propagate through Eqs. (14)-(16) in time.

    Parameters
    ----------
    dh : (T, B, H)
    cache : what ``lstm_forward`` returned
    dh_n, dc_n : (B, H), gradient of the last state, added to that of the last step; None for zeros
    dc : (T, B, H), gradient of the cells of all steps; None for zeros
    dmemory_n : gradient of the memory handed on, shaped as it; None for zeros

    Returns
    -------
    LSTMGradients

    Raises
    ------
    TypeError, ValueError
        For an upstream gradient unlike its output.
    """
    check_instance("cache", cache, LSTMCache)
    end, p = cache.output.state, cache.parameters
    upstream = {"dh": (dh, cache.output.h), "dh_n": (dh_n, end.h), "dc_n": (dc_n, end.c), "dc": (dc, cache.output.c)}
    check_upstream(upstream, dmemory_n, end.memory, _LAYOUT)
    ih, hh, cell = (SiteBackward(*pair) for pair in zip(cache.sites, dmemory_n or (None, None, None), strict=True))
    dh_next = np.zeros_like(end.h) if dh_n is None else dh_n
    dc_next = np.zeros_like(end.c) if dc_n is None else dc_n
    dgamma_c = None if p.gamma_c is None else np.zeros_like(p.gamma_c)
    for t, step in reversed(list(enumerate(cache.steps))):
        # Eq. (16).
        do, dz = cell_output_backward(dh[t] + dh_next, step.output)
        outer = gain_shift_backward(dz, step.gamma_c)
        dc_t = cell.row(t, outer.xhat) + dc_next + (0.0 if dc is None else dc[t])
        dgamma_c = None if dgamma_c is None else dgamma_c + outer.gamma
        # Eq. (15).
        dgates, dc_next = lstm_gates_backward(dc_t, do, step.gates)
        # Eq. (14).
        ih.row(t, dgates)
        dh_next = hh.row(t, dgates) @ p.weight_hh

    of_ih, of_hh, of_c = ih.gradients(), hh.gradients(), cell.gradients()
    return LSTMGradients(
        x=of_ih.rows @ p.weight_ih,
        parameters=LSTMParameters(
            weight_ih=np.einsum("tbn,tbi->ni", of_ih.rows, cache.x),
            weight_hh=np.einsum("tbn,tbi->ni", of_hh.rows, cache.h_prev),
            bias_ih=of_ih.bias,
            bias_hh=of_hh.bias,
            norm_ih=of_ih.affine,
            norm_hh=of_hh.affine,
            norm_c=of_c.affine,
            gamma_c=dgamma_c,
        ),
        h_0=dh_next,
        c_0=dc_next,
        memory=joined_memory(LSTMMemory, (of_ih.memory, of_hh.memory, of_c.memory)),
    )


def lstm_statistics(cache: LSTMCache) -> LSTMStatistics:
    """Window statistics of every step at the three sites of Eqs. (14) and (16), from a forward pass with a WindowNorm.

    With base "batch" they are what ``update_population`` takes.
    """
    return LSTMStatistics(*map(site_statistics, cache.sites))
