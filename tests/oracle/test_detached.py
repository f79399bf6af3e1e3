"""Statistics that the backward pass takes for constants, and AdaNorm, whose factor is one.

What a gradient should be where something is detached is found by a complex step too: the detached values keep their
real part alone (`stop_gradient`), so that no derivative passes through them.
"""

from typing import Any

import numpy as np
import pytest

from atn_reference import (
    AdaNorm,
    Base,
    GRUState,
    LSTMState,
    RNNState,
    Statistic,
    WindowNorm,
    ada_norm_backward,
    ada_norm_forward,
    ada_norm_step_forward,
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    gru_backward,
    gru_forward,
    layer_norm_forward,
    lstm_backward,
    lstm_forward,
    norm_step_forward,
    rnn_backward,
    rnn_forward,
    window_sizes,
    window_slice,
    window_statistics_forward,
)
from atn_reference.networks import site
from tests.support.comparison import assert_close
from tests.support.complex_step import Array, Tree, assert_gradients
from tests.support.oracle_cases import (
    B,
    gru_parameters,
    gru_state,
    lstm_parameters,
    lstm_state,
    rnn_parameters,
    rnn_state,
    sequence,
)

T, N, K = 6, 5, 3
DETACHED: list[tuple[Statistic, ...]] = [("mean",), ("var",), ("mean", "var")]
BASES: list[Base] = ["layer", "batch"]


