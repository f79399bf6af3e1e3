"""Checks of arguments: every error names the argument, what it was and what it must be."""

import sys
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from atn.precision import autocast_is_on, state_dtype

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Dtypes that the library computes with; the first two are computed in float32 (`precision`)."""


LARGEST = 2**63 - 1
"""Largest integer that an operator of torch takes."""


def whole_number(name: str, value: object) -> int:
    """`value` as an int from 1 to `LARGEST`; TypeError for anything that is not an integer, including bool."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer of at least 1, got {value!r} of type {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if (number := int(value)) > LARGEST:
        raise ValueError(f"{name} must be an integer of at most 2**63 - 1, got {value!r}")
    return number


def epsilon(eps: object) -> float:
    """`eps` as a finite float of at least 0."""
    if isinstance(eps, bool) or not isinstance(eps, Real):
        raise TypeError(f"eps must be a finite number of at least 0, got {eps!r} of type {type(eps).__name__}")
    if not is_finite(eps) or eps < 0:
        raise ValueError(f"eps must be a finite number of at least 0, got {eps!r}")
    return float(eps)


def number(name: str, value: object, *, positive: bool = False) -> float:
    """`value` as a finite float, above 0 if `positive`."""
    kind = "a finite number above 0" if positive else "a finite number"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {kind}, got {value!r} of type {type(value).__name__}")
    if not is_finite(value) or (positive and value <= 0):
        raise ValueError(f"{name} must be {kind}, got {value!r}")
    return float(value)


def check_range_of(name: str, value: float, dtype: torch.dtype | None, *, positive: bool = False) -> None:
    """Check that a number is finite in a dtype, and at least its least normal one if `positive`.

    None is torch's default dtype.
    """
    dtype = dtype or torch.get_default_dtype()
    limits = torch.finfo(dtype)
    if abs(value) > limits.max or (positive and value < limits.tiny):
        least = limits.tiny if positive else -limits.max
        raise ValueError(f"{name} must be from {least:.3g} to {limits.max:.3g} for {dtype}, got {value!r}")


def check_dtype(dtype: object) -> None:
    """Check that a module is made in one of the dtypes `FLOATING`; None is torch's default dtype."""
    if dtype is not None and dtype not in FLOATING:
        raise TypeError(f"dtype must be None or one of {', '.join(map(str, FLOATING))}, got {dtype!r}")


def check_epsilon_in(eps: float, dtype: torch.dtype | None) -> None:
    """Check that eps is 0, or finite with a finite 1/eps, in the dtype that data of `dtype` are computed in.

    None is torch's default dtype.
    """
    computed = state_dtype(dtype or torch.get_default_dtype())
    limits = torch.finfo(computed)
    if eps > limits.max or 0 < eps < limits.tiny:
        raise ValueError(
            f"eps must be 0 or from {limits.tiny:.3g} to {limits.max:.3g} to be computed in {computed}, got {eps!r}"
        )


def is_finite(value: Real) -> bool:
    """Whether a number is finite as a float; an integer may be too large for one."""
    try:
        number = float(value)
    except OverflowError:
        return False
    return -sys.float_info.max <= number <= sys.float_info.max  # torch.compile cannot trace math.isfinite


def probability(name: str, value: object) -> float:
    """`value` as a float in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number in [0, 1], got {value!r} of type {type(value).__name__}")
    if not (is_finite(value) and 0 <= float(value) <= 1):
        raise ValueError(f"{name} must be a number in [0, 1], got {value!r}")
    return float(value)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Check that `value` is True or False. A number suggests that arguments were given in the wrong order."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")


def check_kind(name: str, value: object, kind: type) -> None:
    """Check that `value` is an instance of a class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {type(value).__name__}")


def check_floating(name: str, value: object) -> None:
    """Check that `value` is a dense tensor of one of the dtypes `FLOATING`."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    _check_dense(name, value)
    if value.dtype not in FLOATING:
        raise TypeError(f"{name} must be a floating-point tensor of 16, 32 or 64 bits, got {value.dtype}")


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.layout is not torch.strided or tensor.is_nested:
        got = "a nested tensor" if tensor.is_nested else f"one of layout {tensor.layout}"
        raise TypeError(f"{name} must be a dense tensor, got {got}")


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...], letters: str) -> None:
    """Check that `tensor` has exactly this shape; `letters` names its axes in the message, as in "(B, H)"."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {letters} = {shape}, got {tuple(tensor.shape)}")


