"""Every wrong call of a norm or a loss of the oracle raises one error that names the argument."""

from typing import Any

import numpy as np
import pytest

import atn_reference
from tests.support.oracle_calls import WrongCall, assert_refused, calls
from tests.support.oracle_cases import B, T

# Untyped, for the calls below are wrong on purpose.
oracle: Any = atn_reference

A = np.random.default_rng(0).standard_normal((T, B, 4))
POPULATION = oracle.PopulationStatistics(A[:, 0], A[:, 0] ** 2, np.ones(T, dtype=np.int64))
Y, CACHE = oracle.assorted_time_norm_forward(A, 3)
LOSS_CACHE = oracle.squared_error_forward(A, A)[1]
STATISTICS, _ = oracle.window_statistics_forward(A, 2, "batch")
PAIRS = calls()

atn = oracle.assorted_time_norm_forward

WRONG_CALLS: dict[str, WrongCall] = {
    # window length
    "k zero": (lambda: atn(A, 0), ValueError, "k: was 0, must be an integer >= 1"),
    "k negative": (lambda: atn(A, -2), ValueError, "k: was -2, must be an integer >= 1"),
    "k float": (lambda: atn(A, 3.0), TypeError, "k: was 3.0, must be an integer >= 1"),
    "k bool": (lambda: atn(A, k=True), TypeError, "k: was True, must be an integer >= 1"),
    "k numpy bool": (lambda: atn(A, np.True_), TypeError, "k: was np.True_, must be"),
    "k of sizes": (lambda: oracle.window_sizes(4, 0), ValueError, "k: was 0"),
    "k of memory": (lambda: oracle.next_memory(A, 0), ValueError, "k: was 0"),
    "k of statistics": (lambda: oracle.window_statistics_forward(A, 0), ValueError, "k: was 0"),
    "k of the Jacobian": (lambda: oracle.atn_jacobian(A, 0), ValueError, "k: was 0"),
    "T of sizes": (lambda: oracle.window_sizes(0, 2), ValueError, "T: was 0, must be an integer >= 1"),
    "M of sizes": (lambda: oracle.window_sizes(4, 2, -1), ValueError, "M: was -1, must be an integer >= 0"),
    # epsilon
    "eps negative": (lambda: atn(A, 3, eps=-1e-5), ValueError, "eps: was -1e-05, must be a finite real number >= 0"),
    "eps nan": (lambda: atn(A, 3, eps=float("nan")), ValueError, "eps: was nan, must be a finite real number >= 0"),
    "eps infinite": (
        lambda: atn(A, 3, eps=float("inf")),
        ValueError,
        "eps: was inf, must be a finite real number >= 0",
    ),
    "eps text": (lambda: atn(A, 3, eps="1"), TypeError, "eps: was '1', must be"),
    "eps bool": (lambda: atn(A, 3, eps=True), TypeError, "eps: was True, must be"),
    "eps of LN": (lambda: oracle.layer_norm_forward(A, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of BN": (lambda: oracle.batch_norm_forward(A, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of the Jacobian": (lambda: oracle.atn_jacobian(A, 3, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of evaluation": (lambda: oracle.population_norm_forward(A, POPULATION, eps=-1.0), ValueError, "eps: was -1.0"),
    # names
    "base": (
        lambda: atn(A, 3, base="time"),
        ValueError,
        "base: was 'time', must be one of 'layer', 'batch'",
    ),
    # type and dtype
    "list": (
        lambda: atn([[[1.0]]], 3),
        TypeError,
        "a: was list, must be a NumPy array of a floating-point dtype",
    ),
    "integers": (lambda: atn(np.ones((2, 2, 2), int), 3), TypeError, "a: dtype was int64, must be a real or complex"),
    "bools": (lambda: atn(np.ones((2, 2, 2), bool), 3), TypeError, "a: dtype was bool, must be a real or complex"),
    "objects": (lambda: atn(A.astype(object), 3), TypeError, "a: dtype was object, must be a real or complex"),
    "mixed": (
        lambda: atn(A, 3, np.ones(4, np.float32)),
        TypeError,
        "gamma: dtype was float32, must be float64, the dtype of a",
    ),
    "mixed in a population": (
        lambda: oracle.population_norm_forward(A.astype(np.float32), POPULATION),
        TypeError,
        "population.mean: dtype was float64, must be float32, the dtype of a",
    ),
    # rank and sizes
    "rank": (lambda: atn(A[0], 3), ValueError, "a: shape was (3, 4), must be (T, B, N)"),
    "no time": (lambda: atn(A[:0], 3), ValueError, "a: shape was (0, 3, 4), must be (T, B, N), every size at least 1"),
    "no batch": (lambda: atn(A[:, :0], 3), ValueError, "a: shape was (6, 0, 4), must be (T, B, N), every size"),
    "no features": (lambda: atn(A[:, :, :0], 3), ValueError, "a: shape was (6, 3, 0), must be (T, B, N), every size"),
    "gamma": (lambda: atn(A, 3, np.ones(5)), ValueError, "gamma: shape was (5,), must be (N,) with N = 4"),
    "gamma of rank 2": (lambda: atn(A, 3, np.ones((1, 4))), ValueError, "gamma: shape was (1, 4), must be (N,) with"),
    "beta": (lambda: oracle.layer_norm_forward(A, None, np.ones(3)), ValueError, "beta: shape was (3,), must be (N,)"),
    "beta of BN": (
        lambda: oracle.batch_norm_forward(A, None, A[0]),
        ValueError,
        "beta: shape was (3, 4), must be (N,)",
    ),
    "g": (
        lambda: oracle.weight_norm_forward(A[0], np.ones(4)),
        ValueError,
        "g: shape was (4,), must be (N,) with N = 3",
    ),
    "memory": (
        lambda: atn(A, 3, memory=A[:2, :2]),
        ValueError,
        "memory: shape was (2, 2, 4), must be (M, B, N) with B = 3, N = 4",
    ),
    "memory too long": (lambda: atn(A, 3, memory=A[:3]), ValueError, "memory: had 3 rows, must have at most k - 1 = 2"),
    "next memory too long": (
        lambda: oracle.next_memory(A, 2, A[:2]),
        ValueError,
        "memory: had 2 rows, must have at most",
    ),
    # population
    "momentum": (
        lambda: oracle.update_population(None, oracle.window_statistics_forward(A, 2, "batch")[0], 1.5),
        ValueError,
        "momentum: was 1.5, must be a real number in [0, 1] or None",
    ),
    "negative momentum": (
        lambda: oracle.update_population(None, STATISTICS, -0.1),
        ValueError,
        "momentum: was -0.1, must be a real number in [0, 1] or None",
    ),
    "momentum that is no number": (
        lambda: oracle.update_population(None, STATISTICS, float("nan")),
        ValueError,
        "momentum: was nan, must be a real number in [0, 1] or None",
    ),
    "momentum text": (
        lambda: oracle.update_population(None, STATISTICS, "0.1"),
        TypeError,
        "momentum: was '0.1', must be a real number in [0, 1] or None",
    ),
    "statistics tuple": (
        lambda: oracle.update_population(None, tuple(STATISTICS)),
        TypeError,
        "statistics: was tuple, must be WindowStatistics",
    ),
    "population tuple": (
        lambda: oracle.update_population(tuple(POPULATION), STATISTICS),
        TypeError,
        "population: was tuple, must be PopulationStatistics or None",
    ),
    "no population": (
        lambda: oracle.population_norm_forward(A, None),
        TypeError,
        "population: was NoneType, must be PopulationStatistics",
    ),
    "var of other steps": (
        lambda: oracle.population_norm_forward(A, POPULATION._replace(var=POPULATION.var[1:], updates=np.ones(5, int))),
        ValueError,
        "population.var: shape was (5, 4), must be (S, N) with N = 4, S = 6",
    ),
    "var of another dtype": (
        lambda: oracle.population_norm_forward(A, POPULATION._replace(var=POPULATION.var.astype(np.float32))),
        TypeError,
        "population.var: dtype was float32, must be float64, the dtype of a",
    ),
    "var of an update": (
        lambda: oracle.update_population(POPULATION._replace(var=POPULATION.var[:, :3]), STATISTICS),
        ValueError,
        "population.var: shape was (6, 3), must be (S, N) with N = 4, S = 6",
    ),
    "negative var": (
        lambda: oracle.population_norm_forward(A, POPULATION._replace(var=0.5 - POPULATION.var)),
        ValueError,
        f"population.var: had {(0.5 - POPULATION.var).min()}, must be >= 0 everywhere",
    ),
    "var of an update negative": (
        lambda: oracle.update_population(POPULATION._replace(var=-1.0 - POPULATION.var), STATISTICS),
        ValueError,
        "population.var: had -",
    ),
    "updates float": (
        lambda: oracle.update_population(POPULATION._replace(updates=np.ones(T)), STATISTICS),
        TypeError,
        "population.updates: was float64, must be a NumPy array of integers",
    ),
    "updates of other steps": (
        lambda: oracle.update_population(POPULATION._replace(updates=np.ones(2, int)), STATISTICS),
        ValueError,
        "population.updates: was [1 1], must be of shape (6,), every count >= 1",
    ),
    "updates zero": (
        lambda: oracle.population_norm_forward(A, POPULATION._replace(updates=np.zeros(T, int))),
        ValueError,
        "population.updates: was [0 0 0 0 0 0], must be of shape (6,), every count >= 1",
    ),
    "statistics per case": (
        lambda: oracle.update_population(None, oracle.window_statistics_forward(A, 2, "layer")[0]),
        ValueError,
        'statistics: shape was (6, 3, 1), must be (T, 1, N), those of base "batch"',
    ),
    "population of other features": (
        lambda: oracle.population_norm_forward(A[:, :, :3], POPULATION),
        ValueError,
        "population.mean: shape was (6, 4), must be (S, N) with N = 3",
    ),
    "start": (
        lambda: oracle.population_norm_forward(A, POPULATION, start=-1),
        ValueError,
        "start: was -1, must be an integer >= 0",
    ),
    # upstream gradients
    "dy": (
        lambda: oracle.assorted_time_norm_backward(Y[1:], CACHE),
        ValueError,
        "dy: shape was (5, 3, 4), must be (6, 3, 4), the shape of its output",
    ),
    "dy of another dtype": (
        lambda: oracle.assorted_time_norm_backward(Y.astype(np.float32), CACHE),
        TypeError,
        "dy: dtype was float32, must be float64, the dtype of the forward pass",
    ),
    "dmean": (
        lambda: oracle.window_statistics_backward(
            A, STATISTICS.var, oracle.window_statistics_forward(A, 2, "batch")[1]
        ),
        ValueError,
        "dmean: shape was (6, 3, 4), must be (6, 1, 4), the shape of its output",
    ),
    "dvar": (
        lambda: oracle.window_statistics_backward(
            STATISTICS.var, A, oracle.window_statistics_forward(A, 2, "batch")[1]
        ),
        ValueError,
        "dvar: shape was (6, 3, 4), must be (6, 1, 4), the shape of its output",
    ),
    "dW": (
        lambda: oracle.weight_norm_backward(A[0].T, oracle.weight_norm_forward(A[0], np.ones(3))[1]),
        ValueError,
        "dW: shape was (4, 3), must be (3, 4), the shape of its output",
    ),
    "dy of evaluation": (
        lambda: oracle.population_norm_backward(A[1:], oracle.population_norm_forward(A, POPULATION)[1]),
        ValueError,
        "dy: shape was (5, 3, 4), must be (6, 3, 4), the shape of its output",
    ),
    "dy of LN": (
        lambda: oracle.layer_norm_backward(A[1:], oracle.layer_norm_forward(A)[1]),
        ValueError,
        "dy: shape was (5, 3, 4), must be (6, 3, 4), the shape of its output",
    ),
    "dy of BN": (
        lambda: oracle.batch_norm_backward(A[1:], oracle.batch_norm_forward(A)[1]),
        ValueError,
        "dy: shape was (5, 3, 4), must be (6, 3, 4), the shape of its output",
    ),
    "dloss": (
        lambda: oracle.squared_error_backward(np.ones(2), LOSS_CACHE),
        ValueError,
        "dloss: shape was (2,), must be (), one number",
    ),
    "dloss text": (
        lambda: oracle.squared_error_backward("1", LOSS_CACHE),
        TypeError,
        "dloss: was '1', must be a number that can be cast to float64",
    ),
    "dloss complex": (
        lambda: oracle.softmax_cross_entropy_backward(
            1j, oracle.softmax_cross_entropy_forward(A[0], np.zeros(3, int))[1]
        ),
        TypeError,
        "dloss: was 1j, must be a number that can be cast to float64",
    ),
    # losses
    "targets float": (
        lambda: oracle.softmax_cross_entropy_forward(A[0], np.ones(3)),
        TypeError,
        "targets: was float64, must be an integer array",
    ),
    "targets shape": (
        lambda: oracle.softmax_cross_entropy_forward(A[0], np.zeros(4, int)),
        ValueError,
        "targets: shape was (4,), must be (3,)",
    ),
    "targets range": (
        lambda: oracle.softmax_cross_entropy_forward(A[0], np.array([0, 1, 4])),
        ValueError,
        "targets: were 0 to 4, must be in [0, C) with C = 4",
    ),
    "negative targets": (
        lambda: oracle.softmax_cross_entropy_forward(A[0], np.array([0, -1, 3])),
        ValueError,
        "targets: were -1 to 3, must be in [0, C) with C = 4",
    ),
    "no logits": (
        lambda: oracle.softmax_cross_entropy_forward(A[:0, 0], np.zeros(0, int)),
        ValueError,
        "logits: shape was (0, 4), must be (..., C), every size at least 1",
    ),
    "target": (
        lambda: oracle.squared_error_forward(A, A[0]),
        ValueError,
        "target: shape was (3, 4), must be (6, 3, 4)",
    ),
    "nothing to compare": (lambda: oracle.squared_error_forward(A[:0], A[:0]), ValueError, "prediction: shape was (0,"),
    # AdaNorm and detached statistics
    "C of AdaNorm": (
        lambda: oracle.ada_norm_forward(A, 0.0),
        ValueError,
        "C: was 0.0, must be a finite real number > 0",
    ),
    "eps of AdaNorm": (
        lambda: oracle.ada_norm_forward(A, eps=-1.0),
        ValueError,
        "eps: was -1.0, must be a finite real number >= 0",
    ),
    "C of AdaNorm as text": (
        lambda: oracle.ada_norm_forward(A, "2"),
        TypeError,
        "C: was '2', must be a finite real number > 0",
    ),
    "detach as text": (
        lambda: atn(A, 3, detach="mean"),
        TypeError,
        "detach: was 'mean', must be a tuple of 'mean' and 'var'",
    ),
    "detach twice": (
        lambda: atn(A, 3, detach=("var", "var")),
        ValueError,
        "detach: was ('var', 'var'), must be a tuple of 'mean' and 'var', each once",
    ),
    "dz": (
        lambda: oracle.ada_norm_backward(A[1:], oracle.ada_norm_forward(A)[1]),
        ValueError,
        "dz: shape was (5, 3, 4), must be (6, 3, 4)",
    ),
    # Norm-Prop
    "variance formula": (
        lambda: oracle.norm_prop(2.0, 2.0, 1.0, "exact"),
        ValueError,
        "variance: was 'exact', must be one of 'literal', 'independent'",
    ),
    "negative gain": (
        lambda: oracle.norm_prop(2.0, -2.0, 1.0),
        ValueError,
        "gamma_h: was -2.0, must be a finite real number >= 0",
    ),
    "gain as an array": (
        lambda: oracle.norm_prop(np.ones(3), 2.0, 1.0),
        TypeError,
        "gamma_x: was array([1., 1., 1.]), must be a finite real number >= 0",
    ),
    "no gains": (lambda: oracle.norm_prop(0.0, 0.0, 1.0), ValueError, "gamma_x, gamma_h: were both 0"),
    "no gain of the cell": (
        lambda: oracle.norm_prop(2.0, 2.0, 0.0),
        ValueError,
        "gamma_c: was 0.0, must be a finite real number > 0",
    ),
    "u": (lambda: oracle.tanh_second_moment(float("nan")), ValueError, "u: was nan, must be a finite real number >= 0"),
    "rows of rank 3": (lambda: oracle.unit_rows(A), ValueError, "W: shape was (6, 3, 4), must be (N, I)"),
    "generator": (
        lambda: oracle.orthogonal_unit_rows(0, 3, 2),
        TypeError,
        "rng: was int, must be Generator",
    ),
    "rows of no unit": (
        lambda: oracle.orthogonal_unit_rows(np.random.default_rng(0), 0, 2),
        ValueError,
        "H: was 0, must be an integer >= 1",
    ),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_call(call: str) -> None:
    assert_refused(WRONG_CALLS[call])


@pytest.mark.parametrize("name", PAIRS)
def test_another_cache(name: str) -> None:
    """Every backward pass refuses the cache of another function, by name."""
    call = PAIRS[name]
    outputs, _ = call.forward(call.inputs)
    with pytest.raises(TypeError, match=r"^cache: was (AssortedTimeNorm|LayerNorm)Cache, must be "):
        call.backward(outputs, CACHE if "atn" not in name else oracle.layer_norm_forward(A)[1])
