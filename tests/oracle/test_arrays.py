"""What every pair of passes does with arrays: the dtype stays, and the caller's are neither changed nor handed back."""

from copy import deepcopy
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from atn_reference import atn_jacobian, next_memory, update_population, window_statistics_forward
from tests.support.comparison import assert_close
from tests.support.complex_step import Tree, all_arrays, cast, leaves, random_like
from tests.support.oracle_calls import EPS, Call, K, calls

CALLS = calls()
DTYPES = [np.float32, np.longdouble, np.complex64, np.complex128]


def passes(call: Call, dtype: Any) -> dict[str, Any]:
    """Outputs and gradients of a call in `dtype`."""
    outputs, cache = call.forward(cast(call.inputs, dtype))
    return leaves({"output": outputs, "gradient": call.backward(random_like(outputs, 0), cache)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_dtype_is_kept(name: str, dtype: Any) -> None:
    arrays = passes(CALLS[name], dtype)
    assert {path: array.dtype for path, array in arrays.items() if array.dtype != dtype} == {}


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
@pytest.mark.parametrize("name", CALLS)
def test_values_agree_with_float64(name: str, dtype: Any) -> None:
    expected, arrays = passes(CALLS[name], np.float64), passes(CALLS[name], dtype)
    assert arrays.keys() == expected.keys()
    for path, array in arrays.items():
        actual, other = array, expected[path]
        if dtype is np.longdouble:  # the float64 run is the less accurate one and sets the tolerance
            actual, other = other, actual
        scale = max(1.0, float(np.abs(other).max()))
        assert_close(actual, other.astype(actual.dtype), quantity="gradient", what=path, scale=scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum", [0.25, np.float64(0.25), None])
def test_statistics_and_jacobian_keep_the_dtype(dtype: Any, momentum: float | None) -> None:
    a = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(dtype)
    statistics, _ = window_statistics_forward(a, int(K), "batch")
    first = update_population(None, window_statistics_forward(a[:2], int(K), "batch")[0])
    running = update_population(first, statistics, momentum)
    arrays = leaves([first, running, atn_jacobian(a, int(K), a[0, 0], EPS), next_memory(a, int(K))])
    assert {path: array.dtype for path, array in arrays.items() if array.dtype != dtype} == {}


def read_only(tree: Tree) -> Tree:
    for array in all_arrays(tree).values():
        array.flags.writeable = False
    return tree


def shared(*trees: Tree) -> list[tuple[str, str]]:
    """Pairs of arrays of different trees that share memory."""
    groups = [all_arrays(tree) for tree in trees]
    return [
        (name, other)
        for first, second in combinations(groups, 2)
        for name, array in first.items()
        for other, place in second.items()
        if np.shares_memory(array, place)
    ]


def shared_within(tree: Tree) -> list[tuple[str, str]]:
    pairs = combinations(all_arrays(tree).items(), 2)
    return [(name, other) for (name, array), (other, place) in pairs if np.shares_memory(array, place)]


@pytest.mark.parametrize("name", CALLS)
def test_inputs_are_not_written_into(name: str) -> None:
    call = CALLS[name]
    outputs, cache = call.forward(read_only(deepcopy(call.inputs)))
    call.backward(read_only(random_like(outputs, 0)), cache)


@pytest.mark.parametrize("name", CALLS)
def test_results_share_no_memory(name: str) -> None:
    """Neither with the inputs nor with one another, so that writing into one changes no other."""
    call = CALLS[name]
    inputs = deepcopy(call.inputs)
    outputs, cache = call.forward(inputs)
    upstream = random_like(outputs, 0)
    gradients = call.backward(upstream, cache)
    assert shared(inputs, outputs, upstream, gradients) == []
    assert shared_within(outputs) == shared_within(gradients) == []


@pytest.mark.parametrize("name", CALLS)
def test_writing_between_the_passes_changes_no_gradient(name: str) -> None:
    """The cache keeps copies: inputs and outputs are overwritten before the backward pass."""
    call = CALLS[name]
    expected = passes(call, np.float64)
    inputs = deepcopy(call.inputs)
    outputs, cache = call.forward(inputs)
    upstream = random_like(outputs, 0)
    for array in all_arrays([inputs, outputs]).values():
        array[...] = -1
    for path, gradient in leaves({"gradient": call.backward(upstream, cache)}).items():
        assert np.array_equal(gradient, expected[path]), path


def test_running_statistics_share_no_memory_with_a_batchs() -> None:
    a = np.random.default_rng(1).standard_normal((4, 3, 5))
    statistics, _ = window_statistics_forward(a, 2, "batch")
    first = update_population(None, read_only(statistics))
    second = update_population(read_only(first), statistics, None)
    assert shared(a, statistics, first, second, next_memory(read_only(a), 3)) == []
