"""What the invariances of one normalizer give a whole ATN-RNN and ATN-GRU, as `test_invariance_network` has it.

With eps = 0 and the bias outside, W_ih and W_hh only enter through ATN(W x): outputs do not change when either is
multiplied by delta > 0 (Eq. (10)), its gradient at delta W is 1/delta of that at W, and <W, dL/dW> = 0.
"""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.comparison import assert_all_close, assert_close
from tests.support.hidden_cells import HIDDEN_BACKENDS, run_hidden_oracle, run_hidden_torch
from tests.support.problems import HiddenCell, HiddenProblem
from tests.support.runners import Result
from tests.support.strategies import seeds

pytestmark = [pytest.mark.gate, pytest.mark.parametrize("cell", ["RNN_TANH", "GRU"])]

SUBJECTS = ["oracle", *HIDDEN_BACKENDS]
WEIGHTS = ["weight_ih", "weight_hh"]


def scale_invariant(cell: HiddenCell, T: int, k: int, seed: int, *, affine: bool) -> HiddenProblem:
    """One layer with eps = 0; a state is given, since W_hh 0 has no variance to divide by."""
    return HiddenProblem(
        T=T, B=2, I=3, H=5, layers=1, directions=1, norm="atn", k=k, eps=0.0, bias_placement="outside", bias=True,
        affine=affine, initial_state=True, seed=seed, cell=cell,
    )  # fmt: skip


def run(subject: str, problem: HiddenProblem) -> Result:
    """Run `problem` on the oracle or on a backend, in float64, and return NumPy arrays."""
    if subject == "oracle":
        return run_hidden_oracle(problem)
    result = run_hidden_torch(problem, subject, "float64")
    return Result(
        {name: output.detach().numpy() for name, output in result.outputs.items()},
        {name: gradient.numpy() for name, gradient in result.gradients.items()},
    )


def rescaled(problem: HiddenProblem, weight: str, delta: float) -> HiddenProblem:
    """The problem with one weight matrix multiplied by delta."""
    copy = dataclasses.replace(problem)
    ((parameters,),) = copy.parameters
    copy.parameters[0][0] = parameters._replace(**{weight: delta * getattr(parameters, weight)})
    return copy


@pytest.mark.claim("eq-10", "s3-gradient-scaling")
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("subject", SUBJECTS)
@hypothesis.settings(max_examples=8)
@given(
    T=st.integers(1, 8), k=st.integers(1, 9), affine=st.booleans(), seed=seeds,
    delta=st.sampled_from((0.125, 0.3, 3.7, 8.0)),
)  # fmt: skip
def test_weight_rescaling(
    *, cell: HiddenCell, subject: str, weight: str, T: int, k: int, affine: bool, seed: int, delta: float
) -> None:
    """Outputs and every other gradient stay; the gradient of the re-scaled weight is divided by delta."""
    problem = scale_invariant(cell, T, k, seed, affine=affine)
    before, after = run(subject, problem), run(subject, rescaled(problem, weight, delta))
    for name, output in before.outputs.items():
        assert_close(after.outputs[name], output, quantity="output", backend=subject, what=name)
    name = f"{weight}_l0"
    assert_all_close(after.gradients | {name: delta * after.gradients[name]}, before.gradients, backend=subject)


@pytest.mark.claim("s3-gradient-scaling")
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("subject", SUBJECTS)
@hypothesis.settings(max_examples=8)
@given(T=st.integers(1, 8), k=st.integers(1, 9), affine=st.booleans(), seed=seeds)
def test_weight_is_orthogonal_to_its_gradient(
    *, cell: HiddenCell, subject: str, weight: str, T: int, k: int, affine: bool, seed: int
) -> None:
    """Euler's theorem for a function that is homogeneous of degree 0: <W, dL/dW> = 0."""
    problem = scale_invariant(cell, T, k, seed, affine=affine)
    gradient = run(subject, problem).gradients[f"{weight}_l0"]
    values = getattr(problem.parameters[0][0], weight)
    norms = float(np.linalg.norm(values) * np.linalg.norm(gradient))
    assert_close(np.vdot(values, gradient), 0.0, quantity="gradient", backend=subject, scale=norms, what="<W, dL/dW>")


@pytest.mark.claim("eq-10")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_bias_inside_breaks_the_invariance(cell: HiddenCell, subject: str) -> None:
    """Negative control: with the bias inside the norm, W no longer enters through ATN(W x) alone."""
    problem = dataclasses.replace(scale_invariant(cell, 5, 3, 0, affine=False), bias_placement="inside")
    before, after = run(subject, problem), run(subject, rescaled(problem, "weight_ih", 3.0))
    assert np.abs(after.outputs["output"] - before.outputs["output"]).max() > 1e-2
