"""The operators of the fused backend in plain torch calls, for machines on which `csrc/` cannot be compiled.

They compute the functions of `csrc/ops.cpp` on the arguments of `signatures`, without autograd, and like them outside
autocast; the order of their sums is another one. The gradients of the weights, which the kernels of a small layer take
step by step, are products here. The norms are those of `fallback_norm`; the cells other than the LSTM are in
`fallback_cells`.

Letters: T time, B cases, I inputs, H hidden, k window length (0: no norm), M steps of memory.
"""

import torch
from torch import Tensor

from atn.backend.custom_ops.products import lstm_product_gradients
from atn.backend.custom_ops.signatures import (
    LSTMBackward,
    LSTMForward,
    LSTMGradients,
    LSTMInference,
    LSTMResult,
    NormBackward,
    NormForward,
)
from atn.backend.fused.fallback_cells import hidden_backward, hidden_forward, hidden_inference
from atn.backend.fused.fallback_norm import (
    LoopNorm,
    LoopNormGradient,
    input_is_computed_again,
    norm_of,
    with_memory,
)
from atn.precision import in_full_precision

__all__ = [
    "hidden_backward",
    "hidden_forward",
    "hidden_inference",
    "lstm_backward",
    "lstm_forward",
    "lstm_inference",
    "norm_backward",
    "norm_forward",
]


def norm_forward(given: NormForward) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize a sequence, Eqs. (7)-(9); arguments and results as in `signatures.NormForward`."""
    a, gamma, beta, memory, k, eps = given
    steps, windows = with_memory(memory, a.shape[0]), a.new_empty(2, *a.shape[:2])
    norm = norm_of(steps, windows, k, eps, gamma, beta)
    window = norm.window()
    kept = torch.stack([norm.forward(t, row, window) for t, row in enumerate(a)])
    return norm.affine(norm.xhat(kept)), steps, windows


def norm_backward(given: NormBackward) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `norm_forward`."""
    dy, dsteps, a, gamma, steps, windows, k, eps = given
    norm = norm_of(steps, windows, k, eps, gamma)
    by_step = torch.zeros_like(steps) if dsteps is None else dsteps.clone()
    gradient = LoopNormGradient(norm, torch.empty_like(windows), by_step)
    da, kept = torch.empty_like(a), norm.kept(a)
    for t in reversed(range(a.shape[0])):
        da[t] = gradient.backward(t, dy[t], kept[t])
    gradient.finish()
    return da, (dy * norm.xhat(kept)).sum((0, 1)), dy.sum((0, 1)), by_step[:, : norm.memory].clone()


def _norms(given: LSTMForward | LSTMBackward, steps: Tensor, windows: Tensor) -> list[LoopNorm]:
    """The norms ih, hh and c of a layer; the shifts of the first two are added with the biases."""
    affine = ((given.gamma_ih, None), (given.gamma_hh, None), (given.gamma_c, given.beta_c))
    return [norm_of(steps[i], windows[i], given.k, given.eps, *affine[i]) for i in range(3)]


@in_full_precision
def lstm_forward(given: LSTMForward) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run a layer, Eqs. (14)-(16); the results are the fields of `signatures.LSTMResult`."""
    x, h_0, c = given.x, given.h_0, given.c_0
    (T, B, _), H = x.shape, h_0.shape[1]
    normed = given.k > 0
    steps = with_memory(given.memory, T) if normed else x.new_empty(3, 2, 0, B)
    windows = x.new_empty(3, 2, T if normed else 0, B)
    norms = _norms(given, steps, windows)
    ih, hh, cell = norms
    window_ih, window_hh, window_c = (norm.window() for norm in norms)
    kept_ih = torch.nn.functional.linear(x, given.weight_ih, given.bias_ih)
    kept_hh, gates = x.new_empty(T if normed else 1, B, 4 * H), x.new_empty(T, B, 4 * H)
    h_all, c_all = x.new_empty(T, B, H), x.new_empty(T, B, H)
    h = h_0.clone()
    for t in range(T):
        recurrent = torch.nn.functional.linear(h, given.weight_hh, given.bias_hh)
        if normed:
            kept_ih[t], kept_hh[t] = ih.forward(t, kept_ih[t], window_ih), hh.forward(t, recurrent, window_hh)
            total = ih.affine(ih.xhat(kept_ih[t], t)) + hh.affine(hh.xhat(kept_hh[t], t))
        else:
            total = kept_ih[t] + recurrent
        if given.bias is not None:
            total += given.bias
        _gates(total, gates[t])
        i, f, g, o = gates[t].chunk(4, dim=1)
        c = torch.addcmul(f * c, i, g, out=c_all[t])
        h.copy_(o * cell.affine(cell.xhat(cell.forward(t, c, window_c), t) if normed else c).tanh())
        h_all[t] = h
    keep_input = normed and not input_is_computed_again(x)
    return LSTMResult(
        h=h_all,
        c=c_all,
        steps=steps,
        kept_ih=kept_ih if keep_input else x.new_empty(0, B, 4 * H),
        kept_hh=kept_hh if normed else x.new_empty(0, B, 4 * H),
        gates=x.new_empty(0, B, 4 * H) if normed else gates,
        windows=windows,
    )


@in_full_precision
def lstm_inference(given: LSTMForward) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer whose gradient is not needed. Only the compiled code saves memory compared with `lstm_forward`."""
    result = LSTMResult(*lstm_forward(given))
    carried = min(result.steps.shape[2], max(given.k - 1, 0))
    memory = result.steps[:, :, result.steps.shape[2] - carried :]
    return LSTMInference(h=result.h, c_n=result.c[-1].clone(), memory=memory.clone())


