"""The oracle's simple recurrent network, Eqs. (1)-(4), with every norm."""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    BiasPlacement,
    RNNNorm,
    RNNParameters,
    RNNPopulationNorm,
    RNNState,
    WindowNorm,
    assorted_time_norm_forward,
    rnn_backward,
    rnn_forward,
    rnn_statistics,
    update_population,
    weight_norm_backward,
    weight_norm_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Array, Tree, assert_gradients, cast, leaves, random_like
from tests.support.oracle_cases import WINDOW_NORMS, B, H, O, T, rnn_norm, rnn_parameters, rnn_state, sequence

PLACEMENTS: list[BiasPlacement] = ["outside", "inside"]
CHUNKS = [(2, 4), (1, 1, 4), (5, 1)]
WINDOWED = [(name, affine, memory) for name in WINDOW_NORMS for affine in (False, True) for memory in (False, True)]
CASES = [*WINDOWED, ("population", False, False), ("population", True, False), ("none", False, False)]


def backward(upstream: Tree, cache: Any) -> Tree:
    """Every output of the network has an upstream gradient."""
    gradients = rnn_backward(upstream.h, upstream.y, cache, upstream.state.h, dmemory_n=upstream.state.memory)
    return gradients._asdict()


def inputs_with(parameters: RNNParameters, state: RNNState) -> dict[str, Tree]:
    return {"x": sequence(), "parameters": parameters, "h_0": state.h, "memory": state.memory}


def run(tree: Tree, norm: RNNNorm, placement: BiasPlacement) -> tuple[Tree, Any]:
    state = RNNState(tree["h_0"], tree["memory"], 1)
    return rnn_forward(tree["x"], tree["parameters"], cast(norm, tree["x"].dtype), placement, state)


def memory_of(norm: RNNNorm, *, memory: bool) -> int | None:
    return min(norm.k - 1, 2) if memory and isinstance(norm, WindowNorm) else None


@pytest.mark.claim("eq-1", "eq-2", "eq-3", "eq-4")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("name", "affine", "memory"), CASES)
def test_gradient(*, name: str, affine: bool, memory: bool, placement: BiasPlacement) -> None:
    norm = rnn_norm(name)
    inputs = inputs_with(rnn_parameters(affine=affine), rnn_state(memory_of(norm, memory=memory)))
    assert_gradients(lambda tree: run(tree, norm, placement), backward, inputs)


@pytest.mark.parametrize("name", ["atn-ln", "population", "none"])
def test_gradient_without_bias(name: str) -> None:
    norm = rnn_norm(name)
    inputs = inputs_with(rnn_parameters(affine=False, bias=False), rnn_state(None))
    assert_gradients(lambda tree: run(tree, norm, "outside"), backward, inputs)


def test_gradient_of_weight_norm() -> None:
    inputs = inputs_with(rnn_parameters(affine=False), rnn_state(None)) | {"g_y": np.linspace(-1.0, 2.0, O)}

    def forward(tree: Tree) -> tuple[Tree, Any]:
        weight_y, weight_cache = weight_norm_forward(tree["parameters"].weight_y, tree["g_y"])
        normed = tree["parameters"]._replace(weight_y=weight_y)
        output, cache = run(tree | {"parameters": normed}, None, "outside")
        return output, (cache, weight_cache)

    def backward_with_weight(upstream: Tree, caches: Any) -> Tree:
        gradients = backward(upstream, caches[0])
        dv, dg = weight_norm_backward(gradients["parameters"].weight_y, caches[1])
        return gradients | {"parameters": gradients["parameters"]._replace(weight_y=dv), "g_y": dg}

    assert_gradients(forward, backward_with_weight, inputs)


@pytest.mark.claim("eq-1", "eq-2")
def test_forward_without_a_norm_is_the_equations() -> None:
    p, x, h = rnn_parameters(affine=False), sequence(), np.zeros((B, H))
    assert p.bias_ih is not None
    assert p.bias_hh is not None
    assert p.bias_y is not None
    output, _ = rnn_forward(x, p, None)
    for t in range(T):
        h = np.tanh(h @ p.weight_hh.T + x[t] @ p.weight_ih.T + (p.bias_ih + p.bias_hh))
        assert_close(output.h[t], h, quantity="output")
        assert_close(output.y[t], h @ p.weight_y.T + p.bias_y, quantity="output")


