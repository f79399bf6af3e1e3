"""Batch Normalization of a sequence in training: Eqs. (5)-(6) with the mean taken over the batch of one step.

Each time step has its own statistics, as in Recurrent Batch Normalization (Cooijmans et al. 2017), which the paper
builds on; evaluation is ``population_norm_forward``. Written on its own, not through ATN with k = 1, so that the two
can be held against each other.

Letters: T time, B batch, N features.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array, NormGradients
from atn_reference.copies import copied
from atn_reference.validation import check_arrays, check_eps, check_instance, check_like


class BatchNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    xhat : (T, B, N)
    rstd : (T, 1, N), (var + eps)^(-1/2)
    gamma : (N,) or None
    has_beta : whether there was a shift
    """

    xhat: Array
    rstd: Array
    gamma: Array | None
    has_beta: bool


def batch_norm_forward(
    a: Array, gamma: Array | None = None, beta: Array | None = None, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """Normalize every feature of every step over the batch, Eqs. (5)-(6) with B in place of n.

    Parameters
    ----------
    a : (T, B, N)
    gamma, beta : (N,) or None
    eps : >= 0, added to the biased variance, under the root

    Returns
    -------
    y : (T, B, N)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    eps = check_eps(eps)
    check_arrays(("a", a, "T B N"), ("gamma", gamma, "N"), ("beta", beta, "N"))
    mean = a.mean(axis=1, keepdims=True)
    var = ((a - mean) ** 2).mean(axis=1, keepdims=True)
    rstd = 1.0 / np.sqrt(var + eps)
    xhat = (a - mean) * rstd
    scaled = xhat.copy() if gamma is None else gamma * xhat
    y = scaled if beta is None else scaled + beta
    return y, BatchNormCache(xhat, rstd, copied(gamma), beta is not None)


def batch_norm_backward(dy: Array, cache: BatchNormCache) -> NormGradients:
    """Gradients of Eqs. (5)-(6) over the batch.

    Parameters
    ----------
    dy : (T, B, N)

    Returns
    -------
    NormGradients
        a (T, B, N), gamma and beta (N,) or None.
    """
    check_instance("cache", cache, BatchNormCache)
    check_like("dy", dy, cache.xhat)
    dxhat = dy if cache.gamma is None else cache.gamma * dy
    # Direct term, then the terms of the mean and of the variance.
    da = cache.rstd * (
        dxhat - dxhat.mean(axis=1, keepdims=True) - cache.xhat * (dxhat * cache.xhat).mean(axis=1, keepdims=True)
    )
    return NormGradients(
        a=da,
        gamma=None if cache.gamma is None else (dy * cache.xhat).sum(axis=(0, 1)),
        beta=dy.sum(axis=(0, 1)) if cache.has_beta else None,
    )
