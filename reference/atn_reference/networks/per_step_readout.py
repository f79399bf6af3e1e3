"""A linear map of all hidden states, concatenated, to the logits of classes (Barberan et al. 2022, NeuroView-RNN).

Letters: T time, B batch, H hidden, C classes.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.validation import check_arrays, check_instance, check_like


class PerStepOutput(NamedTuple):
    """What the forward pass returns.

    Attributes
    ----------
    logits : (B, C)
    s : (B, C, T), the contribution of each step to each logit
    """

    logits: Array
    s: Array


class PerStepCache(NamedTuple):
    """What the backward pass needs.

    Attributes
    ----------
    h : (T, B, H)
    weight : (C, T, H)
    logits : (B, C)
    """

    h: Array
    weight: Array
    logits: Array


class PerStepGradients(NamedTuple):
    """Gradients of the hidden states and the parameters, of their shapes."""

    h: Array
    weight: Array
    bias: Array


def per_step_readout_forward(h: Array, weight: Array, bias: Array) -> tuple[PerStepOutput, PerStepCache]:
    """Logits and contributions, s[b, c, t] = <W[c, t], h[t, b]> and logits = sum over t of s, plus the bias.

    The readout of NeuroView-RNN (Barberan et al. 2022).

    Parameters
    ----------
    h : (T, B, H)
    weight : (C, T, H)
    bias : (C,)

    Returns
    -------
    logits, s
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_arrays(("h", h, "T B H"), ("weight", weight, "C T H"), ("bias", bias, "C"))
    s = np.einsum("tbn,ctn->bct", h, weight)
    logits = s.sum(axis=2) + bias
    return PerStepOutput(logits, s), PerStepCache(copied(h), copied(weight), logits.copy())


def per_step_readout_backward(dlogits: Array, cache: PerStepCache) -> PerStepGradients:
    """Gradients of hidden states and parameters: every h[t] has the direct part sum over c of dlogits[b, c] W[c, t].

    What NeuroView-RNN (Barberan et al. 2022) adds at every step to the gradient that comes back through time.

    Parameters
    ----------
    dlogits : (B, C), gradient of the logits

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_instance("cache", cache, PerStepCache)
    check_like("dlogits", dlogits, cache.logits)
    return PerStepGradients(
        h=np.einsum("bc,ctn->tbn", dlogits, cache.weight),
        weight=np.einsum("bc,tbn->ctn", dlogits, cache.h),
        bias=dlogits.sum(axis=0),
    )
