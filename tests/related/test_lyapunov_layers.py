"""Jacobians and exponents of the oracle's layers, where they are known exactly."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from atn_reference import (
    LSTMState,
    WindowNorm,
    lstm_backward,
    lstm_forward,
    lstm_log_determinant,
    lyapunov_exponents,
    norm_prop_lstm_forward,
)
from tests.support.comparison import assert_close
from tests.support.lyapunov import oracle_jacobians
from tests.support.oracle_stack import NORM_PROP
from tests.support.problems import Array, HiddenProblem, LSTMProblem, mapped

H = 5

PLAIN = LSTMProblem(
    T=40, B=1, I=3, H=H, layers=1, directions=1, norm="none", k=1, eps=1e-3, bias_placement="outside",
    bias=True, affine=True, initial_state=True, seed=1,
)  # fmt: skip


def lstm(**changes: Any) -> LSTMProblem:
    return dataclasses.replace(PLAIN, **changes)


def hidden(**changes: Any) -> HiddenProblem:
    return HiddenProblem(**{**dataclasses.asdict(PLAIN), **changes})


def with_parameters(problem: Any, **changes: Any) -> Any:
    """The problem with some arrays of its one layer replaced."""
    copy = mapped(problem, np.array)
    (((parameters),),) = copy.parameters
    copy.parameters[0][0] = parameters._replace(**changes)
    return copy


def directions(D: int, p: int | None = None) -> Array:
    """Orthonormal columns (D, p) in general position."""
    return np.linalg.qr(np.random.default_rng(99).standard_normal((D, D)))[0][:, :p]


def log_determinants(jacobians: Array) -> Array:
    logarithms: Array = np.linalg.slogdet(jacobians)[1]
    return logarithms


class TestRNN:
    """The simplest cell."""

    @pytest.mark.claim("ly-algorithm")
    @pytest.mark.parametrize("w", [0.6, 2.5])
    def test_scalar(self, w: float) -> None:
        """H' = tanh(w h): log w where h = 0 is stable, and log(w (1 - h*^2)) at the fixed point h* = tanh(w h*)."""
        problem = with_parameters(
            hidden(cell="RNN_TANH", H=1, T=90, bias=False),
            weight_ih=np.full((1, 3), 0.1),
            weight_hh=np.full((1, 1), w),
            weight_y=np.ones((2, 1)),
        )
        x = np.zeros((90, 3))
        x[0] = 1.0  # away from the fixed point 0, which is unstable for w > 1
        found = lyapunov_exponents(oracle_jacobians(problem, x), np.eye(1), burn_in=60)
        fixed = 0.0 if w < 1 else 0.98562  # the fixed point for w = 2.5 to five digits
        for _ in range(40):
            fixed = math.tanh(w * fixed)
        assert_close(found, np.array([math.log(w * (1 - fixed**2))]), quantity="output")

    @pytest.mark.claim("s1-prevents-exploding")
    @pytest.mark.parametrize("k", [1, 5])
    def test_normalized_network_that_is_chaotic(self, k: int) -> None:
        """A norm does not bound the growth: with a gain of 3 a change of the state grows, under a constant input."""
        problem = hidden(cell="RNN_TANH", H=30, T=150, norm="atn", k=k, bias=False, seed=3)
        parameters: Any = problem.parameters[0][0]
        gained = parameters.norm_hh._replace(gamma=np.full(30, 3.0), beta=np.zeros(30))
        constant = parameters.norm_ih._replace(gamma=np.zeros(30))  # its shift is left
        jacobians = oracle_jacobians(with_parameters(problem, norm_hh=gained, norm_ih=constant))
        (growth,) = lyapunov_exponents(jacobians, directions(jacobians.shape[1], 1), burn_in=50)
        assert growth > 0.1