@pytest.mark.claim("eq-3", "eq-4")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", WINDOW_NORMS)
def test_forward_with_a_norm_is_the_equations(name: str, placement: BiasPlacement) -> None:
    """The equations once more; each norm is run anew over all its rows so far and its last row taken."""
    norm, p, x = WINDOW_NORMS[name], rnn_parameters(affine=True), sequence()
    biases = [np.zeros(H), np.zeros(H), np.zeros(O)]
    given: list[Any] = [p.bias_ih, p.bias_hh, p.bias_y]
    inner, outer = (given, biases) if placement == "inside" else (biases, given)
    output, _ = rnn_forward(x, p, norm, placement)

    def normed(rows: list[Array], affine: Any) -> Array:
        y, _ = assorted_time_norm_forward(np.stack(rows), norm.k, affine.gamma, affine.beta, norm.eps, norm.base)
        last: Array = y[-1]
        return last

    h = np.zeros((B, H))
    rows_ih: list[Array] = []
    rows_hh: list[Array] = []
    rows_y: list[Array] = []
    for t in range(T):
        rows_ih.append(x[t] @ p.weight_ih.T + inner[0])
        rows_hh.append(h @ p.weight_hh.T + inner[1])
        h = np.tanh(normed(rows_hh, p.norm_hh) + normed(rows_ih, p.norm_ih) + outer[0] + outer[1])
        rows_y.append(h @ p.weight_y.T + inner[2])
        assert_close(output.h[t], h, quantity="output")
        assert_close(output.y[t], normed(rows_y, p.norm_y) + outer[2], quantity="output")


def run_chunks(chunks: tuple[int, ...], parameters: RNNParameters, norm: RNNNorm) -> tuple[list[Any], list[Any]]:
    state, outputs, caches = None, [], []
    for x in np.split(sequence(), np.cumsum(chunks)[:-1]):
        output, cache = rnn_forward(x, parameters, norm, "inside", state)
        state = output.state
        outputs.append(output)
        caches.append(cache)
    return outputs, caches


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", [*WINDOW_NORMS, "population", "none"])
def test_chunks_equal_the_whole(name: str, chunks: tuple[int, ...]) -> None:
    parameters, norm = rnn_parameters(affine=name != "none"), rnn_norm(name)
    whole, whole_cache = rnn_forward(sequence(), parameters, norm, "inside")
    outputs, caches = run_chunks(chunks, parameters, norm)
    assert_close(np.concatenate([output.h for output in outputs]), whole.h, quantity="exact")
    assert_close(np.concatenate([output.y for output in outputs]), whole.y, quantity="exact")
    assert outputs[-1].state.step == whole.state.step == T

    upstream = random_like(whole, 9)
    expected = leaves(backward(upstream, whole_cache))
    dh_n, dmemory = upstream.state.h, upstream.state.memory
    parts = list(zip(*(np.split(d, np.cumsum(chunks)[:-1]) for d in (upstream.h, upstream.y)), caches, strict=True))
    dxs: list[Array] = []
    dparameters: list[dict[str, Array]] = []
    for dh, dy, cache in reversed(parts):
        gradients = rnn_backward(dh, dy, cache, dh_n, dmemory_n=dmemory)
        dh_n, dmemory = gradients.h_0, gradients.memory
        dxs.insert(0, gradients.x)
        dparameters.append(leaves(gradients.parameters))
    total = {f"parameters.{path}": sum(part[path] for part in dparameters) for path in dparameters[0]}
    actual = {"x": np.concatenate(dxs), "h_0": dh_n} | total
    assert actual.keys() == expected.keys()
    for path, gradient in actual.items():
        scale = max(float(np.abs(expected[path]).max()), 1.0)
        assert_close(gradient, expected[path], quantity="gradient", what=path, scale=scale)


@pytest.mark.parametrize("name", ["bn", "atn-bn"])
def test_evaluation_on_the_only_batch_seen_repeats_training(name: str) -> None:
    norm, parameters, x = WINDOW_NORMS[name], rnn_parameters(affine=True), sequence()
    trained, cache = rnn_forward(x, parameters, norm)
    ih, hh, y = (update_population(None, statistics) for statistics in rnn_statistics(cache))
    evaluated, _ = rnn_forward(x, parameters, RNNPopulationNorm(ih, hh, y, norm.eps))
    assert_close(evaluated.h, trained.h, quantity="output")
    assert_close(evaluated.y, trained.y, quantity="output")
