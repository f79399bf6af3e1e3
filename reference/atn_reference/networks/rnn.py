"""The simple recurrent network of Eqs. (1)-(2), and with normalizers that of Eqs. (3)-(4).

With N the normalizer of the site (see ``site.py``), f = tanh and beta_h = b_ih + b_hh::

    h = tanh( N(W_hh h + b_hh*) + N(W_ih x + b_ih*) + b* )       Eqs. (1) and (3)
    y = N(W_y h + b_y*) + b_y*                                   Eqs. (2) and (4)

The biases stand outside the norms as in Eqs. (3)-(4), or inside as in the paper's experiments (its section 5.1).

Letters: T time, B batch, I input, H hidden, O output, M rows of memory, S recorded steps, k window length.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.networks.recurrence import (
    Layout,
    check_forward,
    check_upstream,
    joined_memory,
    network_sites,
    start_sites,
)
from atn_reference.networks.site import SiteBackward, SiteCache, site_statistics
from atn_reference.norms.population_norm import PopulationStatistics
from atn_reference.norms.settings import AdaNorm, Affine, BiasPlacement, WindowNorm
from atn_reference.norms.window import WindowStatistics
from atn_reference.validation import check_instance


class RNNPopulationNorm(NamedTuple):
    """Evaluation of BN or ATN-BN: what was recorded at each of the three sites.

    Attributes
    ----------
    ih, hh : mean and var (S, H)
    y : mean and var (S, O)
    eps : >= 0
    """

    ih: PopulationStatistics
    hh: PopulationStatistics
    y: PopulationStatistics
    eps: float = 1e-5


RNNNorm: TypeAlias = WindowNorm | AdaNorm | RNNPopulationNorm | None
"""LN, BN, ATN-LN, ATN-BN by a window; AdaNorm; BN and ATN-BN at evaluation; None for Eqs. (1)-(2) and for WN."""


class RNNParameters(NamedTuple):
    """Parameters of Eqs. (1)-(4); also the shape of their gradients.

    Attributes
    ----------
    weight_ih : (H, I), W_x
    weight_hh : (H, H), W_h
    weight_y : (O, H), W_y
    bias_ih, bias_hh : (H,) or None; their sum is beta_h
    bias_y : (O,) or None, beta_y
    norm_ih, norm_hh : gain and shift (H,) or None
    norm_y : gain and shift (O,) or None
    """

    weight_ih: Array
    weight_hh: Array
    weight_y: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    bias_y: Array | None = None
    norm_ih: Affine | None = None
    norm_hh: Affine | None = None
    norm_y: Affine | None = None


class RNNMemory(NamedTuple):
    """Rows that each site carries from chunk to chunk, M = min(k - 1, steps so far); also the shape of their gradients.

    Attributes
    ----------
    ih, hh : (M, B, H)
    y : (M, B, O)
    """

    ih: Array
    hh: Array
    y: Array


class RNNState(NamedTuple):
    """State between two steps.

    Attributes
    ----------
    h : (B, H)
    memory : RNNMemory, or None at the start of a sequence and where nothing is windowed
    step : number of steps since the sequence began, which population statistics are looked up by
    """

    h: Array
    memory: RNNMemory | None = None
    step: int = 0


class RNNOutput(NamedTuple):
    """What a sequence gives.

    Attributes
    ----------
    h : (T, B, H)
    y : (T, B, O)
    state : state after the last step
    """

    h: Array
    y: Array
    state: RNNState


_LAYOUT = Layout(
    parameters=RNNParameters,
    state=RNNState,
    memory=RNNMemory,
    population=RNNPopulationNorm,
    arrays={
        "weight_ih": "H I",
        "weight_hh": "H H",
        "weight_y": "O H",
        "bias_ih": "H",
        "bias_hh": "H",
        "bias_y": "O",
    },
    sites={"ih": "H", "hh": "H", "y": "O"},
    carried={"h": "B H"},
)


class RNNSites(NamedTuple):
    """What the backward pass of the three sites of Eqs. (3)-(4) needs."""

    ih: SiteCache
    hh: SiteCache
    y: SiteCache


class RNNCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    x : (T, B, I)
    h_prev : (T, B, H), the hidden state that each step started from
    parameters : as passed in
    sites : caches of the sites
    output : what the forward pass returned
    """

    x: Array
    h_prev: Array
    parameters: RNNParameters
    sites: RNNSites
    output: RNNOutput


class RNNGradients(NamedTuple):
    """Gradient of every input and parameter.

    Attributes
    ----------
    x : (T, B, I)
    parameters : RNNParameters, None where the parameter was None
    h_0 : (B, H)
    memory : RNNMemory, or None where no memory was passed in
    """

    x: Array
    parameters: RNNParameters
    h_0: Array
    memory: RNNMemory | None


class RNNStatistics(NamedTuple):
    """Window statistics at the three sites, Eqs. (7)-(8).

    Attributes
    ----------
    ih, hh, y : mean and var, (T, B, 1) for base "layer", (T, 1, H) or (T, 1, O) for "batch"
    """

    ih: WindowStatistics
    hh: WindowStatistics
    y: WindowStatistics