def _gates(total: Tensor, gates: Tensor) -> None:
    """Write sigmoid or tanh of the preactivations (..., 4H) into `gates`, which may be the same tensor."""
    functions = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid)
    for gate, values, function in zip(gates.chunk(4, dim=-1), total.chunk(4, dim=-1), functions, strict=True):
        function(values, out=gate)


def _rows_again(given: LSTMBackward, ih: LoopNorm, hh: LoopNorm) -> tuple[Tensor, Tensor]:
    """The preactivations from the input as they are kept, and the gates, by the forward pass or recomputed."""
    if given.k == 0:
        return given.kept_ih, given.gates
    kept_ih = given.kept_ih
    if kept_ih.shape[0] == 0:
        kept_ih = ih.kept(torch.nn.functional.linear(given.x, given.weight_ih, given.bias_ih))
    total = ih.affine(ih.xhat(kept_ih)) + hh.affine(hh.xhat(given.kept_hh))
    if given.bias is not None:
        total += given.bias
    _gates(total, total)
    return kept_ih, total


@in_full_precision
def lstm_backward(given: LSTMBackward) -> LSTMGradients:
    """Gradients of `lstm_forward`."""
    h, c, steps, kept_hh, windows = given.h, given.c, given.steps, given.kept_hh, given.windows
    T, B, H = h.shape
    normed = given.k > 0
    norms = _norms(given, steps, windows)
    kept_ih, gates = _rows_again(given, norms[0], norms[1])
    by_step = torch.zeros_like(steps) if given.dsteps is None else given.dsteps.clone()
    by_window = torch.empty_like(windows)
    ih, hh, cell = (LoopNormGradient(norm, by_window[i], by_step[i]) for i, norm in enumerate(norms))
    da_ih, da_hh = h.new_empty(T if normed else 0, B, 4 * H), h.new_empty(T, B, 4 * H)
    # The upstream gradients of the norms are kept for every step: one sum over all steps loses fewer digits than a
    # running sum.
    dgates, dz, kept_c = h.new_empty(T, B, 4 * H), torch.empty_like(h), torch.empty_like(h)
    dh, dc = torch.zeros_like(given.c_0), torch.zeros_like(given.c_0)
    for t in reversed(range(T)):
        i, f, g, o = gates[t].chunk(4, dim=1)
        dh = dh if given.dh is None else dh + given.dh[t]
        kept_c[t] = cell.norm.kept(c[t], t) if normed else c[t]
        tanh_z = cell.norm.affine(cell.norm.xhat(kept_c[t], t) if normed else c[t]).tanh()
        dz[t] = dh * o * (1 - tanh_z.square())
        scaled = dz[t] if given.gamma_c is None else dz[t] * given.gamma_c
        dc = dc + (cell.backward(t, dz[t], kept_c[t]) if normed else scaled)
        dc = dc if given.dc is None else dc + given.dc[t]
        before = given.c_0 if t == 0 else c[t - 1]
        dgates[t] = torch.cat(
            (dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g.square()), dh * tanh_z * o * (1 - o)),
            dim=1,
        )
        dc = dc * f
        if normed:
            da_ih[t], da_hh[t] = ih.backward(t, dgates[t], kept_ih[t]), hh.backward(t, dgates[t], kept_hh[t])
        else:
            da_hh[t] = dgates[t]
        dh = da_hh[t] @ given.weight_hh
    for gradient in (ih, hh, cell):
        gradient.finish()
    M = steps.shape[2] - da_ih.shape[0]
    # Without a norm no preactivations are kept, and the sums for gains and shifts are over empty tensors.
    if not normed:
        dgates, xhat_ih, xhat_hh, xhat_c = dgates[:0], kept_ih, kept_hh, c
    else:
        xhat_ih, xhat_hh, xhat_c = (
            norm.xhat(kept) for norm, kept in zip(norms, (kept_ih, kept_hh, kept_c), strict=True)
        )
    sums = ((dgates * xhat_ih).sum((0, 1)), (dgates * xhat_hh).sum((0, 1)), dgates.sum((0, 1)))
    sums_c = ((dz * xhat_c).sum((0, 1)), dz.sum((0, 1)))
    of_products = lstm_product_gradients(given, da_ih if normed else da_hh, da_hh)
    return LSTMGradients(*of_products, *sums, *sums_c, dh, dc, by_step[:, :, :M].clone())