def rows() -> tuple[Array, Array, Array]:
    """Preactivations with a spread and a mean that change with time, a gain, and an upstream gradient."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((T, B, N)) * rng.uniform(0.5, 2.0, (T, 1, 1)) + rng.standard_normal((T, 1, 1))
    return a, rng.uniform(0.5, 1.5, N), rng.standard_normal((T, B, N))


def stop_gradient(values: Array) -> Array:
    """The same values, through which no complex step passes."""
    return values.real.astype(values.dtype)


class TestDetachedStatistics:
    """`detach` of the windowed norm."""

    @pytest.mark.parametrize("base", BASES)
    @pytest.mark.parametrize("detach", DETACHED)
    def test_gradient_is_that_with_constants(self, detach: tuple[Statistic, ...], base: Base) -> None:
        a, gamma, _ = rows()

        def forward(tree: Tree) -> tuple[Tree, Any]:
            x = tree["a"]
            statistics, _ = window_statistics_forward(x, K, base)
            mean, var = (
                stop_gradient(value) if name in detach else value
                for name, value in zip(("mean", "var"), statistics, strict=True)
            )
            y = tree["gamma"] * (x - mean) / np.sqrt(var + 1e-2) + tree["beta"]
            _, cache = assorted_time_norm_forward(x, K, tree["gamma"], tree["beta"], 1e-2, base, detach=detach)
            return y, cache

        def backward(dy: Tree, cache: Any) -> Tree:
            gradients = assorted_time_norm_backward(dy, cache)
            return {"a": gradients.a, "gamma": gradients.gamma, "beta": gradients.beta}

        assert_gradients(forward, backward, {"a": a, "gamma": gamma, "beta": -gamma})

    @pytest.mark.parametrize("detach", DETACHED)
    def test_output_does_not_change(self, detach: tuple[Statistic, ...]) -> None:
        a, gamma, _ = rows()
        attached, _ = assorted_time_norm_forward(a, K, gamma)
        detached, _ = assorted_time_norm_forward(a, K, gamma, detach=detach)
        assert_close(detached, attached, quantity="exact")

    @pytest.mark.claim("ada-backward")
    @pytest.mark.parametrize("detach", [(), *DETACHED])
    def test_layer_norm_loses_one_term_for_each(self, detach: tuple[Statistic, ...]) -> None:
        """With g = gamma dy the gradient is r (g - mean(g) - xhat mean(g xhat)): the mean's term, the variance's."""
        a, gamma, dy = rows()
        eps = 1e-2
        y, cache = assorted_time_norm_forward(a, 1, gamma, eps=eps, detach=detach)
        g, xhat = gamma * dy, y / gamma
        expected = g - (0 if "mean" in detach else g.mean(2, keepdims=True))
        expected = expected - (0 if "var" in detach else xhat * (g * xhat).mean(2, keepdims=True))
        expected = expected / np.sqrt(a.var(axis=2, keepdims=True) + eps)
        assert_close(assorted_time_norm_backward(dy, cache).a, expected, quantity="gradient")

    @pytest.mark.claim("ada-recentering")
    @pytest.mark.parametrize("detach", [(), *DETACHED])
    def test_sum_of_the_gradient_vanishes_where_the_mean_is_attached(self, detach: tuple[Statistic, ...]) -> None:
        a, _, dy = rows()
        _, cache = assorted_time_norm_forward(a, 1, eps=0.0, detach=detach)
        da = assorted_time_norm_backward(dy, cache).a
        total = da.sum(axis=2)
        if "mean" in detach:
            assert np.abs(total).min() > 1e-3
        else:
            assert_close(total, np.zeros((T, B)), quantity="gradient", scale=float(np.abs(da).max()))

    @pytest.mark.claim("ada-variance")
    @pytest.mark.parametrize("eps", [0.0, 0.3])
    @pytest.mark.parametrize("detach", [(), *DETACHED])
    def test_inner_product_with_the_deviations(self, detach: tuple[Statistic, ...], eps: float) -> None:
        """<da, a - mu> = eps r^3 <g, a - mu> where the variance is attached, r <g, a - mu> where it is not."""
        a, _, g = rows()
        _, cache = assorted_time_norm_forward(a, 1, eps=eps, detach=detach)
        deviations = a - a.mean(axis=2, keepdims=True)
        r = 1.0 / np.sqrt(a.var(axis=2) + eps)
        along = (g * deviations).sum(axis=2)
        expected = r * along if "var" in detach else eps * r**3 * along
        actual = (assorted_time_norm_backward(g, cache).a * deviations).sum(axis=2)
        assert_close(actual, expected, quantity="gradient", scale=float(np.abs(r * along).max()))

    def test_fully_detached_no_gradient_reaches_older_rows(self) -> None:
        """The forward pass of ATN with the gradient of a fixed affine map: da = r gamma dy, memory and past get 0."""
        a, gamma, dy = rows()
        memory = a[:2] + 1.0
        _, cache = assorted_time_norm_forward(a, K, gamma, eps=1e-2, memory=memory, detach=("mean", "var"))
        gradients = assorted_time_norm_backward(dy, cache)
        (_, var), _ = window_statistics_forward(a, K, "layer", memory)
        assert_close(gradients.a, gamma * dy / np.sqrt(var + 1e-2), quantity="gradient")
        assert gradients.memory is not None
        assert_close(gradients.memory, np.zeros_like(memory), quantity="exact")

    def test_one_attached_statistic_does_reach_them(self) -> None:
        a, _, dy = rows()
        for detach in DETACHED[:2]:
            _, cache = assorted_time_norm_forward(a, K, memory=a[:2] + 1.0, detach=detach)
            memory = assorted_time_norm_backward(dy, cache).memory
            assert memory is not None
            assert np.abs(memory).min() > 1e-6

    def test_sum_over_a_window_where_the_mean_is_attached(self) -> None:
        """One window of ATN: its gradient sums to 0 over all the rows that it read."""
        a, _, dy = rows()
        upstream = np.zeros_like(dy)
        upstream[-1] = dy[-1]
        _, cache = assorted_time_norm_forward(a, K, detach=("var",))
        da = assorted_time_norm_backward(upstream, cache).a
        window = window_slice(T - 1, K)
        assert window_sizes(T, K)[-1] == len(da[window]) == K
        assert_close(da[window].sum(axis=(0, 2)), np.zeros(B), quantity="gradient", scale=float(np.abs(da).max()))


class TestAdaNorm:
    """AdaNorm of a sequence."""

    @pytest.mark.claim("ada-forward")
    def test_forward_is_the_equation(self) -> None:
        a, _, _ = rows()
        y, _ = layer_norm_forward(a, eps=1e-2)
        z, _ = ada_norm_forward(a, 2.0, 0.1, 1e-2)
        assert_close(z, 2.0 * (1 - 0.1 * y) * y, quantity="output")

    def test_fixed_value(self) -> None:
        """LN(0, 2) = (-1, 1) at eps = 0, so z = C (1 - k y) y = 2 (-1.25, 0.75) for k = 1/4."""
        z, _ = ada_norm_forward(np.array([[[0.0, 2.0]]]), 2.0, 0.25, 0.0)
        assert_close(z, np.array([[[-2.5, 1.5]]]), quantity="exact")

    @pytest.mark.claim("ada-gradient")
    def test_gradient_is_that_with_a_constant_factor(self) -> None:
        a, _, _ = rows()

        def forward(tree: Tree) -> tuple[Tree, Any]:
            y, _ = layer_norm_forward(tree["a"], eps=1e-2)
            return stop_gradient(2.0 * (1.0 - 0.1 * y)) * y, ada_norm_forward(tree["a"], 2.0, 0.1, 1e-2)[1]

        assert_gradients(forward, lambda dz, cache: {"a": ada_norm_backward(dz, cache).a}, {"a": a})

    @pytest.mark.claim("ada-gradient")
    def test_the_derivative_of_the_forward_pass_is_another_by_exactly_that(self) -> None:
        """In dz -> dy the published gradient has C (1 - k y), a complex step through the forward C (1 - 2 k y).

        With upstream dz (1 - 2 k y)/(1 - k y) the published backward gives what the complex step gives with dz.
        """
        a, _, dz = rows()
        C, slope, eps = 2.0, 0.1, 1e-2
        y, _ = layer_norm_forward(a, eps=eps)
        _, cache = ada_norm_forward(a, C, slope, eps)
        step = np.random.default_rng(1).standard_normal(a.shape)
        derivative = (dz * ada_norm_forward(a + 1e-30j * step, C, slope, eps)[0]).sum().imag / 1e-30
        published = (ada_norm_backward(dz, cache).a * step).sum()
        adjusted = (ada_norm_backward(dz * (1 - 2 * slope * y) / (1 - slope * y), cache).a * step).sum()
        assert_close(np.array(adjusted), np.array(derivative), quantity="gradient")
        assert abs(published - derivative) > 1e-2 * abs(derivative)

    @pytest.mark.claim("ada-monotone")
    def test_it_turns_at_one_over_twice_the_slope(self) -> None:
        """z(y) rises up to y = 1/(2k) = 5 and falls from there: y = 4, 5, 6 give 2.4, 2.5, 2.4 and y = 12 gives -2.4.

        One value of n that differs from the others has y = sqrt(n - 1), whatever it is.
        """
        outlier = [np.eye(1, n)[None] for n in (17, 26, 37, 145)]
        z = np.array([ada_norm_forward(a, eps=0.0)[0][0, 0, 0] for a in outlier])
        assert_close(z, np.array([2.4, 2.5, 2.4, -2.4]), quantity="output")


def constants_for_the_complex_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the networks' forward pass take for constants what their backward pass does."""

    def windowed(window: Array, gamma: Any, beta: Any, eps: float, base: Base, detach: Any) -> Any:
        y, cache = norm_step_forward(window, gamma, beta, eps, base, detach)
        mean, var = (
            stop_gradient(value) if name in detach else value
            for name, value in zip(("mean", "var"), cache.statistics, strict=True)
        )
        xhat = (window[-1] - mean) / np.sqrt(var + eps)
        y = (xhat if gamma is None else gamma * xhat) + (0.0 if beta is None else beta)
        return y, cache

    def adaptive(a: Array, norm: AdaNorm) -> Any:
        _, cache = original(a, norm)
        y, _ = norm_step_forward(a[None], None, None, norm.eps, "layer")
        return stop_gradient(norm.C * (1.0 - norm.slope * y)) * y, cache

    original = ada_norm_step_forward
    monkeypatch.setattr(site, "norm_step_forward", windowed)
    monkeypatch.setattr(site, "ada_norm_step_forward", adaptive)


