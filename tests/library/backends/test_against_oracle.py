"""The library against the oracle: outputs and every gradient of random problems, with random upstream gradients."""

import dataclasses

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given

import atn.functional as F
from atn.backend.fused import backend as fused
from atn.backend.fused import fallback
from atn.choices import Base, BiasPlacement, Norm
from atn_reference import assorted_time_norm_forward
from tests.support.against_oracle import (
    PAPER_LIKE,
    assert_results_close,
    compare_large_common_offset_in_float32,
    compare_lstm_shaped_like_the_paper,
    compare_norm_of_a_long_sequence,
    round_to,
)
from tests.support.comparison import assert_close
from tests.support.condition import assert_agrees
from tests.support.edges import LSTM_EDGES, NORM_EDGES
from tests.support.problems import LSTMProblem, NormProblem
from tests.support.runners import (
    BACKENDS,
    run_lstm_oracle,
    run_lstm_torch,
    run_norm_oracle,
    run_norm_torch,
)
from tests.support.strategies import eager_lstm_problems, lstm_problems, norm_problems, with_edges

pytestmark = pytest.mark.gate


@pytest.mark.claim("eq-7", "eq-8", "eq-9", "figure-1", "s3-gamma-beta-derivatives")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
@given(problem=norm_problems())
@with_edges(NORM_EDGES)
def test_norm(backend: str, dtype: str, problem: NormProblem) -> None:
    assert_agrees(problem, run_norm_oracle, run_norm_torch(problem, backend, dtype), backend)


@pytest.mark.claim("eq-14", "eq-15", "eq-16", "eq-5", "eq-6")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
@given(problem=lstm_problems())
@with_edges(LSTM_EDGES)
def test_lstm(backend: str, dtype: str, problem: LSTMProblem) -> None:
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, backend, dtype), backend)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(problem=eager_lstm_problems())
def test_lstm_with_a_norm_of_eager_alone(dtype: str, problem: LSTMProblem) -> None:
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, "eager", dtype), "eager")


def test_the_plain_loop_at_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused backend without its compiled part."""
    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    for norm in NORM_EDGES:
        assert_agrees(norm, run_norm_oracle, run_norm_torch(norm, "fused", "float64"), "fused")
    for lstm in LSTM_EDGES:
        assert_agrees(lstm, run_lstm_oracle, run_lstm_torch(lstm, "fused", "float64"), "fused")


@pytest.mark.claim("eq-7", "eq-8", "eq-9")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 2, 45, 100, 300])
@pytest.mark.parametrize("base", ["layer", "batch"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_norm_of_a_long_sequence(backend: str, base: Base, k: int, dtype: str) -> None:
    compare_norm_of_a_long_sequence(backend, base, k, dtype)


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 2, 12, 30, 100])
@pytest.mark.parametrize("bias_placement", ["outside", "inside"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_lstm_shaped_like_the_paper(backend: str, bias_placement: BiasPlacement, k: int, dtype: str) -> None:
    compare_lstm_shaped_like_the_paper(backend, bias_placement, k, dtype)


@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_lstm_in_bfloat16(backend: str, norm: Norm) -> None:
    """Half-precision input: statistics and state in float32 inside, one rounding at the end."""
    problem = round_to(dataclasses.replace(PAPER_LIKE, norm=norm), "bfloat16")
    assert_results_close(run_lstm_torch(problem, backend, "bfloat16"), run_lstm_oracle(problem), backend)


@pytest.mark.claim("eq-8")
@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("backend", BACKENDS)
def test_large_common_offset_in_float32(backend: str, k: int) -> None:
    compare_large_common_offset_in_float32(backend, k)


@pytest.mark.parametrize("backend", BACKENDS)
@hypothesis.settings(max_examples=10)
@given(problem=norm_problems())
def test_negative_strides_and_transposed_input(backend: str, problem: NormProblem) -> None:
    """The oracle takes reversed views, the library transposed and expanded ones, with the same result."""
    a = problem.arrays["a"]
    reversed_view = np.ascontiguousarray(a[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]
    assert min(reversed_view.strides) < 0
    plain, _ = assorted_time_norm_forward(a, problem.k, eps=problem.eps, base=problem.base)
    viewed, _ = assorted_time_norm_forward(reversed_view, problem.k, eps=problem.eps, base=problem.base)
    assert_close(viewed, plain, quantity="output")
    transposed = torch.from_numpy(np.ascontiguousarray(a.transpose(2, 1, 0))).permute(2, 1, 0)
    viewed_torch = F.assorted_time_norm(transposed, problem.k, eps=problem.eps, base=problem.base, backend=backend)
    assert_close(viewed_torch, plain, quantity="output", backend=backend)
