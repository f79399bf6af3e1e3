"""Kernels of the backward pass: one step of the layer, the norm over a whole sequence, and sums over all rows.

With the upstream gradient dy and g = gain * dy, the gradients of a window's statistics, divided by its size K_t, are

    dmean[t] = -r[t] sum_n g / K_t             dvar[t] = -r[t]^2 sum_n g xhat / (2 K_t)

and the gradient of a row is ``da = r g + dm / N + 2 dq (a - m) / N``, with the gradients dm and dq of the mean and
variance of its step (`gradient_of_step`). Names are as in `forward`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Kernels are written in Triton's language, with Python's syntax.
# ruff: noqa: ANN001, ANN201 - arguments of kernels have no Python types

import triton
import triton.language as tl

from atn.backend.triton.rows import (
    gradient_of_step,
    load_block,
    load_row,
    scale_row,
    store_gates,
    store_row,
    tanh,
    window_size,
)


@triton.jit
def gradient_of_window(sum_g, sum_gx, r, size):
    """Gradients of a window's mean and variance, divided by its size, from its last row's sums of g and g xhat."""
    return -r * sum_g / size, -0.5 * r * r * sum_gx / size


@triton.jit
def gradient_of_row(dm, dq, N):
    """The scalars (level, slope) of ``da = r g + level + slope * (a - m)``."""
    return dm / N, 2 * dq / N


@triton.jit
def previous_step(
    sum_g, sum_gx, steps, windows, dsteps, dwindows, t, b, B, T, M, N, k, BLOCK_K: tl.constexpr, ACC: tl.constexpr
):
    """Write the gradients of window t and return (level, slope) for the row of step t; later windows are complete.

    `steps`, `dsteps` (2, M + T, B) and `windows`, `dwindows` (2, T, B) belong to one norm.
    """
    row, at = tl.cast(t, tl.int64) * B + b, tl.cast(M + t, tl.int64) * B + b
    window_rows = tl.cast(T, tl.int64) * B
    mu, r, m = tl.load(windows + row), tl.load(windows + window_rows + row), tl.load(steps + at)
    dmean, dvar = gradient_of_window(sum_g, sum_gx, r, window_size(M + t, k).to(ACC))
    dm, dq = gradient_of_step(
        dmean=dwindows, dvar=dwindows + window_rows, mean=windows, m=m, t=t + 1, b=b, B=B, T=T, k=k - 1,
        BLOCK_K=BLOCK_K, ACC=ACC,
    )  # fmt: skip
    tl.store(dwindows + row, dmean)
    tl.store(dwindows + window_rows + row, dvar)
    dm += dmean + 2 * dvar * (m - mu) + tl.load(dsteps + at)
    dq += dvar + tl.load(dsteps + tl.cast(M + T, tl.int64) * B + at)
    return gradient_of_row(dm, dq, N)


@triton.jit
def cell_and_gates(
    d, dcarry, dh_out, dc_out, gamma_hh, gamma_c, beta_c, c_0, c, gates, a_hh, steps_hh, steps_c, windows_hh, windows_c,
    dsteps_hh, dsteps_c, dwindows_hh, dwindows_c, dgates, dz, da_hh, t, b, columns, T, B, H, M, k,
    HAS_DH: tl.constexpr, HAS_DC: tl.constexpr, HAS_DZ: tl.constexpr, NORMED: tl.constexpr,
    HAS_GAMMA_HH: tl.constexpr, HAS_GAMMA_C: tl.constexpr, HAS_BETA_C: tl.constexpr,
    BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Backward of `gates_and_cell`: write the gradient of W_hh h, and return that of the cell state before the step.

    Reads: `d` and `dcarry`, the gradients of h and c after the step from the later steps; dh_out, dc_out (T, B, H), the
    upstream gradients of the outputs h and c; a_hh (T, B, 4H), the products with the states. Writes, at step t: the
    gradients `dgates` (T, B, 4H) of the gates before their activation, `dz` (T, B, H) of z in ``h = o tanh(z)``,
    `da_hh` (T, B, 4H) of a_hh, and dwindows. Without a norm da_hh equals dgates and is not written.
    """
    row, window_rows = tl.cast(t, tl.int64) * B + b, tl.cast(T, tl.int64) * B
    if HAS_DH:
        d += load_row(dh_out + row * H, columns, H, ACC)
    x = load_row(c + row * H, columns, H, ACC)
    if NORMED:
        r = tl.load(windows_c + window_rows + row)
        centered = tl.where(columns < H, x - tl.load(steps_c + tl.cast(M, tl.int64) * B + row), 0.0)
        x = tl.where(columns < H, (x - tl.load(windows_c + row)) * r, 0.0)
    z = scale_row(x, gamma_c, 0, columns, H, HAS_GAMMA_C, ACC)
    if HAS_BETA_C:
        z += load_row(beta_c, columns, H, ACC)
    th = tanh(z)
    kept = gates + row * 4 * H
    o = load_row(kept + 3 * H, columns, H, ACC)
    dcell = d * o * (1 - th * th)
    if HAS_DZ:
        store_row(dz + row * H, columns, H, dcell)
    dcell = scale_row(dcell, gamma_c, 0, columns, H, HAS_GAMMA_C, ACC)
    if NORMED:
        level, slope = previous_step(
            sum_g=tl.sum(dcell, 0), sum_gx=tl.sum(dcell * x, 0), steps=steps_c, windows=windows_c,
            dsteps=dsteps_c, dwindows=dwindows_c, t=t, b=b, B=B, T=T, M=M, N=H, k=k, BLOCK_K=BLOCK_K, ACC=ACC,
        )  # fmt: skip
        dcell = r * dcell + level + slope * centered
    dcell += dcarry
    if HAS_DC:
        dcell += load_row(dc_out + row * H, columns, H, ACC)

    i, f = load_row(kept, columns, H, ACC), load_row(kept + H, columns, H, ACC)
    tg = load_row(kept + 2 * H, columns, H, ACC)
    before = c_0 + b * H
    if t > 0:
        before = c + (row - B) * H
    di, df = dcell * tg * i * (1 - i), dcell * load_row(before, columns, H, ACC) * f * (1 - f)
    dg, do = dcell * i * (1 - tg * tg), d * th * o * (1 - o)
    store_gates(dgates + row * 4 * H, columns, H, di, df, dg, do)
    if NORMED:
        mu, r = tl.load(windows_hh + row), tl.load(windows_hh + window_rows + row)
        u = a_hh + row * 4 * H
        ui, uf = load_row(u, columns, H, ACC) - mu, load_row(u + H, columns, H, ACC) - mu
        ug, uo = load_row(u + 2 * H, columns, H, ACC) - mu, load_row(u + 3 * H, columns, H, ACC) - mu
        di = scale_row(di, gamma_hh, 0, columns, H, HAS_GAMMA_HH, ACC)
        df = scale_row(df, gamma_hh, H, columns, H, HAS_GAMMA_HH, ACC)
        dg = scale_row(dg, gamma_hh, 2 * H, columns, H, HAS_GAMMA_HH, ACC)
        do = scale_row(do, gamma_hh, 3 * H, columns, H, HAS_GAMMA_HH, ACC)
        products = tl.where(columns < H, (di * (ui * r) + df * (uf * r)) + (dg * (ug * r) + do * (uo * r)), 0.0)
        level, slope = previous_step(
            sum_g=tl.sum((di + df) + (dg + do), 0), sum_gx=tl.sum(products, 0), steps=steps_hh, windows=windows_hh,
            dsteps=dsteps_hh, dwindows=dwindows_hh, t=t, b=b, B=B, T=T, M=M, N=4 * H, k=k, BLOCK_K=BLOCK_K, ACC=ACC,
        )  # fmt: skip
        # From u - mu to u - m, of the row itself: of u - mu no digit is left beside a far larger step of the window.
        m = tl.load(steps_hh + tl.cast(M, tl.int64) * B + row)
        ui, uf = load_row(u, columns, H, ACC) - m, load_row(u + H, columns, H, ACC) - m
        ug, uo = load_row(u + 2 * H, columns, H, ACC) - m, load_row(u + 3 * H, columns, H, ACC) - m
        di, df = r * di + level + slope * ui, r * df + level + slope * uf
        dg, do = r * dg + level + slope * ug, r * do + level + slope * uo
        store_gates(da_hh + row * 4 * H, columns, H, di, df, dg, do)
    return dcell * f


