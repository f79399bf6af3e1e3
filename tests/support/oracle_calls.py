"""Every forward and backward pair of the oracle on one small problem, for what all of them promise alike."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

import atn_reference
from atn_reference import GRUPopulationNorm, PopulationStatistics, RNNPopulationNorm
from tests.support.complex_step import Tree
from tests.support.oracle_cases import (
    gru_norm,
    gru_parameters,
    gru_state,
    lstm_norm,
    lstm_parameters,
    lstm_state,
    norm_prop_parameters,
    rnn_norm,
    rnn_parameters,
    rnn_state,
    sequence,
    weight_norm_parameters,
)

# Untyped, for the calls are made by name and position from trees.
oracle: Any = atn_reference

K = np.int64(3)
EPS = np.float64(1e-2)
"""Scalars of another dtype than the arrays', which must not lift the arrays to theirs."""


class Call(NamedTuple):
    """One pair of passes: `forward(inputs)` gives outputs and cache, `backward(upstream, cache)` gradients."""

    inputs: Tree
    forward: Callable[[Tree], tuple[Tree, Any]]
    backward: Callable[[Tree, Any], Tree]


WrongCall = tuple[Callable[[], Any], type[Exception], str]
"""A call, the error that it must raise, and what the message must contain."""


def assert_refused(wrong: WrongCall) -> None:
    """Assert that a wrong call raises its error."""
    function, error, message = wrong
    with pytest.raises(error, match=re.escape(message)):
        function()


def calls() -> dict[str, Call]:
    """Every pair by name; the inputs are float64 and may be cast."""
    return norm_calls() | loss_calls() | network_calls() | one_example_calls() | per_step_calls()


def norm_calls() -> dict[str, Call]:
    """The normalizers of whole sequences, with and without gain, shift and memory."""
    rng = np.random.default_rng(0)
    a, gamma, beta, weight = (rng.standard_normal(shape) for shape in ((4, 3, 5), 5, 5, (4, 5)))
    affine = {"gamma": gamma, "beta": beta}
    statistics = PopulationStatistics(rng.standard_normal((3, 5)), rng.uniform(1, 2, (3, 5)), np.ones(3, dtype=int))

    def by_keyword(function: Callable[..., tuple[Tree, Any]], **settings: Any) -> Callable[[Tree], tuple[Tree, Any]]:
        return lambda tree: function(**tree, **settings)

    found = {}
    for base in ("layer", "batch"):
        settings = {"k": K, "base": base}
        found[f"window {base}"] = Call(
            {"a": a, "memory": a[:2] + 1.0},
            by_keyword(oracle.window_statistics_forward, **settings),
            lambda upstream, cache: oracle.window_statistics_backward(*upstream, cache),
        )
        for name, more in (("plain", {}), ("affine", {**affine, "memory": a[:2] + 1.0})):
            found[f"atn {base} {name}"] = Call(
                {"a": a, **more},
                by_keyword(oracle.assorted_time_norm_forward, **settings, eps=EPS),
                oracle.assorted_time_norm_backward,
            )
    for name, more in (("plain", {}), ("affine", affine)):
        for norm in ("layer_norm", "batch_norm"):
            forward, backward = (getattr(oracle, f"{norm}_{way}") for way in ("forward", "backward"))
            found[f"{norm} {name}"] = Call({"a": a, **more}, by_keyword(forward, eps=EPS), backward)
        found[f"population {name}"] = Call(
            {"a": a, "population": statistics, **more},
            by_keyword(oracle.population_norm_forward, eps=EPS),
            oracle.population_norm_backward,
        )
    found["atn detached"] = Call(
        {"a": a, **affine},
        by_keyword(oracle.assorted_time_norm_forward, k=K, eps=EPS, detach=("mean", "var")),
        oracle.assorted_time_norm_backward,
    )
    found["ada norm"] = Call(
        {"a": a},
        by_keyword(oracle.ada_norm_forward, C=np.float64(2.0), slope=np.float64(0.1), eps=EPS),
        oracle.ada_norm_backward,
    )
    found["weight norm"] = Call(
        {"v": weight, "g": gamma[:4]}, by_keyword(oracle.weight_norm_forward), oracle.weight_norm_backward
    )
    return found


def loss_calls() -> dict[str, Call]:
    """The two losses."""
    rng = np.random.default_rng(1)
    return {
        "cross-entropy": Call(
            {"logits": rng.standard_normal((4, 3, 5)), "targets": rng.integers(0, 5, (4, 3))},
            lambda tree: oracle.softmax_cross_entropy_forward(**tree),
            oracle.softmax_cross_entropy_backward,
        ),
        "squared error": Call(
            {"prediction": rng.standard_normal((4, 3)), "target": rng.standard_normal((4, 3))},
            lambda tree: oracle.squared_error_forward(**tree),
            oracle.squared_error_backward,
        ),
    }


def one_example_calls() -> dict[str, Call]:
    """Channel normalization, and the network of one example with and without it."""
    rng = np.random.default_rng(2)
    layers = tuple(oracle.CirculantLayer(rng.standard_normal((2, 2, 3)), rng.standard_normal(2) / 4) for _ in range(2))
    parameters = oracle.CirculantParameters(layers, rng.standard_normal(2), rng.standard_normal(1))
    network = {"x": rng.standard_normal((2, 6)), "parameters": parameters}
    norm = {"a": rng.standard_normal((2, 6)), "beta": rng.standard_normal(2)}
    return {
        "channel norm": Call(
            norm, lambda tree: oracle.channel_norm_forward(**tree, eps=EPS), oracle.channel_norm_backward
        ),
        **{
            f"circulant network, eps {eps}, relu {relu}": Call(
                network,
                partial(_one_example, eps=eps, relu=relu),
                oracle.circulant_network_backward,
            )
            for eps, relu in ((EPS, True), (None, False))
        },
    }


