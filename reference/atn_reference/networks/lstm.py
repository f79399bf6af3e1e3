"""The ATN-LSTM of Eqs. (14)-(16) and its relatives: plain, LN, BN, ATN-BN, and WN by its weights.

With N the normalizer of the site (see ``site.py``)::

    gates = N(W_hh h + b_hh*) + N(W_ih x + b_ih*) + b*        Eq. (14), rows i, f, g, o
    c     = sigmoid(f) * c + sigmoid(i) * tanh(g)             Eq. (15), the carry is raw
    h     = sigmoid(o) * tanh(N(c))                           Eq. (16)

The bias stands outside the norms as in Eq. (14), there as b = b_ih + b_hh, or inside as in the paper's experiments
(its section 5.1). One statistic covers all 4H preactivations of a site.

Letters: T time, B batch, I input, H hidden, M rows of memory, S recorded steps, k window length.
"""

from typing import Literal, NamedTuple, TypeAlias

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

BiasPlacement: TypeAlias = Literal["outside", "inside"]
"""Where the biases stand: after the norms, Eq. (14), or within them, section 5.1."""

BIAS_PLACEMENTS = ("outside", "inside")
"""The two values of ``BiasPlacement``."""


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


Norm: TypeAlias = WindowNorm | PopulationNorm | None
"""LN, BN, ATN-LN, ATN-BN by a window; BN and ATN-BN at evaluation; None for the plain LSTM and for WN."""


