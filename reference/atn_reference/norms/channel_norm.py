"""Channel normalization of one example (Dai and Heckel 2019): statistics over the samples of each channel.

A convolutional network that is fitted to a single signal has no batch, so the samples of a channel stand in its place.
The variance is the unbiased one, as in the released code; there is a shift and no gain.

Letters: C channels, N samples of the signal.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array
from atn_reference.validation import check_arrays, check_eps, check_instance, check_like


class ChannelNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    xhat : (C, N), with an unbiased variance of 1 in each channel
    rstd : (C, 1), (var + eps)^(-1/2)
    has_beta : whether there was a shift
    """

    xhat: Array
    rstd: Array
    has_beta: bool


class ChannelNormGradients(NamedTuple):
    """Gradients of the inputs.

    Attributes
    ----------
    a : (C, N)
    beta : (C,) or None
    """

    a: Array
    beta: Array | None


def channel_norm_forward(a: Array, beta: Array | None = None, eps: float = 1e-5) -> tuple[Array, ChannelNormCache]:
    """Normalize each channel over its samples: (a - mean) / sqrt(var + eps) + beta, of Dai and Heckel 2019.

    Parameters
    ----------
    a : (C, N), N >= 2
    beta : (C,) or None
    eps : >= 0, added to the unbiased variance, under the root

    Returns
    -------
    y : (C, N)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    eps = check_eps(eps)
    sizes = check_arrays(("a", a, "C N"), ("beta", beta, "C"))
    if sizes["N"] < 2:
        raise ValueError("a: had 1 sample, must have at least 2 for an unbiased variance")
    deviation = a - a.mean(axis=1, keepdims=True)
    var = (deviation * deviation).sum(axis=1, keepdims=True) / (sizes["N"] - 1)
    rstd = 1.0 / np.sqrt(var + eps)
    xhat = deviation * rstd
    y = xhat.copy() if beta is None else xhat + beta[:, None]
    return y, ChannelNormCache(xhat, rstd, beta is not None)


def channel_norm_backward(dy: Array, cache: ChannelNormCache) -> ChannelNormGradients:
    """Gradients of channel normalization, Dai and Heckel 2019.

    The term of the variance has the factor 1/(N - 1) of the unbiased variance where layer normalization has 1/N.

    Parameters
    ----------
    dy : (C, N)
    """
    check_instance("cache", cache, ChannelNormCache)
    check_like("dy", dy, cache.xhat)
    along = (dy * cache.xhat).sum(axis=1, keepdims=True) / (dy.shape[1] - 1)
    # Direct term, then the terms of the mean and of the variance.
    da = cache.rstd * (dy - dy.mean(axis=1, keepdims=True) - cache.xhat * along)
    return ChannelNormGradients(a=da, beta=dy.sum(axis=1) if cache.has_beta else None)
