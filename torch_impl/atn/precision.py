"""The dtype of the computation: at least float32, except in a backend that computes with 16-bit data directly."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

WITH_AUTOCAST = frozenset(filter(torch.amp.is_autocast_available, ("cpu", "cuda", "xpu", "mps", "hpu", "xla", "mtia")))
"""Device types that support autocast; "meta" does not. Computed at import, since the torch.compile of torch 2.11 cannot
trace the query."""

P = ParamSpec("P")
R = TypeVar("R")


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of statistics and of the carry for data of `dtype`: they never have 16 bits."""
    return torch.promote_types(dtype, torch.float32)


def compute_dtype(tensors: Iterable[Tensor]) -> torch.dtype:
    """The widest dtype of `tensors`, and float32 for the half types."""
    return state_dtype(_widest(tensors))


def data_dtype(tensors: Iterable[Tensor], device: torch.device) -> torch.dtype:
    """The dtype in which a backend with 16-bit support computes: the widest of `tensors`, or autocast's for float32."""
    widest = _widest(tensors)
    return torch.get_autocast_dtype(device.type) if autocast_is_on(device) and widest == torch.float32 else widest


def _widest(tensors: Iterable[Tensor]) -> torch.dtype:
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def in_one_dtype(
    a: Tensor, weight: Tensor | None, bias: Tensor | None, *, half: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Input, gain and shift in the dtype of the computation. With `half`, 16-bit data keeps its dtype."""
    tensors = [tensor for tensor in (a, weight, bias) if tensor is not None]
    dtype = data_dtype(tensors, a.device) if half else compute_dtype(tensors)
    weight, bias = (None if tensor is None else tensor.to(dtype) for tensor in (weight, bias))
    return a.to(dtype), weight, bias


def autocast_is_on(device: torch.device) -> bool:
    """Whether the caller runs under `torch.autocast` for this device type."""
    return device.type in WITH_AUTOCAST and torch.is_autocast_enabled(device.type)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast is off, so that a matrix product keeps the dtype of its operands."""
    return torch.autocast(device.type, enabled=False) if autocast_is_on(device) else nullcontext()


def in_full_precision(compute: Callable[P, R]) -> Callable[P, R]:
    """A function that computes on the CPU with autocast off."""

    @wraps(compute)
    def computed(*arguments: P.args, **keywords: P.kwargs) -> R:
        with full_precision(torch.device("cpu")):
            return compute(*arguments, **keywords)

    return computed
