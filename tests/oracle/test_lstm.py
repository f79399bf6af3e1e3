"""The oracle's LSTM, Eqs. (14)-(16), with every norm."""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    BiasPlacement,
    LSTMMemory,
    LSTMParameters,
    LSTMState,
    Norm,
    PopulationNorm,
    WindowNorm,
    assorted_time_norm_forward,
    lstm_backward,
    lstm_forward,
    lstm_statistics,
    sigmoid,
    update_population,
    weight_norm_backward,
    weight_norm_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Array, Tree, assert_gradients, cast, leaves, random_like
from tests.support.oracle_cases import WINDOW_NORMS, B, H, T, lstm_norm, lstm_parameters, lstm_state, sequence

PLACEMENTS: list[BiasPlacement] = ["outside", "inside"]
CHUNKS = [(2, 4), (1, 1, 4), (5, 1)]
WINDOWED = [(name, affine, memory) for name in WINDOW_NORMS for affine in (False, True) for memory in (False, True)]
CASES = [*WINDOWED, ("population", False, False), ("population", True, False), ("none", False, False)]


def backward(upstream: Tree, cache: Any) -> Tree:
    """Every output of the LSTM has an upstream gradient."""
    state = upstream.state
    gradients = lstm_backward(upstream.h, cache, state.h, state.c, dc=upstream.c, dmemory_n=state.memory)
    return gradients._asdict()


def inputs_with(parameters: LSTMParameters, state: LSTMState) -> dict[str, Tree]:
    return {"x": sequence(), "parameters": parameters, "h_0": state.h, "c_0": state.c, "memory": state.memory}


def run(tree: Tree, norm: Norm, placement: BiasPlacement) -> tuple[Tree, Any]:
    state = LSTMState(tree["h_0"], tree["c_0"], tree["memory"], 1)
    return lstm_forward(tree["x"], tree["parameters"], cast(norm, tree["x"].dtype), placement, state)


def memory_of(norm: Norm, *, memory: bool) -> int | None:
    return min(norm.k - 1, 2) if memory and isinstance(norm, WindowNorm) else None


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("name", "affine", "memory"), CASES)
def test_gradient(*, name: str, affine: bool, memory: bool, placement: BiasPlacement) -> None:
    norm = lstm_norm(name)
    inputs = inputs_with(lstm_parameters(affine=affine), lstm_state(memory_of(norm, memory=memory)))
    assert_gradients(lambda tree: run(tree, norm, placement), backward, inputs)


@pytest.mark.parametrize("name", ["atn-ln", "population", "none"])
def test_gradient_without_bias(name: str) -> None:
    norm = lstm_norm(name)
    inputs = inputs_with(lstm_parameters(affine=False, bias=False), lstm_state(None))
    assert_gradients(lambda tree: run(tree, norm, "outside"), backward, inputs)


