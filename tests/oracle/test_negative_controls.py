"""Bugs planted in the oracle's newer norms and cells, each found by the test named beside it.

A test that cannot fail shows nothing. Every plant here patches a function of the oracle for the time of one test.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from atn_reference import GRUGatesCache, Statistic
from atn_reference.networks import gru, norm_prop_lstm, weight_norm_lstm
from atn_reference.networks.gates import sigmoid
from atn_reference.norms import ada_norm, assorted_time_norm, norm_prop
from atn_reference.norms.norm_step import norm_step_backward, norm_step_forward
from atn_reference.norms.weight_norm import WeightNormCache, weight_norm_backward
from tests.oracle import test_detached as detached
from tests.oracle import test_gru as of_gru
from tests.oracle import test_norm_prop as of_norm_prop
from tests.oracle import test_weight_norm_lstm as of_weight_norm
from tests.support.complex_step import Array

Plant = Callable[[pytest.MonkeyPatch], None]

# ---- Norm-Prop ---------------------------------------------------------------------------------------------------


def state_taken_for_the_inner_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that comes in is read as h' = sqrt(Var h) h."""

    def forward(x: Array, parameters: Any, state: Any) -> Any:
        inner = None if state is None else state._replace(h=state.h / math.sqrt(of_norm_prop.NORM.var_h))
        return original(x, parameters, inner)

    original = norm_prop_lstm.weight_norm_lstm_forward  # type: ignore[attr-defined]  # the name that the module calls
    monkeypatch.setattr(norm_prop_lstm, "weight_norm_lstm_forward", forward)


def sigmoid_of_the_whole_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    """V(u) in place of V(u/2) in the moment of the sigmoid."""
    monkeypatch.setattr(norm_prop, "sigmoid_second_moment", lambda u: (1 + norm_prop.tanh_second_moment(u)) / 4)


def gradient_of_the_recurrent_gain_unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of gamma_hh / sqrt(Var h) handed out as that of gamma_hh."""

    def backward(*arguments: Any, **more: Any) -> Any:
        found = original(*arguments, **more)
        unscaled = found.parameters.gamma_hh * math.sqrt(of_norm_prop.NORM.var_h)
        return found._replace(parameters=found.parameters._replace(gamma_hh=unscaled))

    original = norm_prop_lstm.weight_norm_lstm_backward  # type: ignore[attr-defined]  # the name that the module calls
    monkeypatch.setattr(norm_prop_lstm, "weight_norm_lstm_backward", backward)


def variance_in_place_of_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide by Var c and Var h, not by their roots."""

    class Squares:
        sqrt = staticmethod(lambda value: value)

    monkeypatch.setattr(norm_prop_lstm, "math", Squares)


# ---- weight normalization ----------------------------------------------------------------------------------------


def gain_missing_in_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """NP (18) as printed."""

    def backward(dW: Array, cache: WeightNormCache) -> tuple[Array, Array]:
        dv, dg = weight_norm_backward(dW, cache)
        return dv / cache.g[:, None], dg

    monkeypatch.setattr(weight_norm_lstm, "weight_norm_backward", backward)


def part_along_the_row_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of a row taken for a constant."""

    def backward(dW: Array, cache: WeightNormCache) -> tuple[Array, Array]:
        _, dg = weight_norm_backward(dW, cache)
        return cache.g[:, None] / cache.length * dW, dg

    monkeypatch.setattr(weight_norm_lstm, "weight_norm_backward", backward)


def length_of_the_whole_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """One length for all rows, `dim=None` in PyTorch."""

    def forward(v: Array, g: Array) -> tuple[Array, WeightNormCache]:
        length = np.sqrt((v * v).sum()) * np.ones((len(v), 1))
        return g[:, None] * v / length, WeightNormCache(v / length, length, g)

    monkeypatch.setattr(weight_norm_lstm, "weight_norm_forward", forward)


# ---- detached statistics -----------------------------------------------------------------------------------------


def _detaching(monkeypatch: pytest.MonkeyPatch, other: dict[Any, tuple[Statistic, ...]]) -> None:
    """Detach other statistics than were asked for."""

    def forward(rows: Array, gamma: Any, beta: Any, eps: float, base: Any, detach: Any) -> Any:
        return norm_step_forward(rows, gamma, beta, eps, base, other[detach])

    monkeypatch.setattr(assorted_time_norm, "norm_step_forward", forward)


def detach_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both statistics attached, whatever is asked for."""
    _detaching(monkeypatch, {(): (), ("mean",): (), ("var",): (), ("mean", "var"): ()})


def statistics_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variance detached for the mean, and the mean for the variance."""
    both: tuple[Statistic, ...] = ("mean", "var")
    _detaching(monkeypatch, {(): (), ("mean",): ("var",), ("var",): ("mean",), both: both})


def one_detaches_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any statistic detached detaches both."""
    both: tuple[Statistic, ...] = ("mean", "var")
    _detaching(monkeypatch, {(): (), ("mean",): both, ("var",): both, both: both})


# ---- AdaNorm -----------------------------------------------------------------------------------------------------


