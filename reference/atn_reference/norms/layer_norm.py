"""Layer Normalization as the paper recalls it, Eqs. (5)-(6): statistics over the features of one step.

Written on its own, not through ATN with k = 1, so that the two can be held against each other.

Letters: T time, B batch, N features (the paper's n).
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array, NormGradients
from atn_reference.copies import copied
from atn_reference.validation import check_arrays, check_eps, check_instance, check_like


class LayerNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    xhat : (T, B, N)
    rstd : (T, B, 1), (var + eps)^(-1/2)
    gamma : (N,) or None
    has_beta : whether there was a shift
    """

    xhat: Array
    rstd: Array
    gamma: Array | None
    has_beta: bool


def layer_norm_forward(
    a: Array, gamma: Array | None = None, beta: Array | None = None, eps: float = 1e-5
) -> tuple[Array, LayerNormCache]:
    """Normalize every step of every case over its features, Eqs. (5)-(6).

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
    mean = a.mean(axis=2, keepdims=True)
    var = ((a - mean) ** 2).mean(axis=2, keepdims=True)
    rstd = 1.0 / np.sqrt(var + eps)
    xhat = (a - mean) * rstd
    scaled = xhat.copy() if gamma is None else gamma * xhat
    y = scaled if beta is None else scaled + beta
    return y, LayerNormCache(xhat, rstd, copied(gamma), beta is not None)


def layer_norm_backward(dy: Array, cache: LayerNormCache) -> NormGradients:
    """Gradients of Eqs. (5)-(6).

    Parameters
    ----------
    dy : (T, B, N)

    Returns
    -------
    NormGradients
        a (T, B, N), gamma and beta (N,) or None.
    """
    check_instance("cache", cache, LayerNormCache)
    check_like("dy", dy, cache.xhat)
    dxhat = dy if cache.gamma is None else cache.gamma * dy
    # Direct term, then the terms of the mean and of the variance.
    da = cache.rstd * (
        dxhat - dxhat.mean(axis=2, keepdims=True) - cache.xhat * (dxhat * cache.xhat).mean(axis=2, keepdims=True)
    )
    return NormGradients(
        a=da,
        gamma=None if cache.gamma is None else (dy * cache.xhat).sum(axis=(0, 1)),
        beta=dy.sum(axis=(0, 1)) if cache.has_beta else None,
    )
