"""ATN at one time step: the newest row of a window, normalized by the statistics of the window. Eq. (9).

The whole-sequence form and the recurrent networks run these two functions and no others: the mathematics stands
here once. The backward pass returns a gradient for *every* row of the window, since each took part in the statistics.

Letters: B batch, N features, K rows in the window.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array, Base
from atn_reference.norms.gain_shift import GainShiftCache, gain_shift_backward, gain_shift_forward
from atn_reference.norms.settings import Statistic
from atn_reference.norms.window import WindowStatistics, WindowStepCache, window_step_backward, window_step_forward


class NormStepCache(NamedTuple):
    """What the backward pass of one step needs.

    Attributes
    ----------
    window : cache of the window's statistics
    statistics : mean and var, (B, 1) or (1, N)
    rstd : (var + eps)^(-1/2), shaped as var
    xhat : (B, N)
    gain_shift : cache of gamma and beta
    base : "layer" or "batch"
    detach : statistics that the backward pass takes for constants
    """

    window: WindowStepCache
    statistics: WindowStatistics
    rstd: Array
    xhat: Array
    gain_shift: GainShiftCache
    base: Base
    detach: tuple[Statistic, ...]


class NormStepGradients(NamedTuple):
    """Gradients of one step's inputs.

    Attributes
    ----------
    rows : (K, B, N), the newest last
    gamma, beta : (N,), or None where there was none
    """

    rows: Array
    gamma: Array | None
    beta: Array | None


def norm_step_forward(
    rows: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float,
    base: Base,
    detach: tuple[Statistic, ...] = (),
) -> tuple[Array, NormStepCache]:
    """Normalize the newest row of a window, Eq. (9).

    eps is added to the variance, under the root, as Eq. (9) prints it.

    Parameters
    ----------
    rows : (K, B, N), the window, the newest row last
    gamma, beta : (N,) or None
    eps : >= 0
    base : "layer" or "batch"
    detach : statistics that the backward pass takes for constants; the output does not depend on it

    Returns
    -------
    y : (B, N)
    cache
    """
    statistics, window = window_step_forward(rows, base)
    rstd = 1.0 / np.sqrt(statistics.var + eps)
    xhat = (rows[-1] - statistics.mean) * rstd
    y, gain_shift = gain_shift_forward(xhat, gamma, beta)
    return y, NormStepCache(window, statistics, rstd, xhat, gain_shift, base, detach)


def norm_step_backward(dy: Array, cache: NormStepCache) -> NormStepGradients:
    """Gradients of Eq. (9): those of Proposition 1, summed against dy, for independent rows.

    Parameters
    ----------
    dy : (B, N)

    Returns
    -------
    NormStepGradients
    """
    outer = gain_shift_backward(dy, cache.gain_shift)
    pooled = 1 if cache.base == "layer" else 0
    # Direct term: the newest row in the numerator.
    direct = cache.rstd * outer.xhat
    # Statistics terms: the mean in the numerator, the variance in the denominator.
    dmean = -direct.sum(axis=pooled, keepdims=True)
    dvar = -0.5 * cache.rstd * cache.rstd * (outer.xhat * cache.xhat).sum(axis=pooled, keepdims=True)
    # A detached statistic passes nothing on to the rows that it is made of.
    dmean = np.zeros_like(dmean) if "mean" in cache.detach else dmean
    dvar = np.zeros_like(dvar) if "var" in cache.detach else dvar
    # Every row of the window took part in the statistics.
    drows = window_step_backward(dmean, dvar, cache.window)
    drows[-1] += direct
    return NormStepGradients(drows, outer.gamma, outer.beta)
