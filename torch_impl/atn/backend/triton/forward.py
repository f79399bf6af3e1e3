"""Kernels of the forward pass: the norm over a whole sequence, and one step of the layer.

There is one program per row, which is one case b at one step t. Letters: T time, B cases, N features, H hidden,
k window length, M steps of memory.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Kernels are written in Triton's language, with Python's syntax.
# ruff: noqa: ANN001, ANN201 - arguments of kernels have no Python types

import triton
import triton.language as tl

from atn.backend.triton.rows import (
    kept_window,
    load_block,
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
def normalize(
    a, y, gamma, beta, step_mean, step_var, mean, rstd, B, N, M, k,
    eps: tl.constexpr, HAS_GAMMA: tl.constexpr, HAS_BETA: tl.constexpr, HAS_WINDOWS: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Eq. (9) for each row of a (T, B, N), after `step_statistics`; y may be the same tensor as a.

    The window statistics mean and 1/sqrt(var + eps) (T, B) are either read or computed and written.
    """
    row = tl.program_id(0).to(tl.int64)
    if HAS_WINDOWS:
        mu, r = tl.load(mean + row), tl.load(rstd + row)
    else:
        b, s = row % B, M + row // B
        m, q = tl.load(step_mean + s * B + b), tl.load(step_var + s * B + b)
        mu, var = window_statistics(step_mean, step_var, s, b, B, k, m, q, BLOCK_K, ACC)
        mu, r = kept_window(mu, var, eps)
        tl.store(mean + row, mu)
        tl.store(rstd + row, r)
    for start in range(0, N, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        out = scale_row((load_row(a + row * N, columns, N, ACC) - mu) * r, gamma, 0, columns, N, HAS_GAMMA, ACC)
        if HAS_BETA:
            out += load_row(beta, columns, N, ACC)
        store_row(y + row * N, columns, N, out)


@triton.jit
def next_window(
    steps, windows, m, q, t, b, B, T, M, k,
    eps: tl.constexpr, KEEP: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the statistics (m, q) of step t; return mean and 1/sqrt(var + eps) of the window that ends with it.

    `steps` (2, M + T, B) and `windows` (2, T, B) belong to one norm; `windows` is written with `KEEP`.
    """
    at = tl.cast(M + t, tl.int64) * B + b
    step_var = steps + tl.cast(M + T, tl.int64) * B
    tl.store(steps + at, m)
    tl.store(step_var + at, q)
    mu, var = window_statistics(steps, step_var, M + t, b, B, k, m, q, BLOCK_K, ACC)
    mu, r = kept_window(mu, var, eps)
    if KEEP:
        row = tl.cast(t, tl.int64) * B + b
        tl.store(windows + row, mu)
        tl.store(windows + tl.cast(T, tl.int64) * B + row, r)
    return mu, r


@triton.jit
def gates_and_cell(
    ai, af, ag, ao, cell, from_input, gamma_hh, gamma_c, beta_c, h, c, gates, steps_hh, steps_c, windows_hh, windows_c,
    t, b, columns, T, B, H, M, k,
    eps: tl.constexpr, KEEP: tl.constexpr, NORMED: tl.constexpr, HAS_GAMMA_HH: tl.constexpr,
    HAS_GAMMA_C: tl.constexpr, HAS_BETA_C: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Eqs. (14)-(16) for case b at step t: return h and c after the step.

    Reads: the four parts of the product with the state, before their norm; `cell`, c before the step; `from_input`
    (T, B, 4H), the sum of the other terms of the gates. Writes, at step t: h (T, B, H) and the step statistics
    (2, M + T, B) of the norms hh and c; with `KEEP` also the values that a backward pass reads: c (T, B, H),
    gates (T, B, 4H), and the window statistics (2, T, B).
    """
    row = tl.cast(t, tl.int64) * B + b
    if NORMED:
        m = tl.sum((ai + af) + (ag + ao), 0) / (4 * H)
        spread = square_of_deviation(ai, m, columns, H) + square_of_deviation(af, m, columns, H)
        spread += square_of_deviation(ag, m, columns, H) + square_of_deviation(ao, m, columns, H)
        q = tl.sum(spread, 0) / (4 * H)
        mu, r = next_window(
            steps=steps_hh, windows=windows_hh, m=m, q=q, t=t, b=b, B=B, T=T, M=M, k=k,
            eps=eps, KEEP=KEEP, BLOCK_K=BLOCK_K, ACC=ACC,
        )  # fmt: skip
        ai = scale_row((ai - mu) * r, gamma_hh, 0, columns, H, HAS_GAMMA_HH, ACC)
        af = scale_row((af - mu) * r, gamma_hh, H, columns, H, HAS_GAMMA_HH, ACC)
        ag = scale_row((ag - mu) * r, gamma_hh, 2 * H, columns, H, HAS_GAMMA_HH, ACC)
        ao = scale_row((ao - mu) * r, gamma_hh, 3 * H, columns, H, HAS_GAMMA_HH, ACC)
    x = from_input + row * 4 * H
    i, f = sigmoid(load_row(x, columns, H, ACC) + ai), sigmoid(load_row(x + H, columns, H, ACC) + af)
    g, o = tanh(load_row(x + 2 * H, columns, H, ACC) + ag), sigmoid(load_row(x + 3 * H, columns, H, ACC) + ao)
    cell = tl.where(columns < H, f * cell + i * g, 0.0)
    if KEEP:
        store_gates(gates + row * 4 * H, columns, H, i, f, g, o)
        store_row(c + row * H, columns, H, cell)
    z = cell
    if NORMED:
        m = tl.sum(cell, 0) / H
        q = tl.sum(square_of_deviation(cell, m, columns, H), 0) / H
        mu, r = next_window(
            steps=steps_c, windows=windows_c, m=m, q=q, t=t, b=b, B=B, T=T, M=M, k=k,
            eps=eps, KEEP=KEEP, BLOCK_K=BLOCK_K, ACC=ACC,
        )  # fmt: skip
        z = (cell - mu) * r
    z = scale_row(z, gamma_c, 0, columns, H, HAS_GAMMA_C, ACC)
    if HAS_BETA_C:
        z += load_row(beta_c, columns, H, ACC)
    hidden = tl.where(columns < H, o * tanh(z), 0.0)
    store_row(h + row * H, columns, H, hidden)
    return hidden, cell


@triton.jit(do_not_specialize=["t", "T", "M"])
def lstm_step(
    from_state, state, carry, from_input, gamma_hh, gamma_c, beta_c, h, c, gates, steps_hh, steps_c, windows_hh,
    windows_c, t, T, B, H, M, k,
    eps: tl.constexpr, KEEP: tl.constexpr, NORMED: tl.constexpr, HAS_GAMMA_HH: tl.constexpr,
    HAS_GAMMA_C: tl.constexpr, HAS_BETA_C: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Step t, one program per case, after the product `from_state` (B, 4H); updates `state` and `carry` (B, H)."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_H)
    a = from_state + b * 4 * H
    hidden, cell = gates_and_cell(
        ai=load_row(a, columns, H, ACC), af=load_row(a + H, columns, H, ACC),
        ag=load_row(a + 2 * H, columns, H, ACC), ao=load_row(a + 3 * H, columns, H, ACC),
        cell=load_row(carry + b * H, columns, H, ACC), from_input=from_input, gamma_hh=gamma_hh,
        gamma_c=gamma_c, beta_c=beta_c, h=h, c=c, gates=gates,
        steps_hh=steps_hh, steps_c=steps_c, windows_hh=windows_hh, windows_c=windows_c, t=t, b=b, columns=columns,
        T=T, B=B, H=H, M=M, k=k, eps=eps, KEEP=KEEP, NORMED=NORMED, HAS_GAMMA_HH=HAS_GAMMA_HH,
        HAS_GAMMA_C=HAS_GAMMA_C, HAS_BETA_C=HAS_BETA_C, BLOCK_K=BLOCK_K, ACC=ACC,
    )  # fmt: skip
    store_row(carry + b * H, columns, H, cell)
    store_row(state + b * H, columns, H, hidden)


@triton.jit
def product_with_state(
    weight_hh, bias_hh, a_hh, state, part, columns, H,
    HAS_BIAS: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_J: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Part 0 to 3 of ``W_hh h + b_hh`` for one case: read from state (H,), written to a_hh (4H,).

    W_hh is read again at every step, from the first-level cache: held in registers, it would fill them.
    """
    sums = tl.zeros([BLOCK_H, BLOCK_J], ACC)
    for start in range(0, H, BLOCK_J):
        features = start + tl.arange(0, BLOCK_J)
        h = load_row(state, features, H, ACC)
        sums += load_block(weight_hh + part * H * H, columns, features, H, H, ACC) * h[None, :]
    a = tl.sum(sums, 1)
    if HAS_BIAS:
        a += load_row(bias_hh + part * H, columns, H, ACC)
    store_row(a_hh + part * H, columns, H, a)


@triton.jit(do_not_specialize=["T", "M"])
def lstm_all_steps(
    weight_hh, bias_hh, a_hh, state, carry, from_input, gamma_hh, gamma_c, beta_c, h, c, gates, steps_hh, steps_c,
    windows_hh, windows_c, T, B, H, M, k,
    eps: tl.constexpr, EVERY_STEP: tl.constexpr, KEEP: tl.constexpr, NORMED: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_GAMMA_HH: tl.constexpr, HAS_GAMMA_C: tl.constexpr, HAS_BETA_C: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """All steps, one program per case: cases are independent, so that no program waits for another.

    The products with the state are written to a_hh (T, B, 4H); without `EVERY_STEP` a_hh has one step (1, B, 4H).
    """
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_H)
    state += b * H
    cell = load_row(carry + b * H, columns, H, ACC)
    for t in range(T):
        a = a_hh + b * 4 * H
        if EVERY_STEP:
            a += tl.cast(t, tl.int64) * B * 4 * H
        for part in range(4):
            product_with_state(
                weight_hh=weight_hh, bias_hh=bias_hh, a_hh=a, state=state, part=part, columns=columns, H=H,
                HAS_BIAS=HAS_BIAS, BLOCK_H=BLOCK_H, BLOCK_J=BLOCK_J, ACC=ACC,
            )  # fmt: skip
        # Threads of a program read values that its other threads have written: here the products, below the state and
        # the statistics. No thread may write the next state before all threads have read the current one.
        tl.debug_barrier()
        hidden, cell = gates_and_cell(
            ai=load_row(a, columns, H, ACC), af=load_row(a + H, columns, H, ACC),
            ag=load_row(a + 2 * H, columns, H, ACC), ao=load_row(a + 3 * H, columns, H, ACC),
            cell=cell, from_input=from_input, gamma_hh=gamma_hh, gamma_c=gamma_c, beta_c=beta_c, h=h, c=c,
            gates=gates, steps_hh=steps_hh, steps_c=steps_c, windows_hh=windows_hh, windows_c=windows_c, t=t, b=b,
            columns=columns, T=T, B=B, H=H, M=M, k=k, eps=eps, KEEP=KEEP, NORMED=NORMED, HAS_GAMMA_HH=HAS_GAMMA_HH,
            HAS_GAMMA_C=HAS_GAMMA_C, HAS_BETA_C=HAS_BETA_C, BLOCK_K=BLOCK_K, ACC=ACC,
        )  # fmt: skip
        store_row(state, columns, H, hidden)
        tl.debug_barrier()
    store_row(carry + b * H, columns, H, cell)
