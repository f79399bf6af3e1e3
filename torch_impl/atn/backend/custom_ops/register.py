"""Registration of the operators of backends with a hand-written backward pass: their shapes and gradients.

`norm_forward` and `lstm_forward` run a whole sequence and also return the values that their backward passes
`norm_backward` and `lstm_backward` read. `lstm_inference` returns none of these. Each backend registers its five
operators, `atn::<backend>_norm_forward` and so on, with `register`. `signatures` describes their arguments and results;
`differentiable` computes the derivatives of every other kind.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atn.backend.custom_ops import differentiable
from atn.backend.custom_ops.plain import direct, in_memory, recorded
from atn.backend.custom_ops.signatures import (
    KeptSteps,
    Kernels,
    LSTMBackward,
    LSTMForward,
    LSTMGradients,
    LSTMInference,
    LSTMResult,
    NormBackward,
    NormForward,
    schema,
)


class Operators(NamedTuple):
    """The operators of a backend that a layer calls; autograd differentiates the first two.

    A plain call runs the kernel (`atn.backend.custom_ops.plain`), any other the registered operator.
    """

    norm_forward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    lstm_forward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]]
    lstm_inference: Callable[..., tuple[Tensor, Tensor, Tensor]]


def kernel_call(kernel: Callable[[Any], tuple[Tensor, ...]], takes: type[Any]) -> Callable[..., tuple[Tensor, ...]]:
    """A function of the fields of `takes` that calls a kernel, which takes them as one."""

    def compute(*arguments: Any) -> tuple[Tensor, ...]:
        return kernel(takes(*map(in_memory, arguments)))

    return compute


def register_operator(
    backend: str,
    device_types: Sequence[str],
    name: str,
    compute: Callable[..., tuple[Tensor, ...]],
    takes: type[Any],
    fake: Callable[..., tuple[Tensor, ...]],
    results: int,
) -> Any:
    """Register the operator `atn::<backend>_<name>`, which takes the fields of `takes` and calls `compute`.

    `fake` returns empty results of the right shapes from the same arguments.
    """
    registered = torch.library.custom_op(
        f"atn::{backend}_{name}",
        compute,
        mutates_args=(),
        device_types=tuple(device_types),
        schema=schema(takes, results),
    )

    def checked_fake(*arguments: Any) -> tuple[Tensor, ...]:
        _check_one_device(takes, arguments)
        return fake(takes(*arguments))

    registered.register_fake(checked_fake)
    return registered


def _check_one_device(takes: type[Any], arguments: Sequence[Any]) -> None:
    """Check that all tensors are on one device: of a tensor on meta among others torch asks for empty results alone."""
    tensors = {name: value for name, value in zip(takes._fields, arguments, strict=True) if isinstance(value, Tensor)}
    first, *others = tensors
    for name in others:
        if tensors[name].device != tensors[first].device:
            raise ValueError(f"{name} must be on {first}'s device {tensors[first].device}, got {tensors[name].device}")


def register(
    backend: str,
    kernels: Callable[[], Kernels],
    device_types: Sequence[str],
    kept_steps: Callable[[LSTMForward], KeptSteps],
) -> Operators:
    """Register the operators of a backend for the given device types.

    Parameters
    ----------
    backend
        Name of the backend.
    kernels
        Returns the backend's kernels; called at each call of an operator.
    device_types
        Device types, as in `torch.library.custom_op`.
    kept_steps
        Returns the number of steps whose rows the backend's `lstm_forward` keeps.
    """
    operator = partial(register_operator, backend, device_types)
    # `kernels` is called at each call of an operator, so that nothing is compiled or imported before it is needed.
    run_norm = kernel_call(lambda given: kernels().norm_forward(given), NormForward)
    run_norm_backward = kernel_call(lambda given: kernels().norm_backward(given), NormBackward)
    run_lstm = kernel_call(lambda given: kernels().lstm_forward(given), LSTMForward)
    run_lstm_inference = kernel_call(lambda given: kernels().lstm_inference(given), LSTMForward)
    run_lstm_backward = kernel_call(lambda given: kernels().lstm_backward(given), LSTMBackward)
    norm_forward = operator("norm_forward", run_norm, NormForward, _fake_norm_forward, results=3)
    norm_backward = operator("norm_backward", run_norm_backward, NormBackward, _fake_norm_backward, results=4)
    lstm_forward = operator("lstm_forward", run_lstm, LSTMForward, partial(_fake_lstm_forward, kept_steps), results=7)
    lstm_inference = operator("lstm_inference", run_lstm_inference, LSTMForward, _fake_lstm_inference, results=3)
    lstm_backward = operator("lstm_backward", run_lstm_backward, LSTMBackward, _fake_lstm_backward, results=13)
    of_norm = _NormGradient(direct(norm_backward, run_norm_backward))
    of_lstm = _LSTMGradient(direct(lstm_backward, run_lstm_backward))
    norm_forward.register_autograd(of_norm, setup_context=_keep_for_norm)
    lstm_forward.register_autograd(of_lstm, setup_context=_keep_for_lstm)
    return Operators(
        recorded(norm_forward, run_norm, _keep_for_norm, of_norm),
        recorded(lstm_forward, run_lstm, _keep_for_lstm, of_lstm),
        direct(lstm_inference, run_lstm_inference),
    )


# ----------------------------------------------------------------------------------------------------------- the norm


def _fake_norm_forward(given: NormForward) -> tuple[Tensor, ...]:
    (T, B, _), memory = given.a.shape, given.memory
    return given.a.new_empty(given.a.shape), memory.new_empty(2, memory.shape[1] + T, B), memory.new_empty(2, T, B)


def _fake_norm_backward(given: NormBackward) -> tuple[Tensor, ...]:
    a, steps = given.a, given.steps
    T, B, N = a.shape
    return a.new_empty(a.shape), a.new_empty(N), a.new_empty(N), given.windows.new_empty(2, steps.shape[1] - T, B)


def _keep_for_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    a, gamma, beta, memory, ctx.k, ctx.eps = NormForward(*inputs)
    _, steps, windows = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(windows)
    ctx.save_for_backward(a, gamma, beta, memory, steps, windows)


def _norm_by_operations(given: Sequence[Any]) -> tuple[Tensor, Tensor]:
    return differentiable.norm_forward(NormForward._make(given))


class _NormGradient:
    def __init__(self, norm_backward: Callable[..., tuple[Tensor, ...]]) -> None:
        self._norm_backward = norm_backward

    def __call__(self, ctx: Any, dy: Tensor | None, dsteps: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        a, gamma, beta, memory, steps, windows = ctx.saved_tensors
        if differentiable.backward_needs_operations((dy, dsteps)):
            inputs = NormForward(a, gamma, beta, memory, ctx.k, ctx.eps)
            return differentiable.gradients(_norm_by_operations, inputs, (dy, dsteps), ctx.needs_input_grad)
        given = NormBackward(
            torch.zeros_like(a) if dy is None else dy, dsteps, a, gamma, steps, windows, ctx.k, ctx.eps
        )
        da, dgamma, dbeta, dmemory = self._norm_backward(*given)
        return da, None if gamma is None else dgamma, None if beta is None else dbeta, dmemory, None, None


# ---------------------------------------------------------------------------------------------------------- the layer


def _fake_lstm_forward(kept_steps: Callable[[LSTMForward], KeptSteps], given: LSTMForward) -> tuple[Tensor, ...]:
    x, c_0 = given.x, given.c_0
    (T, B, _), H, M = x.shape, given.h_0.shape[1], given.memory.shape[2]
    steps, windows = (M + T, T) if given.k > 0 else (0, 0)
    kept = kept_steps(given)
    return LSTMResult(
        h=x.new_empty(T, B, H),
        c=c_0.new_empty(T, B, H),
        steps=c_0.new_empty(3, 2, steps, B),
        kept_ih=x.new_empty(kept.kept_ih, B, 4 * H),
        kept_hh=x.new_empty(kept.kept_hh, B, 4 * H),
        gates=x.new_empty(kept.gates, B, 4 * H),
        windows=c_0.new_empty(3, 2, windows, B),
    )


def _fake_lstm_inference(given: LSTMForward) -> tuple[Tensor, ...]:
    x, c_0 = given.x, given.c_0
    (T, B, _), H, M = x.shape, given.h_0.shape[1], given.memory.shape[2]
    carried = torch.sym_min(M + T, given.k - 1) if given.k > 0 else 0  # type: ignore[no-untyped-call]  # torch's
    return LSTMInference(h=x.new_empty(T, B, H), c_n=c_0.new_empty(B, H), memory=c_0.new_empty(3, 2, carried, B))


def _fake_lstm_backward(given: LSTMBackward) -> tuple[Tensor, ...]:
    h, c_0 = given.h, given.c_0
    T, B, H = h.shape
    none = (0,)
    return LSTMGradients(
        x=h.new_empty(given.x.shape if given.needs_x else none),
        weight_ih=h.new_empty(given.weight_ih.shape if given.needs_weights else none),
        weight_hh=h.new_empty(given.weight_hh.shape if given.needs_weights else none),
        bias_ih=h.new_empty(none if given.bias_ih is None else 4 * H),
        bias_hh=h.new_empty(none if given.bias_hh is None else 4 * H),
        gamma_ih=h.new_empty(4 * H),
        gamma_hh=h.new_empty(4 * H),
        bias=h.new_empty(4 * H),
        gamma_c=h.new_empty(H),
        beta_c=h.new_empty(H),
        h_0=h.new_empty(B, H),
        c_0=c_0.new_empty(B, H),
        memory=c_0.new_empty(3, 2, given.steps.shape[2] - (T if given.k > 0 else 0), B),
    )


def _keep_for_lstm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    given = LSTMForward(*inputs)
    _, _, _, *kept = output
    *tensors, ctx.k, ctx.eps = given
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*kept)
    ctx.save_for_backward(*tensors, *output)


def _lstm_by_operations(given: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    return differentiable.lstm_forward(LSTMForward._make(given))


class _LSTMGradient:
    def __init__(self, lstm_backward: Callable[..., tuple[Tensor, ...]]) -> None:
        self._lstm_backward = lstm_backward

    def __call__(
        self, ctx: Any, dh: Tensor | None, dc: Tensor | None, dsteps: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        tensors = len(LSTMForward._fields) - 2
        saved = ctx.saved_tensors  # once: checkpoints and hooks on saved tensors unpack at every read
        inputs = LSTMForward._make((*saved[:tensors], ctx.k, ctx.eps))
        if differentiable.backward_needs_operations((dh, dc, dsteps)):
            kept_steps = None if dsteps is None else dsteps[:, :, max(0, dsteps.shape[2] - ctx.k + 1) :]
            upstream = (dh, dc, kept_steps)
            return differentiable.gradients(_lstm_by_operations, inputs, upstream, ctx.needs_input_grad)
        computed = LSTMResult(*saved[tensors:])
        needs_x, needs_ih, needs_hh, *_ = ctx.needs_input_grad
        given = LSTMBackward(
            dh=dh,
            dc=dc,
            dsteps=dsteps,
            x=inputs.x,
            weight_ih=inputs.weight_ih,
            weight_hh=inputs.weight_hh,
            bias_ih=inputs.bias_ih,
            bias_hh=inputs.bias_hh,
            bias=inputs.bias,
            gamma_ih=inputs.gamma_ih,
            gamma_hh=inputs.gamma_hh,
            gamma_c=inputs.gamma_c,
            beta_c=inputs.beta_c,
            h_0=inputs.h_0,
            c_0=inputs.c_0,
            h=computed.h,
            c=computed.c,
            steps=computed.steps,
            kept_ih=computed.kept_ih,
            kept_hh=computed.kept_hh,
            gates=computed.gates,
            windows=computed.windows,
            k=ctx.k,
            eps=ctx.eps,
            needs_x=needs_x,
            needs_weights=needs_ih or needs_hh,
        )
        d = LSTMGradients._make(self._lstm_backward(*given))
        return (
            d.x if needs_x else None,
            d.weight_ih if needs_ih else None,
            d.weight_hh if needs_hh else None,
            None if inputs.bias_ih is None else d.bias_ih,
            None if inputs.bias_hh is None else d.bias_hh,
            None if inputs.bias is None else d.bias,
            None if inputs.gamma_ih is None else d.gamma_ih,
            None if inputs.gamma_hh is None else d.gamma_hh,
            None if inputs.gamma_c is None else d.gamma_c,
            None if inputs.beta_c is None else d.beta_c,
            d.h_0,
            d.c_0,
            d.memory,
            None,
            None,
        )