def test_gradient_in_longdouble() -> None:
    norm = WINDOW_NORMS["atn-ln"]
    inputs = cast(inputs_with(lstm_parameters(affine=True), lstm_state(2)), np.longdouble)
    assert_gradients(lambda tree: run(tree, norm, "inside"), backward, inputs)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_gradient_of_weight_norm(placement: BiasPlacement) -> None:
    """WN acts on the weights alone; its backward takes the LSTM's weight gradients."""
    parameters, rng = lstm_parameters(affine=False), np.random.default_rng(8)
    inputs = inputs_with(parameters, lstm_state(None)) | {
        "g_ih": rng.normal(size=4 * H),
        "g_hh": rng.normal(size=4 * H),
    }

    def forward(tree: Tree) -> tuple[Tree, Any]:
        weight_ih, cache_ih = weight_norm_forward(tree["parameters"].weight_ih, tree["g_ih"])
        weight_hh, cache_hh = weight_norm_forward(tree["parameters"].weight_hh, tree["g_hh"])
        normed = tree["parameters"]._replace(weight_ih=weight_ih, weight_hh=weight_hh)
        output, cache = run(tree | {"parameters": normed}, None, placement)
        return output, (cache, cache_ih, cache_hh)

    def backward_with_weights(upstream: Tree, caches: Any) -> Tree:
        cache, cache_ih, cache_hh = caches
        gradients = backward(upstream, cache)
        dv_ih, dg_ih = weight_norm_backward(gradients["parameters"].weight_ih, cache_ih)
        dv_hh, dg_hh = weight_norm_backward(gradients["parameters"].weight_hh, cache_hh)
        dparameters = gradients["parameters"]._replace(weight_ih=dv_ih, weight_hh=dv_hh)
        return gradients | {"parameters": dparameters, "g_ih": dg_ih, "g_hh": dg_hh}

    assert_gradients(forward, backward_with_weights, inputs)


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", WINDOW_NORMS)
def test_forward_is_the_equations(name: str, placement: BiasPlacement) -> None:
    """The equations once more, gate by gate; each norm is run anew over all its rows so far and its last row taken."""
    norm, p, x = WINDOW_NORMS[name], lstm_parameters(affine=True), sequence()
    assert p.bias_ih is not None
    assert p.bias_hh is not None
    inside = placement == "inside"
    output, _ = lstm_forward(x, p, norm, placement)

    def normed(rows: list[Array], affine: Any) -> Array:
        y, _ = assorted_time_norm_forward(np.stack(rows), norm.k, affine.gamma, affine.beta, norm.eps, norm.base)
        last: Array = y[-1]
        return last

    h, c = np.zeros((B, H)), np.zeros((B, H))
    rows_ih: list[Array] = []
    rows_hh: list[Array] = []
    rows_c: list[Array] = []
    for t in range(T):
        rows_ih.append(x[t] @ p.weight_ih.T + (p.bias_ih if inside else 0.0))
        rows_hh.append(h @ p.weight_hh.T + (p.bias_hh if inside else 0.0))
        gates = normed(rows_hh, p.norm_hh) + normed(rows_ih, p.norm_ih)
        gates += 0.0 if inside else p.bias_ih + p.bias_hh
        i, f, g, o = gates[:, :H], gates[:, H : 2 * H], gates[:, 2 * H : 3 * H], gates[:, 3 * H :]
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        rows_c.append(c)
        h = np.tanh(normed(rows_c, p.norm_c)) / (1 + np.exp(-o))
        assert_close(output.h[t], h, quantity="output")
        assert_close(output.c[t], c, quantity="output")
    assert_close(output.state.h, h, quantity="output")
    assert_close(output.state.c, c, quantity="output")


def test_the_placement_of_the_bias_matters_only_with_a_norm() -> None:
    x, parameters = sequence(), lstm_parameters(affine=False)
    for norm in (None, WINDOW_NORMS["atn-ln"]):
        outside, inside = (lstm_forward(x, parameters, norm, placement)[0].h for placement in PLACEMENTS)
        assert (np.abs(outside - inside).max() > 1e-3) == (norm is not None)


def test_no_state_is_a_state_of_zeros() -> None:
    x, parameters, norm = sequence(), lstm_parameters(affine=True), WINDOW_NORMS["atn-ln"]
    zeros = LSTMState(np.zeros((B, H)), np.zeros((B, H)))
    empty = LSTMMemory(np.zeros((0, B, 4 * H)), np.zeros((0, B, 4 * H)), np.zeros((0, B, H)))
    expected, _ = lstm_forward(x, parameters, norm)
    for state in (zeros, zeros._replace(memory=empty)):
        assert_close(lstm_forward(x, parameters, norm, state=state)[0].h, expected.h, quantity="exact")


