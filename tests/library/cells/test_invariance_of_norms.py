"""Invariances of whole networks whose norm is not ATN: a row of Table B.1 for each, in the LSTM, the RNN and the GRU.

With eps = 0 and the bias outside, a weight W enters through norm(W x) alone, so that what leaves norm(W x) as it is
leaves every output of the network as it is, and the gradient follows by the chain rule: at delta W it is 1/delta of
that at W. WN and Norm-Prop read the direction of each row, BN normalizes each row over the cases, AdaNorm is a function
of LN, which is of all rows at once.
"""

import dataclasses
from typing import Any, Literal

import numpy as np
import pytest
import torch

from atn import ATNGRU, ATNRNN
from atn.choices import Norm
from tests.support.comparison import assert_all_close, assert_close
from tests.support.hidden_cells import run_hidden_oracle, run_hidden_torch
from tests.support.problems import Array, HiddenProblem, LSTMProblem
from tests.support.runners import Result, run_lstm_oracle, run_lstm_torch

pytestmark = pytest.mark.gate

Cell = Literal["LSTM", "RNN_TANH", "GRU"]

NORMS: tuple[Norm, ...] = ("wn", "prop", "bn", "ada")

CELLS: tuple[Cell, ...] = ("LSTM", "RNN_TANH", "GRU")

INVARIANT: dict[str, set[Norm]] = {
    "one row rescaled": {"wn", "prop", "bn"},
    "all rows rescaled": {"wn", "prop", "bn", "ada"},
    "the same vector added to all rows": {"ada"},
}
"""Change of a weight -> the norms that do not see it."""

MARGIN = 1e-3
"""What a norm that does see it must change the output by."""


def subjects(cell: Cell, norm: Norm) -> tuple[str, ...]:
    """Oracle and backends; the oracle has WN and Norm-Prop in the LSTM alone."""
    return ("eager", "auto") if norm == "wn" and cell != "LSTM" else ("oracle", "eager", "auto")


COMBINATIONS = [
    pytest.param(cell, norm, change, subject, id=f"{cell}-{norm}-{change.replace(' ', '-')}-{subject}")
    for cell in CELLS
    for norm in NORMS
    for change in INVARIANT
    for subject in subjects(cell, norm)
    if norm != "prop" or cell == "LSTM"
]


def problem_of(cell: Cell, norm: Norm) -> Any:
    """One layer with eps = 0; a state is given, since W_hh 0 has no variance to divide by."""
    settings: dict[str, Any] = {
        "T": 4, "B": 6, "I": 3, "H": 5, "layers": 1, "directions": 1, "norm": norm, "k": 1, "eps": 0.0,
        "bias_placement": "outside", "bias": True, "affine": True, "initial_state": True, "seed": 0,
    }  # fmt: skip
    return LSTMProblem(**settings) if cell == "LSTM" else HiddenProblem(cell=cell, **settings)


def run(subject: str, problem: Any) -> Result:
    """Run by the oracle or by a backend, in float64, and return NumPy arrays."""
    if subject == "oracle":
        return run_lstm_oracle(problem) if isinstance(problem, LSTMProblem) else run_hidden_oracle(problem)
    if isinstance(problem, LSTMProblem):
        result = run_lstm_torch(problem, subject, "float64")
    else:
        result = _run_wn(problem, subject) if problem.norm == "wn" else run_hidden_torch(problem, subject, "float64")
    return Result(
        {name: output.detach().numpy() for name, output in result.outputs.items()},
        {name: gradient.numpy() for name, gradient in result.gradients.items()},
    )


def _run_wn(problem: HiddenProblem, backend: str) -> Result:
    """The RNN or GRU with weight normalization, whose gains are the gains of the problem's norms."""
    ((parameters,),) = problem.parameters
    module = (ATNGRU if problem.cell == "GRU" else ATNRNN)(problem.I, problem.H, norm="wn", backend=backend).double()
    arrays = {f"{name}_l0": getattr(parameters, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    arrays |= {f"{name}_l0.weight": getattr(parameters, name).gamma for name in ("norm_ih", "norm_hh")}
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    x, h_0, dh = (torch.from_numpy(problem.arrays[name]) for name in ("x", "h_0", "dh"))
    output, _ = module(x, h_0)
    names, leaves = zip(*module.named_parameters(), strict=True)
    return Result({"output": output}, dict(zip(names, torch.autograd.grad(output, leaves, dh), strict=True)))


def changed(problem: Any, weight: str, change: str) -> tuple[Any, Array]:
    """The problem with a changed weight, and the factor (rows, 1) of each row."""
    copy = dataclasses.replace(problem)
    ((parameters,),) = copy.parameters
    values: Array = getattr(parameters, weight)
    factor = np.ones((len(values), 1))
    if change == "one row rescaled":
        factor[1] = 3.0
    if change == "all rows rescaled":
        factor[:] = 3.0
    shift = np.random.default_rng(1).uniform(0.5, 1.5, values.shape[1]) if change.startswith("the same") else 0.0
    copy.parameters[0][0] = parameters._replace(**{weight: factor * values + shift})
    return copy, factor


@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh"])
@pytest.mark.parametrize(("cell", "norm", "change", "subject"), COMBINATIONS)
def test_invariance(cell: Cell, norm: Norm, change: str, subject: str, weight: str) -> None:
    problem = problem_of(cell, norm)
    other, factor = changed(problem, weight, change)
    before, after = run(subject, problem), run(subject, other)
    if norm not in INVARIANT[change]:
        assert np.abs(after.outputs["output"] - before.outputs["output"]).max() > MARGIN
        return
    for name, output in before.outputs.items():
        assert_close(after.outputs[name], output, quantity="output", backend=subject, what=name)
    name, values = f"{weight}_l0", getattr(problem.parameters[0][0], weight)
    gradient = before.gradients[name]
    assert_all_close(after.gradients | {name: factor * after.gradients[name]}, before.gradients, backend=subject)
    # The derivative along the change, at the weight itself: Euler's theorem, or that of a shift.
    along = {
        "one row rescaled": (values * gradient).sum(1),
        "all rows rescaled": (values * gradient).sum(keepdims=True),
    }
    derivative = along.get(change, gradient.sum(0))
    scale = float(np.linalg.norm(values) * np.linalg.norm(gradient))
    assert_close(derivative, np.zeros_like(derivative), quantity="gradient", backend=subject, scale=scale)
