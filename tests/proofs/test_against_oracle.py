"""The SymPy formulas against the oracle: exact where the oracle takes symbols, to rounding at rational points."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray

from atn_reference import (
    Affine,
    LSTMParameters,
    LSTMState,
    RNNParameters,
    RNNState,
    WindowNorm,
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    atn_jacobian,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
    window_statistics_forward,
)
from atn_reference.printed import proposition1 as printed
from proofs.atn.networks import small_lstm, small_rnn
from proofs.atn.recurrence import CROSSED, LAG_ONE, ONE_UNIT, Recurrence, total_derivative
from proofs.atn.scaling import output_change_bound
from tests.support.comparison import assert_all_close, assert_close

Array = NDArray[np.float64]
EPS = Fraction(1, 7)


def rational(*shape: int, seed: int) -> NDArray[Any]:
    """An array of fractions between -3 and 3, the same for a seed."""
    rng = np.random.default_rng(seed)
    numerators = rng.integers(-12, 13, size=shape)
    denominators = rng.integers(4, 9, size=shape)
    pairs = zip(numerators.flat, denominators.flat, strict=True)
    return np.array([sp.Rational(int(p), int(q)) for p, q in pairs], dtype=object).reshape(shape)


def floats(values: Any) -> Array:
    """Float64 of exact numbers."""
    return np.array(values, dtype=np.float64)


def window_symbols(steps: int, units: int) -> list[list[Any]]:
    """A window of symbols, newest row first."""
    return [list(sp.symbols(f"a{lag}_1:{units + 1}")) for lag in range(steps)]


class TestProposition1AsPrinted:
    """The oracle's printed formulas, fed with symbols, against differentiation of Eqs. (7)-(9)."""

    @pytest.mark.claim("eq-12", "eq-13", "eq-a1-a3", "prop-1")
    @pytest.mark.parametrize(("units", "steps"), [(1, 3), (2, 2), (3, 3)])
    def test_statistics_of_leaves(self, units: int, steps: int) -> None:
        window = window_symbols(steps, units)
        mean, variance = printed.window_mean(window), printed.window_variance(window)
        for m in range(steps):
            for i in range(units):
                leaf, table = window[m][i], printed.independent_table(m)
                dmean = printed.mean_derivative(window, table)
                assert sp.expand(dmean - sp.diff(mean, leaf)) == 0
                for formula in (printed.variance_derivative_eq13, printed.variance_derivative_a3):
                    assert sp.expand(formula(window, i, table, dmean) - sp.diff(variance, leaf)) == 0

    @pytest.mark.claim("eq-11", "eq-a11-a12", "prop-1")
    @pytest.mark.parametrize("m", [0, 1])
    def test_output_of_leaves(self, m: int) -> None:
        window, gamma, eps, i = window_symbols(2, 2), sp.Symbol("gamma"), sp.Symbol("eps", positive=True), 1
        deviation = window[0][i] - printed.window_mean(window)
        y = gamma * deviation / sp.sqrt(printed.window_variance(window) + eps)
        dmean = printed.mean_derivative(window, printed.independent_table(m))
        dvariance = printed.variance_derivative_eq13(window, i, printed.independent_table(m), dmean)
        derivative = printed.output_derivative_a12(window, i, sp.Integer(m == 0), dmean, dvariance, gamma, eps)
        assert sp.simplify(derivative - sp.diff(y, window[m][i])) == 0


def symbolic_outputs(a: NDArray[Any], k: int, base: str, gamma: NDArray[Any], beta: NDArray[Any]) -> NDArray[Any]:
    """Eq. (9) for a (T, B, N) array of symbols."""
    T, B, N = a.shape
    y = np.empty((T, B, N), dtype=object)
    for t, b, i in np.ndindex(T, B, N):
        rows = a[max(0, t - k + 1) : t + 1]
        pool = list((rows[:, b, :] if base == "layer" else rows[:, :, i]).flat)
        mean = sum(pool) / sp.Integer(len(pool))
        variance = sum((entry - mean) ** 2 for entry in pool) / sp.Integer(len(pool))
        y[t, b, i] = gamma[i] * (a[t, b, i] - mean) / sp.sqrt(variance + sp.Rational(EPS)) + beta[i]
    return y


