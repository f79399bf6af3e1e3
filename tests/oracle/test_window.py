"""The oracle's window and its statistics, Eqs. (7)-(8)."""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    Base,
    next_memory,
    window_sizes,
    window_statistics_backward,
    window_statistics_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Array, Tree, assert_gradients

T, B, N = 6, 3, 4
BASES: list[Base] = ["layer", "batch"]
WINDOWS = [1, 2, 4, T, T + 3]


def rows(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).standard_normal((count, B, N))


@pytest.mark.claim("figure-1")
def test_the_window_grows_to_k_and_stays() -> None:
    assert window_sizes(5, 3).tolist() == [1, 2, 3, 3, 3]
    assert window_sizes(3, 9).tolist() == [1, 2, 3]
    assert window_sizes(4, 3, 1).tolist() == [2, 3, 3, 3]


@pytest.mark.claim("figure-1", "eq-7", "eq-8")
@pytest.mark.parametrize("M", [None, 0, 1, 2])
@pytest.mark.parametrize("base", BASES)
def test_statistics_are_those_of_the_entries_in_the_window(base: Base, M: int | None) -> None:
    """Entries are collected one by one, by time stamp, and NumPy's own mean and variance taken."""
    k = 3
    a, memory = rows(0, T), None if M is None else rows(1, M)
    (mean, var), _ = window_statistics_forward(a, k, base, memory)
    assert mean.shape == var.shape == ((T, B, 1) if base == "layer" else (T, 1, N))
    stamped = dict(enumerate(a)) | {-(M or 0) + s: row for s, row in enumerate([] if memory is None else memory)}
    for t in range(T):
        window = [stamped[s] for s in (t - 2, t - 1, t) if s in stamped]
        for place in range(B if base == "layer" else N):
            entries = [row[place] if base == "layer" else row[:, place] for row in window]
            index: Any = (t, place, 0) if base == "layer" else (t, 0, place)
            assert_close(mean[index], np.mean(entries), quantity="output")
            assert_close(var[index], np.var(entries), quantity="output")


def test_statistics_of_a_hand_made_sequence() -> None:
    """1, 3 | 5, 7 with n = 2, k = 2: mean 2, then 4; variance 1, then (9 + 1 + 1 + 9) / 4."""
    a = np.array([[[1.0, 3.0]], [[5.0, 7.0]]])
    (mean, var), _ = window_statistics_forward(a, 2)
    assert mean[:, 0, 0].tolist() == [2.0, 4.0]
    assert var[:, 0, 0].tolist() == [1.0, 5.0]


@pytest.mark.claim("eq-7", "eq-8", "eq-a4-a7", "eq-a8-a10")
@pytest.mark.parametrize("M", [None, 0, 1, 3])
@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("base", BASES)
def test_gradient(base: Base, k: int, M: int | None) -> None:
    M = None if M is None else min(M, k - 1)
    inputs = {"a": rows(2, T)} | ({} if M is None else {"memory": rows(3, M)})

    def forward(tree: Tree) -> tuple[Tree, Any]:
        return window_statistics_forward(tree["a"], k, base, tree.get("memory"))

    def backward(upstream: Tree, cache: Any) -> Tree:
        da, dmemory = window_statistics_backward(upstream.mean, upstream.var, cache)
        return {"a": da, "memory": dmemory}

    assert_gradients(forward, backward, inputs)


@pytest.mark.parametrize("k", WINDOWS)
def test_memory_is_the_reach_of_the_next_window(k: int) -> None:
    a = rows(4, T)
    first = next_memory(a[:2], k)
    assert np.array_equal(first, a[2 - min(k - 1, 2) : 2])
    memory = next_memory(a[2:5], k, first)
    assert memory.shape == (min(k - 1, 5), B, N)
    assert np.array_equal(memory, a[5 - min(k - 1, 5) : 5])


def test_memory_does_not_share_the_callers_array() -> None:
    a = rows(5, 3)
    memory = next_memory(a, 3)
    kept = memory.copy()
    a[:] = 0.0
    assert np.array_equal(memory, kept)
