"""The operators of the triton backend: allocation, launches, and the order of the time loops.

They compute what the operators of the fused backend compute. For the backward pass they keep the preactivations before
the norms, a_ih and a_hh, where the fused backend keeps the normalized ones. Data may have 16 bits; statistics, the
carry and c are then float32. The norm of the product with the input has no recurrence and is done for the whole
sequence, forward and backward. A small layer then takes one kernel for all steps; in a larger one a step is one matrix
product and one kernel.

Letters: T time, B cases, I inputs, H hidden, N features, k window length (0: no norm), M steps of memory.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from atn.backend.custom_ops.signatures import LSTMBackward, LSTMForward, NormBackward, NormForward
from atn.backend.triton import backward, forward
from atn.backend.triton.cuda_graphs import replay

LONGEST_BLOCK = 4096
"""Elements of a row that a program of the sequence kernels holds at a time."""

LONGEST_WINDOW = 1024
"""Steps of a window that a program holds at a time."""

LARGEST_AT_ONCE = 128
"""Hidden size up to which one program takes a case through all steps: W_hh then fits the cache next to it."""

PART_OF_A_PRODUCT = 32
"""Features of the state that such a program multiplies at a time."""

ROWS_OF_A_SUM = 64
"""Rows that a program of `sums_over_rows` adds up."""

COLUMNS_OF_A_SUM = 32
"""Columns that it adds up at once."""


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype of statistics and of the carry for data of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Blocks(NamedTuple):
    """Sizes that a kernel is compiled for."""

    features: int
    """Power of two that holds a row, or the part of it that a program holds at a time."""
    window: int
    warps: int
    acc: Any
    """Triton's dtype of the accumulator."""

    @property
    def registers(self) -> int:
        """All registers that a thread can have. Left to itself, the assembler spills some to fit two programs in."""
        return min(255, 65536 // (32 * self.warps))

    def of_step(self, *, normed: bool, affine: bool) -> dict[str, Any]:
        """Settings of a kernel that makes one step or all of them."""
        kernel = {"NORMED": normed, "AFFINE": affine, "BLOCK_H": self.features, "BLOCK_K": self.window, "ACC": self.acc}
        return {**kernel, "num_warps": self.warps, "maxnreg": self.registers}


def blocks_of_rows(N: int, k: int, dtype: torch.dtype) -> Blocks:
    """Blocks for rows of N features, taken in parts where they are long."""
    return _blocks(min(triton.next_power_of_2(N), LONGEST_BLOCK), k, dtype, elements=4)


def blocks_of_step(H: int, k: int, dtype: torch.dtype) -> Blocks:
    """Blocks for a step of the layer, which holds its 4H gates at once."""
    blocks = _blocks(triton.next_power_of_2(H), k, dtype, elements=1)
    return blocks._replace(warps=8) if 32 < H <= LARGEST_AT_ONCE else blocks


def _blocks(features: int, k: int, dtype: torch.dtype, *, elements: int) -> Blocks:
    """Blocks with about this number of elements a thread, within 1 to 16 warps."""
    window = min(triton.next_power_of_2(max(k, 1)), LONGEST_WINDOW)
    warps = max(1, min(16, features // (32 * elements)))
    return Blocks(features, window, warps, tl.float64 if dtype == torch.float64 else tl.float32)


def norm_forward(given: NormForward) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize a sequence."""
    a, gamma, beta, memory, k, eps = given
    (T, B, N), M = a.shape, memory.shape[1]
    y, steps, windows = torch.empty_like(a), memory.new_empty(2, M + T, B), memory.new_empty(2, T, B)
    steps[:, :M] = memory
    blocks = blocks_of_rows(N, min(k, M + T), a.dtype)
    forward.step_statistics[T * B,](
        a, steps[0, M:], steps[1, M:], N, BLOCK_N=blocks.features, ACC=blocks.acc, num_warps=blocks.warps
    )
    forward.normalize[T * B,](
        a, y, gamma, beta, *steps, *windows, B, N, M, k,
        eps=eps, HAS_GAMMA=gamma is not None, HAS_BETA=beta is not None,
        BLOCK_N=blocks.features, BLOCK_K=blocks.window, ACC=blocks.acc, num_warps=blocks.warps,
    )  # fmt: skip
    return y, steps, windows


def norm_backward(given: NormBackward) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `norm_forward`."""
    dy, dsteps, a, gamma, steps, windows, k, _ = given  # eps is in the windows
    T, B, N = a.shape
    M = steps.shape[1] - T
    da, dwindows = torch.empty_like(a), torch.empty_like(windows)
    dsteps = torch.zeros_like(steps) if dsteps is None else dsteps.clone()
    blocks = blocks_of_rows(N, min(k, T), a.dtype)
    rows = {"BLOCK_N": blocks.features, "ACC": blocks.acc, "num_warps": blocks.warps}
    backward.window_gradients[T * B,](
        dy, a, gamma, *windows, *dwindows, B, N, M, k, HAS_GAMMA=gamma is not None, **rows
    )
    collect_steps(dwindows, windows, steps, dsteps, k, blocks)
    backward.input_gradient[T * B,](
        dy, a, da, gamma, *windows, steps[0, M:], *dsteps[:, M:], N, HAS_GAMMA=gamma is not None, **rows
    )
    dgamma, dbeta = sums_over_rows(dy, a, windows)
    return da, dgamma.clone(), dbeta.clone(), dsteps[:, :M].clone()


def collect_steps(dwindows: Tensor, windows: Tensor, steps: Tensor, dsteps: Tensor, k: int, blocks: Blocks) -> None:
    """Add to `dsteps` (2, R, B) what the windows (2, T, B) give the first R of the M + T steps."""
    (_, R, B), T = dsteps.shape, windows.shape[1]
    M = steps.shape[1] - T
    if R > 0:
        backward.step_gradients[R * B,](
            *dwindows, windows[0], steps[0], *dsteps, B, M, T, k, BLOCK_K=blocks.window, ACC=blocks.acc, num_warps=1
        )


def sums_over_rows(dy: Tensor, a: Tensor, windows: Tensor) -> Tensor:
    """Sums (2, N) of dy * xhat and of dy (T, B, N) over all steps and cases, in the dtype of a."""
    N, rows = a.shape[2], a.shape[0] * a.shape[1]
    blocks = triton.cdiv(rows, ROWS_OF_A_SUM)
    sums = windows.new_empty(2, blocks, N)
    columns = min(triton.next_power_of_2(N), COLUMNS_OF_A_SUM)
    backward.sums_over_rows[blocks, triton.cdiv(N, columns)](
        dy, a, *windows, *sums, rows, N, BLOCK_R=ROWS_OF_A_SUM, BLOCK_N=columns,
        ACC=blocks_of_rows(N, 1, a.dtype).acc,
    )  # fmt: skip
    return sums.sum(1).to(a.dtype)


class ForwardLoop(NamedTuple):
    """Tensors of the forward time loop; None where the layer has none."""

    from_input: Tensor
    weight_hh: Tensor
    bias_hh: Tensor | None
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    state: Tensor
    carry: Tensor
    steps: Tensor
    a_hh: Tensor
    h: Tensor
    c: Tensor
    gates: Tensor
    windows: Tensor

    def run(self, k: int, eps: float) -> None:
        """All steps, from the first to the last: `state` and `carry` are changed, h to `windows` written."""
        T, B, H = self.h.shape
        normed = k > 0
        M = self.steps.shape[2] - T if normed else 0
        blocks = blocks_of_step(H, min(k, M + T), self.h.dtype)
        tensors = (
            self.state, self.carry, self.from_input, self.gamma_hh, self.gamma_c, self.beta_c,
            self.h, self.c, self.gates, *self.steps[1:], *self.windows[1:],
        )  # fmt: skip
        settings = {"eps": eps, **blocks.of_step(normed=normed, affine=self.gamma_c is not None)}
        if H <= LARGEST_AT_ONCE:
            forward.lstm_all_steps[B,](
                self.weight_hh, self.bias_hh, self.a_hh, *tensors, T, B, H, M, k,
                HAS_BIAS=self.bias_hh is not None, BLOCK_J=PART_OF_A_PRODUCT, **settings,
            )  # fmt: skip
            return
        for t in range(T):
            from_state = self.a_hh[t if normed else 0]
            if self.bias_hh is None:
                torch.mm(self.state, self.weight_hh.t(), out=from_state)
            else:
                torch.addmm(self.bias_hh, self.state, self.weight_hh.t(), out=from_state)
            forward.lstm_step[B,](from_state, *tensors, t, T, B, H, M, k, **settings)


def lstm_forward(given: LSTMForward) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run a layer."""
    x, h_0, c_0, memory, k, eps = given.x, given.h_0, given.c_0, given.memory, given.k, given.eps
    (T, B, _), H, M = x.shape, h_0.shape[1], memory.shape[2]
    normed = k > 0
    steps, windows = c_0.new_empty(3, 2, M + T if normed else 0, B), c_0.new_empty(3, 2, T if normed else 0, B)
    a_ih = from_input = torch.nn.functional.linear(x, given.weight_ih, given.bias_ih)
    if normed:
        of_input = NormForward(a_ih, given.gamma_ih, given.bias, memory[0], k, eps)
        from_input, steps[0], windows[0] = norm_forward(of_input)
        steps[1:, :, :M] = memory[1:]
    gates = x.new_empty(T, B, 4 * H)
    loop = ForwardLoop(
        from_input=from_input,
        weight_hh=given.weight_hh,
        bias_hh=given.bias_hh,
        gamma_hh=given.gamma_hh,
        gamma_c=given.gamma_c,
        beta_c=given.beta_c,
        state=h_0.clone(),
        carry=c_0.clone(),
        steps=steps,
        a_hh=torch.empty_like(gates) if normed else x.new_empty(1, B, 4 * H),
        h=x.new_empty(T, B, H),
        c=c_0.new_empty(T, B, H),
        gates=gates,
        windows=windows,
    )
    if H <= LARGEST_AT_ONCE:
        loop.run(k, eps)
    else:
        replay(loop, fresh=("a_hh", "h", "c", "gates"), changed=("steps", "windows"), k=k, eps=eps)
    a_ih, a_hh = (one if normed else x.new_empty(0, B, 4 * H) for one in (a_ih, loop.a_hh))
    return loop.h, loop.c, steps, a_ih, a_hh, gates, windows


class BackwardLoop(NamedTuple):
    """Tensors of the backward time loop; None where the layer has none, or the loss does not depend on an output."""

    dh_out: Tensor | None
    dc_out: Tensor | None
    weight_hh: Tensor
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    c_0: Tensor
    c: Tensor
    gates: Tensor
    a_hh: Tensor
    steps: Tensor
    windows: Tensor
    dh: Tensor
    dc: Tensor
    dsteps: Tensor
    dwindows: Tensor
    dgates: Tensor
    dread: Tensor
    da_hh: Tensor

    def run(self, k: int) -> None:
        """All steps, from the last to the first: everything from `dh` on is written."""
        T, B, H = self.c.shape
        normed = k > 0
        M = self.steps.shape[2] - T if normed else 0
        blocks = blocks_of_step(H, min(k, T), self.gates.dtype)
        tensors = (
            self.dh, self.dc, self.dh_out, self.dc_out, self.gamma_hh, self.gamma_c, self.beta_c, self.c_0, self.c,
            self.gates, self.a_hh, *self.steps[1:], *self.windows[1:], *self.dsteps[1:], *self.dwindows[1:],
            self.dgates, self.dread, self.da_hh,
        )  # fmt: skip
        settings = blocks.of_step(normed=normed, affine=self.gamma_c is not None)
        settings |= {"HAS_DH": self.dh_out is not None, "HAS_DC": self.dc_out is not None}
        if H <= LARGEST_AT_ONCE:
            backward.lstm_all_steps_backward[B,](
                self.weight_hh, *tensors, T, B, H, M, k, BLOCK_J=PART_OF_A_PRODUCT, **settings
            )
            return
        for t in reversed(range(T)):
            backward.lstm_step_backward[B,](*tensors, t, T, B, H, M, k, **settings)
            torch.mm((self.da_hh if normed else self.dgates)[t], self.weight_hh, out=self.dh)


def lstm_backward(
    given: LSTMBackward,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `lstm_forward`."""
    c, gates, steps, windows, k = given.c, given.gates, given.steps, given.windows, given.k
    T, B, H = c.shape
    normed = k > 0
    dsteps = torch.zeros_like(steps) if given.dsteps is None else given.dsteps.clone()
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
        dh=torch.zeros_like(given.h[0]),
        dc=torch.zeros_like(given.c_0),
        dsteps=dsteps,
        dwindows=torch.empty_like(windows),
        dgates=torch.empty_like(gates),
        dread=c.new_empty(T if normed else 0, B, H),
        da_hh=torch.empty_like(given.kept_hh),
    )
    if H <= LARGEST_AT_ONCE:
        loop.run(k)
    else:
        replay(loop, fresh=("dwindows", "dgates", "dread", "da_hh"), changed=("dh", "dc", "dsteps"), k=k)
    if not normed:
        wide, narrow = [gates.new_zeros(4 * H) for _ in range(3)], [gates.new_zeros(H) for _ in range(2)]
        da_ih = gates.new_empty(0, B, 4 * H)
        return da_ih, loop.dgates, wide[0], wide[1], wide[2], narrow[0], narrow[1], loop.dh, loop.dc, dsteps
    M = steps.shape[2] - T
    of_input = NormBackward(loop.dgates, dsteps[0], given.kept_ih, given.gamma_ih, steps[0], windows[0], k, given.eps)
    da_ih, dgamma_ih, dbias, dmemory_ih = norm_backward(of_input)
    blocks = blocks_of_step(H, min(k, T), gates.dtype)
    for norm in (1, 2):
        collect_steps(loop.dwindows[norm], windows[norm], steps[norm], dsteps[norm, :, :M], k, blocks)
    dgamma_hh = sums_over_rows(loop.dgates, given.kept_hh, windows[1])[0]
    dgamma_c, dbeta_c = sums_over_rows(loop.dread, c, windows[2]).to(gates.dtype)
    dmemory = torch.stack((dmemory_ih, dsteps[1, :, :M], dsteps[2, :, :M]))
    return da_ih, loop.da_hh, dgamma_ih, dgamma_hh, dbias, dgamma_c.clone(), dbeta_c.clone(), loop.dh, loop.dc, dmemory