def run_chunks(chunks: tuple[int, ...], parameters: LSTMParameters, norm: Norm) -> tuple[list[Any], list[Any]]:
    state, outputs, caches = None, [], []
    for x in np.split(sequence(), np.cumsum(chunks)[:-1]):
        output, cache = lstm_forward(x, parameters, norm, "inside", state)
        state = output.state
        outputs.append(output)
        caches.append(cache)
    return outputs, caches


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", [*WINDOW_NORMS, "population", "none"])
def test_chunks_equal_the_whole(name: str, chunks: tuple[int, ...]) -> None:
    parameters, norm = lstm_parameters(affine=name != "none"), lstm_norm(name)
    whole, _ = lstm_forward(sequence(), parameters, norm, "inside")
    outputs, _ = run_chunks(chunks, parameters, norm)
    assert_close(np.concatenate([output.h for output in outputs]), whole.h, quantity="exact")
    assert_close(np.concatenate([output.c for output in outputs]), whole.c, quantity="exact")
    assert outputs[-1].state.step == whole.state.step == T
    last, expected = leaves(outputs[-1].state), leaves(whole.state)
    assert last.keys() == expected.keys()
    assert all(np.array_equal(last[path], expected[path]) for path in expected)


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", [*WINDOW_NORMS, "population", "none"])
def test_backward_through_chunks_equals_the_whole(name: str, chunks: tuple[int, ...]) -> None:
    """The gradients of state and memory of one chunk are the upstream gradients of the chunk before."""
    parameters, norm = lstm_parameters(affine=name != "none"), lstm_norm(name)
    whole, whole_cache = lstm_forward(sequence(), parameters, norm, "inside")
    upstream = random_like(whole, 9)
    expected = leaves(backward(upstream, whole_cache))
    _, caches = run_chunks(chunks, parameters, norm)
    dh_n, dc_n, dmemory = upstream.state.h, upstream.state.c, upstream.state.memory
    parts = list(zip(*(np.split(d, np.cumsum(chunks)[:-1]) for d in (upstream.h, upstream.c)), caches, strict=True))
    dxs: list[Array] = []
    dparameters: list[dict[str, Array]] = []
    for dh, dc, cache in reversed(parts):
        gradients = lstm_backward(dh, cache, dh_n, dc_n, dc=dc, dmemory_n=dmemory)
        dh_n, dc_n, dmemory = gradients.h_0, gradients.c_0, gradients.memory
        dxs.insert(0, gradients.x)
        dparameters.append(leaves(gradients.parameters))
    total = {f"parameters.{path}": sum(part[path] for part in dparameters) for path in dparameters[0]}
    actual = {"x": np.concatenate(dxs), "h_0": dh_n, "c_0": dc_n} | total
    assert actual.keys() == expected.keys()
    for path, gradient in actual.items():
        scale = max(float(np.abs(expected[path]).max()), 1.0)
        assert_close(gradient, expected[path], quantity="gradient", what=path, scale=scale)


@pytest.mark.parametrize("name", ["bn", "atn-bn"])
def test_evaluation_on_the_only_batch_seen_repeats_training(name: str) -> None:
    norm, parameters, x = WINDOW_NORMS[name], lstm_parameters(affine=True), sequence()
    trained, cache = lstm_forward(x, parameters, norm)
    ih, hh, c = (update_population(None, statistics) for statistics in lstm_statistics(cache))
    evaluated, _ = lstm_forward(x, parameters, PopulationNorm(ih, hh, c, norm.eps))
    assert_close(evaluated.h, trained.h, quantity="output")
    assert_close(evaluated.c, trained.c, quantity="output")


def test_statistics_are_those_of_the_preactivations() -> None:
    x, parameters = sequence(), lstm_parameters(affine=True)
    output, cache = lstm_forward(x, parameters, WINDOW_NORMS["ln"])
    statistics = lstm_statistics(cache)
    assert_close(statistics.ih.mean[..., 0], (x @ parameters.weight_ih.T).mean(axis=2), quantity="output")
    assert_close(statistics.c.var[..., 0], output.c.var(axis=2), quantity="output")
    h_prev = np.concatenate([np.zeros((1, B, H)), output.h[:-1]])
    assert_close(statistics.hh.var[..., 0], (h_prev @ parameters.weight_hh.T).var(axis=2), quantity="output")


def test_sigmoid_neither_overflows_nor_loses_its_derivative() -> None:
    x = np.array([-1e4, -800.0, -1.0, 0.0, 1.0, 800.0, 1e4])
    assert_close(sigmoid(x)[[0, 1, 3, 5, 6]], np.array([0.0, 0.0, 0.5, 1.0, 1.0]), quantity="exact")
    derivative = sigmoid(x + 1e-30j).imag / 1e-30
    assert_close(derivative, sigmoid(x) * (1 - sigmoid(x)), quantity="gradient")
