"""Evaluation of BN and ATN-BN: statistics of the population, kept apart for every time step.

The batch that the statistics of ``base="batch"`` are taken over does not exist at evaluation. As in Recurrent Batch
Normalization (Cooijmans et al. 2017), each time step keeps its own running mean and variance (here of the window,
Eqs. (7)-(8)), and steps beyond the longest sequence seen use the last. The running variance is the biased one of the
training pass, so that evaluating with one batch's statistics repeats what training computed on that batch.

Letters: T time, B batch, N features, S recorded steps.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atn_reference.arrays import Array, NormGradients
from atn_reference.copies import copied
from atn_reference.norms.assorted_time_norm import sum_over_steps
from atn_reference.norms.gain_shift import GainShiftCache, gain_shift_backward, gain_shift_forward
from atn_reference.norms.norm_step import NormStepGradients
from atn_reference.norms.window import WindowStatistics
from atn_reference.validation import (
    check_arrays,
    check_eps,
    check_instance,
    check_integer,
    check_like,
    check_momentum,
    check_recorded,
)


class PopulationStatistics(NamedTuple):
    """Running statistics of the windows of Eqs. (7)-(8), by time step.

    Attributes
    ----------
    mean, var : (S, N)
    updates : (S,) integers, the batches that each step has seen
    """

    mean: Array
    var: Array
    updates: NDArray[np.int64]


class PopulationStepCache(NamedTuple):
    """What the backward pass of one step needs.

    Attributes
    ----------
    rstd : (N,)
    gain_shift : cache of gamma and beta
    """

    rstd: Array
    gain_shift: GainShiftCache


class PopulationNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    steps : T caches, one per step
    y : (T, B, N), the output
    """

    steps: list[PopulationStepCache]
    y: Array


def update_population(
    population: PopulationStatistics | None, statistics: WindowStatistics, momentum: float | None = 0.1
) -> PopulationStatistics:
    """Take one batch's statistics (Eqs. (7)-(8), base "batch") into the running ones.

    A step met for the first time takes the batch's statistics as they are; after that ``old + w * (new - old)`` with
    w = momentum, or w = 1 / (batches seen) for the plain average over all batches.

    Parameters
    ----------
    population : what earlier batches gave, (S, N), or None
    statistics : mean and var, (T, 1, N)
    momentum : in [0, 1], or None for the plain average

    Returns
    -------
    PopulationStatistics
        With max(S, T) steps; the steps beyond T stay as they were.
    """
    momentum = check_momentum(momentum)
    check_instance("statistics", statistics, WindowStatistics)
    check_instance("population", population, PopulationStatistics, type(None))
    if population is not None:
        check_recorded("population", population.var, population.updates)
    sizes = check_arrays(("statistics.mean", statistics.mean, "T B N"), ("statistics.var", statistics.var, "T B N"))
    if sizes["B"] != 1:
        raise ValueError(f'statistics: shape was {statistics.mean.shape}, must be (T, 1, N), those of base "batch"')
    mean, var = statistics.mean[:, 0], statistics.var[:, 0]
    if population is None:
        return PopulationStatistics(mean.copy(), var.copy(), np.ones(len(mean), dtype=np.int64))
    check_arrays(
        ("statistics.mean", mean, "T N"),
        ("population.mean", population.mean, "S N"),
        ("population.var", population.var, "S N"),
    )
    S = len(population.mean)
    both = min(len(mean), S)
    updates = np.ones(max(len(mean), S), dtype=np.int64)
    updates[:S] = population.updates
    updates[:both] += 1
    # Cast, for an array of another dtype would lift float32 statistics to float64.
    weight = (1.0 / updates[:both, None] if momentum is None else np.full((both, 1), momentum)).astype(mean.dtype)

    def moved(old: Array, new: Array) -> Array:
        return np.concatenate([(1 - weight) * old[:both] + weight * new[:both], old[both:], new[both:]])

    return PopulationStatistics(moved(population.mean, mean), moved(population.var, var), updates)


def population_step_forward(
    a: Array, step: int, population: PopulationStatistics, gamma: Array | None, beta: Array | None, eps: float
) -> tuple[Array, PopulationStepCache]:
    """Normalize one step by the statistics recorded for it, Eq. (9) with constants in place of mu and sigma^2.

    Parameters
    ----------
    a : (B, N)
    step : number of steps since the sequence began; from S on the last recorded step is used
    population : (S, N)
    gamma, beta : (N,) or None
    eps : >= 0

    Returns
    -------
    y : (B, N)
    cache
    """
    recorded = min(step, len(population.mean) - 1)
    rstd = 1.0 / np.sqrt(population.var[recorded] + eps)
    y, gain_shift = gain_shift_forward((a - population.mean[recorded]) * rstd, gamma, beta)
    return y, PopulationStepCache(rstd, gain_shift)


def population_step_backward(dy: Array, cache: PopulationStepCache) -> NormStepGradients:
    """Gradients of one step of Eq. (9) with constant statistics: the direct term alone. dy (B, N), rows (1, B, N)."""
    outer = gain_shift_backward(dy, cache.gain_shift)
    return NormStepGradients((cache.rstd * outer.xhat)[None], outer.gamma, outer.beta)


def population_norm_forward(
    a: Array,
    population: PopulationStatistics,
    gamma: Array | None = None,
    beta: Array | None = None,
    eps: float = 1e-5,
    start: int = 0,
) -> tuple[Array, PopulationNormCache]:
    """Normalize a sequence by statistics of the population, Eq. (9) as BN and ATN-BN evaluate it.

    Parameters
    ----------
    a : (T, B, N)
    population : mean and var (S, N)
    gamma, beta : (N,) or None
    eps : >= 0
    start : step at which a[0] stands, for a chunk of a longer sequence

    Returns
    -------
    y : (T, B, N)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    eps, start = check_eps(eps), check_integer("start", start, 0)
    check_instance("population", population, PopulationStatistics)
    check_recorded("population", population.var, population.updates)
    check_arrays(
        ("a", a, "T B N"),
        ("gamma", gamma, "N"),
        ("beta", beta, "N"),
        ("population.mean", population.mean, "S N"),
        ("population.var", population.var, "S N"),
    )
    gamma = copied(gamma)
    outputs, steps = [], []
    for t in range(len(a)):
        y_t, step = population_step_forward(a[t], start + t, population, gamma, beta, eps)
        outputs.append(y_t)
        steps.append(step)
    y = np.stack(outputs)
    return y, PopulationNormCache(steps, y)


def population_norm_backward(dy: Array, cache: PopulationNormCache) -> NormGradients:
    """Gradients of ``population_norm_forward``, Eq. (9) with constant statistics.

    Parameters
    ----------
    dy : (T, B, N)

    Returns
    -------
    NormGradients
        a (T, B, N), gamma and beta (N,) or None; memory is None, evaluation has no window.
    """
    check_instance("cache", cache, PopulationNormCache)
    check_like("dy", dy, cache.y)
    gradients = [population_step_backward(dy_t, step) for dy_t, step in zip(dy, cache.steps, strict=True)]
    return NormGradients(
        a=np.concatenate([step.rows for step in gradients]),
        gamma=sum_over_steps([step.gamma for step in gradients]),
        beta=sum_over_steps([step.beta for step in gradients]),
    )