@triton.jit(do_not_specialize=["t", "T", "M"])
def lstm_step_backward(
    dh, dc, dh_out, dc_out, gamma_hh, gamma_c, beta_c, c_0, c, gates, a_hh, steps_hh, steps_c, windows_hh, windows_c,
    dsteps_hh, dsteps_c, dwindows_hh, dwindows_c, dgates, dz, da_hh,
    t, T, B, H, M, k,
    HAS_DH: tl.constexpr, HAS_DC: tl.constexpr, HAS_DZ: tl.constexpr, NORMED: tl.constexpr,
    HAS_GAMMA_HH: tl.constexpr, HAS_GAMMA_C: tl.constexpr, HAS_BETA_C: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Backward of `lstm_step`, one program per case: reads `dh` (B, H), updates `dc` (B, H); the product follows."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_H)
    dcarry = cell_and_gates(
        d=load_row(dh + b * H, columns, H, ACC), dcarry=load_row(dc + b * H, columns, H, ACC),
        dh_out=dh_out, dc_out=dc_out, gamma_hh=gamma_hh, gamma_c=gamma_c, beta_c=beta_c,
        c_0=c_0, c=c, gates=gates, a_hh=a_hh, steps_hh=steps_hh, steps_c=steps_c, windows_hh=windows_hh,
        windows_c=windows_c, dsteps_hh=dsteps_hh, dsteps_c=dsteps_c, dwindows_hh=dwindows_hh, dwindows_c=dwindows_c,
        dgates=dgates, dz=dz, da_hh=da_hh, t=t, b=b, columns=columns, T=T, B=B, H=H, M=M, k=k,
        HAS_DH=HAS_DH, HAS_DC=HAS_DC, HAS_DZ=HAS_DZ, NORMED=NORMED, HAS_GAMMA_HH=HAS_GAMMA_HH,
        HAS_GAMMA_C=HAS_GAMMA_C, HAS_BETA_C=HAS_BETA_C, BLOCK_K=BLOCK_K, ACC=ACC,
    )  # fmt: skip
    store_row(dc + b * H, columns, H, dcarry)


@triton.jit
def product_with_gradient(weight_hh, da, columns, H, BLOCK_H: tl.constexpr, BLOCK_J: tl.constexpr, ACC: tl.constexpr):
    """``W_hh^T da`` for one case, from da (4H,) as stored, which is rounded to the dtype of the data."""
    sums = tl.zeros([BLOCK_J, BLOCK_H], ACC)
    for start in range(0, 4 * H, BLOCK_J):
        rows = start + tl.arange(0, BLOCK_J)
        d = load_row(da, rows, 4 * H, ACC)
        sums += load_block(weight_hh, rows, columns, 4 * H, H, ACC) * d[:, None]
    return tl.sum(sums, 0).to(da.dtype.element_ty).to(ACC)


@triton.jit(do_not_specialize=["T", "M"])
def lstm_all_steps_backward(
    weight_hh, dh, dc, dh_out, dc_out, gamma_hh, gamma_c, beta_c, c_0, c, gates, a_hh, steps_hh, steps_c, windows_hh,
    windows_c, dsteps_hh, dsteps_c, dwindows_hh, dwindows_c, dgates, dz, da_hh,
    T, B, H, M, k,
    HAS_DH: tl.constexpr, HAS_DC: tl.constexpr, HAS_DZ: tl.constexpr, NORMED: tl.constexpr,
    HAS_GAMMA_HH: tl.constexpr, HAS_GAMMA_C: tl.constexpr, HAS_BETA_C: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_K: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Backward of `lstm_all_steps`, one program per case; leaves the initial state's gradients in `dh`, `dc` (B, H)."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_H)
    d, dcarry = load_row(dh + b * H, columns, H, ACC), load_row(dc + b * H, columns, H, ACC)
    for step in range(T):
        t = T - 1 - step
        dcarry = cell_and_gates(
            d=d, dcarry=dcarry, dh_out=dh_out, dc_out=dc_out, gamma_hh=gamma_hh, gamma_c=gamma_c, beta_c=beta_c,
            c_0=c_0, c=c, gates=gates, a_hh=a_hh, steps_hh=steps_hh, steps_c=steps_c, windows_hh=windows_hh,
            windows_c=windows_c, dsteps_hh=dsteps_hh, dsteps_c=dsteps_c, dwindows_hh=dwindows_hh, dwindows_c=dwindows_c,
            dgates=dgates, dz=dz, da_hh=da_hh, t=t, b=b, columns=columns, T=T, B=B, H=H, M=M, k=k,
            HAS_DH=HAS_DH, HAS_DC=HAS_DC, HAS_DZ=HAS_DZ, NORMED=NORMED, HAS_GAMMA_HH=HAS_GAMMA_HH,
            HAS_GAMMA_C=HAS_GAMMA_C, HAS_BETA_C=HAS_BETA_C, BLOCK_K=BLOCK_K, ACC=ACC,
        )  # fmt: skip
        # Threads of a program read values that its other threads have written: da, and the gradients of later windows.
        tl.debug_barrier()
        da = dgates
        if NORMED:
            da = da_hh
        row = tl.cast(t, tl.int64) * B + b
        d = product_with_gradient(
            weight_hh=weight_hh, da=da + row * 4 * H, columns=columns, H=H, BLOCK_H=BLOCK_H, BLOCK_J=BLOCK_J, ACC=ACC
        )
    store_row(dh + b * H, columns, H, d)
    store_row(dc + b * H, columns, H, dcarry)


@triton.jit(do_not_specialize=["M"])
def window_gradients(
    dy, a, gamma, mean, rstd, dmean, dvar, B, N, M, k,
    HAS_GAMMA: tl.constexpr, BLOCK_N: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Gradients dmean and dvar (T, B) of the windows' statistics, each divided by K_t, for dy and a (T, B, N)."""
    row = tl.program_id(0).to(tl.int64)
    mu, r = tl.load(mean + row), tl.load(rstd + row)
    sum_g, sum_gx = tl.zeros([], ACC), tl.zeros([], ACC)
    for start in range(0, N, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        g = scale_row(load_row(dy + row * N, columns, N, ACC), gamma, 0, columns, N, HAS_GAMMA, ACC)
        x = tl.where(columns < N, (load_row(a + row * N, columns, N, ACC) - mu) * r, 0.0)
        sum_g += tl.sum(g, 0)
        sum_gx += tl.sum(g * x, 0)
    dmu, dsigma = gradient_of_window(sum_g, sum_gx, r, window_size(M + row // B, k).to(ACC))
    tl.store(dmean + row, dmu)
    tl.store(dvar + row, dsigma)


@triton.jit(do_not_specialize=["M", "T"])
def step_gradients(
    dmean, dvar, mean, step_mean, dstep_mean, dstep_var, B, M, T, k, BLOCK_K: tl.constexpr, ACC: tl.constexpr
):
    """Add the contributions of all windows that contain a step to the gradients of its statistics (M + T, B)."""
    row = tl.program_id(0).to(tl.int64)
    b, s = row % B, (row // B).to(tl.int32)
    t = tl.maximum(s - M, 0)
    # A step s of the memory is only in the windows up to that of step s - M + k - 1.
    k_left = tl.maximum(k - tl.maximum(M - s, 0), 0)
    dm, dq = gradient_of_step(
        dmean=dmean, dvar=dvar, mean=mean, m=tl.load(step_mean + row), t=t, b=b, B=B, T=T, k=k_left,
        BLOCK_K=BLOCK_K, ACC=ACC,
    )  # fmt: skip
    tl.store(dstep_mean + row, tl.load(dstep_mean + row) + dm)
    tl.store(dstep_var + row, tl.load(dstep_var + row) + dq)


@triton.jit
def input_gradient(
    dy, a, da, gamma, rstd, step_mean, dstep_mean, dstep_var, N,
    HAS_GAMMA: tl.constexpr, BLOCK_N: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Gradient of a (T, B, N) after `step_gradients`; the step statistics are those of a, without the memory."""
    row = tl.program_id(0).to(tl.int64)
    r, m = tl.load(rstd + row), tl.load(step_mean + row)
    level, slope = gradient_of_row(tl.load(dstep_mean + row), tl.load(dstep_var + row), N)
    for start in range(0, N, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        g = scale_row(load_row(dy + row * N, columns, N, ACC), gamma, 0, columns, N, HAS_GAMMA, ACC)
        centered = load_row(a + row * N, columns, N, ACC) - m
        store_row(da + row * N, columns, N, r * g + level + slope * centered)


@triton.jit(do_not_specialize=["rows"])
def sums_over_rows(
    dy, a, mean, rstd, sum_dyx, sum_dy, rows, N,
    HAS_WINDOWS: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Sums of dy * xhat and of dy over blocks of rows, (blocks, N) each, for the gradients of gain and shift.

    xhat is a normalized by its window, or a itself without `HAS_WINDOWS`. The caller adds up the blocks. The order of
    the sums is fixed and no addition is atomic, so that two runs give the same bits.
    """
    block = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = block * BLOCK_R + tl.arange(0, BLOCK_R)
    inside = (row < rows)[:, None] & (columns < N)[None, :]
    at = row[:, None] * N + columns[None, :]
    d = tl.load(dy + at, mask=inside, other=0.0).to(ACC)
    x = tl.load(a + at, mask=inside, other=0.0).to(ACC)
    if HAS_WINDOWS:
        mu, r = tl.load(mean + row, mask=row < rows, other=0.0), tl.load(rstd + row, mask=row < rows, other=0.0)
        x = tl.where(inside, (x - mu[:, None]) * r[:, None], 0.0)
    out = block * N + columns
    tl.store(sum_dyx + out, tl.sum(d * x, 0), mask=columns < N)
    tl.store(sum_dy + out, tl.sum(d, 0), mask=columns < N)
