"""Layers of the oracle as maps of their state, in complex numbers, and their Jacobians."""

from collections.abc import Callable
from typing import Any

import numpy as np

from atn_reference import (
    GRUState,
    LSTMState,
    RNNState,
    gru_forward,
    lstm_forward,
    norm_prop_lstm_forward,
    rnn_forward,
    step_jacobians,
    weight_norm_lstm_forward,
)
from tests.support.complex_step import cast
from tests.support.oracle_stack import NORM_PROP
from tests.support.problems import Array, HiddenProblem, LSTMProblem
from tests.support.runners import oracle_norm

Run = Callable[[Array, Any], Any]


def layer_run(problem: LSTMProblem | HiddenProblem, depth: int = 0) -> Run:
    """The layer of a problem: steps x (T, B, I) and the state before them to the state after them."""
    p = cast(problem.parameters[depth][0], complex)
    if problem.norm == "prop":
        return lambda x, state: norm_prop_lstm_forward(x, p, NORM_PROP, state)[0].state
    if problem.norm == "wn":
        return lambda x, state: weight_norm_lstm_forward(x, p, state)[0].state
    forward: Any = lstm_forward
    if isinstance(problem, HiddenProblem):
        forward = gru_forward if problem.cell == "GRU" else rnn_forward
    norm = oracle_norm(problem)
    return lambda x, state: forward(x, p, norm, problem.bias_placement, state)[0].state


def start(problem: LSTMProblem | HiddenProblem, depth: int = 0) -> Any:
    """The initial state of case 0; zeros where the problem has none."""
    zeros = np.zeros((problem.layers, problem.B, problem.H))
    h, c = (problem.arrays.get(name, zeros)[depth, :1].astype(complex) for name in ("h_0", "c_0"))
    if isinstance(problem, LSTMProblem):
        return LSTMState(h, c)
    return GRUState(h) if problem.cell == "GRU" else RNNState(h)


def oracle_jacobians(
    problem: LSTMProblem | HiddenProblem, x: Array | None = None, *, depth: int = 0, minimal: bool = True
) -> Array:
    """Jacobians (T - k + 1, D, D) of the steps of case 0 whose windows are full before them.

    `x` (T, I) is the input of the layer at `depth`; by default that of the problem, for depth 0.
    """
    run, state = layer_run(problem, depth), start(problem, depth)
    cases = (problem.arrays["x"][:, 0] if x is None else x)[:, None].astype(complex)
    k = problem.k if problem.norm == "atn" else 1
    if k > 1:
        state = run(cases[: k - 1], state)
    return step_jacobians(run, cases[k - 1 :], state, minimal=minimal)
