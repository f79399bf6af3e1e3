"""Functions that several kernels use: rows, windows over them, and the activations.

A kernel is compiled for the GPU, or run by Triton's interpreter on CPU tensors (`TRITON_INTERPRET=1`), so these
functions use only operations that both support. All arithmetic is in `ACC`: float32 for data of 16 or 32 bits, float64
otherwise. Offsets are 64 bits wide.

Statistics have the layout (rows, B). Step statistics have the M steps of memory in front, so that step t is row
s = M + t; window statistics have the row t.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Kernels are written in Triton's language, with Python's syntax.
# ruff: noqa: ANN001, ANN201 - arguments of kernels have no Python types

import triton
import triton.language as tl


@triton.jit
def load_row(row, columns, N, ACC: tl.constexpr):
    """Elements `columns` of a row of N elements, zero beyond its end."""
    return tl.load(row + columns, mask=columns < N, other=0.0).to(ACC)


@triton.jit
def load_block(matrix, rows, columns, R, N, ACC: tl.constexpr):
    """Elements `rows`, `columns` of a matrix (R, N), zero beyond its edges."""
    inside = (rows < R)[:, None] & (columns < N)[None, :]
    return tl.load(matrix + rows[:, None] * N + columns[None, :], mask=inside, other=0.0).to(ACC)


@triton.jit
def store_row(row, columns, N, values):
    """Write `values` to the elements `columns` of a row of N elements; columns beyond its end are left out."""
    tl.store(row + columns, values.to(row.dtype.element_ty), mask=columns < N)


@triton.jit
def store_gates(row, columns, H, i, f, g, o):
    """Write the four parts of a row of 4H."""
    store_row(row, columns, H, i)
    store_row(row + H, columns, H, f)
    store_row(row + 2 * H, columns, H, g)
    store_row(row + 3 * H, columns, H, o)


@triton.jit
def scale_row(values, gamma, first, columns, N, HAS_GAMMA: tl.constexpr, ACC: tl.constexpr):
    """Values times the elements first + columns of the gain; unchanged without a gain."""
    if HAS_GAMMA:
        values = values * load_row(gamma + first, columns, N, ACC)
    return values


@triton.jit
def square_of_deviation(values, mean, columns, N):
    """(values - mean)^2, zero beyond the row's end."""
    deviation = tl.where(columns < N, values - mean, 0.0)
    return deviation * deviation


@triton.jit
def window_size(s, k):
    """Size K_t of the window that ends with step s; steps of the memory count."""
    return tl.minimum(k, s + 1)


@triton.jit
def window_statistics(step_mean, step_var, s, b, B, k, m, q, BLOCK_K: tl.constexpr, ACC: tl.constexpr):
    """Mean and variance of the window that ends with step s of case b, Eqs. (7)-(8) from step statistics.

    (m, q) are the statistics of step s, which the program may not have written yet. The sum is over the differences
    between the other means and m, so that a large offset that the steps share costs no digits.
    """
    earlier = window_size(s, k) - 1
    size = (earlier + 1).to(ACC)
    first = (s - earlier).to(tl.int64)
    total = tl.zeros([], ACC)
    for start in range(0, earlier, BLOCK_K):
        offsets = start + tl.arange(0, BLOCK_K)
        inside = offsets < earlier
        means = tl.load(step_mean + (first + offsets) * B + b, mask=inside, other=0.0)
        total += tl.sum(tl.where(inside, means - m, 0.0), 0)
    mean = m + total / size
    # Divided before they are added up: a sum of k variances might overflow.
    var = (q + (m - mean) * (m - mean)) / size
    for start in range(0, earlier, BLOCK_K):
        offsets = start + tl.arange(0, BLOCK_K)
        inside = offsets < earlier
        means = tl.load(step_mean + (first + offsets) * B + b, mask=inside, other=0.0)
        variances = tl.load(step_var + (first + offsets) * B + b, mask=inside, other=0.0)
        var += tl.sum(tl.where(inside, (variances + (means - mean) * (means - mean)) / size, 0.0), 0)
    return mean, var


@triton.jit
def kept_window(mean, var, eps):
    """Mean and r = 1/sqrt(var + eps) of a window as they are kept.

    Where the variance has overflowed, r is 0 and the mean without effect on (a - mean) * r, but a difference with it
    might overflow: it is kept as 0.
    """
    r = 1.0 / tl.sqrt(var + eps)
    return tl.where(r == 0, mean * r, mean), r


@triton.jit
def gradient_of_step(dmean, dvar, mean, m, t, b, B, T, k, BLOCK_K: tl.constexpr, ACC: tl.constexpr):
    """Gradients of the mean m and the variance of one step from the windows t, ..., t + k - 1 < T, which contain it.

        dm[s] = sum_t (dmean[t] + 2 dvar[t] (m[s] - mean[t]))        dq[s] = sum_t dvar[t]

    `dmean` and `dvar` are the gradients of the windows' statistics, already divided by the sizes of the windows.
    """
    count = tl.minimum(k, T - t)
    dm = tl.zeros([], ACC)
    dq = tl.zeros([], ACC)
    for start in range(0, count, BLOCK_K):
        offsets = start + tl.arange(0, BLOCK_K)
        inside = offsets < count
        at = (t + offsets).to(tl.int64) * B + b
        slopes = tl.load(dvar + at, mask=inside, other=0.0)
        levels = tl.load(dmean + at, mask=inside, other=0.0)
        means = tl.load(mean + at, mask=inside, other=0.0)
        dm += tl.sum(tl.where(inside, levels + 2 * slopes * (m - means), 0.0), 0)
        dq += tl.sum(slopes, 0)
    return dm, dq


@triton.jit
def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    """Hyperbolic tangent, to a few units in the last place of float64.

    Triton has no tanh that its interpreter supports. Small arguments use the seventh convergent of Lambert's continued
    fraction. The others use the exponential, whose difference from 1 would cancel for small arguments.
    """
    y = x * x
    small = x * (135135.0 + y * (17325.0 + y * (378.0 + y))) / (135135.0 + y * (62370.0 + y * (3150.0 + y * 28.0)))
    e = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - e) / (1.0 + e)
    return tl.where(tl.abs(x) < 0.4, small, tl.where(x < 0, -large, large))
