"""Elementwise comparison of arrays and tensors within `tolerances.py`; every error is recorded as evidence."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tests.support.tolerances import TOLERANCES, VANISHING
from tests.verification.error_log import ErrorKey, record_error


class Deviation(NamedTuple):
    """How far one array is from what was expected."""

    what: str
    """Name of the compared array."""

    key: ErrorKey
    error: float
    """Largest elementwise difference relative to `magnitude`; infinite where a value is not finite."""

    magnitude: float
    bound: float
    position: tuple[int, ...]
    """Where the difference is largest."""

    @property
    def exceeds(self) -> bool:
        """Whether the error is beyond the bound."""
        return not self.error <= self.bound

    def __str__(self) -> str:
        return (
            f"{self.what or 'values'} ({', '.join(self.key)}): error {self.error:.3g} relative to "
            f"{self.magnitude:.3g} exceeds {self.bound:.3g} at {self.position}"
        )


def deviation(
    actual: Any,
    expected: Any,
    *,
    quantity: str,
    backend: str = "oracle",
    scale: float | None = None,
    what: str = "",
    dtype: str | None = None,
) -> Deviation:
    """Measure and record how far `actual` is from `expected`.

    Parameters
    ----------
    actual, expected
        NumPy arrays, tensors or scalars of one shape; the comparison is made in the wider of their dtypes.
    quantity
        "output", "gradient", "parameter_gradient", "symbolic" or "exact": the second key of `TOLERANCES`.
    backend
        What computed `actual`; only for the record.
    scale
        Magnitude that the error is relative to; by default the largest of `expected`.
    what
        Name of the compared array, for the message.
    dtype
        Dtype that `actual` must have, which chooses the tolerance; by default that of `expected`. It is never taken
        from `actual`: a result that came out narrower than it should would choose its own wider bound.
    """
    key = ErrorKey(backend, dtype or _dtype_name(expected), quantity)
    assert _dtype_name(actual) == key.dtype, f"{what or 'values'}: dtype {_dtype_name(actual)} is not {key.dtype}"
    actual_array, expected_array = _as_array(actual), _as_array(expected)
    assert actual_array.shape == expected_array.shape, (
        f"{what or 'shapes'}: {actual_array.shape} is not {expected_array.shape}"
    )
    difference = np.where(np.isfinite(actual_array), np.abs(actual_array - expected_array), np.inf)
    magnitude = float(np.abs(expected_array).max()) if scale is None else scale
    error = float(difference.max() / magnitude) if magnitude > 0 else float(difference.max())
    record_error(key, error)
    position = tuple(int(index) for index in np.unravel_index(int(difference.argmax()), difference.shape))
    return Deviation(what, key, error, magnitude, TOLERANCES[key.dtype, quantity].relative, position)


def gradient_deviations(
    actual: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    backend: str,
    parameters: frozenset[str] = frozenset(),
    cancelled: Mapping[str, float] = MappingProxyType({}),
    dtype: str | None = None,
) -> Iterator[Deviation]:
    """Measure gradients by name.

    One that vanishes by symmetry is held to a fraction `VANISHING` of the largest gradient beside it, or of the largest
    of the terms that cancel in it, where `cancelled` has them.
    """
    assert actual.keys() == expected.keys(), f"{sorted(actual)} is not {sorted(expected)}"
    magnitudes = {name: float(np.abs(_as_array(array)).max()) for name, array in expected.items()}
    largest = max(magnitudes.values())
    for name, array in actual.items():
        yield deviation(
            array,
            expected[name],
            quantity="parameter_gradient" if name in parameters else "gradient",
            backend=backend,
            scale=max(magnitudes[name], VANISHING * max(largest, cancelled.get(name, 0.0))),
            what=name,
            dtype=dtype,
        )


def assert_close(
    actual: Any,
    expected: Any,
    *,
    quantity: str,
    backend: str = "oracle",
    scale: float | None = None,
    what: str = "",
    dtype: str | None = None,
) -> None:
    """Assert that `actual` has its dtype and is everywhere as near to `expected` as that allows; see `deviation`."""
    found = deviation(actual, expected, quantity=quantity, backend=backend, scale=scale, what=what, dtype=dtype)
    assert not found.exceeds, str(found)


def assert_all_close(
    actual: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    backend: str,
    parameters: frozenset[str] = frozenset(),
    cancelled: Mapping[str, float] = MappingProxyType({}),
    dtype: str | None = None,
) -> None:
    """Assert that gradients are close, by name; see `gradient_deviations`."""
    for found in gradient_deviations(
        actual, expected, backend=backend, parameters=parameters, cancelled=cancelled, dtype=dtype
    ):
        assert not found.exceeds, str(found)


def _dtype_name(values: Any) -> str:
    if isinstance(values, torch.Tensor):
        return str(values.dtype).removeprefix("torch.")
    dtype = np.asarray(values).dtype
    if dtype.kind == "c":
        return "float64"  # complex step: the real part of the arithmetic is float64
    return "longdouble" if dtype == np.longdouble and dtype != np.float64 else dtype.name


def _as_array(values: Any) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.double() if values.dtype in {torch.bfloat16, torch.float16} else values).numpy()
    return np.asarray(values)
