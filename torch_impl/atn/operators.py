"""The operators of the backends with a backward pass by hand, as `torch.library` knows them: shapes and gradients.

`norm_forward` and `lstm_forward` run a whole sequence and return, beside what a user asks for, what their backward pass
reads; `norm_backward` and `lstm_backward` are that pass, and have no derivative of their own. A backend registers its
own four, `atn::<backend>_norm_forward` and so on, with `register`.

Statistics come in pairs (mean, variance) by step, with the M steps of memory in front, and (mean, 1/sqrt(var + eps))
by window. They, the carry and c may have a wider dtype than the data. Letters: T time, B cases, I inputs, H hidden, N
features, k window length (0: no norm).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from atn.precision import full_precision

NORM_FORWARD = "(Tensor a, Tensor? gain, Tensor? shift, Tensor memory, int k, float eps) -> (Tensor, Tensor, Tensor)"
"""Eqs. (7)-(9): a (T, B, N), memory (2, M, B) -> y (T, B, N), steps (2, M + T, B), windows (2, T, B)."""

NORM_BACKWARD = (
    "(Tensor dy, Tensor? dsteps, Tensor a, Tensor? gain, Tensor steps, Tensor windows, int k, float eps)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
"""Gradients of a, gain, shift (N,) and memory, from those of y and steps."""

LSTM_FORWARD = (
    "(Tensor x, Tensor w_ih, Tensor w_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? bias, Tensor? gain_ih,"
    " Tensor? gain_hh, Tensor? gain_c, Tensor? shift_c, Tensor h_0, Tensor c_0, Tensor memory, int k, float eps)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
"""Eqs. (14)-(16) over x (T, B, I), with memory (3, 2, M, B) of the norms ih, hh and c.

`bias_ih` and `bias_hh` are added inside the norms; `bias` is all that is added to the gates after them. Returns h and c
(T, B, H), steps (3, 2, M + T, B), and for the backward pass the preactivations from the input (T, B, 4H) and from the
state, the gates, and windows (3, 2, T, B). Without a norm the preactivations are not kept: (0, B, 4H).
"""

LSTM_BACKWARD = (
    "(Tensor? dh, Tensor? dc, Tensor? dsteps, Tensor w_hh, Tensor? gain_ih, Tensor? gain_hh, Tensor? gain_c,"
    " Tensor? shift_c, Tensor c_0, Tensor h, Tensor c, Tensor steps, Tensor x_ih, Tensor x_hh, Tensor gates,"
    " Tensor windows, int k, float eps)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
"""Gradients of what stands in front of the products, of gains and shifts, and of the state passed in.