def check_parameter(name: str, value: object, shape: tuple[int, ...], letters: str) -> None:
    """Check a parameter, which may have been replaced by assignment or by `torch.func.functional_call`."""
    check_floating(name, value)
    assert isinstance(value, Tensor)  # noqa: S101 - as checked
    check_shape(name, value, shape, letters)


def check_steps(name: str, tensor: Tensor, letters: str, features: int | None = None, empty: str = "") -> None:
    """Check that `tensor` has the axes `letters`, the last of size `features`; only axes in `empty` may have size 0."""
    axes = letters.strip("()").split(", ")
    if tensor.ndim != len(axes):
        raise ValueError(f"{name} must have {len(axes)} axes {letters}, got shape {tuple(tensor.shape)}")
    if any(size == 0 and axis not in empty for axis, size in zip(axes, tensor.shape, strict=True)):
        raise ValueError(f"{name} must have at least one element along each axis {letters}, got {tuple(tensor.shape)}")
    if features is not None and tensor.shape[-1] != features:
        raise ValueError(f"{name} must have {features} features along its last axis, got shape {tuple(tensor.shape)}")


def check_matches(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Check that `tensor` is on the device of `other` and, unless autocast is on, has the dtype of `other`."""
    if tensor.device != other.device:
        raise ValueError(f"{name} must be on {other_name}'s device {other.device}, got {tensor.device}")
    if tensor.dtype != other.dtype and not autocast_is_on(tensor.device):
        raise TypeError(f"{name} must have {other_name}'s dtype {other.dtype}, got {tensor.dtype}")


def check_mask(name: str, mask: object, shape: tuple[int, ...], letters: str) -> None:
    """Check that `mask` is a dense tensor of bools of exactly this shape."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name} must be a tensor of bools, got {type(mask).__name__}")
    if mask.dtype != torch.bool:
        raise TypeError(f"{name} must be a tensor of bools, got {mask.dtype}")
    _check_dense(name, mask)
    check_has_values(name, mask)
    check_shape(name, mask, shape, letters)


def check_lengths(name: str, lengths: object, B: int, rows: int) -> None:
    """Check the lengths of the windows of `B` cases; the longest must have all `rows`. None stands for `rows` each."""
    if lengths is None:
        return
    if not isinstance(lengths, tuple | list) or not all(_is_integer(length) for length in lengths):
        raise TypeError(f"{name} must be None or a tuple of integers, one for each case, got {lengths!r}")
    if len(lengths) != B or (B > 0 and (min(lengths) < 0 or max(lengths) != rows)):
        raise ValueError(f"{name} must be B = {B} numbers from 0 to M = {rows}, the largest M, got {lengths}")


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_indices(name: str, indices: object, count: int) -> None:
    """Check that `indices` is a dense vector of int32 or int64 from 0 to count - 1."""
    if not isinstance(indices, Tensor) or indices.dtype not in {torch.int32, torch.int64}:
        got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise TypeError(f"{name} must be a tensor of int32 or int64, got {got}")
    _check_dense(name, indices)
    if indices.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {tuple(indices.shape)}")
    check_has_values(name, indices)
    if indices.numel() and (indices.min() < 0 or indices.max() >= count):
        raise ValueError(f"{name} must be from 0 to {count - 1}, got {indices.tolist()}")


def check_has_values(name: str, tensor: Tensor) -> None:
    """Check that a tensor whose values decide what is computed has any, which vmap does not map over."""
    if tensor.device.type == "meta":
        raise ValueError(f"{name} must have values, got a tensor on the device meta")
    if not torch.compiler.is_compiling() and _is_mapped(tensor):
        raise ValueError(f"{name} must have the same values for all that vmap maps, got a tensor that it maps over")


def _is_mapped(tensor: Tensor) -> bool:
    """Whether a transform of `torch.func` gives the tensor other values in each of its parallel calls."""
    functorch = torch._C._functorch  # noqa: SLF001 - torch has no public functions for this
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def is_default(value: object, default: object) -> bool:
    """Whether an argument has its default; an array, which has no truth value, has not."""
    same: object = value == default
    return bool(same) if getattr(same, "ndim", 0) == 0 else False
