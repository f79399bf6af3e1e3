"""Windows that are merged from shorter ones: against the oracle, in a stream, up to k = 2**63 - 1, and their digits."""

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import atn.functional as F
from atn import ATNLSTM
from atn.sliding_window import Parts, SlidingWindow, merges
from atn.window import LONGEST_KEPT_WINDOW
from atn_reference import assorted_time_norm_forward
from tests.support.against_oracle import assert_results_close
from tests.support.comparison import assert_close, deviation
from tests.support.dispatch import run_oracle, run_torch
from tests.support.kernels import backend_with
from tests.support.lstms import in_chunks, random, with_exact_input_products, with_random_parameters
from tests.support.problems import Array, HiddenProblem, LSTMProblem, NormProblem

KERNELS = ("eager", "compiled", "fallback")

LONG = (65, 100, 128, 255, 257, 300, 1000, sys.maxsize)
"""Beyond what is added up directly, with binary digits of every kind, and beyond the sequence."""


@pytest.fixture(params=KERNELS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each backend's name in turn."""
    return backend_with(request.param, monkeypatch)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 13, 64, 100, sys.maxsize])
def test_a_sliding_window_holds_the_last_k_steps(k: int) -> None:
    def joined(parts: Parts[tuple[int, ...]]) -> tuple[int, ...]:
        assert (len(parts.near), len(parts.far)) == (parts.near_length, parts.far_length)
        return (*parts.far, *parts.near)

    window = SlidingWindow(k, joined)
    for step in range(150):
        assert window.add((step,)) == tuple(range(max(0, step - k + 1), step + 1))


@pytest.mark.parametrize("k", [1, 2, 7, 64, 1000, sys.maxsize])
def test_few_merges_make_a_window(k: int) -> None:
    lengths = [near + far for near, far in merges(k)]
    assert ([1, *lengths])[-1] == k
    assert len(lengths) <= 2 * math.log2(k)


@pytest.mark.parametrize("k", LONG)
def test_norm_and_its_gradients(k: int, backend: str) -> None:
    problem = NormProblem(
        T=310, B=3, N=6, k=k, base="layer", affine=True, eps=1e-3, offset=0.0, constant_row=False, seed=2
    )
    assert_results_close(run_torch(problem, backend, "float64"), run_oracle(problem), backend)


@pytest.mark.parametrize(
    ("cell", "k"), [*(("LSTM", k) for k in (65, 257, 262, sys.maxsize)), ("RNN_TANH", 262), ("GRU", 65)]
)
def test_layer_and_its_gradients(cell: Any, k: int, backend: str) -> None:
    settings: dict[str, Any] = {
        "T": 270, "B": 2, "I": 2, "H": 4, "layers": 1, "directions": 1, "norm": "atn", "k": k, "eps": 1e-1,
        "bias_placement": "inside", "bias": True, "affine": True, "initial_state": True, "seed": 3,
    }  # fmt: skip
    problem = LSTMProblem(**settings) if cell == "LSTM" else HiddenProblem(cell=cell, **settings)
    assert_results_close(run_torch(problem, backend, "float64"), run_oracle(problem), backend)


@pytest.mark.parametrize(("k", "T"), [(70, 160), (LONGEST_KEPT_WINDOW + 1, 290), (sys.maxsize, 290)])
def test_a_stream_equals_the_whole_bit_for_bit(k: int, T: int, backend: str) -> None:
    module = with_random_parameters(ATNLSTM(2, 3, k=k, backend=backend))
    with_exact_input_products(module)
    x = random(T, 2, 2, seed=1).float()
    whole, _ = module(x)
    for lengths in ([100, 1, T - 110], [1, 70, 71], [T - 1]):
        output, _ = in_chunks(module, x, lengths)
        assert_close(output, whole, quantity="exact", backend=backend)