class TestLSTM:
    """The closed determinant, and what a forget gate alone does."""

    @pytest.mark.claim("ly-determinant", "np-20-26")
    @pytest.mark.parametrize("norm", ["none", "prop"])
    def test_closed_determinant(self, norm: Any) -> None:
        """At every step, and with the sum of the exponents."""
        problem = lstm(norm=norm)
        x, p = problem.arrays["x"], problem.parameters[0][0]
        state = LSTMState(problem.arrays["h_0"][0], problem.arrays["c_0"][0])
        if norm == "prop":
            cache = norm_prop_lstm_forward(x, p, NORM_PROP, state)[1].lstm.lstm
        else:
            cache = lstm_forward(x, p, None, state=state)[1]
        closed = lstm_log_determinant(cache)[:, 0]
        jacobians = oracle_jacobians(problem)
        assert_close(log_determinants(jacobians), closed, quantity="gradient")
        exponents = lyapunov_exponents(jacobians, directions(2 * H))
        assert_close(np.array(exponents.sum()), np.array(closed.mean()), quantity="gradient")

    @pytest.mark.claim("ly-memory", "s1-gated-do-not-vanish")
    @pytest.mark.parametrize(("forget_bias", "most"), [(0.0, 0.3), (20.0, 1e-6)])
    def test_without_a_recurrent_product(self, forget_bias: float, most: float) -> None:
        """W_hh = 0: H exponents are mean log f, here exact at 40 steps, and H are -inf; f = 1 keeps a change."""
        problem = with_parameters(PLAIN, weight_hh=np.zeros((4 * H, H)), bias_hh=np.repeat([0, forget_bias, 0, 0], H))
        arrays = problem.arrays
        state = LSTMState(arrays["h_0"][0], arrays["c_0"][0])
        _, cache = lstm_forward(arrays["x"], problem.parameters[0][0], None, state=state)
        log_f = np.log([step.gates.f[0] for step in cache.steps]).sum(axis=0)
        last = cache.steps[-1]
        slope = last.gates.o[0] * (1 - last.output.tanh_z[0] ** 2)  # dh / dc, into which the last step turns dc
        expected = (log_f + np.log1p(slope**2) / 2) / 40
        Q = np.eye(2 * H)[:, H:]  # the cells, each of which moves in a plane of its own with its h
        jacobians = oracle_jacobians(problem)
        assert_close(lyapunov_exponents(jacobians, Q), expected, quantity="gradient")
        assert (np.abs(log_f.max()) / 40 < most) == (forget_bias > 0)
        assert np.isneginf(log_determinants(jacobians)).all()
        assert np.linalg.matrix_rank(jacobians[-1]) == H


