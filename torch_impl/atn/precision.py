"""The dtype that is computed in: at least float32, whatever the input and autocast say."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import torch
from torch import Tensor


def compute_dtype(tensors: Iterable[Tensor]) -> torch.dtype:
    """The widest dtype of `tensors`, and float32 for the half types: statistics never run in 16 bits."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)


def in_one_dtype(a: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Input, gain and shift in the dtype in which they are computed with."""
    dtype = compute_dtype(tensor for tensor in (a, weight, bias) if tensor is not None)
    weight, bias = (None if tensor is None else tensor.to(dtype) for tensor in (weight, bias))
    return a.to(dtype), weight, bias


def autocast_is_on(device: torch.device) -> bool:
    """Whether the caller runs under `torch.autocast` for this kind of device."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off inside, so that a matrix product keeps the dtype of its operands."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
