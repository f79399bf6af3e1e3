"""Gain and shift after a normalization: the gamma and beta of Eqs. (6) and (9), either of which may be absent.

Letters: B batch, N features.
"""

from typing import NamedTuple

from atn_reference.arrays import Array


class GainShiftCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    xhat : (B, N), the normalized values
    gamma : (N,) or None
    has_beta : whether there was a shift
    """

    xhat: Array
    gamma: Array | None
    has_beta: bool


class GainShiftGradients(NamedTuple):
    """Gradients of the normalized values and of the two parameters.

    Attributes
    ----------
    xhat : (B, N)
    gamma, beta : (N,), or None where there was none
    """

    xhat: Array
    gamma: Array | None
    beta: Array | None


def gain_shift_forward(xhat: Array, gamma: Array | None, beta: Array | None) -> tuple[Array, GainShiftCache]:
    """Scale and shift each feature, gamma * xhat + beta, the outer part of Eqs. (6) and (9).

    Parameters
    ----------
    xhat : (B, N)
    gamma, beta : (N,), or None for a gain of 1, a shift of 0

    Returns
    -------
    y : (B, N)
    cache
    """
    scaled = xhat if gamma is None else gamma * xhat
    y = scaled if beta is None else scaled + beta
    return y, GainShiftCache(xhat, gamma, beta is not None)


def gain_shift_backward(dy: Array, cache: GainShiftCache) -> GainShiftGradients:
    """Gradients of the outer part of Eqs. (6) and (9), for dy (B, N)."""
    return GainShiftGradients(
        xhat=dy if cache.gamma is None else cache.gamma * dy,
        gamma=None if cache.gamma is None else (dy * cache.xhat).sum(axis=0),
        beta=dy.sum(axis=0) if cache.has_beta else None,
    )
