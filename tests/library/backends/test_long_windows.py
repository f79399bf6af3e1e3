"""Windows that are merged from shorter ones: against the oracle, in a stream, up to k = 2**63 - 1, and their digits."""

import math
import sys
from typing import Any

import pytest
import torch

import atn.functional as F
from atn import ATNLSTM
from atn.backend.fused import backend as fused
from atn.backend.fused import fallback
from atn.sliding_window import Parts, SlidingWindow, merges
from atn.window import LONGEST_DIRECT_WINDOW
from tests.support.against_oracle import assert_results_close
from tests.support.comparison import assert_close
from tests.support.dispatch import run_oracle, run_torch
from tests.support.lstms import in_chunks, random, with_exact_input_products, with_random_parameters
from tests.support.problems import HiddenProblem, LSTMProblem, NormProblem

KERNELS = ("eager", "compiled", "fallback")

LONG = (65, 100, 128, 255, 257, 300, 1000, sys.maxsize)
"""Beyond what is added up directly, with binary digits of every kind, and beyond the sequence."""


@pytest.fixture(params=KERNELS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the backend, with what computes for "fused" put in its place."""
    if request.param == "fallback":
        monkeypatch.setattr(fused, "kernels", lambda: fallback)
    return "eager" if request.param == "eager" else "fused"


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


@pytest.mark.parametrize(("k", "T"), [(70, 160), (LONGEST_DIRECT_WINDOW + 1, 290), (sys.maxsize, 290)])
def test_a_stream_equals_the_whole_bit_for_bit(k: int, T: int, backend: str) -> None:
    module = with_random_parameters(ATNLSTM(2, 3, k=k, backend=backend))
    with_exact_input_products(module)
    x = random(T, 2, 2, seed=1).float()
    whole, _ = module(x)
    for lengths in ([100, 1, T - 110], [1, 70, 71], [T - 1]):
        output, _ = in_chunks(module, x, lengths)
        assert_close(output, whole, quantity="exact", backend=backend)


@pytest.mark.parametrize(("k", "T"), [(70, 160), (LONGEST_DIRECT_WINDOW + 1, 290)])
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


@pytest.mark.parametrize("name", ["eager", "fused"])
def test_thirty_thousand_steps_keep_their_digits(name: str) -> None:
    """At a common offset of 1000 a sum of 30,000 float32 numbers, one after the other, would be off by 0.003."""
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(30_000, 2, 4, generator=generator) + 1000
    y = F.assorted_time_norm(a, 30_000, backend=name)
    assert_close(y, F.assorted_time_norm(a.double(), 30_000), quantity="long window", backend=name, dtype="float32")


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