da_ih (T, B, 4H) (empty without a norm: it is da_hh), da_hh (T, B, 4H); dgain_ih, dgain_hh, dbias (4H,); dgain_c,
dshift_c (H,); dh_0, dc_0 (B, H); dmemory (3, 2, M, B).
"""


class Kernels(Protocol):
    """What computes: the four functions, on contiguous tensors."""

    norm_forward: Callable[..., tuple[Tensor, ...]]
    norm_backward: Callable[..., tuple[Tensor, ...]]
    lstm_forward: Callable[..., tuple[Tensor, ...]]
    lstm_backward: Callable[..., tuple[Tensor, ...]]


class Operators(NamedTuple):
    """The two operators of a backend that a layer calls; their gradients come with them."""

    norm_forward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    lstm_forward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]]


def register(backend: str, kernels: Callable[[], Kernels], device_types: Sequence[str]) -> Operators:
    """Register the operators of a backend, whose kernels are asked for at each call, on these kinds of device."""
    no_second = f"the {backend} backend has no second derivative; use backend='eager' where you need one"

    def operator(name: str, schema: str, fake: Callable[..., Any]) -> Any:
        def compute(*arguments: Any) -> tuple[Tensor, ...]:
            results: tuple[Tensor, ...] = getattr(kernels(), name)(*map(_contiguous, arguments))
            return results

        registered = torch.library.custom_op(
            f"atn::{backend}_{name}", compute, mutates_args=(), device_types=tuple(device_types), schema=schema
        )
        registered.register_fake(fake)
        return registered

    def refuse(*_: Any) -> NoReturn:
        raise RuntimeError(no_second)

    norm_forward = operator("norm_forward", NORM_FORWARD, _fake_norm_forward)
    norm_backward = operator("norm_backward", NORM_BACKWARD, _fake_norm_backward)
    lstm_forward = operator("lstm_forward", LSTM_FORWARD, _fake_lstm_forward)
    lstm_backward = operator("lstm_backward", LSTM_BACKWARD, _fake_lstm_backward)
    norm_forward.register_autograd(_NormGradient(norm_backward), setup_context=_keep_for_norm)
    lstm_forward.register_autograd(_LSTMGradient(lstm_backward), setup_context=_keep_for_lstm)
    norm_backward.register_autograd(refuse)
    lstm_backward.register_autograd(refuse)
    return Operators(norm_forward, lstm_forward)


def _contiguous(argument: Any) -> Any:
    return argument.contiguous() if isinstance(argument, Tensor) else argument


# ----------------------------------------------------------------------------------------------------------- the norm


def _fake_norm_forward(
    a: Tensor, gain: Tensor | None, shift: Tensor | None, memory: Tensor, k: int, eps: float
) -> tuple[Tensor, ...]:
    del gain, shift, k, eps
    T, B, _ = a.shape
    return a.new_empty(a.shape), memory.new_empty(2, memory.shape[1] + T, B), memory.new_empty(2, T, B)


def _fake_norm_backward(
    dy: Tensor,
    dsteps: Tensor | None,
    a: Tensor,
    gain: Tensor | None,
    steps: Tensor,
    windows: Tensor,
    k: int,
    eps: float,
) -> tuple[Tensor, ...]:
    del dy, dsteps, gain, k, eps
    T, B, N = a.shape
    return a.new_empty(a.shape), a.new_empty(N), a.new_empty(N), windows.new_empty(2, steps.shape[1] - T, B)


def _keep_for_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    a, gain, shift, _, ctx.k, ctx.eps = inputs
    _, steps, windows = output
    ctx.has_shift = shift is not None
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(windows)
    ctx.save_for_backward(a, gain, steps, windows)


class _NormGradient:
    def __init__(self, norm_backward: Callable[..., tuple[Tensor, ...]]) -> None:
        self._norm_backward = norm_backward

    def __call__(self, ctx: Any, dy: Tensor | None, dsteps: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        a, gain, steps, windows = ctx.saved_tensors
        dy = torch.zeros_like(a) if dy is None else dy
        da, dgain, dshift, dmemory = self._norm_backward(dy, dsteps, a, gain, steps, windows, ctx.k, ctx.eps)
        return da, None if gain is None else dgain, dshift if ctx.has_shift else None, dmemory, None, None


# ---------------------------------------------------------------------------------------------------------- the layer


def _fake_lstm_forward(
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
) -> tuple[Tensor, ...]:
    del w_ih, w_hh, bias_ih, bias_hh, bias, gain_ih, gain_hh, gain_c, shift_c, eps
    (T, B, _), H, M = x.shape, h_0.shape[1], memory.shape[2]
    steps, windows = (M + T, T) if k > 0 else (0, 0)
    return (
        x.new_empty(T, B, H),
        c_0.new_empty(T, B, H),
        c_0.new_empty(3, 2, steps, B),
        x.new_empty(windows, B, 4 * H),
        x.new_empty(windows, B, 4 * H),
        x.new_empty(T, B, 4 * H),
        c_0.new_empty(3, 2, windows, B),
    )


def _fake_lstm_backward(
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
) -> tuple[Tensor, ...]:
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
        h.new_empty(B, H),
        c_0.new_empty(B, H),
        c_0.new_empty(3, 2, steps.shape[2] - T_normed, B),
    )


def _keep_for_lstm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w_ih, w_hh, bias_ih, bias_hh, bias, gain_ih, gain_hh, gain_c, shift_c, h_0, c_0, _, ctx.k, ctx.eps = inputs
    h, c, steps, *kept = output
    ctx.has_bias = [one is not None for one in (bias_ih, bias_hh, bias)]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*kept)
    ctx.save_for_backward(x, w_ih, w_hh, gain_ih, gain_hh, gain_c, shift_c, h_0, c_0, h, c, steps, *kept)


class _LSTMGradient:
    def __init__(self, lstm_backward: Callable[..., tuple[Tensor, ...]]) -> None:
        self._lstm_backward = lstm_backward

    def __call__(
        self, ctx: Any, dh: Tensor | None, dc: Tensor | None, dsteps: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gain_ih, gain_hh, gain_c, shift_c, h_0, c_0, h, *kept = ctx.saved_tensors
        da_ih, da_hh, dgain_ih, dgain_hh, dbias, dgain_c, dshift_c, dh_0, dc_0, dmemory = self._lstm_backward(
            dh, dc, dsteps, w_hh, gain_ih, gain_hh, gain_c, shift_c, c_0, h, *kept, ctx.k, ctx.eps
        )
        rows_hh = da_hh.flatten(0, 1)
        rows_ih = da_ih.flatten(0, 1) if ctx.k > 0 else rows_hh
        needs_x, needs_ih, needs_hh, *_ = ctx.needs_input_grad
        has_bias_ih, has_bias_hh, has_bias = ctx.has_bias
        # A caller may run the backward pass under autocast, which would round these products.
        with full_precision(x.device):
            return (
                _input_gradient(rows_ih, w_ih).view_as(x) if needs_x else None,
                _weight_gradient(rows_ih, x.flatten(0, 1)) if needs_ih else None,
                _recurrent_weight_gradient(da_hh, h_0, h) if needs_hh else None,
                rows_ih.sum(0) if has_bias_ih else None,
                rows_hh.sum(0) if has_bias_hh else None,
                dbias if has_bias else None,
                None if gain_ih is None else dgain_ih,
                None if gain_hh is None else dgain_hh,
                None if gain_c is None else dgain_c,
                None if shift_c is None else dshift_c,
                dh_0,
                dc_0,
                dmemory,
                None,
                None,
            )


def _input_gradient(rows: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the input (R, I) of a product with weight (G, I), from that of its output, rows (R, G).

    BLAS takes up to 3 times as long for few columns I, as of a number or a mark a step, unless the weight's columns are
    contiguous.
    """
    return functional.linear(rows, weight.t().contiguous())


def _weight_gradient(rows: Tensor, x: Tensor) -> Tensor:
    """Gradient of the weight (G, I), from that of the output, rows (R, G), and the input x (R, I).

    The transposed product is the one that BLAS does well for few columns I: up to 9 times as fast.
    """
    return (x.t() @ rows).t().contiguous()


def _recurrent_weight_gradient(da_hh: Tensor, h_0: Tensor, h: Tensor) -> Tensor:
    """Gradient of W_hh (4H, H): one product over all steps after the first, and one for the first."""
    return da_hh[0].t() @ h_0 + da_hh[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1)
