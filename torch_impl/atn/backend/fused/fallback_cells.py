"""The operators of the cells whose only state is h in plain torch calls, as `fallback` has those of the LSTM.

Letters: T time, B cases, I inputs, H hidden, k window length (0: no norm), M steps of memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atn.backend.custom_ops.signatures import HiddenBackward, HiddenForward, HiddenInference, HiddenResult
from atn.backend.fused.fallback_norm import (
    EVERY,
    LoopNorm,
    LoopNormGradient,
    input_is_computed_again,
    norm_of,
    with_memory,
)
from atn.precision import in_full_precision


class _CellGradients(NamedTuple):
    """Gradients of a_ih and a_hh (B, G*H), and of the state that a step started from, not through a_hh (B, H)."""

    ih: Tensor
    hh: Tensor
    h: Tensor


class _RNN:
    """h = f(a_ih + a_hh) with f = tanh or relu, Eqs. (1) and (3)."""

    def __init__(self, mode: str) -> None:
        self._tanh = mode == "RNN_TANH"

    def kept(self, a_ih: Tensor, a_hh: Tensor) -> Tensor:  # noqa: ARG002 - h itself is enough
        """What the backward pass reads beside h: nothing."""
        return a_ih[..., :0]

    def state(self, a_ih: Tensor, a_hh: Tensor, kept: Tensor, h: Tensor) -> Tensor:  # noqa: ARG002 - a GRU's
        """The next h."""
        return (a_ih + a_hh).tanh() if self._tanh else (a_ih + a_hh).relu()

    def backward(self, dh: Tensor, h: Tensor, before: Tensor, kept: Tensor) -> _CellGradients:  # noqa: ARG002 - a GRU's
        """Gradients, from that of h."""
        d = dh * (1 - h.square()) if self._tanh else torch.where(h <= 0, 0, dh)
        return _CellGradients(d, d, torch.zeros_like(dh))


class _GRU:
    """The GRU of `torch.nn.GRU`, whose rows are r, z, n."""

    def kept(self, a_ih: Tensor, a_hh: Tensor) -> Tensor:
        """Values of r, z, n, and the recurrent row of n (..., 4H)."""
        (r_ih, z_ih, n_ih), (r_hh, z_hh, n_hh) = a_ih.chunk(3, -1), a_hh.chunk(3, -1)
        r = (r_ih + r_hh).sigmoid()
        return torch.cat((r, (z_ih + z_hh).sigmoid(), (n_ih + r * n_hh).tanh(), n_hh), -1)

    def state(self, a_ih: Tensor, a_hh: Tensor, kept: Tensor, h: Tensor) -> Tensor:  # noqa: ARG002 - an RNN's
        """The next h."""
        _, z, n, _ = kept.chunk(4, -1)
        return n + z * (h - n)

    def backward(self, dh: Tensor, h: Tensor, before: Tensor, kept: Tensor) -> _CellGradients:  # noqa: ARG002 - an RNN's
        """Gradients, from that of h."""
        r, z, n, n_hh = kept.chunk(4, -1)
        dn = dh * (1 - z) * (1 - n.square())
        dr, dz = dn * n_hh * r * (1 - r), dh * (before - n) * z * (1 - z)
        return _CellGradients(torch.cat((dr, dz, dn), 1), torch.cat((dr, dz, dn * r), 1), dh * z)


def _cell(mode: str) -> _RNN | _GRU:
    return _GRU() if mode == "GRU" else _RNN(mode)


def _norms(given: HiddenForward | HiddenBackward, steps: Tensor, windows: Tensor) -> list[LoopNorm]:
    """The norms ih and hh of a layer; without a norm they have no statistics, gains or shifts."""
    affine = ((given.gamma_ih, given.beta_ih), (given.gamma_hh, given.beta_hh))
    return [norm_of(steps[i], windows[i], given.k, given.eps, *affine[i]) for i in range(2)]


@in_full_precision
def hidden_forward(given: HiddenForward) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run a layer; the results are the fields of `signatures.HiddenResult`."""
    x, cell = given.x, _cell(given.mode)
    (T, B, _), H = x.shape, given.h_0.shape[1]
    normed = given.k > 0
    steps = with_memory(given.memory, T) if normed else x.new_empty(2, 2, 0, B)
    windows = x.new_empty(2, 2, T if normed else 0, B)
    norms = ih, hh = _norms(given, steps, windows)
    window_ih, window_hh = ih.window(), hh.window()
    rows_ih = torch.nn.functional.linear(x, given.weight_ih, given.bias_ih)
    rows_hh, kept = torch.empty_like(rows_ih), []
    h_all = x.new_empty(T, B, H)
    h = given.h_0.clone()
    for t in range(T):
        rows_hh[t] = torch.nn.functional.linear(h, given.weight_hh, given.bias_hh)
        if normed:
            rows_ih[t], rows_hh[t] = ih.forward(t, rows_ih[t], window_ih), hh.forward(t, rows_hh[t], window_hh)
        a_ih, a_hh = _preactivations(norms, rows_ih[t], rows_hh[t], t) if normed else (rows_ih[t], rows_hh[t])
        kept.append(cell.kept(a_ih, a_hh))
        h = cell.state(a_ih, a_hh, kept[t], h)
        h_all[t] = h
    gates, none = torch.stack(kept), rows_ih[:0]
    return HiddenResult(
        h=h_all,
        steps=steps,
        kept_ih=rows_ih if normed and not input_is_computed_again(x) else none.clone(),
        kept_hh=rows_hh if normed else none.clone(),
        gates=gates[:0].clone() if normed else gates,
        windows=windows,
    )


