"""One place of a recurrent network where something is normalized, step by step.

The networks of Eqs. (3)-(4) and (14)-(16) have three such sites each: the input's, the recurrent and the last
preactivation. At every step a site gets the rows so far and normalizes the newest. What a site is given is one of

- ``WindowNorm``: ATN-LN, ATN-BN, and with k = 1 LN and BN, by the window of rows;
- ``PopulationSite``: BN and ATN-BN at evaluation, by recorded statistics;
- None: no normalization (also WN, which acts on the weights).

Letters: B batch, N features, K rows in the window, M rows of memory.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from atn_reference.arrays import Array
from atn_reference.norms.norm_step import NormStepCache, NormStepGradients, norm_step_backward, norm_step_forward
from atn_reference.norms.population_norm import (
    PopulationStatistics,
    PopulationStepCache,
    population_step_backward,
    population_step_forward,
)
from atn_reference.norms.settings import Affine, WindowNorm
from atn_reference.norms.window import BASES, WindowStatistics, next_memory
from atn_reference.validation import check_choice, check_eps, check_instance, check_recorded, check_window_length


class PopulationSite(NamedTuple):
    """Normalization of one site by the statistics of the population (evaluation of BN and ATN-BN), Eq. (9).

    Attributes
    ----------
    statistics : mean and var (S, N)
    eps : >= 0
    """

    statistics: PopulationStatistics
    eps: float


class Site(NamedTuple):
    """What one site normalizes with.

    Attributes
    ----------
    norm : WindowNorm, PopulationSite or None
    affine : gain and shift, or None
    """

    norm: WindowNorm | PopulationSite | None
    affine: Affine | None


SiteStepCache: TypeAlias = NormStepCache | PopulationStepCache | None
"""Cache of one step at one site; None where nothing is normalized."""


def check_window_norm(norm: WindowNorm) -> WindowNorm:
    """Return the norm with k as a Python int and eps as a Python float, or raise TypeError or ValueError."""
    check_choice("norm.base", norm.base, BASES)
    return WindowNorm(norm.base, check_window_length(norm.k), check_eps(norm.eps))


def affine_arrays(name: str, affine: Affine | None, letters: str) -> list[tuple[str, object, str]]:
    """Gain and shift of a site with their shape in letters, as ``check_arrays`` takes them."""
    check_instance(name, affine, Affine, type(None))
    return [] if affine is None else [(f"{name}.gamma", affine.gamma, letters), (f"{name}.beta", affine.beta, letters)]


def population_arrays(name: str, population: PopulationStatistics, letters: str) -> list[tuple[str, object, str]]:
    """Recorded statistics of a site with their shape in letters, as ``check_arrays`` takes them."""
    check_instance(name, population, PopulationStatistics)
    check_recorded(name, population.var, population.updates)
    return [(f"{name}.mean", population.mean, f"S {letters}"), (f"{name}.var", population.var, f"S {letters}")]


def site_step_forward(rows: Sequence[Array], step: int, site: Site) -> tuple[Array, SiteStepCache]:
    """Normalize the newest row, Eq. (9) at one step of a recurrence.

    Parameters
    ----------
    rows : all rows so far, each (B, N): the memory's, then one a step, the newest last
    step : number of steps since the sequence began, which picks the statistics of a population
    site : what to normalize with

    Returns
    -------
    y : (B, N)
    cache
    """
    gamma, beta = (None, None) if site.affine is None else site.affine
    if site.norm is None:
        return rows[-1], None
    if isinstance(site.norm, PopulationSite):
        return population_step_forward(rows[-1], step, site.norm.statistics, gamma, beta, site.norm.eps)
    return norm_step_forward(np.stack(rows[-site.norm.k :]), gamma, beta, site.norm.eps, site.norm.base)


def site_step_backward(dy: Array, cache: SiteStepCache) -> NormStepGradients:
    """Gradient of every row that one step of Eq. (9) read, the newest last, and of the gain and shift.

    Parameters
    ----------
    dy : (B, N)

    Returns
    -------
    NormStepGradients
        rows (K, B, N) for a window, (1, B, N) where the step read its own row alone.
    """
    if cache is None:
        return NormStepGradients(dy[None], None, None)
    if isinstance(cache, PopulationStepCache):
        return population_step_backward(dy, cache)
    return norm_step_backward(dy, cache)


def memory_rows(memory: Array | None) -> list[Array]:
    """Rows that a site starts with: those of its memory (M, B, N), or none."""
    return [] if memory is None else list(memory)


def site_memory(rows: Sequence[Array], k: int) -> Array:
    """Rows (min(k - 1, number), B, N) that a site hands to the next chunk, the reach of Eqs. (7)-(8) into the past."""
    return next_memory(np.stack(rows), k)


def row_gradients(rows: int, like: Array, dmemory: Array | None) -> Array:
    """Start of a site's row gradients (rows, B, N) in the reverse loop: what came back from the next chunk, else 0.

    Parameters
    ----------
    rows : M + T, the memory's and one a step
    like : (B, N), an array of a row's shape
    dmemory : gradient of the memory handed on, or None
    """
    drows = np.zeros((rows, *like.shape), dtype=like.dtype)
    if dmemory is not None:
        drows[rows - len(dmemory) :] = dmemory
    return drows


def add_window(drows: Array, end: int, window: Array) -> None:
    """Add the gradient of the window (K, B, N) that ends before row ``end`` to the row gradients (M + T, B, N)."""
    drows[end - len(window) : end] += window


def sum_affine(steps: Sequence[NormStepGradients]) -> Affine | None:
    """Gradient of the gain and shift of Eq. (9) that all steps share: the sum; None where there was none."""
    gammas = [step.gamma for step in steps if step.gamma is not None]
    betas = [step.beta for step in steps if step.beta is not None]
    return Affine(np.stack(gammas).sum(axis=0), np.stack(betas).sum(axis=0)) if gammas and betas else None


def site_statistics(steps: Sequence[SiteStepCache]) -> WindowStatistics:
    """Statistics of Eqs. (7)-(8) that a site used at each step, for ``update_population`` or for a plot.

    Raises
    ------
    TypeError
        Where the site had no window.
    """
    statistics = []
    for step in steps:
        if not isinstance(step, NormStepCache):
            raise TypeError("norm: was not a WindowNorm, must be one for its steps to have window statistics")
        statistics.append(step.statistics)
    return WindowStatistics(np.stack([step.mean for step in statistics]), np.stack([step.var for step in statistics]))
