"""The library against the oracle: outputs and every gradient of random problems, with random upstream gradients."""

import dataclasses

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given

import atn.functional as F
from atn.choices import Base, BiasPlacement, Norm
from atn_reference import assorted_time_norm_backward, assorted_time_norm_forward
from tests.support.comparison import assert_all_close, assert_close
from tests.support.condition import assert_agrees
from tests.support.problems import Array, LSTMProblem, NormProblem, mapped
from tests.support.runners import (
    BACKENDS,
    Result,
    parameters_of,
    run_lstm_oracle,
    run_lstm_torch,
    run_norm_oracle,
    run_norm_torch,
)
from tests.support.strategies import lstm_problems, norm_problems

pytestmark = pytest.mark.gate


def assert_results_close(actual: Result, expected: Result, backend: str) -> None:
    """Compare outputs and every gradient of two runs of one problem."""
    assert actual.outputs.keys() == expected.outputs.keys()
    for name, output in actual.outputs.items():
        assert_close(output, expected.outputs[name], quantity="output", backend=backend, what=name, dtype=actual.dtype)
    assert_all_close(
        actual.gradients,
        expected.gradients,
        backend=backend,
        parameters=parameters_of(expected.gradients),
        largest_term=expected.largest_term,
        dtype=actual.dtype,
    )


@pytest.mark.claim("eq-7", "eq-8", "eq-9", "figure-1", "s3-gamma-beta-derivatives")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
@given(problem=norm_problems())
def test_norm(backend: str, dtype: str, problem: NormProblem) -> None:
    assert_agrees(problem, run_norm_oracle, run_norm_torch(problem, backend, dtype), backend)


@pytest.mark.claim("eq-14", "eq-15", "eq-16", "eq-5", "eq-6")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
@given(problem=lstm_problems())
def test_lstm(backend: str, dtype: str, problem: LSTMProblem) -> None:
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, backend, dtype), backend)


@pytest.mark.claim("eq-7", "eq-8", "eq-9")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 2, 45, 100, 300])
@pytest.mark.parametrize("base", ["layer", "batch"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_norm_of_a_long_sequence(backend: str, base: Base, k: int, dtype: str) -> None:
    """A sequence of the paper's length, k up to beyond its end."""
    problem = NormProblem(
        T=120, B=6, N=17, k=k, base=base, affine=True, eps=1e-5, offset=0.0, constant_row=False, seed=4
    )
    assert_results_close(run_norm_torch(problem, backend, dtype), run_norm_oracle(problem), backend)


PAPER_LIKE = LSTMProblem(
    T=30, B=8, I=10, H=17, layers=1, directions=1, norm="atn", k=12, eps=1e-5, bias_placement="inside",
    bias=True, affine=True, initial_state=True, seed=5544,
)  # fmt: skip


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 2, 12, 30, 100])
@pytest.mark.parametrize("bias_placement", ["outside", "inside"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_lstm_shaped_like_the_paper(backend: str, bias_placement: BiasPlacement, k: int, dtype: str) -> None:
    """A longer sequence than hypothesis draws, eps as in the experiments, k up to beyond the end."""
    problem = dataclasses.replace(PAPER_LIKE, k=k, bias_placement=bias_placement)
    assert_results_close(run_lstm_torch(problem, backend, dtype), run_lstm_oracle(problem), backend)


def rounded(array: Array) -> Array:
    """The array rounded to bfloat16 and back."""
    return torch.from_numpy(np.asarray(array)).bfloat16().double().numpy()


@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_lstm_in_bfloat16(backend: str, norm: Norm) -> None:
    """Half-precision input: statistics and state in float32 inside, one rounding at the end."""
    problem = mapped(dataclasses.replace(PAPER_LIKE, norm=norm), rounded)  # both sides start from the same numbers
    assert_results_close(run_lstm_torch(problem, backend, "bfloat16"), run_lstm_oracle(problem), backend)


@pytest.mark.claim("eq-8")
@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("backend", BACKENDS)
def test_large_common_offset_in_float32(backend: str, k: int) -> None:
    """A common offset of 1e4 costs the digits that float32 cannot hold at 1e4, and no more.

    The oracle gets the float32 numbers, so that only the arithmetic differs. Mean of squares minus squared mean would
    lose everything: (1e4)^2 * 2^-24 is 6 beside a variance of 1.
    """
    rng = np.random.default_rng(7)
    a32 = (rng.standard_normal((20, 4, 32)) + 1e4).astype(np.float32)
    dy = rng.standard_normal(a32.shape)
    y, cache = assorted_time_norm_forward(a32.astype(np.float64), k)
    a = torch.from_numpy(a32).requires_grad_()
    y32 = F.assorted_time_norm(a, k, backend=backend)
    (da32,) = torch.autograd.grad(y32, a, torch.from_numpy(dy).float())
    assert_close(y32, y, quantity="offset", backend=backend, what="y", dtype="float32")
    da = assorted_time_norm_backward(dy, cache).a
    assert_close(da32, da, quantity="offset", backend=backend, what="da", dtype="float32")


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
