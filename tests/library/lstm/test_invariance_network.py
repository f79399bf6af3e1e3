"""What the invariances of one normalizer give a whole ATN-LSTM: re-scaled weights, and the law of their gradients.

With eps = 0 and the bias outside, W_ih and W_hh only enter through ATN(W x), so the network's outputs do not change
when either is multiplied by delta > 0 (Eq. (10)), its gradient at delta W is 1/delta of that at W, and <W, dL/dW> = 0.
"""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.comparison import assert_all_close, assert_close
from tests.support.problems import LSTMProblem
from tests.support.runners import BACKENDS, Result, run_lstm_oracle, run_lstm_torch
from tests.support.strategies import seeds

pytestmark = pytest.mark.gate

SUBJECTS = ["oracle", *BACKENDS]
WEIGHTS = ["weight_ih", "weight_hh"]


@st.composite
def scale_invariant_problems(draw: st.DrawFn) -> LSTMProblem:
    """ATN-LSTMs of one layer with eps = 0; a state is given, since W_hh 0 has no variance to divide by."""
    T = draw(st.integers(1, 8))
    return LSTMProblem(
        T=T, B=draw(st.integers(1, 4)), I=draw(st.integers(1, 4)), H=draw(st.integers(3, 7)), layers=1, directions=1,
        norm="atn", k=draw(st.integers(1, T + 2)), eps=0.0, bias_placement="outside", bias=draw(st.booleans()),
        affine=draw(st.booleans()), initial_state=True, seed=draw(seeds),
    )  # fmt: skip


def run(subject: str, problem: LSTMProblem) -> Result:
    """Run `problem` on the oracle or on a backend, in float64, and return NumPy arrays."""
    if subject == "oracle":
        return run_lstm_oracle(problem)
    result = run_lstm_torch(problem, subject, "float64")
    return Result(
        {name: output.detach().numpy() for name, output in result.outputs.items()},
        {name: gradient.numpy() for name, gradient in result.gradients.items()},
    )


def rescaled(problem: LSTMProblem, weight: str, delta: float) -> LSTMProblem:
    """The problem with one weight matrix multiplied by delta."""
    copy = dataclasses.replace(problem)
    parameters = copy.parameters[0][0]
    copy.parameters[0][0] = parameters._replace(**{weight: delta * getattr(parameters, weight)})
    return copy


@pytest.mark.claim("eq-10", "s3-gradient-scaling")
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("subject", SUBJECTS)
@hypothesis.settings(max_examples=8)
@given(problem=scale_invariant_problems(), delta=st.sampled_from((0.125, 0.3, 3.7, 8.0)))
def test_weight_rescaling(subject: str, weight: str, problem: LSTMProblem, delta: float) -> None:
    """Outputs and every other gradient stay; the gradient of the re-scaled weight is divided by delta."""
    before, after = run(subject, problem), run(subject, rescaled(problem, weight, delta))
    for name, output in before.outputs.items():
        assert_close(after.outputs[name], output, quantity="output", backend=subject, what=name)
    name = f"{weight}_l0"
    assert_all_close(after.gradients | {name: delta * after.gradients[name]}, before.gradients, backend=subject)


@pytest.mark.claim("s3-gradient-scaling")
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("subject", SUBJECTS)
@hypothesis.settings(max_examples=8)
@given(problem=scale_invariant_problems())
def test_weight_is_orthogonal_to_its_gradient(subject: str, weight: str, problem: LSTMProblem) -> None:
    """Euler's theorem for a function that is homogeneous of degree 0: <W, dL/dW> = 0."""
    gradient = run(subject, problem).gradients[f"{weight}_l0"]
    values = getattr(problem.parameters[0][0], weight)
    norms = float(np.linalg.norm(values) * np.linalg.norm(gradient))
    assert_close(np.vdot(values, gradient), 0.0, quantity="gradient", backend=subject, scale=norms, what="<W, dL/dW>")


@pytest.mark.claim("eq-10")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_bias_inside_breaks_the_invariance(subject: str) -> None:
    """Negative control: with the bias inside the norm, W no longer enters through ATN(W x) alone."""
    problem = LSTMProblem(
        T=5, B=2, I=3, H=4, layers=1, directions=1, norm="atn", k=3, eps=0.0, bias_placement="inside", bias=True,
        affine=False, initial_state=True, seed=0,
    )  # fmt: skip
    before, after = run(subject, problem), run(subject, rescaled(problem, "weight_ih", 3.0))
    assert np.abs(after.outputs["output"] - before.outputs["output"]).max() > 1e-2
