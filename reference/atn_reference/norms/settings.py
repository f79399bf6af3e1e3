"""How a caller names a windowed norm and its parameters.

Letters: N features, k window length.
"""

from typing import NamedTuple

from atn_reference.arrays import Array, Base


class WindowNorm(NamedTuple):
    """Normalization by a window, Eq. (9).

    LN is ("layer", 1), BN ("batch", 1), ATN-LN ("layer", k), ATN-BN ("batch", k).

    Attributes
    ----------
    base : "layer" or "batch"
    k : window length, >= 1
    eps : >= 0
    """

    base: Base
    k: int
    eps: float = 1e-5


class Affine(NamedTuple):
    """Gain and shift of one normalizer, the gamma and beta of Eq. (9), shared by all steps.

    Attributes
    ----------
    gamma, beta : (N,)
    """

    gamma: Array
    beta: Array