@pytest.mark.parametrize(("k", "T"), [(70, 160), (LONGEST_KEPT_WINDOW + 1, 290)])
def test_gradients_flow_through_a_long_memory(k: int, T: int, backend: str) -> None:
    module = with_random_parameters(ATNLSTM(2, 3, k=k, backend=backend, dtype=torch.float64))
    x = random(T, 2, 2, seed=1).requires_grad_()
    upstream = random(T, 2, 3, seed=2)
    leaves = [x, *module.parameters()]
    whole = torch.autograd.grad(module(x)[0], leaves, upstream)
    streamed = torch.autograd.grad(in_chunks(module, x, [100, 1, T - 110])[0], leaves, upstream)
    for actual, expected in zip(streamed, whole, strict=True):
        scale = max(float(expected.abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend=backend, scale=scale)


OFFSET = 1000.0


def sliding_sequence(k: int) -> NDArray[np.float32]:
    """A sequence (T, 1, 2) at a common offset of 1000, along which the window slides for 500 steps."""
    rng = np.random.default_rng(5)
    return (rng.standard_normal((k + 500, 1, 2)) + OFFSET).astype(np.float32)


def by_running_sums(a: NDArray[np.float32], k: int, dtype: str) -> Array:
    """Eqs. (7)-(9) by sums to which the newest step is added and from which the oldest is taken off.

    The mean's sum is of numbers at the offset, in `dtype`: in float64 it keeps eight digits more than float32 has.
    """
    steps = np.minimum(np.arange(1, len(a) + 1), k)[:, None, None]
    centered = a.astype(np.float64) - OFFSET

    def window_means(terms: Array, dtype: str) -> Array:
        newest = terms.mean(axis=2, keepdims=True)
        oldest = np.concatenate([np.zeros_like(newest[:k]), newest[:-k]])
        running: Array = np.cumsum(np.concatenate([newest, -oldest], axis=2).reshape(-1), dtype=dtype)[1::2]
        return running.reshape(steps.shape) / steps

    var = window_means(centered**2, "float64") - window_means(centered, "float64") ** 2
    return (a - window_means(a.astype(np.float64), dtype)) / np.sqrt(var + 1e-5)


@pytest.mark.parametrize(
    ("k", "name"), [(300, "eager"), (300, "compiled"), (300, "fallback"), (30_000, "eager"), (30_000, "compiled")]
)
def test_a_long_window_keeps_its_digits(k: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rounding of a mean costs 1000 units of the last digit. The fallback's loop would take half a minute."""
    backend = backend_with(name, monkeypatch)
    a = sliding_sequence(k)
    y = F.assorted_time_norm(torch.from_numpy(a), k, backend=backend)
    assert_close(y, by_running_sums(a, k, "float64"), quantity="long window", backend=backend, dtype="float32")


def test_a_running_sum_loses_the_digits_of_a_long_window() -> None:
    """In float32, all else exact: the bound above refuses it."""
    a = sliding_sequence(30_000)
    exact, running = (by_running_sums(a, 30_000, dtype) for dtype in ("float64", "float32"))
    found = deviation(running.astype(np.float32), exact, quantity="long window", dtype="float32")
    assert found.exceeds, str(found)


def test_running_sums_in_float64_are_the_oracle() -> None:
    a = sliding_sequence(65)
    expected, _ = assorted_time_norm_forward(a.astype(np.longdouble), 65, eps=1e-5)
    assert_close(by_running_sums(a, 65, "float64").astype(np.float32), expected, quantity="output", dtype="float32")


@pytest.mark.parametrize("k", [3, 70, 300])
def test_what_has_left_a_window_leaves_no_trace(k: int, backend: str) -> None:
    """Neither a huge input nor a huge upstream gradient, bit for bit; in a running sum their roundings would stay."""
    T, spike = k + 20, 5
    a, dy = random(T, 2, 3, seed=1).float(), random(T, 2, 3, seed=2).float()

    def run(a: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
        leaf = a.requires_grad_()
        y = F.assorted_time_norm(leaf, k, backend=backend)
        return y.detach(), torch.autograd.grad(y, leaf, dy)[0]

    def with_spike(rows: Tensor, at: int) -> Tensor:
        huge = rows.detach().clone()
        huge[at] *= 1e7
        return huge

    (y, da), (later, _), (_, earlier) = run(a, dy), run(with_spike(a, spike), dy), run(a, with_spike(dy, T - 1 - spike))
    assert not torch.equal(later[spike + k - 1], y[spike + k - 1])
    assert_close(later[spike + k :], y[spike + k :], quantity="exact", backend=backend)
    first = T - spike - k
    assert not torch.equal(earlier[first], da[first])
    assert_close(earlier[:first], da[:first], quantity="exact", backend=backend)


@pytest.mark.parametrize("k", [2**63, 10**30])
def test_a_window_that_no_integer_holds_is_refused(k: int) -> None:
    for call in (lambda: F.assorted_time_norm(torch.zeros(3, 2, 4), k), lambda: ATNLSTM(3, 4, k=k)):
        with pytest.raises(ValueError, match=rf"^k must be an integer of at most 2\*\*63 - 1, got {k}$"):
            call()


def test_chunks_that_a_window_outlives() -> None:
    """Every length of the first chunk around the window's length, one step after it."""
    k = 67
    module = with_exact_input_products(with_random_parameters(ATNLSTM(2, 3, k=k, backend="fused")))
    x = random(72, 1, 2, seed=4).float()
    whole = module(x)[0]
    for first in range(60, 72):
        assert_close(in_chunks(module, x, [first, 1])[0], whole, quantity="exact", backend="fused")
