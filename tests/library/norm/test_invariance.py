"""Table B.1: every cell, for the oracle and for the library; `pytest -k invariance` runs this and the network's.

A preactivation `a[t, b] = W x[t, b]` goes through a normalizer, with eps = 0, delta > 0, k >= 2, T > k, in training
mode.
A cell that says yes is tested as a property of the output *and* of the gradient: where y(phi(p)) = y(p) for a map phi
with linear part A, the chain rule makes the gradient at p equal A^T times the gradient at phi(p). A cell that says no
is tested on generated problems and on one fixed rational example: the output must move by `MARGIN` at least.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import atn.functional as F
from atn import ATNLSTM
from atn.backend.eager_sites import sites_of
from atn.backend.interface import AdaSettings
from atn.choices import Base, Norm
from atn_reference import (
    NormPropLSTMParameters,
    WeightNormLSTMParameters,
    ada_norm_backward,
    ada_norm_forward,
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    norm_prop,
    norm_prop_lstm_backward,
    norm_prop_lstm_forward,
    weight_norm_backward,
    weight_norm_forward,
    weight_norm_lstm_backward,
    weight_norm_lstm_forward,
)
from tests.support.comparison import assert_all_close, assert_close
from tests.support.problems import Array
from tests.support.runners import BACKENDS, to_tensor
from tests.support.strategies import seeds

pytestmark = pytest.mark.gate

MARGIN = 1e-3
"""A cell that says no must change the output by this much, relative to its largest element."""


@dataclass(frozen=True)
class LinearProblem:
    """Input x (T, B, I), weight W (N, I), upstream gradient dy (T, B, N), and what the transformations use."""

    T: int
    B: int
    I: int
    N: int
    k: int
    delta: float
    seed: int

    def arrays(self) -> tuple[Array, Array, Array]:
        """Return x, W and dy."""
        rng = np.random.default_rng(self.seed)
        x = rng.standard_normal((self.T, self.B, self.I))
        return x, rng.standard_normal((self.N, self.I)), rng.standard_normal((self.T, self.B, self.N))

    def shift(self) -> Array:
        """Vector c (I,) of the re-centerings."""
        return np.random.default_rng([self.seed, 1]).uniform(0.5, 1.5, self.I)


class Transformed(NamedTuple):
    """The transformed x and W, and the factors by which the map's linear part multiplies their elements."""

    x: Array
    W: Array
    x_factor: Array
    W_factor: Array


def _scaled(x: Array, W: Array, x_factor: Array | float = 1.0, W_factor: Array | float = 1.0) -> Transformed:
    x_factors, W_factors = np.broadcast_to(x_factor, x.shape), np.broadcast_to(W_factor, W.shape)
    return Transformed(x * x_factors, W * W_factors, x_factors, W_factors)


def _shifted(x: Array, W: Array, x_shift: Array | float = 0.0, W_shift: Array | float = 0.0) -> Transformed:
    return Transformed(x + x_shift, W + W_shift, np.ones_like(x), np.ones_like(W))


def _at(shape: tuple[int, ...], index: Any, delta: float) -> Array:
    factor = np.ones(shape)
    factor[index] = delta
    return factor


