"""The oracle's normalizers of a whole sequence: ATN, LN, BN, their evaluation, and WN."""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    Base,
    PopulationStatistics,
    WindowStatistics,
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    batch_norm_backward,
    batch_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
    next_memory,
    population_norm_backward,
    population_norm_forward,
    update_population,
    weight_norm_backward,
    weight_norm_forward,
    window_statistics_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import Tree, assert_gradients, leaves, random_like

T, B, N = 6, 3, 4
BASES: list[Base] = ["layer", "batch"]
AFFINES = [(), ("gamma",), ("beta",), ("gamma", "beta")]
STANDALONE: dict[str, Any] = {
    "layer": (layer_norm_forward, layer_norm_backward),
    "batch": (batch_norm_forward, batch_norm_backward),
}


def norm_inputs(affine: tuple[str, ...], M: int | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {"a": rng.standard_normal((T, B, N)) * rng.uniform(0.5, 2.0, (T, 1, 1)) + 0.7}
    everything = {"gamma": rng.uniform(0.5, 1.5, N), "beta": rng.standard_normal(N)}
    inputs |= {name: everything[name] for name in affine}
    return inputs if M is None else inputs | {"memory": rng.standard_normal((M, B, N))}


def population(S: int) -> PopulationStatistics:
    rng = np.random.default_rng(1)
    return PopulationStatistics(rng.standard_normal((S, N)), rng.uniform(0.5, 2.0, (S, N)), np.ones(S, dtype=np.int64))


@pytest.mark.claim("eq-9")
@pytest.mark.parametrize("eps", [0.0, 1e-5, 1.0])
def test_atn_is_the_newest_row_less_the_mean_over_the_root(eps: float) -> None:
    inputs = norm_inputs(("gamma", "beta"))
    a, gamma, beta = inputs.values()
    y, _ = assorted_time_norm_forward(a, 3, gamma, beta, eps)
    for t in range(T):
        for b in range(B):
            window = a[max(0, t - 2) : t + 1, b]
            expected = gamma * (a[t, b] - window.mean()) / np.sqrt(window.var() + eps) + beta
            assert_close(y[t, b], expected, quantity="output")


@pytest.mark.claim("eq-9", "prop-1", "s3-gamma-beta-derivatives")
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize(("k", "M"), [(1, None), (1, 0), (2, None), (3, 1), (3, 2), (T, None), (T + 4, 5)])
@pytest.mark.parametrize("base", BASES)
def test_gradient_of_atn(base: Base, k: int, M: int | None, affine: tuple[str, ...]) -> None:
    def forward(tree: Tree) -> tuple[Tree, Any]:
        return assorted_time_norm_forward(**tree, k=k, eps=1e-3, base=base)

    def backward(upstream: Tree, cache: Any) -> Tree:
        return assorted_time_norm_backward(upstream, cache)._asdict()

    assert_gradients(forward, backward, norm_inputs(affine, M))


@pytest.mark.claim("eq-5", "eq-6")
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("base", BASES)
def test_gradient_of_ln_and_bn(base: Base, affine: tuple[str, ...]) -> None:
    norm_forward, norm_backward = STANDALONE[base]

    def forward(tree: Tree) -> tuple[Tree, Any]:
        y, cache = norm_forward(**tree, eps=1e-3)
        return y, cache

    def backward(upstream: Tree, cache: Any) -> Tree:
        return norm_backward(upstream, cache)._asdict()

    assert_gradients(forward, backward, norm_inputs(affine))


@pytest.mark.claim("eq-5", "eq-6", "eq-9")
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("base", BASES)
def test_atn_with_k_1_is_ln_or_bn(base: Base, affine: tuple[str, ...]) -> None:
    norm_forward, norm_backward = STANDALONE[base]
    inputs = norm_inputs(affine)
    y, cache = assorted_time_norm_forward(**inputs, k=1, eps=1e-3, base=base)
    own_y, separate_cache = norm_forward(**inputs, eps=1e-3)
    assert_close(own_y, y, quantity="output")
    dy = random_like(y, 2)
    expected = leaves(assorted_time_norm_backward(dy, cache))
    separate = leaves(norm_backward(dy, separate_cache))
    assert separate.keys() == expected.keys()
    for name, gradient in separate.items():
        assert_close(gradient, expected[name], quantity="gradient", what=name)


@pytest.mark.parametrize("chunks", [(2, 4), (1, 1, 4), (5, 1), (3, 3)])
@pytest.mark.parametrize("k", [1, 2, 4, 9])
@pytest.mark.parametrize("base", BASES)
def test_chunks_with_memory_equal_the_whole(base: Base, k: int, chunks: tuple[int, ...]) -> None:
    inputs = norm_inputs(("gamma", "beta"))
    whole, _ = assorted_time_norm_forward(**inputs, k=k, base=base)
    parts, memory = [], None
    for a in np.split(inputs["a"], np.cumsum(chunks)[:-1]):
        parts.append(assorted_time_norm_forward(a, k, inputs["gamma"], inputs["beta"], base=base, memory=memory)[0])
        memory = next_memory(a, k, memory)
    assert_close(np.concatenate(parts), whole, quantity="exact")


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize(("S", "start"), [(T + 2, 0), (T + 2, 1), (2, 0), (2, 5)])
def test_gradient_of_evaluation(S: int, start: int, affine: tuple[str, ...]) -> None:
    statistics = population(S)

    def forward(tree: Tree) -> tuple[Tree, Any]:
        dtype = tree["a"].dtype
        cast = statistics._replace(mean=statistics.mean.astype(dtype), var=statistics.var.astype(dtype))
        return population_norm_forward(**tree, population=cast, eps=1e-3, start=start)

    def backward(upstream: Tree, cache: Any) -> Tree:
        return population_norm_backward(upstream, cache)._asdict()

    assert_gradients(forward, backward, norm_inputs(affine))


def test_evaluation_uses_each_steps_statistics_and_then_the_last() -> None:
    a, statistics = norm_inputs(())["a"], population(3)
    y, _ = population_norm_forward(a, statistics, eps=0.1)
    for t, recorded in enumerate([0, 1, 2, 2, 2, 2]):
        mean, var = statistics.mean[recorded], statistics.var[recorded]
        assert_close(y[t], (a[t] - mean) / np.sqrt(var + 0.1), quantity="output")
    later, _ = population_norm_forward(a[1:3], statistics, eps=0.1, start=1)
    assert_close(later, y[1:3], quantity="exact")


@pytest.mark.parametrize("k", [1, 3])
def test_evaluation_on_the_only_batch_seen_repeats_training(k: int) -> None:
    inputs = norm_inputs(("gamma", "beta"))
    trained, _ = assorted_time_norm_forward(**inputs, k=k, base="batch")
    statistics, _ = window_statistics_forward(inputs["a"], k, "batch")
    evaluated, _ = population_norm_forward(**inputs, population=update_population(None, statistics))
    assert_close(evaluated, trained, quantity="output")


def batch_statistics(steps: int, seed: int) -> WindowStatistics:
    a = np.random.default_rng(seed).standard_normal((steps, B, N))
    return window_statistics_forward(a, 2, "batch")[0]


def test_population_without_momentum_is_the_plain_average() -> None:
    batches = [batch_statistics(steps, seed) for seed, steps in enumerate([3, 5, 4])]
    running = None
    for batch in batches:
        running = update_population(running, batch, momentum=None)
    assert running is not None
    assert running.updates.tolist() == [3, 3, 3, 2, 1]
    for t, seen in enumerate([(0, 1, 2), (0, 1, 2), (0, 1, 2), (1, 2), (1,)]):
        assert_close(running.mean[t], np.mean([batches[i].mean[t, 0] for i in seen], axis=0), quantity="output")
        assert_close(running.var[t], np.mean([batches[i].var[t, 0] for i in seen], axis=0), quantity="output")


def test_population_with_momentum_moves_by_that_part() -> None:
    first, second = batch_statistics(2, 0), batch_statistics(3, 1)
    running = update_population(update_population(None, first), second)
    assert running.updates.tolist() == [2, 2, 1]
    assert_close(running.mean[:2], 0.9 * first.mean[:, 0] + 0.1 * second.mean[:2, 0], quantity="output")
    assert_close(running.var[:2], 0.9 * first.var[:, 0] + 0.1 * second.var[:2, 0], quantity="output")
    assert_close(running.mean[2], second.mean[2, 0], quantity="exact")
    assert update_population(running, first).updates.tolist() == [3, 3, 1]


@pytest.mark.claim("eq-10")
def test_scaling_the_sequence_scales_eps_by_its_square() -> None:
    a = norm_inputs(())["a"]
    y, _ = assorted_time_norm_forward(a, 3, eps=0.5)
    scaled, _ = assorted_time_norm_forward(3.0 * a, 3, eps=9.0 * 0.5)
    assert_close(scaled, y, quantity="output")
    unscaled_eps, _ = assorted_time_norm_forward(3.0 * a, 3, eps=0.5)
    assert np.abs(unscaled_eps - y).max() > 0.01


def test_weight_norm_makes_rows_of_the_given_length() -> None:
    rng = np.random.default_rng(3)
    v, g = rng.standard_normal((5, 3)), rng.standard_normal(5)
    W, _ = weight_norm_forward(v, g)
    assert_close(W, np.array([g[j] * v[j] / np.linalg.norm(v[j]) for j in range(5)]), quantity="output")


def test_gradient_of_weight_norm() -> None:
    rng = np.random.default_rng(4)
    inputs = {"v": rng.standard_normal((5, 3)), "g": rng.standard_normal(5)}

    def backward(upstream: Tree, cache: Any) -> Tree:
        return dict(zip(("v", "g"), weight_norm_backward(upstream, cache), strict=True))

    assert_gradients(lambda tree: weight_norm_forward(**tree), backward, inputs)


def test_constant_rows_with_eps_give_zeros() -> None:
    y, cache = assorted_time_norm_forward(np.full((3, 2, 4), 1e3), 2)
    assert_close(y, np.zeros((3, 2, 4)), quantity="exact")
    assert np.isfinite(assorted_time_norm_backward(np.ones_like(y), cache).a).all()


def test_constant_rows_without_eps_give_what_ieee_gives() -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        y, _ = assorted_time_norm_forward(np.ones((2, 1, 3)), 2, eps=0.0)
    assert np.isnan(y).all()
