"""The gradient of the last filter in a linear network with channel normalization, and what the released code plots.

By the collapse of the norms (`proofs/channel_norm.py`) a linear network of one channel with channel normalization is
u = X w / |X w|, with w the last filter and X the circulant of everything else. The gradient of <u, y> in w is a
projection: what lies along u is taken from y.

Letters: N samples of the signal.
"""

import numpy as np

from atn_reference.arrays import Array
from atn_reference.validation import check_arrays


def projected_gradient(X: Array, w: Array, y: Array) -> Array:
    """Gradient X^T (I - u u^T) y / |X w| of <u, y>, u = X w / |X w|; Dai and Heckel 2019.

    Parameters
    ----------
    X : (N, N)
    w, y : (N,)
    """
    check_arrays(("X", X, "N N"), ("w", w, "N"), ("y", y, "N"))
    Xw = X @ w
    length = np.sqrt((Xw * Xw).sum())
    u = Xw / length
    gradient: Array = X.T @ (y - u * (u * y).sum()) / length
    return gradient


def released_gradient(X: Array, w: Array, y: Array) -> Array:
    """The same as computed for figure 4b of Dai and Heckel 2019: the product of two vectors there is their inner one.

    So 1 stands in the place of u u^T, and ``I - 1`` is I less a matrix of ones. The rows of X sum to 0, and nothing
    at all is projected away: this is X^T y / |X w|.

    Parameters
    ----------
    X : (N, N), whose rows and columns sum to 0
    w, y : (N,)
    """
    check_arrays(("X", X, "N N"), ("w", w, "N"), ("y", y, "N"))
    Xw = X @ w
    length = np.sqrt((Xw * Xw).sum())
    gradient: Array = X.T @ ((np.eye(len(y)) - Xw @ Xw / length**2) @ y) / length
    return gradient