def symbols_like(name: str, *shape: int) -> NDArray[Any]:
    return np.array(sp.symbols(f"{name}:{int(np.prod(shape))}"), dtype=object).reshape(shape)


def evaluate(expression: Any, point: dict[Any, Any]) -> float:
    """An exact expression at a rational point, to 30 digits, then rounded."""
    return float(sp.N(sp.sympify(expression).subs(point), 30))


class TestLayerAtRationalPoints:
    """One layer of ATN: exact expressions against the float64 oracle."""

    @pytest.mark.claim("eq-7", "eq-8", "eq-9", "figure-1")
    @pytest.mark.parametrize("base", ["layer", "batch"])
    def test_forward(self, base: Any) -> None:
        values, gamma, beta = rational(4, 2, 3, seed=1), rational(3, seed=2), rational(3, seed=3)
        exact = symbolic_outputs(values, 3, base, gamma, beta)
        y, _ = assorted_time_norm_forward(floats(values), 3, floats(gamma), floats(beta), float(EPS), base)
        assert_close(y, floats([[[sp.N(e, 30) for e in row] for row in step] for step in exact]), quantity="symbolic")

    @pytest.mark.claim("eq-8", "s3-fixed-cost")
    def test_statistics_from_step_means_and_variances(self) -> None:
        values, k = rational(5, 1, 3, seed=4), 3
        (mean, var), _ = window_statistics_forward(floats(values), k)
        m = values.mean(axis=2)[:, 0]
        q = ((values - values.mean(axis=2, keepdims=True)) ** 2).mean(axis=2)[:, 0]
        windows = [slice(max(0, t - k + 1), t + 1) for t in range(5)]
        cheap_mean = [m[window].mean() for window in windows]
        cheap_var = [(q[window] + (m[window] - mu) ** 2).mean() for window, mu in zip(windows, cheap_mean, strict=True)]
        assert_close(mean[:, 0, 0], floats(cheap_mean), quantity="symbolic")
        assert_close(var[:, 0, 0], floats(cheap_var), quantity="symbolic")

    @pytest.mark.claim("prop-1", "eq-11")
    def test_jacobian(self) -> None:
        T, N, k = 3, 2, 2
        a, values, gamma = symbols_like("a", T, 1, N), rational(T, 1, N, seed=5), rational(N, seed=6)
        point = dict(zip(a.flat, values.flat, strict=True))
        y = symbolic_outputs(a, k, "layer", gamma, np.zeros(N, dtype=object))
        expected = np.zeros((T, 1, N, k, N))
        for t, i, m, p in np.ndindex(T, N, k, N):
            if m <= t:
                expected[t, 0, i, m, p] = evaluate(sp.diff(y[t, 0, i], a[t - m, 0, p]), point)
        assert_close(atn_jacobian(floats(values), k, floats(gamma), float(EPS)), expected, quantity="symbolic")

    @pytest.mark.claim("prop-1", "s3-gamma-beta-derivatives")
    @pytest.mark.parametrize("base", ["layer", "batch"])
    def test_backward(self, base: Any) -> None:
        T, B, N, k = 3, 2, 2, 2
        a, gamma, beta = symbols_like("a", T, B, N), symbols_like("gamma", N), symbols_like("beta", N)
        at = {"a": rational(T, B, N, seed=7), "gamma": rational(N, seed=8), "beta": rational(N, seed=9)}
        dy = rational(T, B, N, seed=10)
        loss = (dy * symbolic_outputs(a, k, base, gamma, beta)).sum()
        point = {
            symbol: value
            for symbols, name in ((a, "a"), (gamma, "gamma"), (beta, "beta"))
            for symbol, value in zip(symbols.flat, at[name].flat, strict=True)
        }
        _, cache = assorted_time_norm_forward(
            floats(at["a"]), k, floats(at["gamma"]), floats(at["beta"]), float(EPS), base
        )
        gradients = assorted_time_norm_backward(floats(dy), cache)
        for actual, symbols in ((gradients.a, a), (gradients.gamma, gamma), (gradients.beta, beta)):
            expected = np.array([evaluate(sp.diff(loss, symbol), point) for symbol in symbols.flat])
            assert actual is not None
            assert_close(actual, expected.reshape(symbols.shape), quantity="symbolic")