def factor_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative of the forward pass, C (1 - 2 k y), as gradcheck would have it."""

    def backward(dz: Array, cache: Any) -> Any:
        C = 2.0
        return norm_step_backward((2.0 * cache.factor - C) * dz, cache.norm)

    monkeypatch.setattr(ada_norm, "ada_norm_step_backward", backward)


def statistics_of_ada_norm_detached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics of LN constants as well as the factor."""

    def forward(rows: Array, gamma: Any, beta: Any, eps: float, base: Any) -> Any:
        return norm_step_forward(rows, gamma, beta, eps, base, ("mean", "var"))

    monkeypatch.setattr(ada_norm, "norm_step_forward", forward)


def unbiased_deviation_in_ada_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unbiased deviation of the released code."""

    def forward(rows: Array, gamma: Any, beta: Any, eps: float, base: Any) -> Any:
        N = rows.shape[-1]
        y, cache = norm_step_forward(rows, gamma, beta, eps, base)
        return y * math.sqrt((N - 1) / N), cache

    monkeypatch.setattr(ada_norm, "norm_step_forward", forward)


# ---- GRU ---------------------------------------------------------------------------------------------------------


def update_gate_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Z * n + (1 - z) * h, as some papers write it."""

    def forward(a_ih: Array, a_hh: Array, h_prev: Array) -> tuple[Array, GRUGatesCache]:
        _, cache = original(a_ih, a_hh, h_prev)
        return cache.z * cache.n + (1 - cache.z) * h_prev, cache

    original = gru.gru_gates_forward
    monkeypatch.setattr(gru, "gru_gates_forward", forward)


def rows_of_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows read as z, r, n."""

    def swapped(a: Array) -> Array:
        r, z, n = np.split(a, 3, axis=1)
        return np.concatenate([z, r, n], axis=1)

    original = gru.gru_gates_forward
    monkeypatch.setattr(gru, "gru_gates_forward", lambda a, b, h: original(swapped(a), swapped(b), h))


def reset_gate_on_both_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reset gate multiplies the input's row of n too."""

    def forward(a_ih: Array, a_hh: Array, h_prev: Array) -> tuple[Array, GRUGatesCache]:
        _, cache = original(a_ih, a_hh, h_prev)
        H = h_prev.shape[1]
        r = sigmoid(a_ih[:, :H] + a_hh[:, :H])
        n = np.tanh(r * (a_ih[:, 2 * H :] + a_hh[:, 2 * H :]))
        return (1 - cache.z) * n + cache.z * h_prev, cache._replace(n=n)

    original = gru.gru_gates_forward
    monkeypatch.setattr(gru, "gru_gates_forward", forward)


def recurrent_gradient_without_the_reset_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the recurrent row of n is that of the input's."""

    def backward(dh: Array, cache: GRUGatesCache) -> tuple[Array, Array, Array]:
        da_ih, _, dh_prev = original(dh, cache)
        return da_ih, da_ih, dh_prev

    original = gru.gru_gates_backward
    monkeypatch.setattr(gru, "gru_gates_backward", backward)


EQUATIONS = partial(of_norm_prop.TestNetwork().test_forward_is_the_equations, bias=True)
GRADIENT = partial(of_norm_prop.TestNetwork().test_gradient, bias=True)
DIGITS = partial(
    of_norm_prop.TestConstants().test_nine_digits,
    gammas=(2, 2, 1),
    variance="literal",
    nine_digits=(0.805399279, 0.556948716, 0.161193624),
)
WEIGHT_NORM = partial(of_weight_norm.test_it_is_the_weight_norm_of_pytorch, start=False)
DETACHED_MEAN = partial(detached.TestDetachedStatistics().test_gradient_is_that_with_constants, ("mean",), "layer")
ADA_GRADIENT = detached.TestAdaNorm().test_gradient_is_that_with_a_constant_factor
GRU = partial(of_gru.test_without_a_norm_it_is_the_gru_of_pytorch, "outside")

CONTROLS: list[tuple[Plant, Callable[[], None]]] = [
    (state_taken_for_the_inner_one, EQUATIONS),
    (sigmoid_of_the_whole_deviation, DIGITS),
    (gradient_of_the_recurrent_gain_unscaled, GRADIENT),
    (variance_in_place_of_deviation, EQUATIONS),
    (gain_missing_in_the_gradient, WEIGHT_NORM),
    (part_along_the_row_kept, WEIGHT_NORM),
    (length_of_the_whole_weight, WEIGHT_NORM),
    (detach_ignored, DETACHED_MEAN),
    (statistics_swapped, DETACHED_MEAN),
    (one_detaches_both, DETACHED_MEAN),
    (factor_attached, ADA_GRADIENT),
    (statistics_of_ada_norm_detached, ADA_GRADIENT),
    (unbiased_deviation_in_ada_norm, detached.TestAdaNorm().test_fixed_value),
    (update_gate_the_other_way_round, GRU),
    (rows_of_another_library, GRU),
    (reset_gate_on_both_rows, GRU),
    (recurrent_gradient_without_the_reset_gate, GRU),
]


@pytest.mark.parametrize(("plant", "named_test"), CONTROLS, ids=[plant.__name__ for plant, _ in CONTROLS])
def test_planted_bug_is_found(plant: Plant, named_test: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    named_test()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        named_test()
