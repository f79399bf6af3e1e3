"""What the paper's sentences promise of the statistics, held against the oracle and the library on random problems.

The proofs settle each sentence in general; these tests show that the code has the property too.
"""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

import atn.functional as F
from atn_reference import assorted_time_norm_forward, window_sizes, window_statistics_forward
from tests.support.comparison import assert_close
from tests.support.problems import Array, NormProblem
from tests.support.runners import BACKENDS, run_norm_oracle, run_norm_torch
from tests.support.strategies import norm_problems

SUBJECTS = ["oracle", *BACKENDS]


def normalized(subject: str, a: Array, k: int, eps: float = 0.0) -> Array:
    """Output of ATN-LN without gain and shift."""
    if subject == "oracle":
        return assorted_time_norm_forward(a, k, eps=eps)[0]
    return F.assorted_time_norm(torch.from_numpy(a), k, eps=eps, backend=subject).numpy()


def sequence_with_changing_scale() -> Array:
    """Preactivations (20, 3, 8) whose scale and mean change from step to step."""
    rng = np.random.default_rng(11)
    return rng.standard_normal((20, 3, 8)) * np.linspace(0.5, 4, 20)[:, None, None] + rng.standard_normal((20, 1, 1))


@pytest.mark.claim("s1-time-invariant-distribution", "s5-ln-constant-statistics")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_layer_norm_has_one_mean_and_variance_at_every_step(subject: str) -> None:
    y = normalized(subject, sequence_with_changing_scale(), k=1)
    assert_close(y.mean(axis=2), np.zeros((20, 3)), quantity="output", backend=subject, scale=1.0)
    assert_close(y.var(axis=2), np.ones((20, 3)), quantity="output", backend=subject)


@pytest.mark.claim("s3-nonuniform-statistics", "s5-ln-constant-statistics")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_atn_lets_mean_and_variance_vary(subject: str) -> None:
    y = normalized(subject, sequence_with_changing_scale(), k=5)
    assert np.ptp(y.mean(axis=2), axis=0).min() > 0.3
    assert np.ptp(y.var(axis=2), axis=0).min() > 0.3


@pytest.mark.claim("s1-controlled-norm")
@pytest.mark.parametrize("subject", SUBJECTS)
@given(problem=norm_problems())
def test_output_is_bounded_by_the_count(subject: str, problem: NormProblem) -> None:
    """The squares over a window sum to N K_t at most, so |xhat| <= sqrt(N K_t - 1) for every element."""
    xhat = normalized(subject, problem.arrays["a"], problem.k, problem.eps)
    count = problem.N * window_sizes(problem.T, problem.k)[:, None, None]
    assert (np.abs(xhat) <= np.sqrt(count - 1) * (1 + 1e-9)).all()


@pytest.mark.claim("s3-statistics-vary-slowly")
def test_window_mean_moves_by_one_kth() -> None:
    """After the warm-up the mean moves by (newest step mean - oldest step mean) / k, whatever the sequence."""
    a, k = sequence_with_changing_scale(), 6
    (mean, _), _ = window_statistics_forward(a, k)
    step_means = a.mean(axis=2, keepdims=True)
    assert_close(mean[k:] - mean[k - 1 : -1], (step_means[k:] - step_means[:-k]) / k, quantity="output", scale=1.0)


@pytest.mark.claim("figure-1", "eq-7", "eq-8")
def test_warm_up_divides_by_the_steps_that_exist() -> None:
    """Figure 1: with k = 3, step 1 is layer norm, step 2 uses steps 1-2, step 4 uses steps 2-4."""
    a = sequence_with_changing_scale()
    (mean, var), _ = window_statistics_forward(a, 3)
    for t, window in ((0, a[:1]), (1, a[:2]), (2, a[:3]), (3, a[1:4])):
        assert_close(mean[t, :, 0], window.mean(axis=(0, 2)), quantity="output")
        assert_close(var[t, :, 0], window.var(axis=(0, 2)), quantity="output")


@pytest.mark.claim("s1-no-new-parameters")
@pytest.mark.parametrize("backend", BACKENDS)
@given(problem=norm_problems())
def test_gradients_exist_for_gain_and_shift_alone(backend: str, problem: NormProblem) -> None:
    gradients: dict[str, Any] = run_norm_torch(problem, backend, "float64").gradients
    assert gradients.keys() == run_norm_oracle(problem).gradients.keys()
    assert gradients.keys() - {"a"} == ({"gamma", "beta"} if problem.affine else set())