class TestRecurrence:
    """Total derivatives of an actual recurrence, exact, against the oracle's backward pass used step by step."""

    @pytest.mark.claim("prop-1", "eq-a13")
    @pytest.mark.parametrize("problem", [LAG_ONE, CROSSED, ONE_UNIT], ids=["diagonal", "crossed", "one-unit"])
    def test_backpropagation_through_the_recurrence(self, problem: Recurrence) -> None:
        last, source, n = len(problem.rows) - 1, problem.leaves - 1, problem.n
        rows, weight = floats(problem.rows)[:, None, :], floats(problem.weight)
        for i in range(n):
            dy, da = np.zeros_like(rows), np.zeros_like(rows)
            dy[last, 0, i] = 1.0
            for t in range(last, source - 1, -1):
                if t < last:
                    dy[t] = da[t + 1] @ weight
                _, cache = assorted_time_norm_forward(rows[: t + 1], problem.k, eps=float(problem.eps))
                upstream = np.zeros_like(rows[: t + 1])
                upstream[t] = dy[t]
                da[: t + 1] += assorted_time_norm_backward(upstream, cache).a
            expected = [float(total_derivative(problem, "y", last, i, source, p)) for p in range(n)]
            assert_close(da[source, 0], np.array(expected), quantity="symbolic")


class TestScaling:
    """What follows from scaling, where eps is not 0."""

    @pytest.mark.claim("eq-10")
    @pytest.mark.parametrize("delta", [1e-3, 0.5, 0.999, 1.001, 2.0, 1e3])
    @pytest.mark.parametrize("eps", [1e-5, 1e-2, 1.0])
    def test_bound_for_positive_eps(self, delta: float, eps: float) -> None:
        a = floats(rational(6, 3, 4, seed=11))
        before, _ = assorted_time_norm_forward(a, 3, eps=eps)
        after, _ = assorted_time_norm_forward(delta * a, 3, eps=eps)
        (mean, var), _ = window_statistics_forward(a, 3)
        for index in np.ndindex(a.shape):
            t, b, _ = index
            bound = output_change_bound(float(a[index] - mean[t, b, 0]), float(var[t, b, 0]), eps, delta)
            assert abs(after[index] - before[index]) <= bound * (1 + 1e-9) + 1e-15

    @pytest.mark.claim("s3-gradient-scaling")
    @pytest.mark.parametrize("eps", [0.0, 1e-2, 1.0])
    def test_inner_product_of_preactivation_and_gradient(self, eps: float) -> None:
        """<W, dL/dW> = sum of a dL/da = sum over t, b of eps/(var + eps) sum_n g xhat."""
        a, dy, gamma = (
            floats(rational(5, 2, 3, seed=12)),
            floats(rational(5, 2, 3, seed=13)),
            floats(rational(3, seed=14)),
        )
        xhat, _ = assorted_time_norm_forward(a, 2, eps=eps)
        _, cache = assorted_time_norm_forward(a, 2, gamma, eps=eps)
        (_, var), _ = window_statistics_forward(a, 2)
        aligned = (gamma * dy * xhat).sum(axis=2, keepdims=True)
        terms = a * assorted_time_norm_backward(dy, cache).a
        expected = (eps / (var + eps) * aligned).sum()
        assert_close(terms.sum(), expected, quantity="gradient", scale=float(np.abs(terms).sum()))


def arrays(point: dict[str, list[Any]], **shapes: tuple[int, ...]) -> dict[str, Array]:
    return {name: floats(point[name]).reshape(shape) for name, shape in shapes.items()}


