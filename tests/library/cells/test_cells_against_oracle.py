"""The RNN and the GRU against the oracle: outputs and every gradient of random problems, with random upstreams."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from atn import NormalizedLinear
from atn.choices import BiasPlacement, Norm
from atn_reference import RNNParameters, rnn_backward, rnn_forward
from tests.support.against_oracle import (
    assert_results_close,
    compare_hidden_shaped_like_the_paper,
    hidden_like_the_paper,
    round_to,
)
from tests.support.comparison import assert_all_close, assert_close
from tests.support.condition import assert_agrees
from tests.support.edges import HIDDEN_EDGES
from tests.support.hidden_cells import HIDDEN_BACKENDS, make_hidden_module, run_hidden_oracle, run_hidden_torch
from tests.support.oracle_cases import rnn_parameters
from tests.support.problems import HiddenCell, HiddenProblem
from tests.support.runners import oracle_norm
from tests.support.strategies import eager_hidden_problems, hidden_problems, with_edges

pytestmark = pytest.mark.gate

CELLS: tuple[HiddenCell, ...] = ("RNN_TANH", "GRU")


@pytest.mark.claim("eq-1", "eq-3")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", HIDDEN_BACKENDS)
@given(problem=hidden_problems())
@with_edges(HIDDEN_EDGES)
def test_cell(backend: str, dtype: str, problem: HiddenProblem) -> None:
    assert_agrees(problem, run_hidden_oracle, run_hidden_torch(problem, backend, dtype), backend)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(problem=eager_hidden_problems())
def test_cell_with_a_norm_of_eager_alone(dtype: str, problem: HiddenProblem) -> None:
    assert_agrees(problem, run_hidden_oracle, run_hidden_torch(problem, "eager", dtype), "eager")


@pytest.mark.claim("eq-3")
@pytest.mark.parametrize(
    ("bias_placement", "k", "dtype"),
    [
        ("outside", 1, "float64"),
        ("inside", 2, "float32"),
        ("inside", 12, "float64"),
        ("outside", 12, "float32"),
        ("outside", 30, "float64"),
        ("inside", 100, "float32"),
        ("inside", 300, "float64"),
        ("outside", 300, "float32"),
    ],
)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", HIDDEN_BACKENDS)
def test_cell_shaped_like_the_paper(
    backend: str, cell: HiddenCell, bias_placement: BiasPlacement, k: int, dtype: str
) -> None:
    compare_hidden_shaped_like_the_paper(backend, cell, bias_placement, k, dtype)


@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", HIDDEN_BACKENDS)
def test_cell_in_bfloat16(backend: str, cell: HiddenCell, norm: Norm) -> None:
    """Half-precision input: statistics and state in float32 inside, one rounding at the end."""
    problem = round_to(hidden_like_the_paper(cell, norm=norm), "bfloat16")
    assert_results_close(run_hidden_torch(problem, backend, "bfloat16"), run_hidden_oracle(problem), backend)


def of_y(parameters: RNNParameters) -> dict[str, Any]:
    """Parameters of Eq. (4), or their gradients, by the names in `NormalizedLinear`."""
    named = {"weight": parameters.weight_y, "bias": parameters.bias_y}
    if parameters.norm_y is not None:
        named |= {"norm.weight": parameters.norm_y.gamma, "norm.bias": parameters.norm_y.beta}
    return named


@pytest.mark.claim("eq-3", "eq-4")
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("bias_placement", ["outside", "inside"])
def test_the_whole_network_of_the_paper(*, bias_placement: BiasPlacement, k: int, affine: bool) -> None:
    """Eqs. (3) and (4) for h and y, `NormalizedLinear` after `ATNRNN`, with upstream gradients on both."""
    problem = hidden_like_the_paper("RNN_TANH", k=k, bias_placement=bias_placement, affine=affine, initial_state=False)
    output_layer = rnn_parameters(affine=affine)
    O, rng = len(output_layer.weight_y), np.random.default_rng(4)
    ((recurrent,),) = problem.parameters
    assert isinstance(recurrent, RNNParameters)
    weight_y = rng.standard_normal((O, problem.H))
    parameters = recurrent._replace(weight_y=weight_y, bias_y=output_layer.bias_y, norm_y=output_layer.norm_y)
    dh, dy = problem.arrays["dh"], rng.standard_normal((problem.T, problem.B, O))
    expected, cache = rnn_forward(problem.arrays["x"], parameters, oracle_norm(problem), bias_placement)
    gradients = rnn_backward(dh, dy, cache)

    rnn = make_hidden_module(problem)
    linear = NormalizedLinear(
        problem.H, O, k=k, eps=problem.eps, affine=affine, bias_placement=bias_placement, dtype=torch.float64
    )
    linear.load_state_dict({n: torch.from_numpy(value) for n, value in of_y(parameters).items()}, strict=True)
    x = torch.from_numpy(problem.arrays["x"]).requires_grad_()
    h, _ = rnn(x)
    y = linear(h)
    assert_close(h, expected.h, quantity="output", backend="eager", what="h")
    assert_close(y, expected.y, quantity="output", backend="eager", what="y")

    named = {"x": gradients.x, "weight_hh_l0": gradients.parameters.weight_hh, **of_y(gradients.parameters)}
    leaves = {"x": x, **dict(rnn.named_parameters()), **dict(linear.named_parameters())}
    upstream = (torch.from_numpy(dh), torch.from_numpy(dy))
    found = torch.autograd.grad((h, y), [leaves[name] for name in named], upstream)
    assert_all_close(dict(zip(named, found, strict=True)), named, backend="eager")