def weight_matrix_rescaling(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Map W to delta W."""
    return _scaled(x, W, W_factor=problem.delta)


def weight_matrix_recentering(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Map W to W + 1 c^T: the same vector added to every row."""
    return _shifted(x, W, W_shift=problem.shift())


def weight_vector_rescaling(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Multiply one row of W by delta."""
    return _scaled(x, W, W_factor=_at(W.shape, 0, problem.delta))


def dataset_rescaling(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Multiply every x by delta."""
    return _scaled(x, W, x_factor=problem.delta)


def dataset_recentering(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Add c to every x."""
    return _shifted(x, W, x_shift=problem.shift())


def single_case_rescaling(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Multiply x[:, b0] by delta."""
    return _scaled(x, W, x_factor=_at(x.shape, (slice(None), 0), problem.delta))


def single_time_one_case(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Multiply x[t0, b0] by delta."""
    return _scaled(x, W, x_factor=_at(x.shape, (problem.T // 2, 0), problem.delta))


def single_time_whole_batch(problem: LinearProblem, x: Array, W: Array) -> Transformed:
    """Multiply x[t0, :] by delta."""
    return _scaled(x, W, x_factor=_at(x.shape, problem.T // 2, problem.delta))


TRANSFORMATIONS: dict[str, Callable[[LinearProblem, Array, Array], Transformed]] = {
    "weight-matrix-rescaling": weight_matrix_rescaling,
    "weight-matrix-recentering": weight_matrix_recentering,
    "weight-vector-rescaling": weight_vector_rescaling,
    "dataset-rescaling": dataset_rescaling,
    "dataset-recentering": dataset_recentering,
    "single-case-rescaling": single_case_rescaling,
    "single-time-one-case": single_time_one_case,
    "single-time-whole-batch": single_time_whole_batch,
}

NORMS = ("bn", "wn", "ln", "atn-bn", "atn-ln")

INVARIANT = {
    "weight-matrix-rescaling": {"bn", "wn", "ln", "atn-bn", "atn-ln"},
    "weight-matrix-recentering": {"ln"},
    "weight-vector-rescaling": {"bn", "wn", "atn-bn"},
    "dataset-rescaling": {"bn", "ln", "atn-bn", "atn-ln"},
    "dataset-recentering": {"bn", "atn-bn"},
    "single-case-rescaling": {"ln", "atn-ln"},
    "single-time-one-case": {"ln"},
    "single-time-whole-batch": {"bn", "ln"},
}
"""Table B.1, its last row read in both ways; only bn at a single time for the whole batch departs from the print."""


FURTHER = {"prop": "wn", "wn-lstm": "wn", "ada": "ln"}
"""Columns beyond the paper's, and the column that each must be equal to.

Norm-Prop depends on a weight by the directions of its rows, as WN does; AdaNorm is a function of LN's output alone.
"""

LAYERS: dict[str, Norm] = {"prop": "prop", "wn-lstm": "wn"}
"""Columns that a whole LSTM stands for, and its norm in the library."""


class Outcome(NamedTuple):
    """Output y (T, B, N) and the gradients of x and W."""

    y: Any
    dx: Any
    dW: Any


def _window_of(norm: str, k: int) -> tuple[Base, int]:
    return "batch" if norm.endswith("bn") else "layer", k if norm.startswith("atn") else 1


def run_oracle(norm: str, k: int, x: Array, W: Array, dy: Array) -> Outcome:
    """Forward and backward by the oracle."""
    if norm == "wn":
        weight, weight_cache = weight_norm_forward(W, np.ones(len(W)))
        dW, _ = weight_norm_backward(np.einsum("tbn,tbi->ni", dy, x), weight_cache)
        return Outcome(x @ weight.T, dy @ weight, dW)
    if norm in LAYERS:
        return _run_layer(norm, x, W, dy)
    if norm == "ada":
        z, ada_cache = ada_norm_forward(x @ W.T, eps=0.0)
        da = ada_norm_backward(dy, ada_cache).a
        return Outcome(z, da @ W, np.einsum("tbn,tbi->ni", da, x))
    base, window = _window_of(norm, k)
    y, cache = assorted_time_norm_forward(x @ W.T, window, eps=0.0, base=base)
    da = assorted_time_norm_backward(dy, cache).a
    return Outcome(y, da @ W, np.einsum("tbn,tbi->ni", da, x))


def _run_layer(norm: str, x: Array, W: Array, dy: Array) -> Outcome:
    """The LSTM with Norm-Prop or weight normalization; y is its h.

    W stands in each of its four gates, and the recurrent weight is one for a size.
    """
    N = len(W)
    weight_hh = np.random.default_rng(N).standard_normal((4 * N, N))
    ones = np.ones(4 * N)
    weight_ih = np.concatenate([W] * 4)
    dx: Array
    dW: Array
    if norm == "prop":
        parameters = NormPropLSTMParameters(weight_ih, weight_hh, ones, ones, np.ones(N))
        output, cache = norm_prop_lstm_forward(x, parameters, norm_prop(1.0, 1.0, 1.0))
        dx, (dW, *_), *_ = norm_prop_lstm_backward(dy, cache)
    else:
        output, wn_cache = weight_norm_lstm_forward(x, WeightNormLSTMParameters(weight_ih, weight_hh, ones, ones))
        dx, (dW, *_), *_ = weight_norm_lstm_backward(dy, wn_cache)
    return Outcome(output.h, dx, np.sum(np.split(dW, 4), axis=0))


def run_library_layer(backend: str, norm: str, x: Array, W: Array, dy: Array) -> Outcome:
    """The LSTM with `norm="prop"` or "wn", W in each of its four gates, as `_run_layer` has it; y is its h."""
    N = len(W)
    lstm = ATNLSTM(W.shape[1], N, bias=False, norm=LAYERS[norm], backend=backend, dtype=torch.float64)
    weight_hh = np.random.default_rng(N).standard_normal((4 * N, N))
    values = {name: torch.ones_like(parameter) for name, parameter in lstm.named_parameters()}
    values |= {"weight_ih_l0": torch.from_numpy(np.concatenate([W] * 4)), "weight_hh_l0": torch.from_numpy(weight_hh)}
    lstm.load_state_dict(values | dict(lstm.named_buffers()))
    inputs = to_tensor(x)
    y, _ = lstm(inputs)
    leaves = (inputs, lstm.get_parameter("weight_ih_l0"))
    dx, dW = torch.autograd.grad(y, leaves, torch.from_numpy(dy))
    return Outcome(y.detach(), dx, dW.reshape(4, *W.shape).sum(0))


def run_library_ada(x: Array, W: Array, dy: Array) -> Outcome:
    """AdaNorm as a site of the eager backend's layers, step by step."""
    inputs, weight = to_tensor(x), to_tensor(W)
    a = inputs @ weight.T
    site, *_ = sites_of(AdaSettings(1.0, 0.1, 0.0, "outside"), None, a[0])
    y = torch.stack([site.step(row) for row in a])
    return Outcome(y.detach(), *torch.autograd.grad(y, (inputs, weight), torch.from_numpy(dy)))


def run_library(backend: str, norm: str, k: int, x: Array, W: Array, dy: Array) -> Outcome:
    """Forward and backward by `atn.functional`; weight normalization is PyTorch's own, as a user would combine them."""
    if norm == "ada":
        return run_library_ada(x, W, dy)
    if norm in LAYERS:
        return run_library_layer(backend, norm, x, W, dy)
    inputs, weight, upstream = to_tensor(x), to_tensor(W), torch.from_numpy(dy)
    if norm == "wn":
        plain = nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=torch.float64)
        linear: Any = nn.utils.parametrizations.weight_norm(plain)
        magnitude, direction = linear.parametrizations.weight.original0, linear.parametrizations.weight.original1
        with torch.no_grad():
            magnitude.fill_(1.0)
            direction.copy_(weight)
        y, leaves = linear(inputs), (inputs, direction)
    else:
        base, window = _window_of(norm, k)
        a = inputs @ weight.T
        y, leaves = F.assorted_time_norm(a, window, eps=0.0, base=base, backend=backend), (inputs, weight)
    return Outcome(y.detach(), *torch.autograd.grad(y, leaves, upstream))


RUNNERS: dict[str, Callable[[str, int, Array, Array, Array], Outcome]] = {
    "oracle": run_oracle,
    **{backend: functools.partial(run_library, backend) for backend in (*BACKENDS, "triton")},
}


@functools.lru_cache(maxsize=len(NORMS))
def as_it_is(subject: str, norm: str, problem: LinearProblem) -> Outcome:
    """The norm of a problem that no transformation has changed, kept for the other rows of its column."""
    return RUNNERS[subject](norm, problem.k, *problem.arrays())


def assert_invariant(subject: str, norm: str, row: str, problem: LinearProblem) -> None:
    """Output unchanged, gradients related by the transposed map."""
    x, W, dy = problem.arrays()
    moved = TRANSFORMATIONS[row](problem, x, W)
    run = RUNNERS[subject]
    before, after = as_it_is(subject, norm, problem), run(norm, problem.k, moved.x, moved.W, dy)
    assert_close(after.y, before.y, quantity="output", backend=subject, what="y")
    gradients = {"dx": after.dx * _like(after.dx, moved.x_factor), "dW": after.dW * _like(after.dW, moved.W_factor)}
    assert_all_close(gradients, {"dx": before.dx, "dW": before.dW}, backend=subject)


def _like(values: Any, factor: Array) -> Any:
    return torch.from_numpy(np.array(factor)) if isinstance(values, torch.Tensor) else factor


def change_of_output(subject: str, norm: str, row: str, problem: LinearProblem) -> float:
    """Largest change of the output under the transformation, relative to its largest element."""
    x, W, dy = problem.arrays()
    moved = TRANSFORMATIONS[row](problem, x, W)
    run = RUNNERS[subject]
    before, after = as_it_is(subject, norm, problem).y, run(norm, problem.k, moved.x, moved.W, dy).y
    return float(abs(after - before).max() / abs(before).max())


@st.composite
def linear_problems(draw: st.DrawFn) -> LinearProblem:
    """Well-conditioned problems with T > k >= 2, at least three cases and features, and a delta away from 1."""
    k = draw(st.integers(2, 5))
    return LinearProblem(
        T=draw(st.integers(k + 1, k + 5)),
        B=draw(st.integers(3, 6)),
        I=draw(st.integers(2, 4)),
        N=draw(st.integers(3, 7)),
        k=k,
        delta=draw(st.sampled_from((0.125, 0.3, 0.5, 2.0, 3.7, 8.0))),
        seed=draw(seeds),
    )


SMALLEST = LinearProblem(T=3, B=3, I=2, N=3, k=2, delta=2.0, seed=0)


def cells(*, invariant: bool) -> list[Any]:
    """Cells that say yes, or cells that say no, as parameters that carry their claim."""
    return [
        pytest.param(norm, row, id=f"{row}-{norm}", marks=pytest.mark.claim(f"b1-{row}-{norm}"))
        for row in TRANSFORMATIONS
        for norm in NORMS
        if (norm in INVARIANT[row]) == invariant
    ]


def further_cells(*, invariant: bool) -> list[Any]:
    """Cells of `FURTHER` that say yes, or that say no."""
    return [
        pytest.param(norm, row, id=f"{row}-{norm}")
        for row in TRANSFORMATIONS
        for norm, like in FURTHER.items()
        if (like in INVARIANT[row]) == invariant
    ]


@pytest.mark.parametrize("subject", ["oracle", *BACKENDS])
class TestTableB1:
    """Appendix B, Table B.1, with the last row read as one case at one step and as the whole batch at one step."""

    @pytest.mark.parametrize(("norm", "row"), cells(invariant=True))
    @hypothesis.settings(max_examples=10)
    @given(problem=linear_problems())
    def test_cell_says_yes(self, subject: str, norm: str, row: str, problem: LinearProblem) -> None:
        assert_invariant(subject, norm, row, problem)

    @pytest.mark.parametrize(("norm", "row"), cells(invariant=False))
    @hypothesis.settings(max_examples=10)
    @given(problem=linear_problems())
    @hypothesis.example(problem=SMALLEST)
    def test_cell_says_no(self, subject: str, norm: str, row: str, problem: LinearProblem) -> None:
        assert change_of_output(subject, norm, row, problem) >= MARGIN


@pytest.mark.parametrize("subject", ["oracle", *BACKENDS])
class TestFurtherColumns:
    """The same rows for the norms beside the table's."""

    @pytest.mark.parametrize(("norm", "row"), further_cells(invariant=True))
    @hypothesis.settings(max_examples=5)
    @given(problem=linear_problems())
    def test_cell_says_yes(self, subject: str, norm: str, row: str, problem: LinearProblem) -> None:
        assert_invariant(subject, norm, row, problem)

    @pytest.mark.parametrize(("norm", "row"), further_cells(invariant=False))
    @hypothesis.settings(max_examples=5)
    @given(problem=linear_problems())
    @hypothesis.example(problem=SMALLEST)
    def test_cell_says_no(self, subject: str, norm: str, row: str, problem: LinearProblem) -> None:
        assert change_of_output(subject, norm, row, problem) >= MARGIN


class TestTableB1OfTheGPUKernels:
    """The same for the GPU kernels under Triton's interpreter, which is slow: on one small problem.

    That the kernels compute the norms, on many problems, is what `tests/library/backends/test_triton.py` shows.
    """

    @pytest.mark.parametrize(("norm", "row"), cells(invariant=True))
    def test_cell_says_yes(self, norm: str, row: str) -> None:
        assert_invariant("triton", norm, row, SMALLEST)

    @pytest.mark.parametrize(("norm", "row"), cells(invariant=False))
    def test_cell_says_no(self, norm: str, row: str) -> None:
        assert change_of_output("triton", norm, row, SMALLEST) >= MARGIN


def test_invariance_has_forty_cells() -> None:
    assert len(cells(invariant=True)) + len(cells(invariant=False)) == 40
    assert len(further_cells(invariant=True)) + len(further_cells(invariant=False)) == 8 * len(FURTHER)
