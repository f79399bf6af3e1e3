"""The eager backend, in plain PyTorch operations: it runs on any device, and autograd computes every derivative.

The product with the input and its norm have no recurrence and are computed for the whole sequence at once. The time
loop makes a few operations per step, O(log k) of them for a long window.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.interface import LayerOutput, LayerWeights, NormSettings, placed_biases, total
from atn.choices import Base
from atn.state import LayerMemory
from atn.window import (
    LongWindowOfSteps,
    StepStatistics,
    WindowOfSteps,
    centered,
    normalize,
    reciprocal_deviation,
    step_statistics,
    steps_of,
    window_of_steps,
    window_statistics,
)


def eager_layer(
    x: Float[Tensor, "T B I"],
    weights: LayerWeights,
    h_0: Float[Tensor, "B H"],
    c_0: Float[Tensor, "B H"],
    memory: LayerMemory | None,
    norm: NormSettings | None,
    *,
    every_c: bool,  # noqa: ARG001 - part of the interface; used by backends that keep nothing in inference
) -> LayerOutput:
    """Run one layer in one direction; see `atn.backend.interface`."""
    if norm is None:
        return _plain_layer(x, weights, h_0, c_0)
    return _normalized_layer(x, weights, h_0, c_0, memory or _empty_memory(h_0), norm)


def eager_norm(
    a: Float[Tensor, "T B N"],
    weight: Float[Tensor, " N"] | None,
    bias: Float[Tensor, " N"] | None,
    memory: StepStatistics,
    k: int,
    eps: float,
    base: Base,
) -> tuple[Float[Tensor, "T B N"], StepStatistics]:
    """ATN of a chunk; see `atn.backend.interface`. The window costs O(log k) operations per step and case."""
    steps = memory.followed_by(steps_of(a, base))
    windows = window_statistics(steps, k).last(a.shape[0])
    return normalize(a, windows, weight, bias, eps, base), steps


def _plain_layer(x: Tensor, weights: LayerWeights, h_0: Tensor, c_0: Tensor) -> LayerOutput:
    weight_hh = weights.weight_hh.t()
    gamma_c, beta_c = weights.norm_c or (None, None)
    from_input = torch.nn.functional.linear(x, weights.weight_ih, total(weights.bias_ih, weights.bias_hh))
    h, c = time_loop(
        from_input, h_0, c_0, lambda a, h: torch.addmm(a, h, weight_hh), lambda c: affine(c, gamma_c, beta_c)
    )
    return LayerOutput(h, c, None)


def _normalized_layer(
    x: Tensor, weights: LayerWeights, h_0: Tensor, c_0: Tensor, memory: LayerMemory, norm: NormSettings
) -> LayerOutput:
    (bias_ih, bias_hh), outside = placed_biases(weights, norm.bias_placement)
    gamma_ih, beta_ih = weights.norm_ih or (None, None)
    gamma_hh, beta_hh = weights.norm_hh or (None, None)
    gamma_c, beta_c = weights.norm_c or (None, None)

    a = torch.nn.functional.linear(x, weights.weight_ih, bias_ih)
    # Every term that does not depend on h is added here, outside the time loop.
    beta = total(beta_ih, beta_hh, *outside)
    from_input, steps_ih = eager_norm(a, gamma_ih, beta, memory.ih, norm.k, norm.eps, "layer")

    weight_hh = weights.weight_hh.t()
    hh, cell = window_of_steps(norm.k, memory.hh), window_of_steps(norm.k, memory.c)

    def gates(a: Tensor, h: Tensor) -> Tensor:
        from_h = h @ weight_hh if bias_hh is None else torch.addmm(bias_hh, h, weight_hh)
        xhat = normalize_next(from_h, hh, norm.eps)
        return a + xhat if gamma_hh is None else torch.addcmul(a, xhat, gamma_hh)

    def z_of(c: Tensor) -> Tensor:
        return affine(normalize_next(c, cell, norm.eps), gamma_c, beta_c)

    h, c = time_loop(from_input, h_0, c_0, gates, z_of)
    return LayerOutput(h, c, LayerMemory(steps_ih.last(norm.k - 1), hh.memory(), cell.memory()))


def time_loop(
    from_input: Float[Tensor, "T B 4*H"],
    h: Float[Tensor, "B H"],
    c: Float[Tensor, "B H"],
    gates: Callable[[Tensor, Tensor], Tensor],
    z_of: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, "T B H"], Float[Tensor, "T B H"]]:
    """Eqs. (15)-(16) over all steps, with preactivations `gates(from_input[t], h)` and `z_of(c)` for z of Eq. (16)."""
    H = h.shape[1]
    # The order of sums in a matrix product may depend on the memory layout of a factor. A copy has the layout of the h
    # of a later step, so that the first step of a chunk gives the same bits as it would inside the whole sequence.
    h = h.clone()
    h_all, c_all = [], []
    for a in from_input.unbind():
        if_gates, g_gate, o_gate = torch.split(gates(a, h), [2 * H, H, H], dim=1)
        i, f = if_gates.sigmoid().chunk(2, dim=1)
        c = torch.addcmul(f * c, i, g_gate.tanh())
        z = z_of(c)
        h = o_gate.sigmoid() * z.tanh()
        h_all.append(h)
        c_all.append(c)
    return torch.stack(h_all), torch.stack(c_all)


def normalize_next(
    a: Float[Tensor, "B N"], window: WindowOfSteps | LongWindowOfSteps, eps: float
) -> Float[Tensor, "B N"]:
    """Normalize the next step by Eq. (9), without gain and shift."""
    mean, var = window.add(*step_statistics(a))
    return centered(a, mean) * reciprocal_deviation(var, eps)


def affine(
    xhat: Float[Tensor, "B N"], gamma: Float[Tensor, " N"] | None, beta: Float[Tensor, " N"] | None
) -> Float[Tensor, "B N"]:
    """Multiply xhat by the gain and add the shift; None omits either."""
    if beta is None:
        return xhat if gamma is None else xhat * gamma
    return xhat + beta if gamma is None else torch.addcmul(beta, xhat, gamma)


def _empty_memory(h: Float[Tensor, "B H"]) -> LayerMemory:
    none = StepStatistics.none(h.shape[0], h, h.dtype)
    return LayerMemory(none, none, none)
