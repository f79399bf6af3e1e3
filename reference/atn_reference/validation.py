"""Checks of what a caller passes in; each error names the argument, what it was and what it must be.

Sizes are checked by letters: ``check_arrays(("a", a, "T B N"), ("gamma", gamma, "N"))`` takes T, B and N from the
first array that shows them and holds the later ones to them. "4H" is four times H.

Letters: T time, B batch, N features, I input, O output, H hidden, C classes, M rows of memory, S recorded steps,
k window length.
"""

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np

from atn_reference.arrays import Array

MAY_BE_EMPTY = frozenset("M")
"""Letters whose size may be 0: a stream that starts, or one with k = 1, remembers no rows."""


def check_arrays(*arrays: tuple[str, object, str]) -> dict[str, int]:
    """Check a group of arrays for type, common dtype, rank and sizes, and return the size of every letter.

    Parameters
    ----------
    arrays
        Triples (name, value, shape in letters); a value of None stands for an optional argument and is passed over.

    Raises
    ------
    TypeError
        For what is not a NumPy array, for an integer, bool or object dtype, and for a dtype unlike the first's.
    ValueError
        For a wrong rank, a size unlike the one seen before, or a size of 0.
    """
    sizes: dict[str, int] = {}
    first: tuple[str, Array] | None = None
    for name, value, letters in arrays:
        if value is None:
            continue
        array = check_floating(name, value)
        first = first or (name, array)
        if array.dtype != first[1].dtype:
            raise TypeError(f"{name}: dtype was {array.dtype}, must be {first[1].dtype}, the dtype of {first[0]}")
        _bind_sizes(name, array.shape, letters.split(), sizes)
    return sizes


def _bind_sizes(name: str, shape: tuple[int, ...], letters: Sequence[str], sizes: dict[str, int]) -> None:
    known = ", ".join(f"{letter} = {size}" for letter, size in sizes.items() if any(letter in item for item in letters))
    wanted = f"({', '.join(letters)}{',' if len(letters) == 1 else ''}){' with ' + known if known else ''}"
    message = f"{name}: shape was {shape}, must be {wanted}"
    if len(shape) != len(letters):
        raise ValueError(message)
    for size, item in zip(shape, letters, strict=True):
        factor, letter = int(item[:-1] or 1), item[-1]
        if size == 0 and letter not in MAY_BE_EMPTY:
            raise ValueError(f"{message}, every size at least 1")
        if size != factor * sizes.setdefault(letter, size // factor):
            raise ValueError(message)


def check_floating(name: str, value: object) -> Array:
    """Return an array of a real or complex floating-point dtype, or raise TypeError."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name}: was {type(value).__name__}, must be a NumPy array of a floating-point dtype")
    if not np.issubdtype(value.dtype, np.inexact):
        raise TypeError(f"{name}: dtype was {value.dtype}, must be a real or complex floating-point dtype")
    return value


def check_like(name: str, value: object, model: Array) -> None:
    """Check that an upstream gradient has the shape (ValueError) and the dtype (TypeError) of its output."""
    array = check_floating(name, value)
    if array.dtype != model.dtype:
        raise TypeError(f"{name}: dtype was {array.dtype}, must be {model.dtype}, the dtype of the forward pass")
    if array.shape != model.shape:
        raise ValueError(f"{name}: shape was {array.shape}, must be {model.shape}, the shape of its output")


def check_scalar(name: str, value: object, dtype: "np.dtype[Any]") -> Array:
    """Return a number or an array of rank 0 as an array of rank 0 in the given dtype."""
    array = np.asarray(value)
    if array.shape:
        raise ValueError(f"{name}: shape was {array.shape}, must be (), one number")
    if array.dtype.kind not in "iufc" or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{name}: was {value!r}, must be a number that can be cast to {dtype}")
    return array.astype(dtype)


def check_integer(name: str, value: object, least: int) -> int:
    """Return a Python int of at least ``least``; a bool or a float raises TypeError, a smaller one ValueError."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, SupportsIndex) or isinstance(value, np.ndarray):
        raise TypeError(f"{name}: was {value!r}, must be an integer >= {least}")
    integer = operator.index(value)
    if integer < least:
        raise ValueError(f"{name}: was {integer}, must be an integer >= {least}")
    return integer


def check_window_length(k: object) -> int:
    """Return the window length k as a Python int >= 1."""
    return check_integer("k", k, 1)


def check_eps(eps: object) -> float:
    """Return eps as a Python float, finite and >= 0."""
    return check_real("eps", eps, positive=False)


def check_momentum(momentum: object) -> float | None:
    """Return the momentum as a Python float in [0, 1], or None."""
    if momentum is None:
        return None
    if isinstance(momentum, bool) or not isinstance(momentum, Real):
        raise TypeError(f"momentum: was {momentum!r}, must be a real number in [0, 1] or None")
    value = float(momentum)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"momentum: was {value}, must be a real number in [0, 1] or None")
    return value


def check_recorded(name: str, var: object, updates: object) -> None:
    """Check that no running variance is negative and that ``updates`` has a count of batches for each of the steps."""
    variance = check_floating(f"{name}.var", var)
    if (variance.real < 0.0).any():
        raise ValueError(f"{name}.var: had {variance.real.min()}, must be >= 0 everywhere")
    if not isinstance(updates, np.ndarray) or not np.issubdtype(updates.dtype, np.integer):
        was = getattr(updates, "dtype", type(updates).__name__)
        raise TypeError(f"{name}.updates: was {was}, must be a NumPy array of integers")
    if updates.shape != variance.shape[:1] or (updates < 1).any():
        raise ValueError(f"{name}.updates: was {updates}, must be of shape {variance.shape[:1]}, every count >= 1")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that a named choice is one of those offered."""
    if value not in choices:
        raise ValueError(f"{name}: was {value!r}, must be one of {', '.join(map(repr, choices))}")


def check_choices(name: str, values: object, choices: Sequence[str]) -> None:
    """Check that an argument is a tuple of named choices, each at most once."""
    if not isinstance(values, tuple):
        raise TypeError(f"{name}: was {values!r}, must be a tuple of {' and '.join(map(repr, choices))}")
    if not all(value in choices for value in values) or any(values.count(choice) > 1 for choice in choices):
        raise ValueError(f"{name}: was {values!r}, must be a tuple of {' and '.join(map(repr, choices))}, each once")


def check_real(name: str, value: object, *, positive: bool) -> float:
    """Return a Python float that is finite and > 0, or >= 0 where it need not be positive.

    A Python float, for a NumPy scalar would lift a float32 computation to float64.
    """
    wanted = f"a finite real number {'>' if positive else '>='} 0"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name}: was {value!r}, must be {wanted}")
    number = float(value)
    if not math.isfinite(number) or number < 0.0 or (positive and number == 0.0):
        raise ValueError(f"{name}: was {number}, must be {wanted}")
    return number


def check_instance(name: str, value: object, *kinds: type) -> None:
    """Check that an argument is of one of the named classes."""
    if not isinstance(value, kinds):
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise TypeError(f"{name}: was {type(value).__name__}, must be {wanted}")


def check_absent(name: str, value: object, reason: str) -> None:
    """Check that an argument which would have no meaning beside the others is None."""
    if value is not None:
        raise ValueError(f"{name}: was {type(value).__name__}, must be None: {reason}")


def check_memory_rows(name: str, memory: Array | None, k: int) -> None:
    """Check that a memory holds no more rows than the next window can reach, k - 1."""
    if memory is not None and len(memory) > k - 1:
        raise ValueError(f"{name}: had {len(memory)} rows, must have at most k - 1 = {k - 1}")
