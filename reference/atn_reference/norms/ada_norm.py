"""AdaNorm (Xu, Sun, Zhang, Zhao, Lin 2019, *Understanding and Improving Layer Normalization*, section 4).

LN without gain and shift, times a factor that depends on the normalized value itself::

    z = C * (1 - slope * y) * y,   y = LN(a)

and the factor is a constant to the gradient. So the gradient in use is ``dy = C * (1 - slope * y) * dz``, where the
derivative of the printed forward pass is ``C * (1 - 2 * slope * y)``: a comparison with finite differences has to
fail, by exactly that. z grows with y only for y < 1 / (2 * slope), 5 for the published slope of 1/10.

The statistics are the paper's own, of Eqs. (5)-(6): biased variance, eps under the root. The authors' released code
divides by the unbiased standard deviation plus eps instead (lancopku/AdaNorm, ``layer_norm.py``).

Letters: T time, B batch, N features.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array, NormGradients
from atn_reference.norms.norm_step import NormStepCache, NormStepGradients, norm_step_backward, norm_step_forward
from atn_reference.norms.settings import AdaNorm
from atn_reference.validation import check_arrays, check_instance, check_like, check_real


class AdaNormStepCache(NamedTuple):
    """What the backward pass of one step needs: the cache of LN, and the factor C * (1 - slope * y), (B, N)."""

    norm: NormStepCache
    factor: Array


class AdaNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    steps : T caches, one per step
    z : (T, B, N), the output
    """

    steps: list[AdaNormStepCache]
    z: Array


def ada_norm_step_forward(a: Array, norm: AdaNorm) -> tuple[Array, AdaNormStepCache]:
    """AdaNorm of one step (Xu et al. 2019, section 4).

    Parameters
    ----------
    a : (B, N)
    norm : AdaNorm

    Returns
    -------
    z : (B, N)
    cache
    """
    y, cache = norm_step_forward(a[None], None, None, norm.eps, "layer")
    factor = norm.C * (1.0 - norm.slope * y)
    return factor * y, AdaNormStepCache(cache, factor)


def ada_norm_step_backward(dz: Array, cache: AdaNormStepCache) -> NormStepGradients:
    """Gradients of one step (Xu et al. 2019, section 4): the factor is a constant, the statistics of LN are not.

    Parameters
    ----------
    dz : (B, N)

    Returns
    -------
    NormStepGradients
        rows (1, B, N).
    """
    return norm_step_backward(cache.factor * dz, cache.norm)


def ada_norm_forward(a: Array, C: float = 1.0, slope: float = 0.1, eps: float = 1e-5) -> tuple[Array, AdaNormCache]:
    """AdaNorm of a sequence (Xu et al. 2019, section 4).

    Parameters
    ----------
    a : (T, B, N), real or complex floating point
    C : real number > 0
    slope : real number >= 0, the paper's k
    eps : >= 0, added to the biased variance, under the root

    Returns
    -------
    z : (T, B, N)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    norm = checked_ada_norm(AdaNorm(C, slope, eps))
    check_arrays(("a", a, "T B N"))
    outputs, steps = zip(*(ada_norm_step_forward(row, norm) for row in a), strict=True)
    z = np.stack(outputs)
    return z, AdaNormCache(list(steps), z.copy())


def ada_norm_backward(dz: Array, cache: AdaNormCache) -> NormGradients:
    """Gradient of ``ada_norm_forward`` as its authors take it (Xu et al. 2019, section 4), not the derivative.

    Parameters
    ----------
    dz : (T, B, N)

    Returns
    -------
    NormGradients
        a (T, B, N); there is no gain, shift or memory.
    """
    check_instance("cache", cache, AdaNormCache)
    check_like("dz", dz, cache.z)
    rows = [ada_norm_step_backward(step_dz, step).rows for step_dz, step in zip(dz, cache.steps, strict=True)]
    return NormGradients(a=np.concatenate(rows), gamma=None, beta=None)


def checked_ada_norm(norm: AdaNorm, prefix: str = "") -> AdaNorm:
    """Return the constants (Xu et al. 2019, section 4) as Python floats, or raise TypeError or ValueError."""
    return AdaNorm(
        check_real(f"{prefix}C", norm.C, positive=True),
        check_real(f"{prefix}slope", norm.slope, positive=False),
        check_real(f"{prefix}eps", norm.eps, positive=False),
    )
