"""The fused backend on several threads: forward and backward of layer and norm, against one thread and the oracle.

Inference and chunks of a stream, whose scratch and memory are the threads' own, stand beside whole sequences.

The rest of the suite runs on one thread. Cases are shared out among threads, so what differs from one thread to many is
where a case is computed, and the order in which the sums over cases are added up.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from atn import AssortedTimeNorm
from tests.support.against_oracle import assert_results_close
from tests.support.comparison import assert_close
from tests.support.dispatch import run_oracle, run_torch
from tests.support.lstms import in_chunks, random, with_random_parameters
from tests.support.problems import AnyProblem, HiddenProblem, LSTMProblem, NormProblem
from tests.support.runners import Result, make_module

THREADS = (1, 2, 3, 5)

CASES = (1, 3, 4, 7)
"""Fewer cases than threads, as many, more, and no multiple of them."""

JOINT = {"LSTM": 260, "RNN_TANH": 516, "GRU": 300}
"""By cell: a hidden size at which all cases take a step together, and threads share the product's columns too."""


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def norm_problem(T: int, B: int, k: int) -> NormProblem:
    return NormProblem(T=T, B=B, N=11, k=k, base="layer", affine=True, eps=1e-3, offset=0.0, constant_row=False, seed=B)


def layer_problem(
    T: int, B: int, k: int, H: int = 5, norm: Any = "atn", I: int = 3, cell: Any = "LSTM"
) -> LSTMProblem | HiddenProblem:
    settings: dict[str, Any] = {
        "T": T, "B": B, "I": I, "H": H, "layers": 1, "directions": 1, "norm": norm, "k": k, "eps": 1e-1,
        "bias_placement": "inside", "bias": I > 1, "affine": True, "initial_state": True, "seed": B,
    }  # fmt: skip
    return LSTMProblem(**settings) if cell == "LSTM" else HiddenProblem(cell=cell, **settings)


def on_threads(count: int, problem: AnyProblem, dtype: str) -> Result:
    """Forward and backward of a problem on so many threads."""
    torch.set_num_threads(count)
    assert torch.get_num_threads() == count
    return run_torch(problem, "fused", dtype)


def assert_same_cases(first: Result, second: Result, cases: tuple[str, ...]) -> None:
    """What belongs to a case is the same bit for bit, on whichever thread the case runs."""
    for name, array in (first.outputs | first.gradients).items():
        if name in first.outputs or name in cases:
            assert_close((second.outputs | second.gradients)[name], array, quantity="exact", backend="fused", what=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("B", CASES)
def test_norm(B: int, k: int, dtype: str) -> None:
    problem = norm_problem(150, B, k)
    expected = run_oracle(problem)
    for count in THREADS:
        assert_results_close(on_threads(count, problem, dtype), expected, "fused")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize(
    ("cell", "B"), [*(("LSTM", B) for B in CASES), ("RNN_TANH", 3), ("RNN_TANH", 7), ("GRU", 1), ("GRU", 7)]
)
def test_layer(cell: str, B: int, k: int, dtype: str) -> None:
    problem = layer_problem(12 if k < 100 else 110, B, k, cell=cell)
    expected = run_oracle(problem)
    for count in THREADS:
        assert_results_close(on_threads(count, problem, dtype), expected, "fused")


@pytest.mark.parametrize("norm", ["atn", "none"])
@pytest.mark.parametrize(("cell", "B"), [("LSTM", 1), ("LSTM", 7), ("RNN_TANH", 7), ("GRU", 7)])
def test_layer_whose_cases_step_together(cell: str, B: int, norm: str) -> None:
    problem = layer_problem(5, B, 3, JOINT[cell], norm, cell=cell)
    expected = run_oracle(problem)
    for count in THREADS:
        assert_results_close(on_threads(count, problem, "float64"), expected, "fused")


@pytest.mark.parametrize("k", [3, 70])
@pytest.mark.parametrize("cell", JOINT)
def test_what_belongs_to_a_case_does_not_depend_on_its_thread(cell: str, k: int) -> None:
    # One input and no bias: the product with it has no sum that BLAS could split among threads.
    layers = (layer_problem(T, 7, k, H, I=1, cell=cell) for T, H in ((90, 5), (4, JOINT[cell])))
    for problem in (*layers, norm_problem(90, 7, k)):
        alone = on_threads(1, problem, "float32")
        for count in THREADS[1:]:
            cases = ("a",) if isinstance(problem, NormProblem) else ("h_0", "c_0")
            assert_same_cases(alone, on_threads(count, problem, "float32"), cases)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("kind", "sums"), [("norm", 2), ("LSTM", 6), ("GRU", 4)])