class LSTMParameters(NamedTuple):
    """Parameters of Eqs. (14)-(16), rows in the order i, f, g, o; also the shape of their gradients.

    Attributes
    ----------
    weight_ih : (4H, I), W_x
    weight_hh : (4H, H), W_h
    bias_ih, bias_hh : (4H,) or None
    norm_ih, norm_hh : gain and shift (4H,) or None
    norm_c : gain and shift (H,) or None
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    norm_ih: Affine | None = None
    norm_hh: Affine | None = None
    norm_c: Affine | None = None


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


class LSTMStepCache(NamedTuple):
    """What the backward pass of one step needs: the caches of Eqs. (14), (15) and (16)."""

    ih: SiteStepCache
    hh: SiteStepCache
    gates: GatesCache
    c: SiteStepCache
    output: CellOutputCache


class LSTMCache(NamedTuple):
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
    parameters: LSTMParameters
    bias_placement: BiasPlacement
    memory_rows: int | None
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
    norm : WindowNorm, PopulationNorm or None
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
    norm = _checked(x, parameters, norm, bias_placement, state)
    x, parameters, state = copied((x, parameters, state))
    B, H = x.shape[1], parameters.weight_hh.shape[1]
    state = state or LSTMState(np.zeros((B, H), dtype=x.dtype), np.zeros((B, H), dtype=x.dtype))
    site_ih, site_hh, site_c = _sites(norm, parameters)
    biases = [np.zeros(4 * H, x.dtype) if b is None else b for b in (parameters.bias_ih, parameters.bias_hh)]
    outer = biases[0] + biases[1] if bias_placement == "outside" else np.zeros(4 * H, x.dtype)
    inner_ih, inner_hh = biases if bias_placement == "inside" else (0.0, 0.0)

    rows_ih, rows_hh, rows_c = (memory_rows(rows) for rows in state.memory or (None, None, None))
    h, c = state.h, state.c
    hs, cs, steps = [h], [], []
    for t in range(len(x)):
        rows_ih.append(x[t] @ parameters.weight_ih.T + inner_ih)
        rows_hh.append(h @ parameters.weight_hh.T + inner_hh)
        y_ih, cache_ih = site_step_forward(rows_ih, state.step + t, site_ih)
        y_hh, cache_hh = site_step_forward(rows_hh, state.step + t, site_hh)
        (c, o), cache_gates = lstm_gates_forward(y_hh + y_ih + outer, c)
        rows_c.append(c)
        z, cache_c = site_step_forward(rows_c, state.step + t, site_c)
        h, cache_output = cell_output_forward(o, z)
        hs.append(h)
        cs.append(c)
        steps.append(LSTMStepCache(cache_ih, cache_hh, cache_gates, cache_c, cache_output))

    memory = None
    if isinstance(norm, WindowNorm):
        memory = LSTMMemory(*(site_memory(rows, norm.k) for rows in (rows_ih, rows_hh, rows_c)))
    output = LSTMOutput(np.stack(hs[1:]), np.stack(cs), LSTMState(h, c, memory, state.step + len(x)))
    M = None if state.memory is None else len(state.memory.c)
    return output, LSTMCache(x, np.stack(hs[:-1]), parameters, bias_placement, M, steps, copied(output))


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

    A row of a site feeds the windows of its own step and of the k - 1 steps after it. Going backwards, the step's own
    window is the last of these to arrive: from then on the row's gradient is complete and may be used.

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
    _check_upstream(cache.output, dh, dh_n, dc_n, dc, dmemory_n)
    parameters, M, T = cache.parameters, cache.memory_rows or 0, len(dh)
    gates_like, hidden_like = np.concatenate([dh[0]] * 4, axis=1), dh[0]
    dlast_ih, dlast_hh, dlast_c = dmemory_n or (None, None, None)
    drows_ih = row_gradients(M + T, gates_like, dlast_ih)
    drows_hh = row_gradients(M + T, gates_like, dlast_hh)
    drows_c = row_gradients(M + T, hidden_like, dlast_c)
    dh_next = np.zeros_like(hidden_like) if dh_n is None else dh_n
    dc_next = np.zeros_like(hidden_like) if dc_n is None else dc_n
    sites_ih, sites_hh, sites_c = [], [], []
    dgates = np.zeros((T, *gates_like.shape), dtype=dh.dtype)

    for t in reversed(range(T)):
        step, end = cache.steps[t], M + t + 1
        # Eq. (16), and the windows of c that end here.
        do, dz = cell_output_backward(dh[t] + dh_next, step.output)
        sites_c.append(site_step_backward(dz, step.c))
        add_window(drows_c, end, sites_c[-1].rows)
        dc_t = drows_c[end - 1] + dc_next + (0.0 if dc is None else dc[t])
        # Eq. (15).
        dgates[t], dc_next = lstm_gates_backward(dc_t, do, step.gates)
        # Eq. (14), and the windows of its two preactivations that end here.
        sites_ih.append(site_step_backward(dgates[t], step.ih))
        sites_hh.append(site_step_backward(dgates[t], step.hh))
        add_window(drows_ih, end, sites_ih[-1].rows)
        add_window(drows_hh, end, sites_hh[-1].rows)
        dh_next = drows_hh[end - 1] @ parameters.weight_hh

    da_ih, da_hh = drows_ih[M:], drows_hh[M:]
    dbias_ih, dbias_hh = (dgates, dgates) if cache.bias_placement == "outside" else (da_ih, da_hh)
    return LSTMGradients(
        x=da_ih @ parameters.weight_ih,
        parameters=LSTMParameters(
            weight_ih=np.einsum("tbn,tbi->ni", da_ih, cache.x),
            weight_hh=np.einsum("tbn,tbi->ni", da_hh, cache.h_prev),
            bias_ih=None if parameters.bias_ih is None else dbias_ih.sum(axis=(0, 1)),
            bias_hh=None if parameters.bias_hh is None else dbias_hh.sum(axis=(0, 1)),
            norm_ih=sum_affine(sites_ih),
            norm_hh=sum_affine(sites_hh),
            norm_c=sum_affine(sites_c),
        ),
        h_0=dh_next,
        c_0=dc_next,
        memory=None if cache.memory_rows is None else LSTMMemory(drows_ih[:M], drows_hh[:M], drows_c[:M]),
    )


def lstm_statistics(cache: LSTMCache) -> LSTMStatistics:
    """Window statistics of every step at the three sites of Eqs. (14) and (16), from a forward pass with a WindowNorm.

    With base "batch" they are what ``update_population`` takes.
    """
    return LSTMStatistics(
        ih=site_statistics([step.ih for step in cache.steps]),
        hh=site_statistics([step.hh for step in cache.steps]),
        c=site_statistics([step.c for step in cache.steps]),
    )


def _sites(norm: Norm, parameters: LSTMParameters) -> list[Site]:
    """Return the sites ih, hh and c."""
    affines = (parameters.norm_ih, parameters.norm_hh, parameters.norm_c)
    if isinstance(norm, PopulationNorm):
        populations = (norm.ih, norm.hh, norm.c)
        return [Site(PopulationSite(p, norm.eps), affine) for p, affine in zip(populations, affines, strict=True)]
    return [Site(norm, affine) for affine in affines]


def _checked(x: Array, parameters: LSTMParameters, norm: Norm, bias_placement: str, state: LSTMState | None) -> Norm:
    """Check the arguments of the forward pass and return the norm with Python numbers."""
    check_instance("parameters", parameters, LSTMParameters)
    check_instance("norm", norm, WindowNorm, PopulationNorm, type(None))
    check_choice("bias_placement", bias_placement, BIAS_PLACEMENTS)
    check_instance("state", state, LSTMState, type(None))
    h, c, memory, step = state or (None, None, None, 0)
    check_instance("state.memory", memory, LSTMMemory, type(None))
    check_integer("state.step", step, 0)
    p = parameters
    arrays: list[tuple[str, object, str]] = [
        ("x", x, "T B I"),
        ("parameters.weight_ih", p.weight_ih, "4H I"),
        ("parameters.weight_hh", p.weight_hh, "4H H"),
        ("parameters.bias_ih", p.bias_ih, "4H"),
        ("parameters.bias_hh", p.bias_hh, "4H"),
        *affine_arrays("parameters.norm_ih", p.norm_ih, "4H"),
        *affine_arrays("parameters.norm_hh", p.norm_hh, "4H"),
        *affine_arrays("parameters.norm_c", p.norm_c, "H"),
        ("state.h", h, "B H"),
        ("state.c", c, "B H"),
    ]
    if memory is not None:
        arrays += [
            ("state.memory.ih", memory.ih, "M B 4H"),
            ("state.memory.hh", memory.hh, "M B 4H"),
            ("state.memory.c", memory.c, "M B H"),
        ]
    if isinstance(norm, WindowNorm):
        check_arrays(*arrays)
        norm = check_window_norm(norm)
        check_memory_rows("state.memory", None if memory is None else memory.c, norm.k)
        return norm
    check_absent("state.memory", memory, "only a WindowNorm reads a window")
    if isinstance(norm, PopulationNorm):
        arrays += population_arrays("norm.ih", norm.ih, "4H")
        arrays += population_arrays("norm.hh", norm.hh, "4H")
        arrays += population_arrays("norm.c", norm.c, "H")
        check_arrays(*arrays)
        return norm._replace(eps=check_eps(norm.eps))
    check_arrays(*arrays)
    for name in ("norm_ih", "norm_hh", "norm_c"):
        check_absent(f"parameters.{name}", getattr(p, name), "a gain and shift belong to a norm, and norm is None")
    return norm


def _check_upstream(
    output: LSTMOutput,
    dh: Array,
    dh_n: Array | None,
    dc_n: Array | None,
    dc: Array | None,
    dmemory_n: LSTMMemory | None,
) -> None:
    check_like("dh", dh, output.h)
    for name, gradient, model in (("dh_n", dh_n, output.state.h), ("dc_n", dc_n, output.state.c), ("dc", dc, output.c)):
        if gradient is not None:
            check_like(name, gradient, model)
    check_instance("dmemory_n", dmemory_n, LSTMMemory, type(None))
    if output.state.memory is None:
        check_absent("dmemory_n", dmemory_n, "the forward pass handed on no memory")
    elif dmemory_n is not None:
        for name, gradient, model in zip(LSTMMemory._fields, dmemory_n, output.state.memory, strict=True):
            check_like(f"dmemory_n.{name}", gradient, model)
