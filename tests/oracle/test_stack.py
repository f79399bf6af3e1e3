"""The oracle's stacked LSTM."""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    BiasPlacement,
    LSTMParameters,
    LSTMState,
    WindowNorm,
    lstm_forward,
    stacked_lstm_backward,
    stacked_lstm_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Array, Tree, assert_gradients, leaves, random_like
from tests.support.oracle_cases import WINDOW_NORMS, B, H, I, T, lstm_parameters, sequence

LAYERS = 2
NORM = WINDOW_NORMS["atn-ln"]


def layers(directions: int, *, affine: bool) -> list[list[LSTMParameters]]:
    return [
        [
            lstm_parameters(affine=affine, inputs=H * directions if layer else I, seed=10 * layer + d)
            for d in range(directions)
        ]
        for layer in range(LAYERS)
    ]


def stack_inputs(directions: int, *, affine: bool = True) -> dict[str, Tree]:
    rng = np.random.default_rng(0)
    state = (LAYERS * directions, B, H)
    return {
        "x": sequence(),
        "parameters": layers(directions, affine=affine),
        "h_0": rng.standard_normal(state),
        "c_0": rng.standard_normal(state),
    }


def layer_by_layer(tree: Tree, norm: WindowNorm | None, placement: BiasPlacement) -> tuple[Array, Array, Array]:
    """The stack once more, from single LSTMs: the second direction runs on the reversed sequence."""
    below, h_n, c_n, cell = tree["x"], [], [], 0
    for directions in tree["parameters"]:
        outputs = []
        for parameters, way in zip(directions, (1, -1), strict=False):
            state = LSTMState(tree["h_0"][cell], tree["c_0"][cell])
            output, _ = lstm_forward(below[::way].copy(), parameters, norm, placement, state)
            outputs.append(output.h[::way])
            h_n.append(output.state.h)
            c_n.append(output.state.c)
            cell += 1
        below = np.concatenate(outputs, axis=2)
    return below, np.stack(h_n), np.stack(c_n)


@pytest.mark.parametrize("placement", ["outside", "inside"])
@pytest.mark.parametrize("norm", ["ln", "atn-ln", "atn-bn", "none"])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_stack_is_its_layers_one_after_the_other(directions: int, norm: str, placement: BiasPlacement) -> None:
    """Outputs bit for bit; gradients by the complex step of the single LSTMs, not of the stack's own forward pass."""
    window, inputs = WINDOW_NORMS.get(norm), stack_inputs(directions, affine=norm != "none")

    def stack(tree: Tree) -> tuple[Tree, Any]:
        return stacked_lstm_forward(tree["x"], tree["parameters"], window, placement, (tree["h_0"], tree["c_0"]))

    def backward(upstream: Tree, cache: Any) -> Tree:
        doutput, dh_n, dc_n = upstream
        return stacked_lstm_backward(doutput, dh_n, dc_n, cache)._asdict()

    assert_gradients(lambda tree: (layer_by_layer(tree, window, placement), stack(tree)[1]), backward, inputs)
    names = ("output", "h_n", "c_n")
    for name, actual, expected in zip(names, stack(inputs)[0], layer_by_layer(inputs, window, placement), strict=True):
        assert_close(actual, expected, quantity="exact", what=name)
    assert stack(inputs)[0][0].shape == (T, B, directions * H)


@pytest.mark.parametrize("missing", [("h",), ("c",), ("h", "c")])
def test_missing_upstream_gradients_of_a_stack_are_zeros(missing: tuple[str, ...]) -> None:
    tree = stack_inputs(2)
    outputs, cache = stacked_lstm_forward(tree["x"], tree["parameters"], NORM)
    doutput, dh_n, dc_n = random_like(outputs, 1)
    zeros = np.zeros_like(dh_n)
    without = stacked_lstm_backward(doutput, None if "h" in missing else dh_n, None if "c" in missing else dc_n, cache)
    with_zeros = stacked_lstm_backward(
        doutput, zeros if "h" in missing else dh_n, zeros if "c" in missing else dc_n, cache
    )
    for path, gradient in leaves(without).items():
        assert_close(gradient, leaves(with_zeros)[path], quantity="exact", what=path)