class TestWindows:
    """The coordinates of a window, and which of them are forgotten."""

    @pytest.mark.claim("ly-window-state")
    @pytest.mark.parametrize("k", [2, 3, 5, 8])
    def test_minimal_coordinates_of_the_lstm(self, k: int) -> None:
        """2H + 4k - 6 of 2H + 6(k - 1); all finite, and the determinant of the rest is 0."""
        problem = lstm(norm="atn", k=k)
        minimal, full = (oracle_jacobians(problem, minimal=minimal) for minimal in (True, False))
        assert minimal.shape[1] == 2 * H + 4 * k - 6
        assert full.shape[1] == 2 * H + 6 * (k - 1)
        exponents = lyapunov_exponents(minimal, directions(minimal.shape[1]))
        assert_close(np.array(exponents.sum()), np.array(log_determinants(minimal).mean()), quantity="gradient")
        assert np.linalg.svd(minimal[-1])[1].min() > 1e-9
        # After k - 1 steps nothing is left of 2k directions.
        product = np.linalg.multi_dot([*full[k - 1 :: -1], np.eye(full.shape[1])])
        assert np.linalg.matrix_rank(product) <= full.shape[1] - 2 * k

    @pytest.mark.claim("ly-window-state")
    @pytest.mark.parametrize("cell", ["GRU", "RNN_TANH"])
    @pytest.mark.parametrize("k", [2, 5])
    def test_minimal_coordinates_of_cells_without_c(self, cell: Any, k: int) -> None:
        problem = hidden(cell=cell, norm="atn", k=k)
        minimal, full = (oracle_jacobians(problem, minimal=minimal) for minimal in (True, False))
        assert minimal.shape[1] == H + 2 * (k - 1)
        assert full.shape[1] == H + 4 * (k - 1)
        assert np.linalg.svd(minimal[-1])[1].min() > 1e-9

    @pytest.mark.claim("ly-window-state")
    def test_both_coordinates_have_the_same_finite_exponents(self) -> None:
        """The block of the minimal coordinates is that of the full ones, restricted to states that can occur."""
        problem = lstm(norm="atn", k=3, T=300)
        minimal, full = (oracle_jacobians(problem, minimal=minimal) for minimal in (True, False))
        D = minimal.shape[1]
        of_minimal = lyapunov_exponents(minimal, directions(D, D), burn_in=50)
        of_full = lyapunov_exponents(full, directions(full.shape[1], D), burn_in=50)
        assert abs(of_minimal.sum() - of_full.sum()) < 1e-3
        assert np.abs(of_minimal - of_full).max() < 5e-2  # of two that are near each other either may be ahead

    @pytest.mark.claim("ly-ln-forgets")
    @pytest.mark.parametrize(
        ("norm", "identity", "forgotten"), [("ln", False, 1), ("ln", True, 2), ("atn", False, 0), ("atn", True, 0)]
    )
    def test_directions_that_layer_norm_forgets(self, norm: Any, identity: bool, forgotten: int) -> None:  # noqa: FBT001 - a parameter of the test
        """With eps = 0 the direction of h, and at the paper's initialization that of equal numbers; with k = 2 none."""
        problem = lstm(norm=norm, k=2, eps=0.0)
        if identity:
            problem = with_parameters(problem, weight_hh=np.tile(np.eye(H), (4, 1)))
        singular = np.linalg.svd(oracle_jacobians(problem)[-1])[1]
        assert [int((singular < bound).sum()) for bound in (1e-13, 1e-9)] == [forgotten, forgotten]

    @pytest.mark.claim("ly-ln-forgets")
    def test_eps_keeps_them_in_proportion(self) -> None:
        """The smallest exponent of LN falls by log 100 where eps is divided by 100."""
        exponents = [
            lyapunov_exponents(oracle_jacobians(lstm(norm="ln", eps=eps)), directions(2 * H), burn_in=10)[-1]
            for eps in (1e-8, 1e-10)
        ]
        assert abs(exponents[0] - exponents[1] - math.log(100)) < 1e-3


class TestAdjoint:
    """The backward pass written by hand is the product of the Jacobians, transposed."""

    @pytest.mark.claim("ly-adjoint")
    def test_gradient_after_many_steps(self) -> None:
        """dL/dS[0] = J[1]^T ... J[T]^T dL/dS[T], in which the order counts."""
        problem = lstm(norm="ln", T=12)
        x, p = np.repeat(problem.arrays["x"], 2 * H, axis=1), problem.parameters[0][0]
        h_0, c_0 = (np.repeat(problem.arrays[name][0], 2 * H, axis=0) for name in ("h_0", "c_0"))
        _, cache = lstm_forward(x, p, WindowNorm("layer", 1, problem.eps), state=LSTMState(h_0, c_0))
        upstream = np.eye(2 * H)
        zeros = np.zeros_like(cache.output.h)
        gradients = lstm_backward(zeros, cache, upstream[:, :H].copy(), upstream[:, H:].copy())
        found = np.concatenate([gradients.h_0, gradients.c_0], axis=1)
        product = np.linalg.multi_dot(oracle_jacobians(problem)[::-1])
        assert_close(found, product, quantity="gradient")
        reverse = np.linalg.multi_dot(oracle_jacobians(problem))
        assert np.abs(found - reverse).max() > 0.1 * np.abs(product).max()

    @pytest.mark.claim("ly-adjoint")
    def test_growth_of_a_gradient(self) -> None:
        """Its rate over many steps is lambda_1."""
        jacobians = oracle_jacobians(lstm(T=400))
        forward = lyapunov_exponents(jacobians, directions(2 * H), burn_in=100)
        backward = lyapunov_exponents(jacobians[::-1].transpose(0, 2, 1), directions(2 * H), burn_in=0)
        assert np.abs(forward[:3] - backward[:3]).max() < 5e-2
