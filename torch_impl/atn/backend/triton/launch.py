"""The operators of the triton backend: checks, allocation, and the order of products, norms and time loops.

They compute the same functions as the operators of the fused backend. For the backward pass they keep the
preactivations a_ih and a_hh before the norms, whereas the fused backend keeps the normalized preactivations. Data may
have 16 bits; statistics, the carry and c are then float32. The norm of the product with the input has no recurrence and
is computed for the whole sequence, forward and backward.

Letters: T time, B cases, I inputs, H hidden, k window length (0: no norm), M steps of memory.
"""

import torch
from torch import Tensor

from atn.backend.custom_ops.products import lstm_product_gradients
from atn.backend.custom_ops.signatures import LSTMBackward, LSTMForward, LSTMGradients, NormBackward, NormForward
from atn.backend.triton import blocks
from atn.backend.triton.blocks import blocks_of_step
from atn.backend.triton.checks import check_lstm_backward, check_lstm_forward
from atn.backend.triton.cuda_graphs import replay
from atn.backend.triton.loops import BackwardLoop, ForwardLoop
from atn.backend.triton.norm import (
    collect_steps,
    last_steps,
    norm_backward,
    norm_forward,
    normalize_into,
    sums_over_rows,
)

__all__ = ["lstm_backward", "lstm_forward", "lstm_inference", "norm_backward", "norm_forward"]


def lstm_forward(given: LSTMForward) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run a layer; return the fields of `LSTMResult`, which include the values that its backward pass reads."""
    check_lstm_forward(given)
    x, c_0 = given.x, given.c_0
    (T, B, _), H = x.shape, given.h_0.shape[1]
    normed = given.k > 0
    steps, windows = memory_in_front(given), c_0.new_empty(3, 2, T if normed else 0, B)
    c, gates = c_0.new_empty(T, B, H), x.new_empty(T, B, 4 * H)
    a_ih = from_input = torch.nn.functional.linear(x, given.weight_ih, given.bias_ih)
    if normed:
        from_input = torch.empty_like(a_ih)
        steps[0], windows[0] = normalize_into(from_input, norm_of_input(given, a_ih))
    loop = ForwardLoop(
        from_input=from_input,
        weight_hh=given.weight_hh,
        bias_hh=given.bias_hh,
        gamma_hh=given.gamma_hh,
        gamma_c=given.gamma_c,
        beta_c=given.beta_c,
        state=given.h_0.clone(),
        carry=c_0.clone(),
        steps=steps,
        a_hh=x.new_empty(T if normed else 1, B, 4 * H),
        h=x.new_empty(T, B, H),
        c=c,
        gates=gates,
        windows=windows,
    )
    run(loop, ("a_hh", "h", "c", "gates"), ("steps", "windows"), given)
    a_ih, a_hh = (rows if normed else x.new_empty(0, B, 4 * H) for rows in (a_ih, loop.a_hh))
    return loop.h, c, steps, a_ih, a_hh, gates, windows


def lstm_inference(given: LSTMForward) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer whose gradient is not needed, by the kernels of `lstm_forward`, which write less.

    Returns h (T, B, H), the last c (B, H), and the statistics (3, 2, min(M + T, k - 1), B) of the last steps, which are
    the memory of the next chunk; (3, 2, 0, B) without a norm. It also allocates one array of 4 T B H numbers.
    """
    check_lstm_forward(given)
    x = given.x
    (T, B, _), H = x.shape, given.h_0.shape[1]
    steps = memory_in_front(given)
    from_input = torch.nn.functional.linear(x, given.weight_ih, given.bias_ih)
    if given.k > 0:
        steps[0], _ = normalize_into(from_input, norm_of_input(given, from_input))
    loop = ForwardLoop(
        from_input=from_input,
        weight_hh=given.weight_hh,
        bias_hh=given.bias_hh,
        gamma_hh=given.gamma_hh,
        gamma_c=given.gamma_c,
        beta_c=given.beta_c,
        state=given.h_0.clone(),
        carry=given.c_0.clone(),
        steps=steps,
        a_hh=x.new_empty(1, B, 4 * H),
        h=x.new_empty(T, B, H),
        c=None,
        gates=None,
        windows=None,
    )
    run(loop, ("a_hh", "h"), ("carry", "steps"), given)
    return loop.h, loop.carry, last_steps(steps, max(given.k, 1))


