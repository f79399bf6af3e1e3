"""Assorted-Time Normalization of a whole sequence: Eq. (9) with the statistics of Eqs. (7)-(8).

Letters: T time, B batch, N features, k window length, M rows of memory.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array, Base, NormGradients
from atn_reference.copies import copied
from atn_reference.norms.norm_step import NormStepCache, norm_step_backward, norm_step_forward
from atn_reference.norms.settings import STATISTICS, Statistic
from atn_reference.norms.window import BASES, join_memory, window_slice
from atn_reference.validation import (
    check_arrays,
    check_choice,
    check_choices,
    check_eps,
    check_instance,
    check_like,
    check_memory_rows,
    check_window_length,
)


class AssortedTimeNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    steps : T caches, one per step
    k : window length
    memory_rows : M, or None where no memory was passed in
    y : (T, B, N), the output
    """

    steps: list[NormStepCache]
    k: int
    memory_rows: int | None
    y: Array


def assorted_time_norm_forward(
    a: Array,
    k: int,
    gamma: Array | None = None,
    beta: Array | None = None,
    eps: float = 1e-5,
    base: Base = "layer",
    memory: Array | None = None,
    detach: tuple[Statistic, ...] = (),
) -> tuple[Array, AssortedTimeNormCache]:
    """Normalize every step by the statistics of its window, Eq. (9).

    k = 1 is LN, Eqs. (5)-(6), or BN. Multiplying a by delta > 0 leaves y as it was when eps is 0 or is multiplied by
    delta^2: Eq. (10), which the paper prints without eps. A window of constant values with eps = 0 divides 0 by 0 and
    gives NaN with NumPy's warning.

    Parameters
    ----------
    a : (T, B, N), real or complex floating point
    k : window length, >= 1
    gamma, beta : (N,) or None
    eps : >= 0, added to the variance under the root
    base : "layer" (ATN-LN) or "batch" (ATN-BN in training)
    memory : (M, B, N) or None, the rows before a[0], M <= k - 1 (see ``next_memory``)
    detach : statistics that the backward pass takes for constants, "mean", "var" or both; the output does not depend on
        it (DetachNorm, Xu et al. 2019)

    Returns
    -------
    y : (T, B, N)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    k, eps = check_window_length(k), check_eps(eps)
    check_choice("base", base, BASES)
    check_choices("detach", detach, STATISTICS)
    check_arrays(("a", a, "T B N"), ("gamma", gamma, "N"), ("beta", beta, "N"), ("memory", memory, "M B N"))
    check_memory_rows("memory", memory, k)
    rows = join_memory(memory, a)
    M = len(rows) - len(a)
    gamma = copied(gamma)
    outputs, steps = [], []
    for t in range(len(a)):
        y_t, step = norm_step_forward(rows[window_slice(t, k, M)], gamma, beta, eps, base, detach)
        outputs.append(y_t)
        steps.append(step)
    y = np.stack(outputs)
    return y, AssortedTimeNormCache(steps, k, None if memory is None else M, y)


def assorted_time_norm_backward(dy: Array, cache: AssortedTimeNormCache) -> NormGradients:
    """Gradients of Eq. (9); the gradient flows through the whole window, past rows included.

    Parameters
    ----------
    dy : (T, B, N)

    Returns
    -------
    NormGradients
        a (T, B, N), gamma and beta (N,), memory (M, B, N); None where the input was None.
    """
    check_instance("cache", cache, AssortedTimeNormCache)
    check_like("dy", dy, cache.y)
    T, M = len(dy), cache.memory_rows or 0
    drows = np.zeros((M + T, *dy.shape[1:]), dtype=dy.dtype)
    dgammas, dbetas = [], []
    for t, step in enumerate(cache.steps):
        gradients = norm_step_backward(dy[t], step)
        dgammas.append(gradients.gamma)
        dbetas.append(gradients.beta)
        # Sum over the windows that contain a step.
        drows[window_slice(t, cache.k, M)] += gradients.rows
    return NormGradients(
        a=drows[M:],
        gamma=sum_over_steps(dgammas),
        beta=sum_over_steps(dbetas),
        memory=None if cache.memory_rows is None else drows[:M],
    )


def sum_over_steps(gradients: list[Array | None]) -> Array | None:
    """Sum of one parameter's gradients over the steps that share it; None where it was absent at every step."""
    present = [gradient for gradient in gradients if gradient is not None]
    return np.stack(present).sum(axis=0) if present else None
