"""The operators of the cells whose only state is h: registration, gradients, and calls for a layer.

`hidden_forward` runs a whole sequence and also returns the values that its backward pass `hidden_backward` reads.
`hidden_inference` returns none of these. The biases and shifts that are added to a row after its norm are added up to
one vector for each row.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.custom_ops import differentiable
from atn.backend.custom_ops.differentiable import transform_is_active
from atn.backend.custom_ops.plain import direct, gradient_is_wanted, recorded
from atn.backend.custom_ops.products import product_gradients
from atn.backend.custom_ops.register import kernel_call, register_operator
from atn.backend.custom_ops.signatures import (
    HiddenBackward,
    HiddenForward,
    HiddenInference,
    HiddenKernels,
    HiddenResult,
    KeptSteps,
)
from atn.backend.interface import HiddenOutput, HiddenWeights, NormSettings, placed_biases, total
from atn.state import HiddenMemory
from atn.window import StepStatistics

KEPT_BLOCKS = {"RNN_TANH": 0, "RNN_RELU": 0, "GRU": 4}
"""Blocks of H numbers that a cell keeps of each step for its backward pass, without a norm."""


class HiddenOperators(NamedTuple):
    """The operators of a backend that a layer calls; see `register.Operators`."""

    forward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]]
    inference: Callable[..., tuple[Tensor, Tensor]]


def register_hidden(
    backend: str,
    kernels: Callable[[], HiddenKernels],
    device_types: Sequence[str],
    kept_steps: Callable[[HiddenForward], KeptSteps],
) -> HiddenOperators:
    """Register the operators of a backend for the given device types; the parameters are those of `register`."""

    def fake_forward(given: HiddenForward) -> tuple[Tensor, ...]:
        return _fake_forward(given, kept_steps(given))

    operator = partial(register_operator, backend, device_types)
    run = kernel_call(lambda given: kernels().hidden_forward(given), HiddenForward)
    run_inference = kernel_call(lambda given: kernels().hidden_inference(given), HiddenForward)
    run_backward = kernel_call(lambda given: kernels().hidden_backward(given), HiddenBackward)
    forward = operator("hidden_forward", run, HiddenForward, fake_forward, 6)
    inference = operator(
        "hidden_inference", run_inference, HiddenForward, _fake_inference, len(HiddenInference._fields)
    )
    backward = operator("hidden_backward", run_backward, HiddenBackward, _fake_backward, 8)
    gradient = _HiddenGradient(direct(backward, run_backward))
    forward.register_autograd(gradient, setup_context=_keep)
    return HiddenOperators(recorded(forward, run, _keep, gradient), direct(inference, run_inference))


def run_hidden(
    operators: HiddenOperators,
    mode: str,
    x: Float[Tensor, "T B I"],
    weights: HiddenWeights,
    h_0: Float[Tensor, "B H"],
    memory: HiddenMemory | None,
    norm: NormSettings | None,
) -> HiddenOutput:
    """Run one layer of the cell `mode` in one direction; see `atn.backend.interface`."""
    given = _arguments(mode, x, weights, h_0, memory, norm)
    if transform_is_active():
        h, steps = differentiable.hidden_forward(given)
    elif gradient_is_wanted(given):
        h, steps, *_ = operators.forward(*given)
    else:
        h, steps = operators.inference(*given)
    if norm is None:
        return HiddenOutput(h, None)
    ih_mean, ih_var, hh_mean, hh_var = steps.flatten(0, 1).unbind()
    every = (StepStatistics(ih_mean, ih_var), StepStatistics(hh_mean, hh_var))
    return HiddenOutput(h, HiddenMemory(*(statistics.last(norm.k - 1) for statistics in every)))


def _arguments(
    mode: str,
    x: Float[Tensor, "T B I"],
    weights: HiddenWeights,
    h_0: Float[Tensor, "B H"],
    memory: HiddenMemory | None,
    norm: NormSettings | None,
) -> HiddenForward:
    gamma_ih, beta_ih = weights.norm_ih or (None, None)
    gamma_hh, beta_hh = weights.norm_hh or (None, None)
    inside, outside = placed_biases(weights, norm.bias_placement if norm else "inside")
    if memory is None:
        packed = x.new_empty(2, 2, 0, x.shape[1])
    else:
        packed = torch.stack([statistic for steps in memory for statistic in steps])
        packed = packed.view(2, 2, *packed.shape[1:])
    return HiddenForward(
        x=x,
        weight_ih=weights.weight_ih,
        weight_hh=weights.weight_hh,
        bias_ih=inside[0],
        bias_hh=inside[1],
        gamma_ih=gamma_ih,
        beta_ih=total(beta_ih, outside[0]),
        gamma_hh=gamma_hh,
        beta_hh=total(beta_hh, outside[1]),
        h_0=h_0,
        memory=packed,
        mode=mode,
        k=norm.k if norm else 0,
        eps=norm.eps if norm else 0.0,
    )


def _fake_forward(given: HiddenForward, kept: KeptSteps) -> tuple[Tensor, ...]:
    x, memory = given.x, given.memory
    (T, B, _), H, rows = x.shape, given.h_0.shape[1], given.weight_hh.shape[0]
    steps, windows = (memory.shape[2] + T, T) if given.k > 0 else (0, 0)
    return HiddenResult(
        h=x.new_empty(T, B, H),
        steps=memory.new_empty(2, 2, steps, B),
        kept_ih=x.new_empty(kept.kept_ih, B, rows),
        kept_hh=x.new_empty(kept.kept_hh, B, rows),
        gates=x.new_empty(kept.gates, B, KEPT_BLOCKS[given.mode] * H),
        windows=memory.new_empty(2, 2, windows, B),
    )


def _fake_inference(given: HiddenForward) -> tuple[Tensor, ...]:
    x, memory = given.x, given.memory
    T, B, _ = x.shape
    carried = torch.sym_min(memory.shape[2] + T, given.k - 1) if given.k > 0 else 0  # type: ignore[no-untyped-call]  # torch's
    return HiddenInference(h=x.new_empty(T, B, given.h_0.shape[1]), memory=memory.new_empty(2, 2, carried, B))


def _fake_backward(given: HiddenBackward) -> tuple[Tensor, ...]:
    h, rows = given.h, given.weight_hh.shape[0]
    T, B, H = h.shape
    T_normed = T if given.k > 0 else 0
    return (
        h.new_empty(0 if _rows_are_one(given.mode, given.k) else T, B, rows),
        h.new_empty(T, B, rows),
        *(h.new_empty(rows) for _ in range(4)),
        h.new_empty(B, H),
        given.steps.new_empty(2, 2, given.steps.shape[2] - T_normed, B),
    )


def _rows_are_one(mode: str, k: int) -> bool:
    """Whether both preactivations have one gradient: those of a sum without a norm."""
    return k == 0 and mode.startswith("RNN")


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.mode, ctx.k, ctx.eps = HiddenForward(*inputs)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[2:])
    ctx.save_for_backward(*tensors, *output)


def _by_operations(given: Sequence[Any]) -> tuple[Tensor, Tensor]:
    return differentiable.hidden_forward(HiddenForward._make(given))


class _HiddenGradient:
    def __init__(self, backward: Callable[..., tuple[Tensor, ...]]) -> None:
        self._backward = backward

    def __call__(self, ctx: Any, dh: Tensor | None, dsteps: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        tensors = len(HiddenForward._fields) - 3
        saved = ctx.saved_tensors  # once: checkpoints and hooks on saved tensors unpack at every read
        inputs = HiddenForward._make((*saved[:tensors], ctx.mode, ctx.k, ctx.eps))
        if differentiable.backward_needs_operations((dh, dsteps)):
            last = None if dsteps is None else dsteps[:, :, max(0, dsteps.shape[2] - ctx.k + 1) :]
            return differentiable.gradients(_by_operations, inputs, (dh, last), ctx.needs_input_grad)
        computed = HiddenResult(*saved[tensors:])
        given = HiddenBackward(
            dh=dh,
            dsteps=dsteps,
            x=inputs.x,
            weight_ih=inputs.weight_ih,
            weight_hh=inputs.weight_hh,
            bias_ih=inputs.bias_ih,
            gamma_ih=inputs.gamma_ih,
            beta_ih=inputs.beta_ih,
            gamma_hh=inputs.gamma_hh,
            beta_hh=inputs.beta_hh,
            h_0=inputs.h_0,
            h=computed.h,
            steps=computed.steps,
            kept_ih=computed.kept_ih,
            kept_hh=computed.kept_hh,
            gates=computed.gates,
            windows=computed.windows,
            mode=ctx.mode,
            k=ctx.k,
            eps=ctx.eps,
        )
        da_ih, da_hh, dgamma_ih, dbeta_ih, dgamma_hh, dbeta_hh, dh_0, dmemory = self._backward(*given)
        da_ih = da_hh if _rows_are_one(ctx.mode, ctx.k) else da_ih
        return (
            *product_gradients(inputs, computed.h, da_ih, da_hh, ctx.needs_input_grad),
            None if inputs.gamma_ih is None else dgamma_ih,
            None if inputs.beta_ih is None else dbeta_ih,
            None if inputs.gamma_hh is None else dgamma_hh,
            None if inputs.beta_hh is None else dbeta_hh,
            dh_0,
            dmemory,
            None,
            None,
            None,
        )
