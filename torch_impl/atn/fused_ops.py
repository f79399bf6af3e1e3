"""The operators of the fused backend, registered with `torch.library`: shapes for tracing, gradients, the CPU kernels.

`atn::norm_forward` and `atn::lstm_forward` run a whole sequence and return, beside what a user asks for, what their
backward pass reads; `atn::norm_backward` and `atn::lstm_backward` are that pass, written by hand, and have no
derivative of their own. The kernels are compiled (`compiled`), or plain torch calls where they cannot be
(`fused_plain`).

Statistics come in pairs (mean, variance) by step, with the M steps of memory in front, and (mean, 1/sqrt(var + eps))
by window. Letters: T time, B cases, I inputs, H hidden, N features, k window length (0: no norm).
"""

from typing import Any, NoReturn

import torch
from torch import Tensor

from atn import fused_plain
from atn.compiled import compiled

NO_SECOND_DERIVATIVE = "the fused backend has no second derivative; use backend='eager' where you need one"


def _kernels() -> Any:
    return compiled().operators or fused_plain


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


# ----------------------------------------------------------------------------------------------------------- the norm


@torch.library.custom_op("atn::norm_forward", mutates_args=(), device_types="cpu")
def norm_forward(
    a: Tensor, gain: Tensor | None, shift: Tensor | None, memory: Tensor, k: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Eqs. (7)-(9): a (T, B, N), memory (2, M, B) -> y (T, B, N), steps (2, M + T, B), windows (2, T, B)."""
    result: tuple[Tensor, Tensor, Tensor] = _kernels().norm_forward(
        a.contiguous(), _contiguous(gain), _contiguous(shift), memory, k, eps
    )
    return result


@norm_forward.register_fake
def _(
    a: Tensor, gain: Tensor | None, shift: Tensor | None, memory: Tensor, k: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    del gain, shift, k, eps
    T, B, _ = a.shape
    return a.new_empty(a.shape), a.new_empty(2, memory.shape[1] + T, B), a.new_empty(2, T, B)


@torch.library.custom_op("atn::norm_backward", mutates_args=(), device_types="cpu")
def norm_backward(
    dy: Tensor,
    dsteps: Tensor | None,
    a: Tensor,
    gain: Tensor | None,
    steps: Tensor,
    windows: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of a, gain, shift (N,) and memory, from those of y and steps."""
    result: tuple[Tensor, Tensor, Tensor, Tensor] = _kernels().norm_backward(
        dy.contiguous(), _contiguous(dsteps), a.contiguous(), _contiguous(gain), steps, windows, k, eps
    )
    return result


@norm_backward.register_fake
def _(
    dy: Tensor,
    dsteps: Tensor | None,
    a: Tensor,
    gain: Tensor | None,
    steps: Tensor,
    windows: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del dy, dsteps, gain, k, eps
    T, B, N = a.shape
    return a.new_empty(a.shape), a.new_empty(N), a.new_empty(N), windows.new_empty(2, steps.shape[1] - T, B)


def _norm_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    a, gain, shift, _, ctx.k, ctx.eps = inputs
    _, steps, windows = output
    ctx.has_shift = shift is not None
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(windows)
    ctx.save_for_backward(a, gain, steps, windows)


def _norm_backward(ctx: Any, dy: Tensor | None, dsteps: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    a, gain, steps, windows = ctx.saved_tensors
    dy = torch.zeros_like(a) if dy is None else dy
    da, dgain, dshift, dmemory = norm_backward(dy, dsteps, a, gain, steps, windows, ctx.k, ctx.eps)
    return da, None if gain is None else dgain, dshift if ctx.has_shift else None, dmemory, None, None


# ---------------------------------------------------------------------------------------------------------- the layer


@torch.library.custom_op("atn::lstm_forward", mutates_args=(), device_types="cpu")
def lstm_forward(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    bias: Tensor | None,
    gain_ih: Tensor | None,
    gain_hh: Tensor | None,
    gain_c: Tensor | None,
    shift_c: Tensor | None,
    h_0: Tensor,
    c_0: Tensor,
    memory: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Eqs. (14)-(16) over x (T, B, I), with memory (3, 2, M, B) of the norms ih, hh and c.

    `bias_ih` and `bias_hh` are added inside the norms; `bias` is all that is added to the gates after them. Returns h
    and c (T, B, H), steps (3, 2, M + T, B), and for the backward pass the normalised preactivations from the input
    (T, B, 4H) and from the state, the gates, and windows (3, 2, T, B).
    """
    result: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor] = _kernels().lstm_forward(
        x.contiguous(),
        w_ih,
        w_hh.contiguous(),
        *map(_contiguous, (bias_ih, bias_hh, bias, gain_ih, gain_hh, gain_c, shift_c)),
        h_0.contiguous(),
        c_0.contiguous(),
        memory,
        k,
        eps,
    )
    return result


@lstm_forward.register_fake
def _(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    bias: Tensor | None,
    gain_ih: Tensor | None,
    gain_hh: Tensor | None,
    gain_c: Tensor | None,
    shift_c: Tensor | None,
    h_0: Tensor,
    c_0: Tensor,
    memory: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    del w_ih, w_hh, bias_ih, bias_hh, bias, gain_ih, gain_hh, gain_c, shift_c, c_0, eps
    (T, B, _), H, M = x.shape, h_0.shape[1], memory.shape[2]
    steps, windows, kept = (M + T, T, T) if k > 0 else (0, 0, 1)
    return (
        x.new_empty(T, B, H),
        x.new_empty(T, B, H),
        x.new_empty(3, 2, steps, B),
        x.new_empty(T, B, 4 * H),
        x.new_empty(kept, B, 4 * H),
        x.new_empty(T, B, 4 * H),
        x.new_empty(3, 2, windows, B),
    )


@torch.library.custom_op("atn::lstm_backward", mutates_args=(), device_types="cpu")
def lstm_backward(
    dh: Tensor | None,
    dc: Tensor | None,
    dsteps: Tensor | None,
    w_hh: Tensor,
    gain_ih: Tensor | None,
    gain_hh: Tensor | None,
    gain_c: Tensor | None,
    shift_c: Tensor | None,
    c_0: Tensor,
    h: Tensor,
    c: Tensor,
    steps: Tensor,
    x_ih: Tensor,
    x_hh: Tensor,
    gates: Tensor,
    windows: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of what stands in front of the products, of gains and shifts, and of the state passed in.

    da_ih (T, B, 4H) (empty without a norm: it is da_hh), da_hh (T, B, 4H); dgain_ih, dgain_hh, dbias (4H,); dgain_c,
    dshift_c (H,); dh_0, dc_0 (B, H); dmemory (3, 2, M, B).
    """
    result: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor] = (
        _kernels().lstm_backward(
            *map(_contiguous, (dh, dc, dsteps)),
            w_hh.contiguous(),
            *map(_contiguous, (gain_ih, gain_hh, gain_c, shift_c)),
            c_0.contiguous(),
            h,
            c,
            steps,
            x_ih,
            x_hh,
            gates,
            windows,
            k,
            eps,
        )
    )
    return result


@lstm_backward.register_fake
def _(
    dh: Tensor | None,
    dc: Tensor | None,
    dsteps: Tensor | None,
    w_hh: Tensor,
    gain_ih: Tensor | None,
    gain_hh: Tensor | None,
    gain_c: Tensor | None,
    shift_c: Tensor | None,
    c_0: Tensor,
    h: Tensor,
    c: Tensor,
    steps: Tensor,
    x_ih: Tensor,
    x_hh: Tensor,
    gates: Tensor,
    windows: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    del dh, dc, dsteps, w_hh, gain_ih, gain_hh, gain_c, shift_c, c, x_ih, x_hh, gates, windows, eps
    T, B, H = h.shape
    T_normed = T if k > 0 else 0
    return (
        h.new_empty(T_normed, B, 4 * H),
        h.new_empty(T, B, 4 * H),
        h.new_empty(4 * H),
        h.new_empty(4 * H),
        h.new_empty(4 * H),
        h.new_empty(H),
        h.new_empty(H),
        c_0.new_empty(B, H),
        c_0.new_empty(B, H),
        h.new_empty(3, 2, steps.shape[2] - T_normed, B),
    )


def _lstm_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w_ih, w_hh, bias_ih, bias_hh, bias, gain_ih, gain_hh, gain_c, shift_c, h_0, c_0, _, ctx.k, ctx.eps = inputs
    h, c, steps, *kept = output
    ctx.has_bias = [one is not None for one in (bias_ih, bias_hh, bias)]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*kept)
    ctx.save_for_backward(x, w_ih, w_hh, gain_ih, gain_hh, gain_c, shift_c, h_0, c_0, h, c, steps, *kept)


def _lstm_backward(
    ctx: Any, dh: Tensor | None, dc: Tensor | None, dsteps: Tensor | None, *_: None
) -> tuple[Tensor | None, ...]:
    x, w_ih, w_hh, gain_ih, gain_hh, gain_c, shift_c, h_0, c_0, h, *kept = ctx.saved_tensors
    da_ih, da_hh, dgain_ih, dgain_hh, dbias, dgain_c, dshift_c, dh_0, dc_0, dmemory = lstm_backward(
        dh, dc, dsteps, w_hh, gain_ih, gain_hh, gain_c, shift_c, c_0, h, *kept, ctx.k, ctx.eps
    )
    rows_hh = da_hh.flatten(0, 1)
    rows_ih = da_ih.flatten(0, 1) if ctx.k > 0 else rows_hh
    needs_x, needs_ih, needs_hh, *_ = ctx.needs_input_grad
    has_bias_ih, has_bias_hh, has_bias = ctx.has_bias
    normed_gains = (gain_ih is not None, gain_c is not None)
    return (
        (rows_ih @ w_ih).view_as(x) if needs_x else None,
        rows_ih.t() @ x.flatten(0, 1) if needs_ih else None,
        _recurrent_weight_gradient(da_hh, h_0, h) if needs_hh else None,
        rows_ih.sum(0) if has_bias_ih else None,
        rows_hh.sum(0) if has_bias_hh else None,
        dbias if has_bias else None,
        dgain_ih if normed_gains[0] else None,
        dgain_hh if normed_gains[0] else None,
        dgain_c if normed_gains[1] else None,
        dshift_c if normed_gains[1] else None,
        dh_0,
        dc_0,
        dmemory,
        None,
        None,
    )


def _recurrent_weight_gradient(da_hh: Tensor, h_0: Tensor, h: Tensor) -> Tensor:
    """Gradient of W_hh (4H, H): one product over all steps after the first, and one for the first."""
    return da_hh[0].t() @ h_0 + da_hh[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1)


def _refuse(*_: Any) -> NoReturn:
    raise RuntimeError(NO_SECOND_DERIVATIVE)


norm_forward.register_autograd(_norm_backward, setup_context=_norm_setup)
lstm_forward.register_autograd(_lstm_backward, setup_context=_lstm_setup)
norm_backward.register_autograd(_refuse)
lstm_backward.register_autograd(_refuse)
