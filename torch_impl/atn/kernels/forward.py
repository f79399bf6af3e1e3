"""Kernels of the forward pass: the norm over a whole sequence, and one step of the layer.

One program a row, which is one case b at one step t. Letters: T time, B cases, N features, H hidden, k window length,
M steps of memory.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Kernels are Triton's language in Python's syntax: their arguments have no Python types.
# ruff: noqa: ANN001, ANN201

import triton
import triton.language as tl

from atn.kernels.rows import (
    load_row,
    scale_row,
    sigmoid,
    square_of_deviation,
    store_gates,
    store_row,
    tanh,
    window_statistics,
)


@triton.jit
def step_statistics(a, step_mean, step_var, N, BLOCK_N: tl.constexpr, ACC: tl.constexpr):
    """Mean and biased variance of each row of a (rows, N), in two passes."""
    row = tl.program_id(0).to(tl.int64)
    a += row * N
    total = tl.zeros([], ACC)
    for start in range(0, N, BLOCK_N):
        total += tl.sum(load_row(a, start + tl.arange(0, BLOCK_N), N, ACC), 0)
    mean = total / N
    spread = tl.zeros([], ACC)
    for start in range(0, N, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        spread += tl.sum(square_of_deviation(load_row(a, columns, N, ACC), mean, columns, N), 0)
    tl.store(step_mean + row, mean)
    tl.store(step_var + row, spread / N)


@triton.jit(do_not_specialize=["M"])
def normalise(
    a, y, gain, shift, step_mean, step_var, mean, rstd, B, N, M, k,
    eps: tl.constexpr, HAS_GAIN: tl.constexpr, HAS_SHIFT: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Eq. (9) for each row of a (T, B, N), after `step_statistics`: y, and mean and 1/sqrt(var + eps) by window."""
    row = tl.program_id(0).to(tl.int64)
    b, s = row % B, M + row // B
    m, q = tl.load(step_mean + s * B + b), tl.load(step_var + s * B + b)
    mu, var = window_statistics(step_mean, step_var, s, b, B, k, m, q, BLOCK_K, ACC)
    r = 1.0 / tl.sqrt(var + eps)
    tl.store(mean + row, mu)
    tl.store(rstd + row, r)
    for start in range(0, N, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        out = scale_row((load_row(a + row * N, columns, N, ACC) - mu) * r, gain, 0, columns, N, HAS_GAIN, ACC)
        if HAS_SHIFT:
            out += load_row(shift, columns, N, ACC)
        store_row(y + row * N, columns, N, out)


@triton.jit
def next_window(steps, windows, m, q, t, b, B, T, M, k, eps: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr):
    """Note the statistics (m, q) of step t; mean and 1/sqrt(var + eps) of the window that ends with it, noted too.

    `steps` (2, M + T, B) and `windows` (2, T, B) are those of one norm.
    """
    at = tl.cast(M + t, tl.int64) * B + b
    step_var = steps + tl.cast(M + T, tl.int64) * B
    tl.store(steps + at, m)
    tl.store(step_var + at, q)
    mu, var = window_statistics(steps, step_var, M + t, b, B, k, m, q, BLOCK_K, ACC)
    r = 1.0 / tl.sqrt(var + eps)
    row = tl.cast(t, tl.int64) * B + b
    tl.store(windows + row, mu)
    tl.store(windows + tl.cast(T, tl.int64) * B + row, r)
    return mu, r


@triton.jit(do_not_specialize=["t", "T", "M"])
def lstm_step(
    from_input, from_state, gain_hh, gain_c, shift_c, state, carry, h, c, gates, steps_hh, steps_c, windows_hh,
    windows_c, t, T, B, H, M, k,
    eps: tl.constexpr, NORMED: tl.constexpr, AFFINE: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Eqs. (14)-(16) at step t, one program a case.

    In: `from_input` (T, B, 4H), all that is added to the gates beside the norm of `from_state`; `from_state` (B, 4H),
    the product with the state before that norm; `carry` (B, H), c before the step. Out: `state` and `carry` after it;
    at step t h, c (T, B, H), gates (T, B, 4H), and the statistics of the norms hh and c by step (2, M + T, B) and by
    window (2, T, B).
    """
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_H)
    row = tl.cast(t, tl.int64) * B + b
    a = from_state + b * 4 * H
    ai, af = load_row(a, columns, H, ACC), load_row(a + H, columns, H, ACC)
    ag, ao = load_row(a + 2 * H, columns, H, ACC), load_row(a + 3 * H, columns, H, ACC)
    if NORMED:
        m = tl.sum((ai + af) + (ag + ao), 0) / (4 * H)
        spread = square_of_deviation(ai, m, columns, H) + square_of_deviation(af, m, columns, H)
        spread += square_of_deviation(ag, m, columns, H) + square_of_deviation(ao, m, columns, H)
        q = tl.sum(spread, 0) / (4 * H)
        mu, r = next_window(steps_hh, windows_hh, m, q, t, b, B, T, M, k, eps, BLOCK_K, ACC)
        ai = scale_row((ai - mu) * r, gain_hh, 0, columns, H, AFFINE, ACC)
        af = scale_row((af - mu) * r, gain_hh, H, columns, H, AFFINE, ACC)
        ag = scale_row((ag - mu) * r, gain_hh, 2 * H, columns, H, AFFINE, ACC)
        ao = scale_row((ao - mu) * r, gain_hh, 3 * H, columns, H, AFFINE, ACC)
    x = from_input + row * 4 * H
    i, f = sigmoid(load_row(x, columns, H, ACC) + ai), sigmoid(load_row(x + H, columns, H, ACC) + af)
    g, o = tanh(load_row(x + 2 * H, columns, H, ACC) + ag), sigmoid(load_row(x + 3 * H, columns, H, ACC) + ao)
    store_gates(gates + row * 4 * H, columns, H, i, f, g, o)
    cell = tl.where(columns < H, f * load_row(carry + b * H, columns, H, ACC) + i * g, 0.0)
    store_row(carry + b * H, columns, H, cell)
    store_row(c + row * H, columns, H, cell)
    if NORMED:
        m = tl.sum(cell, 0) / H
        q = tl.sum(square_of_deviation(cell, m, columns, H), 0) / H
        mu, r = next_window(steps_c, windows_c, m, q, t, b, B, T, M, k, eps, BLOCK_K, ACC)
        cell = scale_row((cell - mu) * r, gain_c, 0, columns, H, AFFINE, ACC)
        if AFFINE:
            cell += load_row(shift_c, columns, H, ACC)
    hidden = o * tanh(cell)
    store_row(h + row * H, columns, H, hidden)
    store_row(state + b * H, columns, H, hidden)
