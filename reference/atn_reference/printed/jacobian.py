"""The explicit Jacobian of ATN-LN: every derivative that Proposition 1 speaks of, for independent rows.

Letters: T time, B batch, N features (i of the output, p of the input), k window length, m lag, K = K_t window size.
"""

import numpy as np

from atn_reference.arrays import Array
from atn_reference.norms.window import window_sizes, window_statistics_forward
from atn_reference.validation import check_arrays, check_eps, check_window_length


def atn_jacobian(a: Array, k: int, gamma: Array | None = None, eps: float = 1e-5) -> Array:
    """Derivative of every output of Eq. (9) with respect to every entry of its window (base "layer").

    With r = (var + eps)^(-1/2), what Prop. 1 becomes when the rows of a are independent variables::

        J[t, b, i, m, p] = gamma[i] * ( [m = 0][i = p] * r  -  r / (N*K_t)
                                        - xhat[t, b, i] * (a[t-m, b, p] - mu) * r^2 / (N*K_t) )

    The three terms are the row in the numerator of Eq. (11), the mean of Eq. (12) and the variance of Eq. (13) (in
    which the second sum is zero).

    Parameters
    ----------
    a : (T, B, N)
    k : window length
    gamma : (N,) or None
    eps : >= 0

    Returns
    -------
    J : (T, B, N, k, N), ``d y[t, b, i] / d a[t - m, b, p]`` at [t, b, i, m, p]; 0 where t - m < 0

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    k, eps = check_window_length(k), check_eps(eps)
    check_arrays(("a", a, "T B N"), ("gamma", gamma, "N"))
    T, B, N = a.shape
    gamma = np.ones(N, dtype=a.dtype) if gamma is None else gamma
    (mean, var), _ = window_statistics_forward(a, k)
    J = np.zeros((T, B, N, k, N), dtype=a.dtype)
    for t, K in enumerate(window_sizes(T, k).tolist()):
        r = (1.0 / np.sqrt(var[t] + eps))[:, :, None]  # (B, 1, 1)
        xhat = (a[t] - mean[t])[:, :, None] * r  # (B, N of i, 1)
        for m in range(K):
            deviation = (a[t - m] - mean[t])[:, None, :]  # (B, 1, N of p)
            direct = r * np.eye(N, dtype=a.dtype) if m == 0 else np.zeros((N, N), dtype=a.dtype)
            of_mean = r / (N * K)
            of_variance = xhat * deviation * r * r / (N * K)
            J[t, :, :, m, :] = gamma[:, None] * (direct - of_mean - of_variance)
    return J
