"""The GRU with any norm, in the place of ``torch.nn.GRU``.

With N the normalizer of the site (see ``site.py``), gates r (reset), z (update) and n (candidate)::

    a_ih = N(W_ih x + b_ih*) + b_ih*        rows r, z, n
    a_hh = N(W_hh h + b_hh*) + b_hh*
    r    = sigmoid(a_ih[r] + a_hh[r])
    z    = sigmoid(a_ih[z] + a_hh[z])
    n    = tanh(a_ih[n] + r * a_hh[n])
    h    = (1 - z) * n + z * h

The bias stands outside the norms or inside, as in the LSTM. Without a norm these are the equations of ``torch.nn.GRU``,
in its order of rows. One statistic covers all 3H rows of a product, and the reset gate multiplies the recurrent row
after norm, gain, shift and bias: so does the layer-normalized GRU of lmnt-com/haste (``layer_norm_gru.py``), whose rows
are z, r, n, and so it must be for the two biases to be ``torch.nn.GRU``'s. The state h is carried raw and has no site
of its own: the paper has no GRU, and neither Eq. (16) nor haste normalizes the state of one.

Letters: T time, B batch, I input, H hidden, M rows of memory, S recorded steps, k window length.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.networks.gates import sigmoid
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


class GRUPopulationNorm(NamedTuple):
    """Evaluation of BN or ATN-BN: what was recorded at each of the two sites.

    Attributes
    ----------
    ih, hh : mean and var (S, 3H)
    eps : >= 0
    """

    ih: PopulationStatistics
    hh: PopulationStatistics
    eps: float = 1e-5


GRUNorm: TypeAlias = WindowNorm | AdaNorm | GRUPopulationNorm | None
"""LN, BN, ATN-LN, ATN-BN by a window; AdaNorm; BN and ATN-BN at evaluation; None for the plain GRU and for WN."""


class GRUParameters(NamedTuple):
    """Parameters of the GRU, rows in the order r, z, n of ``torch.nn.GRU``; also the shape of their gradients.

    Attributes
    ----------
    weight_ih : (3H, I)
    weight_hh : (3H, H)
    bias_ih, bias_hh : (3H,) or None
    norm_ih, norm_hh : gain and shift (3H,) or None
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    norm_ih: Affine | None = None
    norm_hh: Affine | None = None


class GRUMemory(NamedTuple):
    """Rows that each site carries from chunk to chunk, M = min(k - 1, steps so far); also the shape of their gradients.

    Attributes
    ----------
    ih, hh : (M, B, 3H), preactivations W_ih x and W_hh h, with the bias where it stands inside
    """

    ih: Array
    hh: Array


class GRUState(NamedTuple):
    """State between two steps.

    Attributes
    ----------
    h : (B, H)
    memory : GRUMemory, or None at the start of a sequence and where nothing is windowed
    step : number of steps since the sequence began, which population statistics are looked up by
    """

    h: Array
    memory: GRUMemory | None = None
    step: int = 0


class GRUOutput(NamedTuple):
    """What a sequence gives.

    Attributes
    ----------
    h : (T, B, H)
    state : state after the last step
    """

    h: Array
    state: GRUState


_LAYOUT = Layout(
    parameters=GRUParameters,
    state=GRUState,
    memory=GRUMemory,
    population=GRUPopulationNorm,
    arrays={"weight_ih": "3H I", "weight_hh": "3H H", "bias_ih": "3H", "bias_hh": "3H"},
    sites={"ih": "3H", "hh": "3H"},
    carried={"h": "B H"},
)


class GRUSites(NamedTuple):
    """What the backward pass of the two sites needs."""

    ih: SiteCache
    hh: SiteCache


class GRUGatesCache(NamedTuple):
    """What the backward pass of the gates needs, each (B, H): the gates, the recurrent row of n, and the old state."""

    r: Array
    z: Array
    n: Array
    n_hh: Array
    h_prev: Array


class GRUCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    x : (T, B, I)
    parameters : as passed in
    sites : caches of the sites
    steps : T caches
    output : what the forward pass returned
    """

    x: Array
    parameters: GRUParameters
    sites: GRUSites
    steps: list[GRUGatesCache]
    output: GRUOutput


class GRUGradients(NamedTuple):
    """Gradient of every input and parameter.

    Attributes
    ----------
    x : (T, B, I)
    parameters : GRUParameters, None where the parameter was None
    h_0 : (B, H)
    memory : GRUMemory, or None where no memory was passed in
    """

    x: Array
    parameters: GRUParameters
    h_0: Array
    memory: GRUMemory | None


class GRUStatistics(NamedTuple):
    """Window statistics at the two sites, Eqs. (7)-(8).

    Attributes
    ----------
    ih, hh : mean and var, (T, B, 1) for base "layer", (T, 1, 3H) for "batch"
    """

    ih: WindowStatistics
    hh: WindowStatistics


def gru_gates_forward(a_ih: Array, a_hh: Array, h_prev: Array) -> tuple[Array, GRUGatesCache]:
    """Activate the gates and update the state, by the equations of ``torch.nn.GRU``.

    Parameters
    ----------
    a_ih, a_hh : (B, 3H), rows r, z, n, with norm and bias
    h_prev : (B, H)

    Returns
    -------
    h : (B, H)
    cache
    """
    (r_ih, z_ih, n_ih), (r_hh, z_hh, n_hh) = np.split(a_ih, 3, axis=1), np.split(a_hh, 3, axis=1)
    r, z = sigmoid(r_ih + r_hh), sigmoid(z_ih + z_hh)
    n = np.tanh(n_ih + r * n_hh)
    return (1.0 - z) * n + z * h_prev, GRUGatesCache(r, z, n, n_hh, h_prev)


def gru_gates_backward(dh: Array, cache: GRUGatesCache) -> tuple[Array, Array, Array]:
    """Gradients of ``gru_gates_forward``, the equations of ``torch.nn.GRU``.

    Parameters
    ----------
    dh : (B, H)

    Returns
    -------
    da_ih, da_hh : (B, 3H); they differ in n, whose recurrent row the reset gate multiplies
    dh_prev : (B, H), through the update gate alone, not through a_hh
    """
    r, z, n, n_hh, h_prev = cache
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dr = dn * n_hh * r * (1.0 - r)
    dz = dh * (h_prev - n) * z * (1.0 - z)
    return np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, dn * r], axis=1), dh * z


def gru_forward(
    x: Array,
    parameters: GRUParameters,
    norm: GRUNorm,
    bias_placement: BiasPlacement = "outside",
    state: GRUState | None = None,
) -> tuple[GRUOutput, GRUCache]:
    """Run a GRU over a sequence: ``torch.nn.GRU`` with the norms of Eq. (3) around its two products.

    Chunks run one after the other, each with the state of the one before, give what the whole sequence gives.

    Parameters
    ----------
    x : (T, B, I)
    parameters : GRUParameters; for WN, weights made by ``weight_norm_forward``
    norm : WindowNorm, AdaNorm, GRUPopulationNorm or None
    bias_placement : "outside" or "inside" the norms; the same thing where norm is None
    state : GRUState, or None for zeros and an empty memory

    Returns
    -------
    GRUOutput
        h (T, B, H), and the state after the last step.
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_forward(x, parameters, norm, bias_placement, state, _LAYOUT)
    x, p, state = copied((x, parameters, state))
    B, H = x.shape[1], p.weight_hh.shape[1]
    state = state or GRUState(np.zeros((B, H), dtype=x.dtype))
    ih, hh = start_sites(network_sites(p, norm, bias_placement, _LAYOUT), state)
    h = state.h
    hs, steps = [], []
    for t in range(len(x)):
        h, step = gru_gates_forward(ih.normalize(x[t] @ p.weight_ih.T), hh.normalize(h @ p.weight_hh.T), h)
        hs.append(h)
        steps.append(step)

    memory = joined_memory(GRUMemory, (site.memory() for site in (ih, hh)))
    output = GRUOutput(np.stack(hs), GRUState(h, memory, state.step + len(x)))
    return copied(output), GRUCache(x, p, GRUSites(ih.cache(), hh.cache()), steps, output)


def gru_backward(
    dh: Array, cache: GRUCache, dh_n: Array | None = None, *, dmemory_n: GRUMemory | None = None
) -> GRUGradients:
    """Back-propagate through the GRU in time (``torch.nn.GRU``, Eq. (3)).

    Parameters
    ----------
    dh : (T, B, H)
    cache : what ``gru_forward`` returned
    dh_n : (B, H), gradient of the last state, added to that of the last step; None for zeros
    dmemory_n : gradient of the memory handed on, shaped as it; None for zeros

    Returns
    -------
    GRUGradients

    Raises
    ------
    TypeError, ValueError
        For an upstream gradient unlike its output.
    """
    check_instance("cache", cache, GRUCache)
    end, p = cache.output.state, cache.parameters
    check_upstream({"dh": (dh, cache.output.h), "dh_n": (dh_n, end.h)}, dmemory_n, end.memory, _LAYOUT)
    ih, hh = (SiteBackward(*pair) for pair in zip(cache.sites, dmemory_n or (None, None), strict=True))
    dh_next = np.zeros_like(end.h) if dh_n is None else dh_n
    for t, step in reversed(list(enumerate(cache.steps))):
        da_ih, da_hh, dh_prev = gru_gates_backward(dh[t] + dh_next, step)
        ih.row(t, da_ih)
        dh_next = dh_prev + hh.row(t, da_hh) @ p.weight_hh

    of_ih, of_hh = ih.gradients(), hh.gradients()
    h_prev = np.stack([step.h_prev for step in cache.steps])
    return GRUGradients(
        x=of_ih.rows @ p.weight_ih,
        parameters=GRUParameters(
            weight_ih=np.einsum("tbn,tbi->ni", of_ih.rows, cache.x),
            weight_hh=np.einsum("tbn,tbi->ni", of_hh.rows, h_prev),
            bias_ih=of_ih.bias,
            bias_hh=of_hh.bias,
            norm_ih=of_ih.affine,
            norm_hh=of_hh.affine,
        ),
        h_0=dh_next,
        memory=joined_memory(GRUMemory, (of_ih.memory, of_hh.memory)),
    )


def gru_statistics(cache: GRUCache) -> GRUStatistics:
    """Window statistics of every step at the two sites (Eqs. (7)-(8)), from a forward pass with a WindowNorm.

    With base "batch" they are what ``update_population`` takes.
    """
    return GRUStatistics(*map(site_statistics, cache.sites))
