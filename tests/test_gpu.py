"""What only a CUDA device can show; `nox -s gpu` runs these and fails where there is none."""

import dataclasses

import pytest
import torch
from hypothesis import given

from tests.problems import LSTMProblem, NormProblem
from tests.runners import run_lstm_oracle, run_lstm_torch, run_norm_oracle, run_norm_torch
from tests.strategies import lstm_problems, norm_problems
from tests.test_against_oracle import PAPER_LIKE, assert_results_close

pytestmark = pytest.mark.gpu

GPU_BACKENDS = ("eager",)


@pytest.fixture(autouse=True)
def _full_float32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 rounds the factors of a product to 11 bits; the comparison is with float32."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(problem=norm_problems())
def test_norm_on_gpu(dtype: str, problem: NormProblem) -> None:
    assert_results_close(run_norm_torch(problem, "eager", dtype, "cuda"), run_norm_oracle(problem), "eager")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
@given(problem=lstm_problems())
def test_lstm_on_gpu(backend: str, dtype: str, problem: LSTMProblem) -> None:
    assert_results_close(run_lstm_torch(problem, backend, dtype, "cuda"), run_lstm_oracle(problem), backend)


@pytest.mark.parametrize("k", [1, 12, 100])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_lstm_shaped_like_the_paper_on_gpu(backend: str, k: int) -> None:
    problem = dataclasses.replace(PAPER_LIKE, k=k)
    assert_results_close(run_lstm_torch(problem, backend, "float32", "cuda"), run_lstm_oracle(problem), backend)