def _one_example(tree: Tree, **settings: Any) -> Any:
    return oracle.circulant_network_forward(tree["x"], tree["parameters"], **settings)


def per_step_calls() -> dict[str, Call]:
    """The linear map of all hidden states to logits."""
    rng = np.random.default_rng(3)
    inputs = {
        name: rng.standard_normal(shape) for name, shape in (("h", (4, 3, 5)), ("weight", (2, 4, 5)), ("bias", 2))
    }

    def forward(tree: Tree) -> tuple[Tree, Any]:
        out, cache = oracle.per_step_readout_forward(**tree)
        return out.logits, cache

    return {"per-step readout": Call(inputs, forward, oracle.per_step_readout_backward)}


def network_calls() -> dict[str, Call]:
    """LSTM, simple network, GRU and stack: by a window, by a population and plain, each with biases and without."""
    windows = {base: oracle.WindowNorm(base, K, EPS) for base in ("layer", "batch")}
    lstm_population, rnn_population, gru_population = (of("population") for of in (lstm_norm, rnn_norm, gru_norm))
    assert isinstance(lstm_population, oracle.PopulationNorm)
    assert isinstance(rnn_population, RNNPopulationNorm)
    assert isinstance(gru_population, GRUPopulationNorm)
    lstm_norms = {**windows, "population": lstm_population._replace(eps=EPS), "none": None}
    gru_norms = {**windows, "population": gru_population._replace(eps=EPS), "none": None}
    rnn_norms = {**windows, "population": rnn_population._replace(eps=EPS), "none": None}
    found = {}
    for bias in (True, False):
        for name in ("layer", "batch", "population", "none"):
            windowed = name in windows
            settings = {"affine": bias and name != "none", "bias": bias}
            placement = "inside" if bias else "outside"
            label = f"{name}{'' if bias else ' without biases'}"
            found[f"lstm {label}"] = Call(
                {
                    "x": sequence(),
                    "parameters": lstm_parameters(**settings),
                    "norm": lstm_norms[name],
                    "state": lstm_state(2 if windowed and bias else None),
                },
                partial(_network, oracle.lstm_forward, placement),
                _lstm_backward,
            )
            found[f"rnn {label}"] = Call(
                {
                    "x": sequence(),
                    "parameters": rnn_parameters(**settings),
                    "norm": rnn_norms[name],
                    "state": rnn_state(2 if windowed and bias else None),
                },
                partial(_network, oracle.rnn_forward, placement),
                _rnn_backward,
            )
            found[f"gru {label}"] = Call(
                {
                    "x": sequence(),
                    "parameters": gru_parameters(**settings),
                    "norm": gru_norms[name],
                    "state": gru_state(2 if windowed and bias else None),
                },
                partial(_network, oracle.gru_forward, placement),
                _gru_backward,
            )
    found["lstm ada"] = Call(
        {"x": sequence(), "parameters": lstm_parameters(affine=False), "norm": oracle.AdaNorm(eps=EPS), "state": None},
        partial(_network, oracle.lstm_forward, "inside"),
        _lstm_backward,
    )
    for bias in (True, False):
        found[f"weight norm lstm bias {bias}"] = Call(
            {"x": sequence(), "parameters": weight_norm_parameters(bias=bias, gamma_c=bias), "state": lstm_state(None)},
            lambda tree: oracle.weight_norm_lstm_forward(**tree),
            partial(_backward_of_states, oracle.weight_norm_lstm_backward),
        )
        found[f"norm prop lstm bias {bias}"] = Call(
            {"x": sequence(), "parameters": norm_prop_parameters(bias=bias), "state": lstm_state(None)},
            lambda tree: oracle.norm_prop_lstm_forward(norm=oracle.NormProp(EPS, 2 * EPS), **tree),
            partial(_backward_of_states, oracle.norm_prop_lstm_backward),
        )
    directions = [lstm_parameters(affine=True, seed=d) for d in range(2)]
    above = [lstm_parameters(affine=True, seed=d, inputs=2 * directions[0].weight_hh.shape[1]) for d in (2, 3)]
    found["stack"] = Call(
        {"x": sequence(), "layers": [directions, above], "norm": windows["layer"], "state": None},
        partial(_network, oracle.stacked_lstm_forward, "outside"),
        lambda upstream, cache: oracle.stacked_lstm_backward(*upstream, cache),
    )
    return found


def _network(function: Callable[..., tuple[Tree, Any]], placement: str, tree: Tree) -> tuple[Tree, Any]:
    return function(**tree, bias_placement=placement)


def _lstm_backward(upstream: Tree, cache: Any) -> Tree:
    state = upstream.state
    return oracle.lstm_backward(upstream.h, cache, state.h, state.c, dc=upstream.c, dmemory_n=state.memory)


def _backward_of_states(function: Callable[..., Tree], upstream: Tree, cache: Any) -> Tree:
    return function(upstream.h, cache, upstream.state.h, upstream.state.c, dc=upstream.c)


def _gru_backward(upstream: Tree, cache: Any) -> Tree:
    return oracle.gru_backward(upstream.h, cache, upstream.state.h, dmemory_n=upstream.state.memory)


def _rnn_backward(upstream: Tree, cache: Any) -> Tree:
    state = upstream.state
    return oracle.rnn_backward(upstream.h, upstream.y, cache, state.h, dmemory_n=state.memory)