def test_sums_over_thousands_of_rows_keep_their_digits(kind: str, sums: int, count: int) -> None:
    """Gradients of gains and shifts over 15,000 rows in float32, against the same in float64.

    The upstream gradients are such that no sum cancels: added up one row after the other it would lose digits.
    """
    problem: AnyProblem = norm_problem(3000, 5, 7) if kind == "norm" else layer_problem(3000, 5, 7, cell=kind)
    if isinstance(problem, NormProblem):
        problem.arrays["dy"] += 3.0 + 2.0 * problem.arrays["a"]
    else:
        problem.arrays["dh"] += 3.0
    expected, actual = (on_threads(count, problem, dtype).gradients for dtype in ("float64", "float32"))
    names = [name for name in expected if name.startswith(("gamma", "beta", "norm_"))]
    assert len(names) == sums
    for name in names:
        assert_close(actual[name], expected[name], quantity="long sum", backend="fused", what=name, dtype="float32")


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_a_long_layer(cell: str) -> None:
    """T = 3,000: a race has many chances here."""
    problem = layer_problem(3000, 5, 45, cell=cell)
    alone = on_threads(1, problem, "float64")
    for count in THREADS[1:]:
        assert_results_close(on_threads(count, problem, "float64"), alone, "fused")


@pytest.mark.parametrize("H", [5, JOINT["LSTM"]])
def test_a_single_step(H: int) -> None:
    """For one product each thread lays out the weight where it needs it, and keeps none."""
    problem = layer_problem(1, 7, 2, H)
    expected = run_oracle(problem)
    for count in THREADS:
        assert_results_close(on_threads(count, problem, "float64"), expected, "fused")


@pytest.mark.parametrize("k", [3, 70])
def test_a_stream_of_the_norm(k: int) -> None:
    """Each thread takes in the memory of its cases, and gives the memory's gradient."""
    norm = with_random_parameters(AssortedTimeNorm(11, k, backend="fused", dtype=torch.float64))
    a = random(90, 7, 11).requires_grad_()
    upstream, leaves = random(90, 7, 11, seed=1), [a, *norm.parameters()]
    torch.set_num_threads(1)
    whole = norm(a)
    gradients = torch.autograd.grad(whole, leaves, upstream)
    for count in THREADS:
        torch.set_num_threads(count)
        first, memory = norm.stream(a[:75])
        output = torch.cat((first, norm.stream(a[75:], memory)[0]))
        assert_close(output, whole, quantity="exact", backend="fused")
        for found, expected in zip(torch.autograd.grad(output, leaves, upstream), gradients, strict=True):
            assert_close(found, expected, quantity="gradient", backend="fused")


@pytest.mark.parametrize("k", [3, 70])
@pytest.mark.parametrize("H", [5, JOINT["LSTM"]])
def test_inference_and_streams(H: int, k: int) -> None:
    """Without a gradient a step overwrites the rows of the last; in a stream each thread takes in its cases' memory."""
    problem = layer_problem(1, 1, k, H)
    assert isinstance(problem, LSTMProblem)
    module = make_module(problem, "fused", "float64")
    lengths = [72, 1] if H == 5 else [2, 3]
    x = random(sum(lengths) + 7, 7, 3).requires_grad_()
    torch.set_num_threads(1)
    expected, leaves = module(x)[0], [x, *module.parameters()]
    gradients = torch.autograd.grad(expected, leaves, torch.ones_like(expected))
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for count in THREADS:
        torch.set_num_threads(count)
        with torch.no_grad():
            assert_close(module(x)[0], expected, quantity="output", backend="fused")
        output = in_chunks(module, x, lengths)[0]
        assert_close(output, expected, quantity="output", backend="fused")
        found = torch.autograd.grad(output, leaves, torch.ones_like(expected))
        for mine, whole in zip(found, gradients, strict=True):
            assert_close(mine, whole, quantity="gradient", backend="fused", scale=largest)
