"""Elementwise comparison of arrays and tensors within `tolerances.py`; every error is recorded as evidence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.evidence import ErrorKey, record_error
from tests.tolerances import TOLERANCES, VANISHING


def assert_close(
    actual: Any, expected: Any, *, quantity: str, backend: str = "oracle", scale: float | None = None, what: str = ""
) -> None:
    """Assert that every element of `actual` is as near to `expected` as its dtype allows.

    Parameters
    ----------
    actual, expected
        NumPy arrays, tensors or scalars of one shape. The dtype of `actual` chooses the tolerance; the comparison is
        made in the wider of the two.
    quantity
        "output", "gradient", "parameter_gradient", "symbolic" or "exact": the second key of `TOLERANCES`.
    backend
        What computed `actual`; only for the record.
    scale
        Magnitude that the error is relative to; by default the largest of `expected`.
    what
        Name of the compared array, for the message.
    """
    dtype = _dtype_name(actual)
    actual_array, expected_array = _as_array(actual), _as_array(expected)
    assert actual_array.shape == expected_array.shape, (
        f"{what or 'shapes'}: {actual_array.shape} is not {expected_array.shape}"
    )
    assert np.isfinite(actual_array).all(), f"{what or 'values'}: not finite"
    difference = np.abs(actual_array - expected_array)
    magnitude = float(np.abs(expected_array).max()) if scale is None else scale
    error = float(difference.max() / magnitude) if magnitude > 0 else float(difference.max())
    record_error(ErrorKey(backend, dtype, quantity), error)
    bound = TOLERANCES[dtype, quantity].relative
    assert error <= bound, (
        f"{what or 'values'} ({backend}, {dtype}, {quantity}): error {error:.3g} relative to {magnitude:.3g} "
        f"exceeds {bound:.3g} at {np.unravel_index(int(difference.argmax()), difference.shape)}"
    )


def assert_all_close(
    actual: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    backend: str,
    parameters: frozenset[str] = frozenset(),
    largest_term: float = 0.0,
) -> None:
    """Compare gradients by name.

    One that vanishes by symmetry is held to a fraction `VANISHING` of the largest gradient beside it, or of
    `largest_term`, the largest of the terms that cancel in it.
    """
    assert actual.keys() == expected.keys(), f"{sorted(actual)} is not {sorted(expected)}"
    magnitudes = {name: float(np.abs(_as_array(array)).max()) for name, array in expected.items()}
    floor = VANISHING * max(largest_term, *magnitudes.values())
    for name, array in actual.items():
        assert_close(
            array,
            expected[name],
            quantity="parameter_gradient" if name in parameters else "gradient",
            backend=backend,
            scale=max(magnitudes[name], floor),
            what=name,
        )


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
