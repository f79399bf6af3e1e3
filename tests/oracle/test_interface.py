"""What the oracle promises to its callers: names, equations, dtypes, and an error for every wrong call."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atn_reference
from atn_reference import Affine, LSTMMemory, LSTMState, RNNMemory, RNNState
from tests.support.comparison import assert_close
from tests.support.complex_step import cast, leaves
from tests.support.oracle_cases import (
    B,
    H,
    T,
    lstm_norm,
    lstm_parameters,
    lstm_state,
    rnn_parameters,
    rnn_state,
    sequence,
)

# Untyped, for half of the calls below are wrong on purpose.
oracle: Any = atn_reference

PACKAGE = Path(str(atn_reference.__file__)).parent
README = PACKAGE.parent / "README.md"
NOT_INTERFACE = {"__init__", "site", "validation"}


def modules() -> dict[str, ast.Module]:
    return {path.stem: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def public_names(module: ast.Module) -> set[str]:
    """Names that a module defines at its top level without an underscore."""
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_all_is_what_is_public() -> None:
    defined = set().union(*(public_names(tree) for name, tree in modules().items() if name not in NOT_INTERFACE))
    assert set(oracle.__all__) == defined
    assert len(oracle.__all__) == len(defined)
    assert all(hasattr(oracle, name) for name in oracle.__all__)


def test_reading_order_names_every_module() -> None:
    files = set(modules()) - {"__init__"}
    assert set(re.findall(r"``(\w+)``", str(atn_reference.__doc__))) & files == files
    assert set(re.findall(r"`(?:\w+/)?(\w+)\.py`", README.read_text("utf-8"))) == files


def equations(text: str) -> set[int]:
    """Numbers in "Eq. (9)", "Eqs. (7)-(8)", "Eqs. (1), (3), (14)" and "Eqs. (15) and (16)"."""
    numbers: set[int] = set()
    for run in re.findall(r"Eqs?\.\s((?:\(\d+\)(?:-|,\s|\sand\s|,\sand\s)?)+)", text):
        for first, last in re.findall(r"\((\d+)\)(?:-\((\d+)\))?", run):
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def test_every_equation_is_in_the_table_and_in_a_docstring() -> None:
    table = "\n".join(line for line in README.read_text("utf-8").splitlines() if line.startswith("|"))
    documented = (ast.FunctionDef, ast.ClassDef)
    docstrings = [
        ast.get_docstring(node) or ""
        for tree in modules().values()
        for node in tree.body
        if isinstance(node, documented)
    ]
    in_docstrings = set().union(*(equations(docstring) for docstring in docstrings))
    assert equations(table) == in_docstrings == set(range(1, 17))


def test_every_function_cites_its_source() -> None:
    source = re.compile(r"Eqs?\. \(\d+\)|\(A\.\d+\)|Prop\. 1|Table B\.1|section \d")
    without = [
        f"{module}.{node.name}"
        for module, tree in modules().items()
        if module not in NOT_INTERFACE
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in HELPERS
        if not source.search(ast.get_docstring(node) or "")
    ]
    assert without == []


HELPERS = {"window_slice", "join_memory", "sum_over_steps"}
"""Functions that move arrays about and compute no equation."""


def everything(dtype: Any) -> dict[str, Any]:
    """Outputs and gradients of every forward and backward on inputs of `dtype`, by name."""
    rng = np.random.default_rng(0)
    a, gamma, v = (rng.standard_normal(shape).astype(dtype) for shape in ((4, 3, 5), (5,), (4, 5)))
    eps, k = np.float64(1e-2), np.int64(3)  # scalars of another dtype must not lift the arrays to theirs
    results: dict[str, Any] = {}

    statistics, cache = oracle.window_statistics_forward(a, k, "batch", a[:2])
    results["window"] = statistics, oracle.window_statistics_backward(*statistics, cache)
    population = oracle.update_population(None, oracle.window_statistics_forward(a[:2], k, "batch")[0])
    for momentum in (0.25, np.float64(0.25), None):
        population = oracle.update_population(population, statistics, momentum)
    results["population"] = population
    for base in ("layer", "batch"):
        y, cache = oracle.assorted_time_norm_forward(a, k, gamma, gamma, eps, base, a[:2])
        results[f"atn {base}"] = y, oracle.assorted_time_norm_backward(y, cache)
    y, cache = oracle.population_norm_forward(a, population, gamma, gamma, eps)
    results["evaluation"] = y, oracle.population_norm_backward(y, cache)
    y, cache = oracle.layer_norm_forward(a, gamma, gamma, eps)
    results["ln"] = y, oracle.layer_norm_backward(y, cache)
    y, cache = oracle.batch_norm_forward(a, gamma, gamma, eps)
    results["bn"] = y, oracle.batch_norm_backward(y, cache)
    W, cache = oracle.weight_norm_forward(v, gamma[:4])
    results["wn"] = W, oracle.weight_norm_backward(W, cache)
    results["jacobian"] = oracle.atn_jacobian(a, k, gamma, eps)
    loss, cache = oracle.softmax_cross_entropy_forward(v, np.array([0, 2, 4, 1]))
    results["cross-entropy"] = loss, oracle.softmax_cross_entropy_backward(np.float64(2.0), cache)
    loss, cache = oracle.squared_error_forward(v, v[::-1])
    results["squared error"] = loss, oracle.squared_error_backward(np.float64(2.0), cache)

    x = sequence().astype(dtype)
    for name, norm in (
        ("window", oracle.WindowNorm("layer", k, eps)),
        ("population", cast(lstm_norm("population"), dtype)),
    ):
        state = cast(lstm_state(2 if name == "window" else None), dtype)
        output, cache = oracle.lstm_forward(x, cast(lstm_parameters(affine=True), dtype), norm, "inside", state)
        gradients = oracle.lstm_backward(output.h, cache, output.state.h, dmemory_n=output.state.memory)
        results[f"lstm {name}"] = output, gradients
    output, cache = oracle.lstm_forward(x, cast(lstm_parameters(affine=False), dtype), None)
    results["lstm"] = output, oracle.lstm_backward(output.h, cache)
    output, cache = oracle.rnn_forward(
        x,
        cast(rnn_parameters(affine=True), dtype),
        oracle.WindowNorm("batch", k, eps),
        "outside",
        cast(rnn_state(2), dtype),
    )
    results["rnn"] = output, oracle.rnn_backward(output.h, output.y, cache)
    output, cache = oracle.stacked_lstm_forward(
        x, [[cast(lstm_parameters(affine=True), dtype)]], oracle.WindowNorm("layer", k)
    )
    results["stack"] = output, oracle.stacked_lstm_backward(output[0], None, None, cache)
    return leaves(results)


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.complex64, np.complex128])
def test_dtype_is_kept(dtype: Any) -> None:
    arrays = everything(dtype)
    assert {name: array.dtype for name, array in arrays.items() if array.dtype != dtype} == {}


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_values_agree_with_float64(dtype: Any) -> None:
    expected = everything(np.float64)
    arrays = everything(dtype)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        quantity, actual, other = "gradient", array, expected[name]
        if dtype is np.longdouble:  # the float64 run is the less accurate one and sets the tolerance
            actual, other = other, actual
        assert_close(actual, other, quantity=quantity, what=name, scale=max(1.0, float(np.abs(other).max())))


A = np.random.default_rng(0).standard_normal((T, B, 4))
X = sequence()
PLAIN = lstm_parameters(affine=False)
AFFINE = lstm_parameters(affine=True)
RNN = rnn_parameters(affine=False)
ATN = oracle.WindowNorm("layer", 3)
STATE: Any = lstm_state(2)
EVALUATION: Any = lstm_norm("population")
POPULATION = oracle.PopulationStatistics(A[:, 0], A[:, 0] ** 2, np.ones(T, dtype=np.int64))
Y, CACHE = oracle.assorted_time_norm_forward(A, 3)
OUTPUT, LSTM_CACHE = oracle.lstm_forward(X, PLAIN, ATN)
RNN_OUTPUT, RNN_CACHE = oracle.rnn_forward(X, RNN, ATN)
PLAIN_CACHE = oracle.lstm_forward(X, PLAIN, None)[1]
STACK_CACHE = oracle.stacked_lstm_forward(X, [[PLAIN]], None)[1]

atn = oracle.assorted_time_norm_forward
lstm = oracle.lstm_forward
rnn = oracle.rnn_forward
stack = oracle.stacked_lstm_forward

WRONG_CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # window length
    "k zero": (lambda: atn(A, 0), ValueError, "k: was 0, must be an integer >= 1"),
    "k negative": (lambda: atn(A, -2), ValueError, "k: was -2, must be an integer >= 1"),
    "k float": (lambda: atn(A, 3.0), TypeError, "k: was 3.0, must be an integer >= 1"),
    "k bool": (lambda: atn(A, k=True), TypeError, "k: was True, must be an integer >= 1"),
    "k numpy bool": (lambda: atn(A, np.True_), TypeError, "k: was np.True_, must be"),
    "k of a norm": (lambda: lstm(X, PLAIN, oracle.WindowNorm("layer", 0)), ValueError, "k: was 0"),
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
    "eps of a norm": (lambda: lstm(X, PLAIN, oracle.WindowNorm("layer", 3, -1.0)), ValueError, "eps: was -1.0"),
    "eps of LN": (lambda: oracle.layer_norm_forward(A, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of BN": (lambda: oracle.batch_norm_forward(A, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of the Jacobian": (lambda: oracle.atn_jacobian(A, 3, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of evaluation": (lambda: oracle.population_norm_forward(A, POPULATION, eps=-1.0), ValueError, "eps: was -1.0"),
    "eps of an LSTM's evaluation": (lambda: lstm(X, PLAIN, EVALUATION._replace(eps=-1.0)), ValueError, "eps: was -1.0"),
    # names
    "base": (
        lambda: atn(A, 3, base="time"),
        ValueError,
        "base: was 'time', must be one of 'layer', 'batch'",
    ),
    "base of a norm": (
        lambda: lstm(X, PLAIN, oracle.WindowNorm("time", 3)),
        ValueError,
        "norm.base: was 'time', must be one of 'layer', 'batch'",
    ),
    "bias placement": (
        lambda: lstm(X, PLAIN, ATN, "left"),
        ValueError,
        "bias_placement: was 'left', must be one of 'outside', 'inside'",
    ),
    "bias placement of the RNN": (
        lambda: rnn(X, RNN, ATN, "left"),
        ValueError,
        "bias_placement: was 'left', must be one of 'outside', 'inside'",
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
    "mixed in the LSTM": (
        lambda: lstm(X.astype(np.float32), PLAIN, ATN),
        TypeError,
        "parameters.weight_ih: dtype was float64, must be float32, the dtype of x",
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
    "features of x": (
        lambda: lstm(sequence(inputs=5), PLAIN, ATN),
        ValueError,
        "parameters.weight_ih: shape was (12, 2), must be (4H, I) with I = 5",
    ),
    "gates": (
        lambda: lstm(X, PLAIN._replace(weight_ih=np.ones((7, 2))), ATN),
        ValueError,
        "parameters.weight_ih: shape was (7, 2), must be (4H, I) with I = 2",
    ),
    "recurrent weight": (
        lambda: lstm(X, PLAIN._replace(weight_hh=np.ones((12, 4))), ATN),
        ValueError,
        "parameters.weight_hh: shape was (12, 4), must be (4H, H) with H = 3",
    ),
    "bias": (
        lambda: lstm(X, PLAIN._replace(bias_hh=np.ones(3)), ATN),
        ValueError,
        "parameters.bias_hh: shape was (3,), must be (4H,) with H = 3",
    ),
    "gain": (
        lambda: lstm(X, PLAIN._replace(norm_c=Affine(np.ones(12), np.ones(3))), ATN),
        ValueError,
        "parameters.norm_c.gamma: shape was (12,), must be (H,) with H = 3",
    ),
    "RNN's recurrent weight": (
        lambda: rnn(X, RNN._replace(weight_hh=np.ones((3, 4))), ATN),
        ValueError,
        "parameters.weight_hh: shape was (3, 4), must be (H, H) with H = 3",
    ),
    # state
    "state tuple": (
        lambda: lstm(X, PLAIN, ATN, state=(STATE.h, STATE.c)),
        TypeError,
        "state: was tuple, must be LSTMState or None",
    ),
    "state of another batch": (
        lambda: lstm(X, PLAIN, ATN, state=LSTMState(np.zeros((2, H)), np.zeros((2, H)))),
        ValueError,
        "state.h: shape was (2, 3), must be (B, H) with B = 3, H = 3",
    ),
    "cell": (
        lambda: lstm(X, PLAIN, ATN, state=LSTMState(STATE.h, np.zeros((B, 4)))),
        ValueError,
        "state.c: shape was (3, 4), must be (B, H) with B = 3, H = 3",
    ),
    "memory of different lengths": (
        lambda: lstm(X, PLAIN, ATN, state=STATE._replace(memory=STATE.memory._replace(c=np.zeros((1, B, H))))),
        ValueError,
        "state.memory.c: shape was (1, 3, 3), must be (M, B, H) with B = 3, H = 3, M = 2",
    ),
    "memory longer than the window": (
        lambda: lstm(X, PLAIN, oracle.WindowNorm("layer", 2), state=STATE),
        ValueError,
        "state.memory: had 2 rows, must have at most k - 1 = 1",
    ),
    "memory without a window": (
        lambda: lstm(X, PLAIN, None, state=STATE),
        ValueError,
        "state.memory: was LSTMMemory, must be None: only a WindowNorm reads a window",
    ),
    "memory in evaluation": (
        lambda: lstm(X, PLAIN, EVALUATION, state=STATE),
        ValueError,
        "state.memory: was LSTMMemory",
    ),
    "negative step": (lambda: lstm(X, PLAIN, ATN, state=STATE._replace(step=-1)), ValueError, "state.step: was -1"),
    "RNN's state": (
        lambda: rnn(X, RNN, ATN, state=RNNState(np.zeros((B, 4)))),
        ValueError,
        "state.h: shape was (3, 4), must be (B, H) with B = 3, H = 3",
    ),
    "RNN's memory without a window": (
        lambda: rnn(X, RNN, None, state=rnn_state(2)),
        ValueError,
        "state.memory: was RNNMemory, must be None: only a WindowNorm reads a window",
    ),
    # norm and parameters
    "norm": (
        lambda: lstm(X, PLAIN, "atn"),
        TypeError,
        "norm: was str, must be WindowNorm or PopulationNorm or None",
    ),
    "gain without a norm": (lambda: lstm(X, AFFINE, None), ValueError, "parameters.norm_ih: was Affine, must be None"),
    "RNN's gain without a norm": (
        lambda: rnn(X, rnn_parameters(affine=True), None),
        ValueError,
        "parameters.norm_ih: was Affine, must be None: a gain and shift belong to a norm, and norm is None",
    ),
    "parameters": (
        lambda: lstm(X, RNN, ATN),
        TypeError,
        "parameters: was RNNParameters, must be LSTMParameters",
    ),
    "population of a site": (
        lambda: lstm(X, PLAIN, EVALUATION._replace(c=EVALUATION.ih)),
        ValueError,
        "norm.c.mean: shape was (4, 12), must be (S, H) with H = 3, S = 4",
    ),
    "statistics of no window": (
        lambda: oracle.lstm_statistics(PLAIN_CACHE),
        TypeError,
        "norm: was not a WindowNorm, must be one",
    ),
    # population
    "momentum": (
        lambda: oracle.update_population(None, oracle.window_statistics_forward(A, 2, "batch")[0], 1.5),
        ValueError,
        "momentum: was 1.5, must be a real number in [0, 1] or None",
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
    # stack
    "no layers": (lambda: stack(X, [], ATN), ValueError, "layers: numbers of directions were [], must be"),
    "uneven directions": (lambda: stack(X, [[PLAIN], [PLAIN] * 2], ATN), ValueError, "directions were [1, 2], must be"),
    "second layer": (
        lambda: stack(X, [[PLAIN], [PLAIN]], ATN),
        ValueError,
        "layers[1][0].weight_ih: shape was (12, 2), must be (4H, H) with H = 3",
    ),
    "stack's state": (
        lambda: stack(X, [[PLAIN]], ATN, state=(STATE.h, STATE.c)),
        ValueError,
        "h_0: shape was (3, 3), must be (1, 3, 3)",
    ),
    "stack in evaluation": (
        lambda: stack(X, [[PLAIN]], EVALUATION),
        TypeError,
        "norm: was PopulationNorm, must be WindowNorm or None",
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
    "dh": (
        lambda: oracle.lstm_backward(OUTPUT.h[1:], LSTM_CACHE),
        ValueError,
        "dh: shape was (5, 3, 3), must be (6, 3, 3)",
    ),
    "dh_n": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, OUTPUT.h),
        ValueError,
        "dh_n: shape was (6, 3, 3), must be",
    ),
    "dmemory_n": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, dmemory_n=LSTMMemory(OUTPUT.h, OUTPUT.h, OUTPUT.h)),
        ValueError,
        "dmemory_n.ih: shape was (6, 3, 3), must be (2, 3, 12), the shape of its output",
    ),
    "dmemory_n without memory": (
        lambda: oracle.lstm_backward(OUTPUT.h, PLAIN_CACHE, dmemory_n=STATE.memory),
        ValueError,
        "dmemory_n: was LSTMMemory, must be None: the forward pass handed on no memory",
    ),
    "RNN's dmemory_n": (
        lambda: oracle.rnn_backward(RNN_OUTPUT.h, RNN_OUTPUT.y, RNN_CACHE, dmemory_n=RNNMemory(X, X, X)),
        ValueError,
        "dmemory_n.ih: shape was (6, 3, 2), must be (2, 3, 3), the shape of its output",
    ),
    "doutput": (lambda: oracle.stacked_lstm_backward(X, None, None, STACK_CACHE), ValueError, "doutput: shape was"),
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
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_call(call: str) -> None:
    function, error, message = WRONG_CALLS[call]
    with pytest.raises(error, match=re.escape(message)):
        function()