def memory_in_front(given: LSTMForward) -> Tensor:
    """Step statistics (3, 2, M + T, B) with the memory filled in; (3, 2, 0, B) without a norm."""
    T, (_, _, M, B) = given.x.shape[0], given.memory.shape
    steps = given.c_0.new_empty(3, 2, M + T if given.k > 0 else 0, B)
    steps[:, :, :M] = given.memory
    return steps


def norm_of_input(given: LSTMForward, a_ih: Tensor) -> NormForward:
    """Arguments of `norm_forward` for the norm of the product with the input."""
    return NormForward(a=a_ih, gamma=given.gamma_ih, beta=given.bias, memory=given.memory[0], k=given.k, eps=given.eps)


def run(loop: ForwardLoop, fresh: tuple[str, ...], changed: tuple[str, ...], given: LSTMForward) -> None:
    """Run the time loop: one launch for a small layer, a graph of many launches for a large one."""
    if given.h_0.shape[1] <= blocks.LARGEST_AT_ONCE:
        loop.run(given.k, given.eps)
    else:
        replay(loop, fresh=fresh, changed=changed, k=given.k, eps=given.eps)


def lstm_backward(given: LSTMBackward) -> LSTMGradients:
    """Gradients of `lstm_forward`."""
    check_lstm_backward(given)
    c, gates, steps, windows, k = given.c, given.gates, given.steps, given.windows, given.k
    T, B, H = c.shape
    normed = k > 0
    reads_affine = given.gamma_c is not None or given.beta_c is not None
    loop = BackwardLoop(
        dh_out=given.dh,
        dc_out=given.dc,
        weight_hh=given.weight_hh,
        gamma_hh=given.gamma_hh,
        gamma_c=given.gamma_c,
        beta_c=given.beta_c,
        c_0=given.c_0,
        c=c,
        gates=gates,
        a_hh=given.kept_hh,
        steps=steps,
        windows=windows,
        dh=given.h.new_zeros(B, H),
        dc=torch.zeros_like(given.c_0),
        dsteps=torch.zeros_like(steps) if given.dsteps is None else given.dsteps.clone(),
        dwindows=torch.empty_like(windows),
        dgates=torch.empty_like(gates),
        dz=torch.empty_like(c) if normed or reads_affine else None,
        da_hh=torch.empty_like(given.kept_hh),
    )
    fresh = ("dwindows", "dgates", "da_hh") if loop.dz is None else ("dwindows", "dgates", "dz", "da_hh")
    if H <= blocks.LARGEST_AT_ONCE:
        loop.run(k)
    else:
        replay(loop, fresh=fresh, changed=("dh", "dc", "dsteps"), k=k)
    if loop.dz is None:
        dgamma_c, dbeta_c = gates.new_zeros(2, H)
    else:
        dgamma_c, dbeta_c = sums_over_rows(loop.dz, c, windows[2] if normed else None).to(gates.dtype)
    of_state = dgamma_c.clone(), dbeta_c.clone(), loop.dh, loop.dc
    if not normed:
        dgamma_ih, dgamma_hh, dbias = (gates.new_zeros(4 * H) for _ in range(3))
        of_products = lstm_product_gradients(given, loop.dgates, loop.dgates)
        return LSTMGradients(*of_products, dgamma_ih, dgamma_hh, dbias, *of_state, loop.dsteps)
    M, dsteps = steps.shape[2] - T, loop.dsteps
    of_input = NormBackward(
        dy=loop.dgates,
        dsteps=dsteps[0],
        a=given.kept_ih,
        gamma=given.gamma_ih,
        steps=steps[0],
        windows=windows[0],
        k=k,
        eps=given.eps,
    )
    da_ih, dgamma_ih, dbias, dmemory_ih = norm_backward(of_input)
    sizes = blocks_of_step(H, min(k, T), gates.dtype)
    for norm in (1, 2):
        collect_steps(loop.dwindows[norm], windows[norm], steps[norm], dsteps[norm, :, :M], k, sizes)
    dgamma_hh = sums_over_rows(loop.dgates, given.kept_hh, windows[1])[0].clone()
    dmemory = torch.stack((dmemory_ih, dsteps[1, :, :M], dsteps[2, :, :M]))
    of_products = lstm_product_gradients(given, da_ih, loop.da_hh)
    return LSTMGradients(*of_products, dgamma_ih, dgamma_hh, dbias, *of_state, dmemory)