NETWORK_NORMS: dict[str, Any] = {
    "mean": WindowNorm("layer", 3, 1e-2, ("mean",)),
    "var": WindowNorm("batch", 3, 1e-2, ("var",)),
    "both": WindowNorm("layer", 3, 1e-2, ("mean", "var")),
    "ada": AdaNorm(1.5, 0.1, 1e-2),
}


@pytest.mark.parametrize("norm", NETWORK_NORMS)
class TestInNetworks:
    """The three networks with detached statistics and with AdaNorm."""

    def test_lstm(self, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
        constants_for_the_complex_step(monkeypatch)
        memory = None if norm == "ada" else 2
        inputs = {"x": sequence(), "parameters": lstm_parameters(affine=norm != "ada"), "state": lstm_state(memory)}

        def backward(d: Tree, cache: Any) -> Tree:
            found = lstm_backward(d.h, cache, d.state.h, d.state.c, dc=d.c, dmemory_n=d.state.memory)
            state = LSTMState(found.h_0, found.c_0, found.memory)
            return {"x": found.x, "parameters": found.parameters, "state": state}

        assert_gradients(lambda tree: lstm_forward(norm=NETWORK_NORMS[norm], **tree), backward, inputs)

    def test_rnn(self, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
        constants_for_the_complex_step(monkeypatch)
        memory = None if norm == "ada" else 2
        inputs = {"x": sequence(), "parameters": rnn_parameters(affine=norm != "ada"), "state": rnn_state(memory)}

        def backward(d: Tree, cache: Any) -> Tree:
            found = rnn_backward(d.h, d.y, cache, d.state.h, dmemory_n=d.state.memory)
            return {"x": found.x, "parameters": found.parameters, "state": RNNState(found.h_0, found.memory)}

        assert_gradients(lambda tree: rnn_forward(norm=NETWORK_NORMS[norm], **tree), backward, inputs)

    def test_gru(self, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
        constants_for_the_complex_step(monkeypatch)
        memory = None if norm == "ada" else 2
        inputs = {"x": sequence(), "parameters": gru_parameters(affine=norm != "ada"), "state": gru_state(memory)}

        def backward(d: Tree, cache: Any) -> Tree:
            found = gru_backward(d.h, cache, d.state.h, dmemory_n=d.state.memory)
            return {"x": found.x, "parameters": found.parameters, "state": GRUState(found.h_0, found.memory)}

        assert_gradients(lambda tree: gru_forward(norm=NETWORK_NORMS[norm], **tree), backward, inputs)