class TestNetworks:
    """Gradients of small networks by SymPy against backpropagation through time."""

    @pytest.mark.claim("eq-14", "eq-15", "eq-16")
    @pytest.mark.parametrize("k", [1, 2])
    def test_lstm(self, k: int) -> None:
        T = 3
        network = small_lstm(T, k, sp.Rational(EPS))
        point = {name: list(rational(len(s), seed=seed)) for seed, (name, s) in enumerate(network.inputs.items())}
        expected = network.gradients(point)
        at = arrays(
            point,
            weight_ih=(4, 1),
            weight_hh=(4, 1),
            bias=(4,),
            x=(T, 1, 1),
            h_0=(1, 1),
            c_0=(1, 1),
            **{f"{name}_{site}": (4,) for name in ("gamma", "beta") for site in ("ih", "hh")},
            gamma_c=(1,),
            beta_c=(1,),
            dh=(T, 1, 1),
            dc_n=(1, 1),
        )
        parameters = LSTMParameters(
            at["weight_ih"],
            at["weight_hh"],
            at["bias"],
            norm_ih=Affine(at["gamma_ih"], at["beta_ih"]),
            norm_hh=Affine(at["gamma_hh"], at["beta_hh"]),
            norm_c=Affine(at["gamma_c"], at["beta_c"]),
        )
        state = LSTMState(at["h_0"], at["c_0"])
        output, cache = lstm_forward(at["x"], parameters, WindowNorm("layer", k, float(EPS)), "outside", state)
        gradients = lstm_backward(at["dh"], cache, dc_n=at["dc_n"])
        actual: dict[str, Any] = {
            "weight_ih": gradients.parameters.weight_ih,
            "weight_hh": gradients.parameters.weight_hh,
            "bias": gradients.parameters.bias_ih,
            "x": gradients.x,
            "h_0": gradients.h_0,
            "c_0": gradients.c_0,
            "dh": output.h,  # the loss is linear in these two, so that its slope is the output itself
            "dc_n": output.state.c,
        }
        for site in ("ih", "hh", "c"):
            affine = getattr(gradients.parameters, f"norm_{site}")
            actual |= {f"gamma_{site}": affine.gamma, f"beta_{site}": affine.beta}
        compare(actual, expected)

    @pytest.mark.claim("eq-1", "eq-2", "eq-3", "eq-4", "eq-5", "eq-6")
    @pytest.mark.parametrize("k", [1, 2])
    def test_rnn(self, k: int) -> None:
        T, H = 3, 2
        network = small_rnn(T, H, k, sp.Rational(EPS))
        point = {name: list(rational(len(s), seed=seed)) for seed, (name, s) in enumerate(network.inputs.items())}
        expected = network.gradients(point)
        at = arrays(
            point,
            weight_ih=(H, 1),
            weight_hh=(H, H),
            weight_y=(H, H),
            bias_h=(H,),
            bias_y=(H,),
            x=(T, 1, 1),
            h_0=(1, H),
            dh=(T, 1, H),
            dy=(T, 1, H),
            **{f"{name}_{site}": (H,) for name in ("gamma", "beta") for site in ("ih", "hh", "y")},
        )
        parameters = RNNParameters(
            at["weight_ih"],
            at["weight_hh"],
            at["weight_y"],
            at["bias_h"],
            None,
            at["bias_y"],
            *(Affine(at[f"gamma_{site}"], at[f"beta_{site}"]) for site in ("ih", "hh", "y")),
        )
        norm, state = WindowNorm("layer", k, float(EPS)), RNNState(at["h_0"])
        output, cache = rnn_forward(at["x"], parameters, norm, "outside", state)
        gradients = rnn_backward(at["dh"], at["dy"], cache)
        actual: dict[str, Any] = {
            "weight_ih": gradients.parameters.weight_ih,
            "weight_hh": gradients.parameters.weight_hh,
            "weight_y": gradients.parameters.weight_y,
            "bias_h": gradients.parameters.bias_ih,
            "bias_y": gradients.parameters.bias_y,
            "x": gradients.x,
            "h_0": gradients.h_0,
            "dh": output.h,  # the loss is linear in these two, so that its slope is the output itself
            "dy": output.y,
        }
        for site in ("ih", "hh", "y"):
            affine = getattr(gradients.parameters, f"norm_{site}")
            actual |= {f"gamma_{site}": affine.gamma, f"beta_{site}": affine.beta}
        compare(actual, expected)


def compare(actual: dict[str, Any], expected: dict[str, list[float]]) -> None:
    """Every gradient by name."""
    assert actual.keys() == expected.keys()
    flat = {name: np.ravel(array) for name, array in actual.items()}
    assert_all_close(flat, {name: np.array(values) for name, values in expected.items()}, backend="oracle")
