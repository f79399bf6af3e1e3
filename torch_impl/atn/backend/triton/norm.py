"""Launches of the norm over a whole sequence, forward and backward.

Letters: T time, B cases, N features, k window length, M steps of memory.
"""

import torch
import triton
from torch import Tensor

from atn.backend.custom_ops.signatures import NormBackward, NormForward
from atn.backend.triton import backward, blocks, forward
from atn.backend.triton.blocks import Blocks, blocks_of_rows
from atn.backend.triton.checks import check_norm_backward, check_norm_forward
from atn.backend.triton.long_windows import gradients_of_steps
from atn.window import StepStatistics, window_statistics


def norm_forward(given: NormForward) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize a sequence: y (T, B, N), statistics by step (2, M + T, B) and by window (2, T, B)."""
    check_norm_forward(given)
    y = torch.empty_like(given.a)
    steps, windows = normalize_into(y, given)
    return y, steps, windows


def last_steps(steps: Tensor, k: int) -> Tensor:
    """A copy of the last k - 1 steps of the statistics (..., S, B), or of all steps if there are fewer."""
    S = steps.shape[-2]
    return steps[..., S - min(S, k - 1) :, :].clone()


def normalize_into(y: Tensor, given: NormForward) -> tuple[Tensor, Tensor]:
    """Write y, which may be a itself; return the step and window statistics as in `norm_forward`."""
    a, memory = given.a, given.memory
    (T, B, N), M = a.shape, memory.shape[1]
    steps, windows = memory.new_empty(2, M + T, B), memory.new_empty(2, T, B)
    steps[:, :M] = memory
    k = min(given.k, M + T)
    sizes = blocks_of_rows(N, k, a.dtype)
    of_rows = {"BLOCK_N": sizes.features, "ACC": sizes.acc, "num_warps": sizes.warps}
    forward.step_statistics[T * B,](a=a, step_mean=steps[0, M:], step_var=steps[1, M:], N=N, **of_rows)
    long = is_long(given.k)
    if long:
        mean, var = window_statistics(StepStatistics(*steps), given.k).last(T)
        rstd = (var + given.eps).rsqrt()
        torch.stack((torch.where(rstd == 0, mean * rstd, mean), rstd), out=windows)  # see `rows.kept_window`
    forward.normalize[T * B,](
        a=a, y=y, gamma=given.gamma, beta=given.beta,
        step_mean=steps[0], step_var=steps[1], mean=windows[0], rstd=windows[1], B=B, N=N, M=M, k=k,
        eps=given.eps, HAS_GAMMA=given.gamma is not None, HAS_BETA=given.beta is not None, HAS_WINDOWS=long,
        BLOCK_K=sizes.window, **of_rows,
    )  # fmt: skip
    return steps, windows


def is_long(k: int) -> bool:
    """Whether windows are merged from shorter ones. Depends on k only, so that chunks sum in the order of the whole."""
    return k > blocks.LONGEST_WINDOW


def norm_backward(given: NormBackward) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `norm_forward`."""
    check_norm_backward(given)
    dy, a, gamma, steps, windows = given.dy, given.a, given.gamma, given.steps, given.windows
    (T, B, N), M = a.shape, steps.shape[1] - a.shape[0]
    da, dwindows = torch.empty_like(a), torch.empty_like(windows)
    dsteps = torch.zeros_like(steps) if given.dsteps is None else given.dsteps.clone()
    sizes = blocks_of_rows(N, min(given.k, T), a.dtype)
    of_rows = {"BLOCK_N": sizes.features, "ACC": sizes.acc, "num_warps": sizes.warps}
    backward.window_gradients[T * B,](
        dy=dy, a=a, gamma=gamma, mean=windows[0], rstd=windows[1], dmean=dwindows[0], dvar=dwindows[1],
        B=B, N=N, M=M, k=min(given.k, M + T), HAS_GAMMA=gamma is not None, **of_rows,
    )  # fmt: skip
    collect_steps(dwindows, windows, steps, dsteps, given.k, sizes)
    backward.input_gradient[T * B,](
        dy=dy, a=a, da=da, gamma=gamma, rstd=windows[1], step_mean=steps[0, M:],
        dstep_mean=dsteps[0, M:], dstep_var=dsteps[1, M:], N=N, HAS_GAMMA=gamma is not None, **of_rows,
    )  # fmt: skip
    dgamma, dbeta = sums_over_rows(dy, a, windows)
    return da, dgamma.clone(), dbeta.clone(), dsteps[:, :M].clone()


def collect_steps(dwindows: Tensor, windows: Tensor, steps: Tensor, dsteps: Tensor, k: int, sizes: Blocks) -> None:
    """Add the contributions of the windows (2, T, B) to the gradients `dsteps` (2, R, B) of the first R steps."""
    (_, R, B), T = dsteps.shape, windows.shape[1]
    if is_long(k):
        dsteps += gradients_of_steps(dwindows, windows[0], steps[0], k)[:, :R]
    elif R > 0:
        backward.step_gradients[R * B,](
            dmean=dwindows[0], dvar=dwindows[1], mean=windows[0], step_mean=steps[0],
            dstep_mean=dsteps[0], dstep_var=dsteps[1], B=B, M=steps.shape[1] - T, T=T, k=k,
            BLOCK_K=sizes.window, ACC=sizes.acc, num_warps=1,
        )  # fmt: skip


def sums_over_rows(dy: Tensor, a: Tensor, windows: Tensor | None) -> Tensor:
    """Sums (2, N) of dy * xhat and of dy (T, B, N) over all steps and cases, in the dtype of a.

    xhat is a normalized by its windows (2, T, B), or a itself if `windows` is None.
    """
    N, rows = a.shape[2], a.shape[0] * a.shape[1]
    parts = triton.cdiv(rows, blocks.ROWS_OF_A_SUM)
    sums = a.new_empty(2, parts, N, dtype=blocks.accumulator(a.dtype))
    columns = min(triton.next_power_of_2(N), blocks.COLUMNS_OF_A_SUM)
    mean, rstd = (None, None) if windows is None else windows
    backward.sums_over_rows[parts, triton.cdiv(N, columns)](
        dy=dy, a=a, mean=mean, rstd=rstd, sum_dyx=sums[0], sum_dy=sums[1], rows=rows, N=N,
        HAS_WINDOWS=windows is not None, BLOCK_R=blocks.ROWS_OF_A_SUM, BLOCK_N=columns,
        ACC=blocks_of_rows(N, 1, a.dtype).acc,
    )  # fmt: skip
    return sums.sum(1).to(a.dtype)
