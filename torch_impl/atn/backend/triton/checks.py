"""Checks of every argument of an operator, before a kernel reads memory through it.

A kernel does not check its pointers: it would read beyond the end of a gain that is too short or has another dtype. The
public modules and functions check earlier, with more detailed messages. These checks also protect a direct call of an
operator.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from atn.backend.custom_ops.signatures import LSTMBackward, LSTMForward, NormBackward, NormForward
from atn.backend.triton.blocks import accumulator
from atn.validation import check_epsilon_in, check_floating, epsilon

LIMIT = 2**31
"""Steps and rows of a sequence are counted in 32 bits, as are the programs of a launch. Offsets have 64 bits."""


class Demand(NamedTuple):
    """The required shape of a tensor, in letters and numbers, and its required dtype."""

    shape: str
    wide: bool = False
    """Whether the dtype is that of statistics and states, which is at least float32, rather than that of the data."""


def check_norm_forward(given: NormForward) -> None:
    """Raise ValueError or TypeError for an argument that does not fit `NormForward`."""
    demands = {
        "a": Demand("T B N"),
        "gamma": Demand("N"),
        "beta": Demand("N"),
        "memory": Demand("2 M B", wide=True),
    }
    sizes = _check_tensors(given, demands)
    _check_window(given.k, given.eps, given.a.dtype, least=1)
    _check_counts("a", sizes["T"], sizes["B"], sizes["M"])


def check_norm_backward(given: NormBackward) -> None:
    """Raise ValueError or TypeError for an argument that does not fit `NormBackward`."""
    demands = {
        "a": Demand("T B N"),
        "dy": Demand("T B N"),
        "gamma": Demand("N"),
        "windows": Demand("2 T B", wide=True),
        "steps": Demand("2 S B", wide=True),
        "dsteps": Demand("2 S B", wide=True),
    }
    sizes = _check_tensors(given, demands)
    _check_window(given.k, given.eps, given.a.dtype, least=1)
    _check_steps(given.steps, sizes["S"], sizes["T"])
    _check_counts("a", sizes["T"], sizes["B"], sizes["S"] - sizes["T"])


def check_lstm_forward(given: LSTMForward) -> None:
    """Raise ValueError or TypeError for an argument that does not fit `LSTMForward`.

    Without a norm (k = 0) gains, shift and memory must be absent.
    """
    _check_window(given.k, given.eps, given.x.dtype, least=0)
    demands = {
        "x": Demand("T B I"),
        "h_0": Demand("B H"),
        "c_0": Demand("B H", wide=True),
        "weight_ih": Demand("4H I"),
        "weight_hh": Demand("4H H"),
        "bias_ih": Demand("4H"),
        "bias_hh": Demand("4H"),
        "bias": Demand("4H"),
        "gamma_ih": Demand("4H"),
        "gamma_hh": Demand("4H"),
        "gamma_c": Demand("H"),
        "beta_c": Demand("H"),
        "memory": Demand("3 2 M B" if given.k > 0 else "3 2 0 B", wide=True),
    }
    sizes = _check_tensors(given, demands)
    if given.k == 0:
        _check_absent(given, "bias", "gamma_ih", "gamma_hh")
    _check_counts("x", sizes["T"], sizes["B"], sizes.get("M", 0))


def check_lstm_backward(given: LSTMBackward) -> None:
    """Raise ValueError or TypeError for an argument that does not fit `LSTMBackward`."""
    _check_window(given.k, given.eps, given.x.dtype, least=0)
    windows, steps = ("T", "S") if given.k > 0 else ("0", "0")
    demands = {
        "h": Demand("T B H"),
        "dh": Demand("T B H"),
        "h_0": Demand("B H"),
        "c_0": Demand("B H", wide=True),
        "c": Demand("T B H", wide=True),
        "dc": Demand("T B H", wide=True),
        "x": Demand("T B I"),
        "weight_ih": Demand("4H I"),
        "weight_hh": Demand("4H H"),
        "bias_ih": Demand("4H"),
        "bias_hh": Demand("4H"),
        "bias": Demand("4H"),
        "gamma_ih": Demand("4H"),
        "gamma_hh": Demand("4H"),
        "gamma_c": Demand("H"),
        "beta_c": Demand("H"),
        "gates": Demand("T B 4H"),
        "kept_ih": Demand(f"{windows} B 4H"),
        "kept_hh": Demand(f"{windows} B 4H"),
        "windows": Demand(f"3 2 {windows} B", wide=True),
        "steps": Demand(f"3 2 {steps} B", wide=True),
        "dsteps": Demand(f"3 2 {steps} B", wide=True),
    }
    sizes = _check_tensors(given, demands)
    if given.k == 0:
        _check_absent(given, "gamma_ih", "gamma_hh")
    else:
        _check_steps(given.steps, sizes["S"], sizes["T"])
    _check_counts("h", sizes["T"], sizes["B"], sizes.get("S", sizes["T"]) - sizes["T"])


def _check_tensors(given: tuple[object, ...], demands: dict[str, Demand]) -> dict[str, int]:
    """Check the tensors that are not None; return the size of each letter, taken from the first tensor that has it."""
    sizes: dict[str, int] = {}
    present = {name: tensor for name in demands if (tensor := getattr(given, name)) is not None}
    first, data = next(iter(present.items()))
    for name, tensor in present.items():
        demand = demands[name]
        check_floating(name, tensor)
        _check_shape(name, tensor, demand.shape, sizes)
        dtype = accumulator(data.dtype) if demand.wide else data.dtype
        if tensor.dtype != dtype:
            raise TypeError(f"{name} must be of {dtype} where {first} is of {data.dtype}, got {tensor.dtype}")
        if tensor.device != data.device:
            raise ValueError(f"{name} must be on {data.device}, as {first} is, got {tensor.device}")
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous, got strides {tensor.stride()}")
    return sizes


def _check_shape(name: str, tensor: Tensor, shape: str, sizes: dict[str, int]) -> None:
    axes = [re.fullmatch(r"(\d*)([A-Z]?)", axis) for axis in shape.split()]
    parts = [(int(axis[1] or 1), axis[2]) for axis in axes if axis]
    got = tuple(tensor.shape)
    if len(got) == len(parts):
        for size, (factor, letter) in zip(got, parts, strict=True):
            if letter and factor == 1:
                sizes.setdefault(letter, size)
        if got == tuple(factor * sizes[letter] if letter else factor for factor, letter in parts):
            _check_features(name, sizes)
            return
    letters = dict.fromkeys(letter for _, letter in parts if letter in sizes)
    known = ", ".join(f"{letter} = {sizes[letter]}" for letter in letters)
    raise ValueError(f"{name} must have shape ({shape.replace(' ', ', ')}){known and f' with {known}'}, got {got}")


def _check_features(name: str, sizes: dict[str, int]) -> None:
    for letter in ("N", "H"):
        if sizes.get(letter) == 0:
            raise ValueError(f"{name} must have at least one feature, got {letter} = 0")


def _check_window(k: int, eps: float, dtype: torch.dtype, *, least: int) -> None:
    if k < least:
        raise ValueError(f"k must be at least {least}, got {k}")
    check_epsilon_in(epsilon(eps), dtype)


def _check_steps(steps: Tensor, rows: int, T: int) -> None:
    if rows < T:
        raise ValueError(f"steps must have at least the T = {T} rows of the sequence, got shape {tuple(steps.shape)}")


def _check_absent(given: tuple[object, ...], *names: str) -> None:
    for name in names:
        if getattr(given, name) is not None:
            raise ValueError(f"{name} must be None without a norm (k = 0), got a tensor")


def _check_counts(name: str, T: int, B: int, M: int) -> None:
    if T * B >= LIMIT:
        raise ValueError(f"{name} must have less than 2^31 rows, got T * B = {T} * {B}")
    if M + T >= LIMIT:
        raise ValueError(f"{name} and the memory must have less than 2^31 steps, got {T} + {M}")