@in_full_precision
def hidden_inference(given: HiddenForward) -> tuple[Tensor, Tensor]:
    """Run a layer whose gradient is not needed. Only the compiled code saves memory compared with `hidden_forward`."""
    result = HiddenResult(*hidden_forward(given))
    carried = min(result.steps.shape[2], max(given.k - 1, 0))
    memory = result.steps[:, :, result.steps.shape[2] - carried :]
    return HiddenInference(h=result.h, memory=memory.clone())


@in_full_precision
def hidden_backward(
    given: HiddenBackward,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `hidden_forward`."""
    h, steps, windows, cell = given.h, given.steps, given.windows, _cell(given.mode)
    T = h.shape[0]
    normed = given.k > 0
    norms = _norms(given, steps, windows)
    kept_ih, kept_hh, kept = _rows_again(given, norms)
    by_step = torch.zeros_like(steps) if given.dsteps is None else given.dsteps.clone()
    by_window = torch.empty_like(windows)
    ih, hh = (LoopNormGradient(norm, by_window[i], by_step[i]) for i, norm in enumerate(norms))
    # The gradients in front of the norms are kept for every step: one sum over all steps loses fewer digits than a
    # running sum.
    upstream: list[_CellGradients] = []
    da_ih, da_hh = [], []
    dh = torch.zeros_like(given.h_0)
    for t in reversed(range(T)):
        before = given.h_0 if t == 0 else h[t - 1]
        d = cell.backward(dh if given.dh is None else dh + given.dh[t], h[t], before, kept[t])
        upstream.append(d)
        da_ih.append(ih.backward(t, d.ih, kept_ih[t]) if normed else d.ih)
        da_hh.append(hh.backward(t, d.hh, kept_hh[t]) if normed else d.hh)
        dh = da_hh[-1] @ given.weight_hh + d.h
    ih.finish()
    hh.finish()
    rows_ih, rows_hh = (torch.stack(rows[::-1]) for rows in (da_ih, da_hh))
    d_ih, d_hh = (torch.stack(rows[::-1]) for rows in ([d.ih for d in upstream], [d.hh for d in upstream]))
    if not normed:  # no gains and shifts
        d_ih, d_hh, xhat_ih, xhat_hh = d_ih[:0], d_hh[:0], kept_ih, kept_hh
    else:
        xhat_ih, xhat_hh = norms[0].xhat(kept_ih), norms[1].xhat(kept_hh)
    sums = [(d_ih * xhat_ih).sum((0, 1)), d_ih.sum((0, 1)), (d_hh * xhat_hh).sum((0, 1)), d_hh.sum((0, 1))]
    if isinstance(cell, _RNN) and not normed:
        rows_ih = rows_ih[:0].clone()
    M = steps.shape[2] - windows.shape[2]
    return rows_ih, rows_hh, sums[0], sums[1], sums[2], sums[3], dh, by_step[:, :, :M].clone()


def _rows_again(given: HiddenBackward, norms: list[LoopNorm]) -> tuple[Tensor, Tensor, Tensor]:
    """The preactivations as they are kept, and what the cell keeps: by the forward pass, or computed again."""
    if given.k == 0:
        return given.kept_ih, given.kept_hh, given.gates
    kept_ih = given.kept_ih
    if kept_ih.shape[0] == 0:
        kept_ih = norms[0].kept(torch.nn.functional.linear(given.x, given.weight_ih, given.bias_ih))
    kept = _cell(given.mode).kept(*_preactivations(norms, kept_ih, given.kept_hh))
    return kept_ih, given.kept_hh, kept


def _preactivations(
    norms: list[LoopNorm], kept_ih: Tensor, kept_hh: Tensor, steps: int | slice = EVERY
) -> tuple[Tensor, Tensor]:
    """The rows a_ih and a_hh of some steps, normalized, with gain and shift, from the kept ones."""
    ih, hh = (norm.affine(norm.xhat(kept, steps)) for norm, kept in zip(norms, (kept_ih, kept_hh), strict=True))
    return ih, hh
