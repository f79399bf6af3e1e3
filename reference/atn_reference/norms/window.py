"""The window of recent steps and its mean and variance: Eqs. (7)-(8).

The window of step t holds the last k rows that exist: ``memory`` rows of an earlier chunk, then a[0], ..., a[t].
In the warm-up fewer than k rows exist and the paper's count n*k is n*K_t with K_t = min(k, M + t + 1): so shows its
Figure 1, where the first step is plain LN; the text leaves it open.

The statistics are computed here from the rows themselves, as the equations say; the variance is the mean of squared
deviations, biased (divided by the count, as in Eq. (8)), without abs or conj, so that complex-step derivatives pass.

Letters: T time, B batch, N features, k window length, K = K_t rows in the window of step t, M rows of memory.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atn_reference.arrays import Array, Base
from atn_reference.validation import (
    check_arrays,
    check_choice,
    check_instance,
    check_integer,
    check_like,
    check_memory_rows,
    check_window_length,
)

BASES = ("layer", "batch")
"""The two bases: pooling over the window and the features (ATN-LN), or over the window and the batch (ATN-BN)."""

_POOLED_AXES = {"layer": (0, 2), "batch": (0, 1)}  # axes of rows (K, B, N)


class WindowStatistics(NamedTuple):
    """Mean and biased variance of the windows, Eqs. (7)-(8).

    Attributes
    ----------
    mean, var
        (T, B, 1) for base "layer", (T, 1, N) for base "batch"; of one step: the same without T.
    """

    mean: Array
    var: Array


class WindowStepCache(NamedTuple):
    """What the backward pass of one window needs.

    Attributes
    ----------
    deviations : (K, B, N), the rows less their mean
    entries : entries in one mean, N*K or B*K
    """

    deviations: Array
    entries: int


class WindowCache(NamedTuple):
    """What the backward pass of all windows needs.

    Attributes
    ----------
    steps : T caches, one a window
    k : window length
    memory_rows : M, or None where no memory was passed in
    statistics : the output
    """

    steps: list[WindowStepCache]
    k: int
    memory_rows: int | None
    statistics: WindowStatistics


def window_sizes(T: int, k: int, M: int = 0) -> NDArray[np.int64]:
    """Rows in the window of each step, K_t = min(k, M + t + 1): (T,), the count of Eqs. (7)-(8) divided by n.

    Parameters
    ----------
    T : number of steps
    k : window length
    M : rows of memory in front of step 0
    """
    T, k, M = check_integer("T", T, 1), check_window_length(k), check_integer("M", M, 0)
    return np.array([min(k, M + t + 1) for t in range(T)], dtype=np.int64)


def window_slice(t: int, k: int, M: int = 0) -> slice:
    """Where the window of step t lies in the rows ``[memory, a]``: the last min(k, M + t + 1) up to step t."""
    end = M + t + 1
    return slice(end - min(k, end), end)


def join_memory(memory: Array | None, a: Array) -> Array:
    """Rows a window can see: memory (M, B, N) or None, then a (T, B, N) -> (M + T, B, N)."""
    return np.concatenate([a[:0] if memory is None else memory, a])


def next_memory(a: Array, k: int, memory: Array | None = None) -> Array:
    """Rows that a stream must carry to its next chunk: the last k - 1, the reach of Eqs. (7)-(8) into the past.

    Parameters
    ----------
    a : (T, B, N)
    k : window length
    memory : (M, B, N) or None, the rows carried into this chunk

    Returns
    -------
    (min(k - 1, M + T), B, N)
    """
    k = check_window_length(k)
    check_arrays(("a", a, "T B N"), ("memory", memory, "M B N"))
    check_memory_rows("memory", memory, k)
    rows = join_memory(memory, a)
    return rows[len(rows) - min(k - 1, len(rows)) :]


def window_step_forward(rows: Array, base: Base) -> tuple[WindowStatistics, WindowStepCache]:
    """Mean and variance of one window, Eqs. (7)-(8) at one step.

    Parameters
    ----------
    rows : (K, B, N), the rows of the window
    base : "layer" pools over (K, N), "batch" over (K, B)

    Returns
    -------
    statistics : mean and var, (B, 1) or (1, N)
    cache
    """
    axes = _POOLED_AXES[base]
    entries = rows.shape[axes[0]] * rows.shape[axes[1]]
    mean = rows.sum(axis=axes, keepdims=True) / entries
    deviations = rows - mean
    var = (deviations * deviations).sum(axis=axes, keepdims=True) / entries
    return WindowStatistics(mean[0], var[0]), WindowStepCache(deviations, entries)


def window_step_backward(dmean: Array, dvar: Array, cache: WindowStepCache) -> Array:
    """Gradient of every row of one window of Eqs. (7)-(8).

    The variance depends on the rows through the mean too, but that part is ``-2 * dvar * sum(deviations) / entries``,
    and the deviations of a window from their own mean sum to zero.

    Parameters
    ----------
    dmean, dvar : (B, 1) or (1, N)

    Returns
    -------
    drows : (K, B, N)
    """
    drows: Array = (dmean + 2.0 * dvar * cache.deviations) / cache.entries
    return drows


def window_statistics_forward(
    a: Array, k: int, base: Base = "layer", memory: Array | None = None
) -> tuple[WindowStatistics, WindowCache]:
    """Mean and variance of the window of every step, Eqs. (7)-(8).

    Parameters
    ----------
    a : (T, B, N)
    k : window length, >= 1; longer than the sequence is allowed, the windows then hold all the steps so far
    base : "layer" (ATN-LN) or "batch" (ATN-BN)
    memory : (M, B, N) or None, the rows before a[0], M <= k - 1

    Returns
    -------
    statistics : mean and var, (T, B, 1) for "layer", (T, 1, N) for "batch"
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    k = check_window_length(k)
    check_choice("base", base, BASES)
    check_arrays(("a", a, "T B N"), ("memory", memory, "M B N"))
    check_memory_rows("memory", memory, k)
    rows = join_memory(memory, a)
    M = len(rows) - len(a)
    means, variances, steps = [], [], []
    for t in range(len(a)):
        (mean, var), step = window_step_forward(rows[window_slice(t, k, M)], base)
        means.append(mean)
        variances.append(var)
        steps.append(step)
    statistics = WindowStatistics(np.stack(means), np.stack(variances))
    return statistics, WindowCache(steps, k, None if memory is None else M, statistics)


def window_statistics_backward(dmean: Array, dvar: Array, cache: WindowCache) -> tuple[Array, Array | None]:
    """Gradient of the rows from that of the statistics of Eqs. (7)-(8).

    Parameters
    ----------
    dmean, dvar : shaped as the mean and the variance

    Returns
    -------
    da : (T, B, N), the sum over the windows that contain each step
    dmemory : (M, B, N), or None where no memory was passed in
    """
    check_instance("cache", cache, WindowCache)
    check_like("dmean", dmean, cache.statistics.mean)
    check_like("dvar", dvar, cache.statistics.var)
    T, M = len(cache.steps), cache.memory_rows or 0
    drows = np.zeros((M + T, *cache.steps[0].deviations.shape[1:]), dtype=dmean.dtype)
    for t, step in enumerate(cache.steps):
        drows[window_slice(t, cache.k, M)] += window_step_backward(dmean[t], dvar[t], step)
    return drows[M:], None if cache.memory_rows is None else drows[:M]
