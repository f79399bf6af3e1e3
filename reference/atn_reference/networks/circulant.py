"""The convolutional network of one example, with and without channel normalization (Dai and Heckel 2019).

Each layer is a circular convolution, then ReLU or nothing, then channel normalization or a shift alone. The last layer
weights the channels, adds a bias and takes a sigmoid: one output signal, which is fitted to one target.

A convolution is y[t] = sum over s of w[s] x[t - s], with all indices modulo N. The released code computes the
correlation w[s] x[t + s - K//2], which is the same network with reversed filters and a shifted input.

Letters: C, D channels, N samples, K taps of a filter.
"""

from typing import NamedTuple

import numpy as np

from atn_reference.arrays import Array
from atn_reference.copies import copied
from atn_reference.networks.gates import sigmoid
from atn_reference.norms.channel_norm import ChannelNormCache, channel_norm_backward, channel_norm_forward
from atn_reference.validation import check_arrays, check_eps, check_instance, check_like


class CirculantLayer(NamedTuple):
    """Parameters of a layer.

    Attributes
    ----------
    w : (D, C, K), the filters from C channels to D
    beta : (D,), the shift after the norm, or in its place
    """

    w: Array
    beta: Array


class CirculantParameters(NamedTuple):
    """Parameters of a network; also the type of their gradients.

    Attributes
    ----------
    layers : of the convolutions, in their order
    weight : (C,), of the last layer
    bias : (1,)
    """

    layers: tuple[CirculantLayer, ...]
    weight: Array
    bias: Array


class CirculantLayerCache(NamedTuple):
    """What the backward pass of a layer needs.

    Attributes
    ----------
    x : (C, N), the input
    w : (D, C, K)
    positive : (D, N) bool, where ReLU let the value through, or None without ReLU
    norm : cache of the norm, or None without it
    """

    x: Array
    w: Array
    positive: Array | None
    norm: ChannelNormCache | None


class CirculantCache(NamedTuple):
    """What the backward pass needs: the layers' caches, input and weight of the last layer, and the output."""

    layers: tuple[CirculantLayerCache, ...]
    last: Array
    weight: Array
    y: Array


def circular_convolution_forward(x: Array, w: Array) -> Array:
    """Sum over channels and taps of w[d, c, s] x[c, t - s], indices modulo N; Dai and Heckel 2019.

    Parameters
    ----------
    x : (C, N)
    w : (D, C, K), K <= N

    Returns
    -------
    a : (D, N)
    """
    sizes = check_arrays(("x", x, "C N"), ("w", w, "D C K"))
    if sizes["K"] > sizes["N"]:
        raise ValueError(f"w: had {sizes['K']} taps, must have at most N = {sizes['N']}")
    a: Array = np.add.reduce([w[:, :, s] @ np.roll(x, s, axis=1) for s in range(sizes["K"])])
    return a


def circular_convolution_backward(da: Array, x: Array, w: Array) -> tuple[Array, Array]:
    """Gradients of a circular convolution, Dai and Heckel 2019.

    Parameters
    ----------
    da : (D, N)
    x, w : as in the forward pass

    Returns
    -------
    dx : (C, N)
    dw : (D, C, K)
    """
    check_arrays(("x", x, "C N"), ("w", w, "D C K"), ("da", da, "D N"))
    taps = range(w.shape[2])
    dw = np.stack([da @ np.roll(x, s, axis=1).T for s in taps], axis=2)
    dx = np.add.reduce([np.roll(w[:, :, s].T @ da, -s, axis=1) for s in taps])
    return dx, dw


def circulant_network_forward(
    x: Array, parameters: CirculantParameters, eps: float | None = 1e-5, *, relu: bool = False
) -> tuple[Array, CirculantCache]:
    """Output of the network for one example, Dai and Heckel 2019.

    Parameters
    ----------
    x : (C, N)
    parameters
    eps : of the channel normalization, or None for a network without it
    relu : whether ReLU stands between convolution and norm

    Returns
    -------
    y : (N,), between 0 and 1
    cache

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_instance("parameters", parameters, CirculantParameters)
    eps = None if eps is None else check_eps(eps)
    h, caches = x, []
    for layer in parameters.layers:
        h, cache = _layer_forward(h, layer, eps, relu=relu)
        caches.append(cache)
    check_arrays(("x", h, "C N"), ("weight", parameters.weight, "C"))
    check_like("bias", parameters.bias, parameters.weight[:1])
    y = sigmoid(parameters.weight @ h + parameters.bias)
    return y, CirculantCache(tuple(caches), copied(h), copied(parameters.weight), y.copy())


def _layer_forward(
    x: Array, layer: CirculantLayer, eps: float | None, *, relu: bool
) -> tuple[Array, CirculantLayerCache]:
    check_instance("layer", layer, CirculantLayer)
    check_arrays(("x", x, "C N"), ("w", layer.w, "D C K"), ("beta", layer.beta, "D"))
    a = circular_convolution_forward(x, layer.w)
    positive = a.real > 0 if relu else None
    if positive is not None:
        a = a * positive
    if eps is None:
        return a + layer.beta[:, None], CirculantLayerCache(copied(x), copied(layer.w), positive, None)
    y, norm = channel_norm_forward(a, layer.beta, eps)
    return y, CirculantLayerCache(copied(x), copied(layer.w), positive, norm)


def circulant_network_backward(dy: Array, cache: CirculantCache) -> tuple[Array, CirculantParameters]:
    """Gradients of the network, Dai and Heckel 2019.

    Parameters
    ----------
    dy : (N,)

    Returns
    -------
    dx : (C, N)
    gradients of the parameters
    """
    check_instance("cache", cache, CirculantCache)
    check_like("dy", dy, cache.y)
    dz = dy * cache.y * (1 - cache.y)
    dh = cache.weight[:, None] * dz
    layers = []
    for layer in reversed(cache.layers):
        dh, gradients = _layer_backward(dh, layer)
        layers.append(gradients)
    return dh, CirculantParameters(tuple(reversed(layers)), cache.last @ dz, dz.sum(keepdims=True))


def _layer_backward(dy: Array, cache: CirculantLayerCache) -> tuple[Array, CirculantLayer]:
    da = dy if cache.norm is None else channel_norm_backward(dy, cache.norm).a
    if cache.positive is not None:
        da = da * cache.positive
    dx, dw = circular_convolution_backward(da, cache.x, cache.w)
    return dx, CirculantLayer(dw, dy.sum(axis=1))
