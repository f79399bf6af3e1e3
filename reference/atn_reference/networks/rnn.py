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
from atn_reference.networks.lstm import BIAS_PLACEMENTS, BiasPlacement
from atn_reference.networks.site import (
    PopulationSite,
    Site,
    SiteStepCache,
    add_window,
    affine_arrays,
    check_window_norm,
    memory_rows,
    population_arrays,
    row_gradients,
    site_memory,
    site_statistics,
    site_step_backward,
    site_step_forward,
    sum_affine,
)
from atn_reference.norms.population_norm import PopulationStatistics
from atn_reference.norms.settings import Affine, WindowNorm
from atn_reference.norms.window import WindowStatistics
from atn_reference.validation import (
    check_absent,
    check_arrays,
    check_choice,
    check_eps,
    check_instance,
    check_integer,
    check_like,
    check_memory_rows,
)


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


RNNNorm: TypeAlias = WindowNorm | RNNPopulationNorm | None
"""LN, BN, ATN-LN, ATN-BN by a window; BN and ATN-BN at evaluation; None for Eqs. (1)-(2) and for WN."""


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


class RNNStepCache(NamedTuple):
    """What the backward pass of one step needs: the caches of the three sites of Eqs. (3)-(4)."""

    ih: SiteStepCache
    hh: SiteStepCache
    y: SiteStepCache


class RNNCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    x : (T, B, I)
    h_prev : (T, B, H), the hidden state that each step started from
    parameters, bias_placement : as passed in
    memory_rows : M, or None where no memory was passed in
    steps : T caches
    output : what the forward pass returned
    """

    x: Array
    h_prev: Array
    parameters: RNNParameters
    bias_placement: BiasPlacement
    memory_rows: int | None
    steps: list[RNNStepCache]
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
    norm : WindowNorm, RNNPopulationNorm or None
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
    norm = _checked(x, parameters, norm, bias_placement, state)
    x, parameters, state = copied((x, parameters, state))
    p, B, H, O = parameters, x.shape[1], len(parameters.weight_hh), len(parameters.weight_y)
    state = state or RNNState(np.zeros((B, H), dtype=x.dtype))
    site_ih, site_hh, site_y = _sites(norm, p)
    no_bias, no_bias_y = np.zeros(H, x.dtype), np.zeros(O, x.dtype)
    bias_ih, bias_hh = (no_bias if bias is None else bias for bias in (p.bias_ih, p.bias_hh))
    bias_y = no_bias_y if p.bias_y is None else p.bias_y
    outside = bias_placement == "outside"
    outer, outer_y = (bias_ih + bias_hh, bias_y) if outside else (no_bias, no_bias_y)
    inner_ih, inner_hh, inner_y = (no_bias, no_bias, no_bias_y) if outside else (bias_ih, bias_hh, bias_y)

    rows_ih, rows_hh, rows_y = (memory_rows(rows) for rows in state.memory or (None, None, None))
    h = state.h
    hs, ys, steps = [h], [], []
    for t in range(len(x)):
        rows_ih.append(x[t] @ p.weight_ih.T + inner_ih)
        rows_hh.append(h @ p.weight_hh.T + inner_hh)
        y_ih, cache_ih = site_step_forward(rows_ih, state.step + t, site_ih)
        y_hh, cache_hh = site_step_forward(rows_hh, state.step + t, site_hh)
        h = np.tanh(y_hh + y_ih + outer)
        rows_y.append(h @ p.weight_y.T + inner_y)
        y, cache_y = site_step_forward(rows_y, state.step + t, site_y)
        hs.append(h)
        ys.append(y + outer_y)
        steps.append(RNNStepCache(cache_ih, cache_hh, cache_y))

    memory = None
    if isinstance(norm, WindowNorm):
        memory = RNNMemory(*(site_memory(rows, norm.k) for rows in (rows_ih, rows_hh, rows_y)))
    output = RNNOutput(np.stack(hs[1:]), np.stack(ys), RNNState(h, memory, state.step + len(x)))
    M = None if state.memory is None else len(state.memory.y)
    return output, RNNCache(x, np.stack(hs[:-1]), p, bias_placement, M, steps, copied(output))


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
    _check_upstream(cache.output, dh, dy, dh_n, dmemory_n)
    p, M, T = cache.parameters, cache.memory_rows or 0, len(dh)
    dlast_ih, dlast_hh, dlast_y = dmemory_n or (None, None, None)
    drows_ih = row_gradients(M + T, dh[0], dlast_ih)
    drows_hh = row_gradients(M + T, dh[0], dlast_hh)
    drows_y = row_gradients(M + T, dy[0], dlast_y)
    dh_next = np.zeros_like(dh[0]) if dh_n is None else dh_n
    sites_ih, sites_hh, sites_y = [], [], []
    dpre = np.zeros_like(dh)

    for t in reversed(range(T)):
        step, end, h = cache.steps[t], M + t + 1, cache.output.h[t]
        # Eqs. (2) and (4), and the windows of W_y h that end here.
        sites_y.append(site_step_backward(dy[t], step.y))
        add_window(drows_y, end, sites_y[-1].rows)
        dh_t = dh[t] + dh_next + drows_y[end - 1] @ p.weight_y
        # Eqs. (1) and (3), and the windows of the two preactivations that end here.
        dpre[t] = dh_t * (1.0 - h * h)
        sites_ih.append(site_step_backward(dpre[t], step.ih))
        sites_hh.append(site_step_backward(dpre[t], step.hh))
        add_window(drows_ih, end, sites_ih[-1].rows)
        add_window(drows_hh, end, sites_hh[-1].rows)
        dh_next = drows_hh[end - 1] @ p.weight_hh

    da_ih, da_hh, da_y = drows_ih[M:], drows_hh[M:], drows_y[M:]
    dbias_ih, dbias_hh, dbias_y = (dpre, dpre, dy) if cache.bias_placement == "outside" else (da_ih, da_hh, da_y)
    return RNNGradients(
        x=da_ih @ p.weight_ih,
        parameters=RNNParameters(
            weight_ih=np.einsum("tbn,tbi->ni", da_ih, cache.x),
            weight_hh=np.einsum("tbn,tbi->ni", da_hh, cache.h_prev),
            weight_y=np.einsum("tbn,tbi->ni", da_y, cache.output.h),
            bias_ih=None if p.bias_ih is None else dbias_ih.sum(axis=(0, 1)),
            bias_hh=None if p.bias_hh is None else dbias_hh.sum(axis=(0, 1)),
            bias_y=None if p.bias_y is None else dbias_y.sum(axis=(0, 1)),
            norm_ih=sum_affine(sites_ih),
            norm_hh=sum_affine(sites_hh),
            norm_y=sum_affine(sites_y),
        ),
        h_0=dh_next,
        memory=None if cache.memory_rows is None else RNNMemory(drows_ih[:M], drows_hh[:M], drows_y[:M]),
    )


def rnn_statistics(cache: RNNCache) -> RNNStatistics:
    """Window statistics of every step at the three sites of Eqs. (3)-(4), from a forward pass with a WindowNorm.

    With base "batch" they are what ``update_population`` takes.
    """
    return RNNStatistics(
        ih=site_statistics([step.ih for step in cache.steps]),
        hh=site_statistics([step.hh for step in cache.steps]),
        y=site_statistics([step.y for step in cache.steps]),
    )


def _sites(norm: RNNNorm, parameters: RNNParameters) -> list[Site]:
    """Return the sites ih, hh and y."""
    affines = (parameters.norm_ih, parameters.norm_hh, parameters.norm_y)
    if isinstance(norm, RNNPopulationNorm):
        populations = (norm.ih, norm.hh, norm.y)
        return [Site(PopulationSite(p, norm.eps), affine) for p, affine in zip(populations, affines, strict=True)]
    return [Site(norm, affine) for affine in affines]


def _checked(
    x: Array, parameters: RNNParameters, norm: RNNNorm, bias_placement: str, state: RNNState | None
) -> RNNNorm:
    """Check the arguments of the forward pass and return the norm with Python numbers."""
    check_instance("parameters", parameters, RNNParameters)
    check_instance("norm", norm, WindowNorm, RNNPopulationNorm, type(None))
    check_choice("bias_placement", bias_placement, BIAS_PLACEMENTS)
    check_instance("state", state, RNNState, type(None))
    h, memory, step = state or (None, None, 0)
    check_instance("state.memory", memory, RNNMemory, type(None))
    check_integer("state.step", step, 0)
    p = parameters
    arrays: list[tuple[str, object, str]] = [
        ("x", x, "T B I"),
        ("parameters.weight_ih", p.weight_ih, "H I"),
        ("parameters.weight_hh", p.weight_hh, "H H"),
        ("parameters.weight_y", p.weight_y, "O H"),
        ("parameters.bias_ih", p.bias_ih, "H"),
        ("parameters.bias_hh", p.bias_hh, "H"),
        ("parameters.bias_y", p.bias_y, "O"),
        *affine_arrays("parameters.norm_ih", p.norm_ih, "H"),
        *affine_arrays("parameters.norm_hh", p.norm_hh, "H"),
        *affine_arrays("parameters.norm_y", p.norm_y, "O"),
        ("state.h", h, "B H"),
    ]
    if memory is not None:
        arrays += [
            ("state.memory.ih", memory.ih, "M B H"),
            ("state.memory.hh", memory.hh, "M B H"),
            ("state.memory.y", memory.y, "M B O"),
        ]
    if isinstance(norm, WindowNorm):
        check_arrays(*arrays)
        norm = check_window_norm(norm)
        check_memory_rows("state.memory", None if memory is None else memory.y, norm.k)
        return norm
    check_absent("state.memory", memory, "only a WindowNorm reads a window")
    if isinstance(norm, RNNPopulationNorm):
        arrays += population_arrays("norm.ih", norm.ih, "H")
        arrays += population_arrays("norm.hh", norm.hh, "H")
        arrays += population_arrays("norm.y", norm.y, "O")
        check_arrays(*arrays)
        return norm._replace(eps=check_eps(norm.eps))
    check_arrays(*arrays)
    for name in ("norm_ih", "norm_hh", "norm_y"):
        check_absent(f"parameters.{name}", getattr(p, name), "a gain and shift belong to a norm, and norm is None")
    return norm


def _check_upstream(output: RNNOutput, dh: Array, dy: Array, dh_n: Array | None, dmemory_n: RNNMemory | None) -> None:
    check_like("dh", dh, output.h)
    check_like("dy", dy, output.y)
    if dh_n is not None:
        check_like("dh_n", dh_n, output.state.h)
    check_instance("dmemory_n", dmemory_n, RNNMemory, type(None))
    if output.state.memory is None:
        check_absent("dmemory_n", dmemory_n, "the forward pass handed on no memory")
    elif dmemory_n is not None:
        for name, gradient, model in zip(RNNMemory._fields, dmemory_n, output.state.memory, strict=True):
            check_like(f"dmemory_n.{name}", gradient, model)