def rnn_forward(
    x: Array,
    parameters: RNNParameters,
    norm: RNNNorm,
    bias_placement: BiasPlacement = "outside",
    state: RNNState | None = None,
) -> tuple[RNNOutput, RNNCache]:
    """Run a simple recurrent network over a sequence, Eqs. (1)-(4).

    Chunks run one after the other, each with the state of the one before, give what the whole sequence gives.

    Parameters
    ----------
    x : (T, B, I)
    parameters : RNNParameters; for WN, weights made by ``weight_norm_forward``
    norm : WindowNorm, AdaNorm, RNNPopulationNorm or None
    bias_placement : "outside", Eqs. (3)-(4), or "inside", section 5.1; the same thing where norm is None
    state : RNNState, or None for zeros and an empty memory

    Returns
    -------
    RNNOutput
        h (T, B, H), y (T, B, O), and the state after the last step.
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_forward(x, parameters, norm, bias_placement, state, _LAYOUT)
    x, p, state = copied((x, parameters, state))
    B, H = x.shape[1], len(p.weight_hh)
    state = state or RNNState(np.zeros((B, H), dtype=x.dtype))
    ih, hh, site_y = start_sites(network_sites(p, norm, bias_placement, _LAYOUT), state)
    h = state.h
    hs, ys = [h], []
    for t in range(len(x)):
        # Eqs. (1) and (3), then Eqs. (2) and (4), with the bias of each site.
        h = np.tanh(hh.normalize(h @ p.weight_hh.T) + ih.normalize(x[t] @ p.weight_ih.T))
        hs.append(h)
        ys.append(site_y.normalize(h @ p.weight_y.T))

    memory = joined_memory(RNNMemory, (site.memory() for site in (ih, hh, site_y)))
    output = RNNOutput(np.stack(hs[1:]), np.stack(ys), RNNState(h, memory, state.step + len(x)))
    return copied(output), RNNCache(x, np.stack(hs[:-1]), p, RNNSites(ih.cache(), hh.cache(), site_y.cache()), output)


def rnn_backward(
    dh: Array,
    dy: Array,
    cache: RNNCache,
    dh_n: Array | None = None,
    *,
    dmemory_n: RNNMemory | None = None,
) -> RNNGradients:
    """Back-propagate through Eqs. (1)-(4) in time; the order of things is that of ``lstm_backward``.

    Parameters
    ----------
    dh : (T, B, H)
    dy : (T, B, O)
    cache : what ``rnn_forward`` returned
    dh_n : (B, H), gradient of the last state, added to that of the last step; None for zeros
    dmemory_n : gradient of the memory handed on, shaped as it; None for zeros

    Returns
    -------
    RNNGradients

    Raises
    ------
    TypeError, ValueError
        For an upstream gradient unlike its output.
    """
    check_instance("cache", cache, RNNCache)
    output, p = cache.output, cache.parameters
    upstream = {"dh": (dh, output.h), "dy": (dy, output.y), "dh_n": (dh_n, output.state.h)}
    check_upstream(upstream, dmemory_n, output.state.memory, _LAYOUT)
    ih, hh, site_y = (SiteBackward(*pair) for pair in zip(cache.sites, dmemory_n or (None, None, None), strict=True))
    dh_next = np.zeros_like(output.state.h) if dh_n is None else dh_n
    for t in reversed(range(len(dh))):
        h = output.h[t]
        # Eqs. (2) and (4).
        dh_t = dh[t] + dh_next + site_y.row(t, dy[t]) @ p.weight_y
        # Eqs. (1) and (3).
        dpreactivation = dh_t * (1.0 - h * h)
        ih.row(t, dpreactivation)
        dh_next = hh.row(t, dpreactivation) @ p.weight_hh

    of_ih, of_hh, of_y = ih.gradients(), hh.gradients(), site_y.gradients()
    return RNNGradients(
        x=of_ih.rows @ p.weight_ih,
        parameters=RNNParameters(
            weight_ih=np.einsum("tbn,tbi->ni", of_ih.rows, cache.x),
            weight_hh=np.einsum("tbn,tbi->ni", of_hh.rows, cache.h_prev),
            weight_y=np.einsum("tbn,tbi->ni", of_y.rows, output.h),
            bias_ih=of_ih.bias,
            bias_hh=of_hh.bias,
            bias_y=of_y.bias,
            norm_ih=of_ih.affine,
            norm_hh=of_hh.affine,
            norm_y=of_y.affine,
        ),
        h_0=dh_next,
        memory=joined_memory(RNNMemory, (of_ih.memory, of_hh.memory, of_y.memory)),
    )


def rnn_statistics(cache: RNNCache) -> RNNStatistics:
    """Window statistics of every step at the three sites of Eqs. (3)-(4), from a forward pass with a WindowNorm.

    With base "batch" they are what ``update_population`` takes.
    """
    return RNNStatistics(*map(site_statistics, cache.sites))
