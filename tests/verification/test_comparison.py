"""The comparison that every test rests on: its bound, what it refuses, and the margin of the condition."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from atn.choices import Norm
from tests.support.comparison import assert_all_close, assert_close, deviation
from tests.support.condition import assert_agrees, multiples
from tests.support.dispatch import run_oracle, run_torch
from tests.support.problems import Array, LSTMProblem, NormProblem
from tests.support.runners import Result, run_lstm_oracle, run_norm_oracle, run_norm_torch
from tests.support.tolerances import CONDITION_MULTIPLE, TOLERANCES, VANISHING
from tests.verification.soak import problem_number

ONES: Array = np.ones(3)


def test_the_bound_is_that_of_the_dtype_asked_for() -> None:
    single, double = (TOLERANCES[dtype, "output"].relative for dtype in ("float32", "float64"))
    assert deviation(ONES, ONES, quantity="output").bound == double
    assert deviation(ONES.astype(np.float32), ONES, quantity="output", dtype="float32").bound == single
    with pytest.raises(AssertionError, match=r"y .*error"):
        assert_close(ONES + 2 * double, ONES, quantity="output", what="y")


def test_a_result_of_another_dtype_is_refused() -> None:
    """Narrower than it should be, its rounding would pass by its own bound; wider, it was not computed as asked."""
    narrow = torch.ones(3)
    with pytest.raises(AssertionError, match="y: dtype float32 is not float64"):
        assert_close(narrow, ONES, quantity="output", what="y")
    with pytest.raises(AssertionError, match="x: dtype float64 is not float32"):
        assert_all_close({"x": ONES}, {"x": ONES}, backend="eager", dtype="float32")
    problem = NormProblem(3, 2, 4, k=2, base="layer", affine=True, eps=1e-2, offset=0.0, constant_row=False, seed=0)
    actual = run_norm_torch(problem, "eager", "float64")
    narrowed = actual._replace(gradients=actual.gradients | {"beta": actual.gradients["beta"].float()})
    assert_agrees(problem, run_norm_oracle, actual, "eager")
    with pytest.raises(AssertionError, match="beta: dtype float32 is not float64"):
        assert_agrees(problem, run_norm_oracle, narrowed, "eager")


def test_what_vanishes_is_held_to_the_terms_that_cancel_in_it_alone() -> None:
    """A large term that cancels in one gradient is no cover for an error in another one."""
    bound = TOLERANCES["float64", "gradient"].relative
    expected = {"x": np.zeros(3), "h_0": np.zeros(3), "c_0": ONES}
    cancelled = {"x": 1e6}
    allowed = VANISHING * 1e6 * bound
    assert_all_close(expected | {"x": 0.9 * allowed * ONES}, expected, backend="eager", cancelled=cancelled)
    for name, error in (("x", 1.1 * allowed), ("h_0", 1.1 * VANISHING * bound), ("c_0", 1.1 * bound)):
        wrong = expected | {name: expected[name] + error}
        with pytest.raises(AssertionError, match=f"{name} .*error"):
            assert_all_close(wrong, expected, backend="eager", cancelled=cancelled)


@pytest.mark.parametrize("norm", ["wn", "prop"])
def test_the_part_along_a_row_is_what_cancels(norm: Norm) -> None:
    """Rows of one number have no other part; the term is that of the gain, over the shortest row that counts."""
    problem = LSTMProblem(
        T=4, B=3, I=1, H=2, layers=1, directions=1, norm=norm, k=1, eps=1e-3, bias_placement="outside", bias=False,
        affine=False, initial_state=False, seed=3,
    )  # fmt: skip
    expected = run_lstm_oracle(problem)
    ((parameters,),) = problem.parameters
    dgamma = expected.gradients["norm_ih_l0.weight"]
    term = float(np.abs(parameters.gamma_ih * dgamma / parameters.weight_ih[:, 0]).max())
    assert np.abs(expected.gradients["weight_ih_l0"]).max() < 1e-14 * term
    assert expected.cancelled["weight_ih_l0"] == pytest.approx(term, rel=1e-14)
    assert expected.cancelled.keys() == {"weight_ih_l0", "weight_hh_l0"}


PROBLEMS = 24


def test_no_array_is_near_the_multiple_of_its_condition() -> None:
    """A good implementation stays below a third of what is allowed, in every array and not only beyond the plain bound.

    The problems are those of the soak run, so that they are the same everywhere.
    """
    found: list[float] = []
    for problem in (problem_number(index, seed=1) for index in range(PROBLEMS)):
        found += multiples(problem, run_oracle, run_torch(problem, "eager", "float32"), "eager").values()
    assert len(found) > 5 * PROBLEMS
    assert 0.1 < float(np.median(found)) < 2
    assert max(found) < CONDITION_MULTIPLE / 3


def naive_norm(problem: NormProblem) -> NDArray[np.float32]:
    """ATN on layers in float32 by the mean of squares less the squared mean."""
    a = problem.arrays["a"].astype(np.float32)
    y = np.empty_like(a)
    for t in range(problem.T):
        rows = a[max(0, t + 1 - problem.k) : t + 1]
        mean = rows.mean(axis=(0, 2))
        var = (rows * rows).mean(axis=(0, 2)) - mean * mean
        y[t] = (a[t] - mean[:, None]) / np.sqrt(var + np.float32(problem.eps))[:, None]
    return y


@pytest.mark.parametrize("offset", [30.0, 100.0])
def test_lost_digits_exceed_the_multiple(offset: float) -> None:
    """What cancels needlessly is found at a moderate offset: the multiple is no cover for a bad formula."""
    problem = NormProblem(8, 3, 8, k=3, base="layer", affine=False, eps=1e-3, offset=offset, constant_row=False, seed=2)
    whole = run_norm_torch(problem, "eager", "float32")
    assert_agrees(problem, run_norm_oracle, whole, "eager")
    wrong = Result({"y": naive_norm(problem)}, whole.gradients, dtype="float32")
    with pytest.raises(AssertionError, match=r"y \(eager, float32, output\).* times the condition"):
        assert_agrees(problem, run_norm_oracle, wrong, "eager")
