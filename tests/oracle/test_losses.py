"""The oracle's losses."""

from typing import Any

import numpy as np

from atn_reference import (
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Tree, assert_gradients


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


def test_softmax_cross_entropy_is_the_mean_over_every_leading_axis() -> None:
    """Two equal logits cost log 2, whatever the shape of the targets: a count of rows alone would give 3 log 2."""
    for shape in ((), (3,), (2, 3), (2, 3, 4)):
        loss, cache = softmax_cross_entropy_forward(np.zeros((*shape, 2)), np.zeros(shape, dtype=np.int64))
        assert_close(loss, np.log(2.0), quantity="output")
        gradient = np.broadcast_to([-0.5, 0.5], (*shape, 2)) / np.prod(shape)
        assert_close(softmax_cross_entropy_backward(1.0, cache), gradient, quantity="gradient")


def test_softmax_cross_entropy_does_not_overflow() -> None:
    """Each row by its own largest logit: by that of another row its exponentials would all be 0 or infinite."""
    logits = np.array([[1e4, 0.0, -1e4], [1e4 + 1.0, 1e4, 1e4], [-1e4, -1e4, -1e5]])
    loss, cache = softmax_cross_entropy_forward(logits, np.array([1, 0, 1]))
    assert_close(loss, (1e4 + np.log(1 + 2 / np.e) + np.log(2)) / 3, quantity="output")
    gradient = softmax_cross_entropy_backward(1.0, cache)
    assert_close(gradient[2], np.array([0.5, -0.5, 0.0]) / 3, quantity="gradient")
    assert np.isfinite(gradient).all()


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
