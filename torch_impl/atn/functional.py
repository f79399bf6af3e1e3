"""Assorted-time normalization of a whole sequence, as a function."""

from typing import get_args

from jaxtyping import Float
from torch import Tensor

from atn.backend.registry import backend_for
from atn.choices import Base
from atn.precision import full_precision, in_one_dtype, state_dtype
from atn.validation import (
    check_choice,
    check_epsilon_in,
    check_floating,
    check_matches,
    check_shape,
    check_steps,
    epsilon,
    whole_number,
)
from atn.window import StepStatistics

__all__ = ["assorted_time_norm"]


def assorted_time_norm(
    a: Float[Tensor, "T B N"],
    k: int,
    weight: Float[Tensor, " N"] | None = None,
    bias: Float[Tensor, " N"] | None = None,
    eps: float = 1e-5,
    base: Base = "layer",
    backend: str = "auto",
) -> Float[Tensor, "T B N"]:
    """Normalize each step by the statistics of the last k steps, Eqs. (7)-(9).

        y[t,b,n] = weight[n] * (a[t,b,n] - mean) / sqrt(var + eps) + bias[n]

    with the mean and the biased variance over the steps max(0, t-k+1), ..., t and, beside time, over the features of
    the case (`base="layer"`, ATN-LN) or over the batch (`base="batch"`, ATN-BN, always the statistics of this batch).
    In the warm-up t < k-1 the window holds the t+1 steps that there are (Figure 1). k = 1 is layer or batch
    normalization. The gradient flows through the whole window. Multiplying `a` by a positive number leaves y unchanged
    if eps is 0 or is multiplied by the square of that number, Eq. (10).

    Where the sum of a row's squared deviations overflows the dtype computed in, float32 from about 1.8e19 / sqrt(N) on,
    the variance is infinite, also of every window that holds the step, and IEEE arithmetic gives 1/sqrt(inf) = 0: y is
    the shift, and nothing flows back to `a` and `weight` through such a window. A step in it has the gradient of its
    other windows. Where sums of the numbers themselves overflow, y is NaN. All of this is the same on every backend,
    but for numbers so near to a limit that the order of a sum decides, or that their distance from the mean overflows,
    where y is NaN on some backends.

    The time grows with k only by O(log k) operations on one number for each step and case.

    Parameters
    ----------
    a
        Sequence (T, B, N) with any strides, float16, bfloat16, float32 or float64. 16-bit data, and all data under
        `torch.autocast`, are computed in float32 or wider; y has the dtype of `a`.
    k
        Length of the window, at least 1; may exceed T.
    weight, bias
        Gain and shift (N,), in the dtype of `a`. None stands for a gain of 1 or a shift of 0.
    eps
        Added to the variance under the root, at least 0. With eps = 0 a window of constant values has variance 0, up to
        rounding, and the result is that of IEEE arithmetic: NaN for 0/0, and NaN gradients.
    base
        "layer" for statistics over the features of a case, "batch" for statistics over the batch.
    backend
        "auto" for the fastest backend of the device, or the name of a backend that `atn.backends` lists.

    Returns
    -------
    y
        (T, B, N), in the dtype of `a`.

    Raises
    ------
    TypeError
        `k` is not an integer, a tensor is not floating-point, or the dtypes differ outside autocast.
    ValueError
        `k` is below 1; `eps` is negative, not finite, or too large or too small for the dtype computed in; a shape is
        wrong or an axis empty; the devices differ; `base` is unknown; or the backend is unknown or cannot run here.
    """
    k, eps = whole_number("k", k), epsilon(eps)
    check_choice("base", base, get_args(Base))
    check_floating("a", a)
    check_epsilon_in(eps, a.dtype)
    check_steps("a", a, "(T, B, N)")
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None:
            check_floating(name, parameter)
            check_shape(name, parameter, (a.shape[2],), "(N,)")
            check_matches(name, parameter, "a", a)
    chosen = backend_for(backend, a.device)
    values, weight, bias = in_one_dtype(a, weight, bias, half=chosen.half)
    with full_precision(a.device):
        none = StepStatistics.none(a.shape[1] if base == "layer" else a.shape[2], values, state_dtype(values.dtype))
        y, _ = chosen.norm(values, weight, bias, none, k, eps, base)
        return y.to(a.dtype)
