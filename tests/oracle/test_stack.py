"""The oracle's stacked LSTM and its losses."""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    LSTMParameters,
    LSTMState,
    lstm_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
    stacked_lstm_backward,
    stacked_lstm_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Tree, assert_gradients
from tests.support.oracle_cases import WINDOW_NORMS, B, H, I, T, lstm_parameters, sequence

LAYERS = 2
NORM = WINDOW_NORMS["atn-ln"]


def layers(directions: int) -> list[list[LSTMParameters]]:
    return [
        [
            lstm_parameters(affine=True, inputs=H * directions if layer else I, seed=10 * layer + d)
            for d in range(directions)
        ]
        for layer in range(LAYERS)
    ]


def stack_inputs(directions: int) -> dict[str, Tree]:
    rng = np.random.default_rng(0)
    state = (LAYERS * directions, B, H)
    return {
        "x": sequence(),
        "parameters": layers(directions),
        "h_0": rng.standard_normal(state),
        "c_0": rng.standard_normal(state),
    }


@pytest.mark.parametrize("directions", [1, 2])
def test_gradient_of_a_stack(directions: int) -> None:
    def forward(tree: Tree) -> tuple[Tree, Any]:
        return stacked_lstm_forward(tree["x"], tree["parameters"], NORM, "inside", (tree["h_0"], tree["c_0"]))

    def backward(upstream: Tree, cache: Any) -> Tree:
        doutput, dh_n, dc_n = upstream
        return stacked_lstm_backward(doutput, dh_n, dc_n, cache)._asdict()

    assert_gradients(forward, backward, stack_inputs(directions))


def test_a_stack_is_its_layers_one_after_the_other() -> None:
    tree = stack_inputs(2)
    (output, h_n, c_n), _ = stacked_lstm_forward(tree["x"], tree["parameters"], NORM, state=(tree["h_0"], tree["c_0"]))
    below = tree["x"]
    for layer, (ahead, reverse) in enumerate(tree["parameters"]):
        states = [LSTMState(tree["h_0"][2 * layer + d], tree["c_0"][2 * layer + d]) for d in range(2)]
        first, _ = lstm_forward(below, ahead, NORM, state=states[0])
        second, _ = lstm_forward(below[::-1].copy(), reverse, NORM, state=states[1])
        for d, end in enumerate((first.state, second.state)):
            assert_close(h_n[2 * layer + d], end.h, quantity="exact")
            assert_close(c_n[2 * layer + d], end.c, quantity="exact")
        below = np.concatenate([first.h, second.h[::-1]], axis=2)
    assert_close(output, below, quantity="exact")
    assert output.shape == (T, B, 2 * H)


def test_missing_upstream_gradients_of_a_stack_are_zeros() -> None:
    tree = stack_inputs(2)
    (output, h_n, c_n), cache = stacked_lstm_forward(tree["x"], tree["parameters"], NORM)
    doutput = np.random.default_rng(1).standard_normal(output.shape)
    without = stacked_lstm_backward(doutput, None, None, cache)
    with_zeros = stacked_lstm_backward(doutput, np.zeros_like(h_n), np.zeros_like(c_n), cache)
    assert_close(without.x, with_zeros.x, quantity="exact")


def test_gradient_of_softmax_cross_entropy() -> None:
    rng = np.random.default_rng(2)
    targets = rng.integers(0, 5, (4, 3))

    def backward(upstream: Tree, cache: Any) -> Tree:
        return {"logits": softmax_cross_entropy_backward(upstream, cache)}

    inputs = {"logits": 3.0 * rng.standard_normal((4, 3, 5))}
    assert_gradients(lambda tree: softmax_cross_entropy_forward(tree["logits"], targets), backward, inputs)


def test_softmax_cross_entropy_is_the_mean_negative_log_probability() -> None:
    rng = np.random.default_rng(3)
    logits, targets = rng.standard_normal((4, 5)), rng.integers(0, 5, 4)
    loss, _ = softmax_cross_entropy_forward(logits, targets)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.mean([np.log(probabilities[row, target]) for row, target in enumerate(targets)])
    assert_close(loss, expected, quantity="output")


def test_softmax_cross_entropy_does_not_overflow() -> None:
    logits = np.array([[1e4, 0.0, -1e4], [1e4 + 1.0, 1e4, 1e4]])
    loss, cache = softmax_cross_entropy_forward(logits, np.array([1, 0]))
    assert_close(loss, (1e4 + np.log(1 + 2 / np.e)) / 2, quantity="output")
    assert np.isfinite(softmax_cross_entropy_backward(1.0, cache)).all()


def test_gradient_of_squared_error() -> None:
    rng = np.random.default_rng(4)
    target = rng.standard_normal((4, 3))

    def forward(tree: Tree) -> tuple[Tree, Any]:
        return squared_error_forward(tree["prediction"], target.astype(tree["prediction"].dtype))

    def backward(upstream: Tree, cache: Any) -> Tree:
        return {"prediction": squared_error_backward(upstream, cache)}

    assert_gradients(forward, backward, {"prediction": rng.standard_normal((4, 3))})


def test_squared_error_is_the_mean_of_squares() -> None:
    loss, _ = squared_error_forward(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [5.0, 4.0]]))
    assert loss == 5.0 / 4.0
