"""One place of a recurrent network where something is normalized, on its way through a sequence and back.

The LSTM and the simple network have three such sites each: the input's, the recurrent and the last preactivation; the
GRU has the first two. At every step a site gets a row, keeps it, and normalizes it by the rows so far. What a site is
given is one of

- ``WindowNorm``: ATN-LN, ATN-BN, and with k = 1 LN and BN, by the window of rows;
- ``AdaNorm``: LN with a factor in place of gain and shift;
- ``PopulationSite``: BN and ATN-BN at evaluation, by recorded statistics;
- None: no normalization (also WN, which acts on the weights).

A site's bias is added to the row before the norm ("inside") or to what the norm returns ("outside").

Letters: T time, B batch, N features, K rows in the window, M rows of memory.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from atn_reference.arrays import Array
from atn_reference.norms.ada_norm import AdaNormStepCache, ada_norm_step_backward, ada_norm_step_forward
from atn_reference.norms.norm_step import NormStepCache, NormStepGradients, norm_step_backward, norm_step_forward
from atn_reference.norms.population_norm import (
    PopulationStatistics,
    PopulationStepCache,
    population_step_backward,
    population_step_forward,
)
from atn_reference.norms.settings import AdaNorm, Affine, BiasPlacement, WindowNorm
from atn_reference.norms.window import WindowStatistics, next_memory


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
    """What one site does to its rows.

    Attributes
    ----------
    norm : WindowNorm, AdaNorm, PopulationSite or None
    affine : gain and shift, or None
    bias : (N,) or None
    bias_placement : "outside" or "inside"
    """

    norm: WindowNorm | AdaNorm | PopulationSite | None
    affine: Affine | None
    bias: Array | None
    bias_placement: BiasPlacement


SiteStepCache: TypeAlias = NormStepCache | AdaNormStepCache | PopulationStepCache | None
"""Cache of one step at one site; None where nothing is normalized."""


class SiteCache(NamedTuple):
    """What the backward pass of one site needs.

    Attributes
    ----------
    site : what it did
    steps : T caches, one per step
    memory_rows : M, or None where no memory was passed in
    newest : (B, N), the last row
    """

    site: Site
    steps: list[SiteStepCache]
    memory_rows: int | None
    newest: Array


class SiteGradients(NamedTuple):
    """Gradients of everything that one site was given.

    Attributes
    ----------
    rows : (T, B, N)
    memory : (M, B, N), or None where no memory was passed in
    affine : gain and shift, or None
    bias : (N,) or None
    """

    rows: Array
    memory: Array | None
    affine: Affine | None
    bias: Array | None


class SiteForward:
    """A site on its way through a sequence.

    Parameters
    ----------
    site : what it does
    memory : (M, B, N), rows of an earlier chunk, or None
    start : number of steps since the sequence began, which picks the statistics of a population
    """

    def __init__(self, site: Site, memory: Array | None, start: int) -> None:
        self._site = site
        self._memory_rows = None if memory is None else len(memory)
        self._start = start
        self._rows: list[Array] = [] if memory is None else list(memory)
        self._steps: list[SiteStepCache] = []

    def normalize(self, row: Array) -> Array:
        """Take the row (B, N) of the next step and return it normalized, Eq. (9), with the bias."""
        bias, outside = self._site.bias, self._site.bias_placement == "outside"
        self._rows.append(row if bias is None or outside else row + bias)
        y, cache = _step_forward(self._rows, self._start + len(self._steps), self._site)
        self._steps.append(cache)
        return y + bias if bias is not None and outside else y

    def memory(self) -> Array | None:
        """Rows (min(k - 1, number), B, N) for the next chunk; None where the norm has no window."""
        norm = self._site.norm
        return next_memory(np.stack(self._rows), norm.k) if isinstance(norm, WindowNorm) else None

    def cache(self) -> SiteCache:
        """What ``SiteBackward`` needs."""
        return SiteCache(self._site, self._steps, self._memory_rows, self._rows[-1])


class SiteBackward:
    """A site on its way back, from the last step to the first.

    A row feeds the windows of its own step and of the k - 1 steps after it. Going backwards, the step's own window is
    the last of these to arrive: from then on the row's gradient is complete and may be used.

    Parameters
    ----------
    cache : what ``SiteForward`` kept
    dmemory : gradient of the memory handed on, or None
    """

    def __init__(self, cache: SiteCache, dmemory: Array | None) -> None:
        self._cache = cache
        self._M = cache.memory_rows or 0
        self._dy = np.zeros((len(cache.steps), *cache.newest.shape), dtype=cache.newest.dtype)
        self._drows = np.zeros((self._M + len(cache.steps), *cache.newest.shape), dtype=cache.newest.dtype)
        if dmemory is not None:
            self._drows[len(self._drows) - len(dmemory) :] = dmemory
        self._steps: list[NormStepGradients] = []

    def row(self, t: int, dy: Array) -> Array:
        """Gradient (B, N) of the row of step t, from that of its output; t goes down from T - 1 to 0."""
        gradients, end = _step_backward(dy, self._cache.steps[t]), self._M + t + 1
        self._steps.append(gradients)
        self._dy[t] = dy
        self._drows[end - len(gradients.rows) : end] += gradients.rows
        complete: Array = self._drows[end - 1]
        return complete

    def gradients(self) -> SiteGradients:
        """Gradients of the whole sequence, after step 0."""
        site, rows = self._cache.site, self._drows[self._M :]
        return SiteGradients(
            rows=rows,
            memory=None if self._cache.memory_rows is None else self._drows[: self._M],
            affine=_sum_affine(self._steps),
            bias=None
            if site.bias is None
            else (self._dy if site.bias_placement == "outside" else rows).sum(axis=(0, 1)),
        )


def site_statistics(cache: SiteCache) -> WindowStatistics:
    """Statistics of Eqs. (7)-(8) that a site used at each step, for ``update_population`` or for a plot.

    Raises
    ------
    TypeError
        Where the site had no window.
    """
    statistics = []
    for step in cache.steps:
        if not isinstance(step, NormStepCache):
            raise TypeError("norm: was not a WindowNorm, must be one for its steps to have window statistics")
        statistics.append(step.statistics)
    return WindowStatistics(np.stack([step.mean for step in statistics]), np.stack([step.var for step in statistics]))


def _step_forward(rows: Sequence[Array], step: int, site: Site) -> tuple[Array, SiteStepCache]:
    """Normalize the newest row, Eq. (9) at one step of a recurrence."""
    gamma, beta = (None, None) if site.affine is None else site.affine
    norm = site.norm
    if norm is None:
        return rows[-1], None
    if isinstance(norm, AdaNorm):
        return ada_norm_step_forward(rows[-1], norm)
    if isinstance(norm, PopulationSite):
        return population_step_forward(rows[-1], step, norm.statistics, gamma, beta, norm.eps)
    return norm_step_forward(np.stack(rows[-norm.k :]), gamma, beta, norm.eps, norm.base, norm.detach)


def _step_backward(dy: Array, cache: SiteStepCache) -> NormStepGradients:
    """Gradient of every row that one step of Eq. (9) read, the newest last, and of the gain and shift."""
    if cache is None:
        return NormStepGradients(dy[None], None, None)
    if isinstance(cache, AdaNormStepCache):
        return ada_norm_step_backward(dy, cache)
    if isinstance(cache, PopulationStepCache):
        return population_step_backward(dy, cache)
    return norm_step_backward(dy, cache)


def _sum_affine(steps: Sequence[NormStepGradients]) -> Affine | None:
    """Gradient of the gain and shift that all steps share: the sum; None where there was none."""
    gammas = [step.gamma for step in steps if step.gamma is not None]
    betas = [step.beta for step in steps if step.beta is not None]
    return Affine(np.stack(gammas).sum(axis=0), np.stack(betas).sum(axis=0)) if gammas and betas else None
