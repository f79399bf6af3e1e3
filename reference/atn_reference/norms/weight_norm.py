"""Weight Normalization (Salimans and Kingma 2016): the WN column of Table B.1.

Each row of a weight is a gain times a direction, W[j] = g[j] * v[j] / |v[j]|. A network with WN is the plain network
on weights made here: no statistics, no time.

Letters: N outputs (rows), I inputs.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.validation import check_arrays, check_instance, check_like


class WeightNormCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    direction : (N, I), the rows v[j] / |v[j]|, zeros for a row of zeros
    length : (N, 1), |v[j]|, 1 for a row of zeros
    g : (N,)
    """

    direction: Array
    length: Array
    g: Array


def weight_norm_forward(v: Array, g: Array) -> tuple[Array, WeightNormCache]:
    """Weight with rows of direction v[j] and signed length g[j], Table B.1 column WN.

    The length is the root of a sum of squares without abs, so that complex-step derivatives pass. A row of zeros has no
    direction, and stays zero.

    Parameters
    ----------
    v : (N, I)
    g : (N,)

    Returns
    -------
    W : (N, I)
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_arrays(("v", v, "N I"), ("g", g, "N"))
    length = np.sqrt((v * v).sum(axis=1, keepdims=True))
    length = np.where(length == 0, np.ones_like(length), length)
    direction = v / length
    return g[:, None] * direction, WeightNormCache(direction, length, copied(g))


def weight_norm_backward(dW: Array, cache: WeightNormCache) -> tuple[Array, Array]:
    """Gradients of ``weight_norm_forward`` (Table B.1 column WN).

    Parameters
    ----------
    dW : (N, I)

    Returns
    -------
    dv : (N, I), orthogonal to v row by row, since the length of v does not matter
    dg : (N,)
    """
    check_instance("cache", cache, WeightNormCache)
    check_like("dW", dW, cache.direction)
    dg = (dW * cache.direction).sum(axis=1)
    # Direct term, less its part along v, which the division by |v| takes away.
    dv = (cache.g[:, None] / cache.length) * (dW - dg[:, None] * cache.direction)
    return dv, dg
