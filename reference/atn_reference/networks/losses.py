"""The losses of the paper's tasks: softmax cross-entropy (section 4.1.1) and squared error (section 4.1.2), as means.

Letters: C classes; "..." any leading axes, such as time and batch.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.validation import check_floating, check_instance, check_scalar


class CrossEntropyCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    probabilities : (..., C)
    targets : (...)
    """

    probabilities: Array
    targets: NDArray[np.integer[Any]]


class SquaredErrorCache(NamedTuple):
    """What the backward pass needs: prediction less target, of their shape."""

    difference: Array


def softmax_cross_entropy_forward(logits: Array, targets: NDArray[np.integer[Any]]) -> tuple[Array, CrossEntropyCache]:
    """Mean cross-entropy of a softmax, in nats: the loss of section 4.1.1.

    The largest logit is taken off first, against overflow; it is a constant shift and cancels in loss and gradient.

    Parameters
    ----------
    logits : (..., C)
    targets : (...), integers in [0, C)

    Returns
    -------
    loss : (), of the logits' dtype
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    logits = check_floating("logits", logits)
    if logits.ndim == 0 or logits.size == 0:
        raise ValueError(f"logits: shape was {logits.shape}, must be (..., C), every size at least 1")
    if not isinstance(targets, np.ndarray) or not np.issubdtype(targets.dtype, np.integer):
        raise TypeError(f"targets: was {getattr(targets, 'dtype', type(targets).__name__)}, must be an integer array")
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"targets: shape was {targets.shape}, must be {logits.shape[:-1]}, that of logits without C")
    if targets.min() < 0 or targets.max() >= logits.shape[-1]:
        raise ValueError(
            f"targets: were {targets.min()} to {targets.max()}, must be in [0, C) with C = {logits.shape[-1]}"
        )
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    picked = np.take_along_axis(log_probabilities, targets[..., None], axis=-1)
    loss = -picked.sum() / targets.size
    return np.asarray(loss), CrossEntropyCache(np.exp(log_probabilities), copied(targets))


def softmax_cross_entropy_backward(dloss: float | Array, cache: CrossEntropyCache) -> Array:
    """Gradient (..., C) of the logits of section 4.1.1's loss: (probabilities - one-hot target) / count.

    Parameters
    ----------
    dloss : (), gradient of the loss

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_instance("cache", cache, CrossEntropyCache)
    upstream = check_scalar("dloss", dloss, cache.probabilities.dtype)
    one_hot = np.zeros_like(cache.probabilities)
    np.put_along_axis(one_hot, cache.targets[..., None], 1.0, axis=-1)
    dlogits: Array = upstream * (cache.probabilities - one_hot) / cache.targets.size
    return dlogits


def squared_error_forward(prediction: Array, target: Array) -> tuple[Array, SquaredErrorCache]:
    """Mean squared error: the loss of section 4.1.2.

    Parameters
    ----------
    prediction, target : one shape, one dtype

    Returns
    -------
    loss : (), of the prediction's dtype
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    prediction, target = check_floating("prediction", prediction), check_floating("target", target)
    if target.dtype != prediction.dtype:
        raise TypeError(f"target: dtype was {target.dtype}, must be {prediction.dtype}, the dtype of prediction")
    if target.shape != prediction.shape:
        raise ValueError(f"target: shape was {target.shape}, must be {prediction.shape}, the shape of prediction")
    if prediction.size == 0:
        raise ValueError(f"prediction: shape was {prediction.shape}, must have at least one element")
    difference = prediction - target
    loss = (difference * difference).sum() / prediction.size
    return np.asarray(loss), SquaredErrorCache(difference)


def squared_error_backward(dloss: float | Array, cache: SquaredErrorCache) -> Array:
    """Gradient of the prediction in section 4.1.2's loss; the target's is its negative.

    Parameters
    ----------
    dloss : (), gradient of the loss

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_instance("cache", cache, SquaredErrorCache)
    upstream = check_scalar("dloss", dloss, cache.difference.dtype)
    dprediction: Array = upstream * 2.0 * cache.difference / cache.difference.size
    return dprediction
