"""The oracle's Norm-Prop LSTM: its constants, its equations, its gradients, and what follows from them."""

import math
from typing import Any

import numpy as np
import pytest

from atn_reference import (
    LSTMOutput,
    LSTMParameters,
    LSTMState,
    NormProp,
    NormPropLSTMParameters,
    WeightNormLSTMParameters,
    cell_variance,
    lstm_backward,
    lstm_forward,
    norm_prop,
    norm_prop_lstm_backward,
    norm_prop_lstm_forward,
    orthogonal_unit_rows,
    preactivation_deviation,
    sigmoid,
    sigmoid_second_moment,
    tanh_second_moment,
    unit_rows,
    weight_norm_backward,
    weight_norm_forward,
    weight_norm_lstm_forward,
)
from tests.support.comparison import assert_all_close, assert_close
from tests.support.complex_step import Array, Tree, assert_gradients, leaves, random_like
from tests.support.oracle_cases import H, T, lstm_state, norm_prop_parameters, sequence
from tests.support.tolerances import STANDARD_ERRORS

NORM = NormProp(0.4, 0.15)


def backward(upstream: Tree, cache: Any) -> Tree:
    """Every output has an upstream gradient."""
    state = upstream.state
    return norm_prop_lstm_backward(upstream.h, cache, state.h, state.c, dc=upstream.c)._asdict()


def run(tree: Tree) -> tuple[LSTMOutput, Any]:
    return norm_prop_lstm_forward(tree["x"], tree["parameters"], NORM, LSTMState(tree["h_0"], tree["c_0"]))


def inputs(*, bias: bool = True) -> dict[str, Tree]:
    state = lstm_state(None)
    return {"x": sequence(), "parameters": norm_prop_parameters(bias=bias), "h_0": state.h, "c_0": state.c}


class TestConstants:
    """V(u), Var c and Var h."""

    @pytest.mark.claim("np-8", "np-9-10", "np-12")
    @pytest.mark.parametrize(
        ("gammas", "variance", "nine_digits"),
        [
            ((2, 2, 1), "literal", (0.805399279, 0.556948716, 0.161193624)),
            ((2, 2, 1), "independent", (0.731050907, 0.448051928, 0.149829516)),
            ((0.5, 0.5, 0.5), "literal", (0.394294490, 0.163705499, 0.050905999)),
            ((0.5, 0.5, 0.5), "independent", (0.273676308, 0.104004457, 0.047782291)),
            ((0.5, 0.5, 1), "literal", (0.394294490, 0.163705499, 0.115677737)),
        ],
    )
    def test_nine_digits(
        self, gammas: tuple[float, float, float], variance: Any, nine_digits: tuple[float, ...]
    ) -> None:
        """For the gains of the paper's two experiments, and gamma_c = 1 at u = 1."""
        V = tanh_second_moment(preactivation_deviation(gammas[0], gammas[1], variance))
        constants = norm_prop(*gammas, variance)
        assert tuple(round(value, 9) for value in (V, *constants)) == nine_digits

    def test_literal_is_the_default(self) -> None:
        assert norm_prop(2, 2, 1) == norm_prop(2, 2, 1, "literal") != norm_prop(2, 2, 1, "independent")

    @pytest.mark.parametrize("u", [0.1, 1.0, 2.83, 4.0, 9.0, 30.0])
    def test_quadrature_is_exact(self, u: float) -> None:
        """Against the same rule with 16 times the points on a wider interval, in longdouble."""
        z = np.linspace(-20, 20, 100_001, dtype=np.longdouble)
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.longdouble(np.pi))
        expected = (density * np.tanh(np.longdouble(u) * z) ** 2).sum() * (np.longdouble(40) / 100_000)
        assert_close(np.array(tanh_second_moment(u)), np.array(float(expected)), quantity="symbolic")

    def test_bounds(self) -> None:
        """V(u) <= u^2, and 1 - V(u) tends to sqrt(2/pi)/u."""
        assert tanh_second_moment(0.0) == 0.0
        assert all(0 < tanh_second_moment(u) < min(1.0, u * u) for u in (0.01, 0.5, 1.0, 3.0))
        u = 50.0
        assert abs((1 - tanh_second_moment(u)) * u / math.sqrt(2 / math.pi) - 1) < 1e-3

    def test_moments_of_the_sigmoid(self) -> None:
        """E s = 1/2 and Var s = V(u/2)/4, by quadrature of the sigmoid itself."""
        u, z = 1.7, np.linspace(-12, 12, 2001)
        density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (24 / 2000)
        mean = (density * sigmoid(u * z)).sum()
        var = (density * (sigmoid(u * z) - mean) ** 2).sum()
        assert_close(np.array([mean, var]), np.array([0.5, tanh_second_moment(u / 2) / 4]), quantity="symbolic")
        assert_close(np.array(sigmoid_second_moment(u)), np.array(var + 0.25), quantity="symbolic")


class TestNetwork:
    """NP (13)-(15), forward and backward."""

    @pytest.mark.claim("np-13", "np-14", "np-15")
    @pytest.mark.parametrize("bias", [True, False])
    def test_forward_is_the_equations(self, *, bias: bool) -> None:
        """Row by row and gate by gate, with h itself as the state."""
        p, x, state = norm_prop_parameters(bias=bias), sequence(), lstm_state(None)
        b = p.bias_ih + p.bias_hh if p.bias_ih is not None and p.bias_hh is not None else np.zeros(4 * H)
        What_ih, What_hh = (np.stack([row / np.linalg.norm(row) for row in W]) for W in (p.weight_ih, p.weight_hh))
        output, _ = norm_prop_lstm_forward(x, p, NORM, state)
        h, c = state.h, state.c
        for t in range(T):
            i, f, g, o = np.split(p.gamma_ih * (x[t] @ What_ih.T) + p.gamma_hh * (h @ What_hh.T) + b, 4, axis=1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(p.gamma_c * c / math.sqrt(NORM.var_c)) / (1 + np.exp(-o)) / math.sqrt(NORM.var_h)
            assert_close(output.h[t], h, quantity="output")
            assert_close(output.c[t], c, quantity="output")
        assert_close(output.state.h, h, quantity="output")
        assert output.state.memory is None

    @pytest.mark.claim("np-13", "np-14", "np-15", "np-18")
    @pytest.mark.parametrize("bias", [True, False])
    def test_gradient(self, *, bias: bool) -> None:
        assert_gradients(run, backward, inputs(bias=bias))

    @pytest.mark.claim("np-18")
    def test_gradient_of_a_weight_is_equation_18_with_the_gain(self) -> None:
        """One unit and one input: dL/dW_j = gamma (x_j - y W_j/|W|) dL/dy / |W| with y = <W, x>/|W|."""
        W, x, gamma = np.array([[3.0, 4.0]]), np.array([1.0, 0.0]), 2.0
        y = (W @ x)[0] / 5.0
        _, cache = weight_norm_forward(W, np.array([gamma]))
        dW, _ = weight_norm_backward(x[None], cache)
        assert_close(dW[0], gamma * (x - y * W[0] / 5.0) / 5.0, quantity="gradient")
        assert_close(dW[0], np.array([0.256, -0.192]), quantity="gradient")

    @pytest.mark.parametrize("chunks", [(2, 4), (1, 1, 4)])
    def test_chunks_equal_the_whole(self, chunks: tuple[int, ...]) -> None:
        """The state that is handed on is h, which the next chunk's recurrent weight reads."""
        p = norm_prop_parameters()
        whole, _ = norm_prop_lstm_forward(sequence(), p, NORM)
        state, outputs = None, []
        for x in np.split(sequence(), np.cumsum(chunks)[:-1]):
            output, _ = norm_prop_lstm_forward(x, p, NORM, state)
            state = output.state
            outputs.append(output)
        assert_close(np.concatenate([output.h for output in outputs]), whole.h, quantity="output")
        assert_close(np.concatenate([output.c for output in outputs]), whole.c, quantity="output")
        assert outputs[-1].state.step == T

    def test_backward_through_chunks_equals_the_whole(self) -> None:
        p = norm_prop_parameters()
        whole, cache = norm_prop_lstm_forward(sequence(), p, NORM)
        upstream = random_like(whole, 2)
        expected = leaves(backward(upstream, cache))
        first, first_cache = norm_prop_lstm_forward(sequence()[:2], p, NORM)
        _, second_cache = norm_prop_lstm_forward(sequence()[2:], p, NORM, first.state)
        state = upstream.state
        late = norm_prop_lstm_backward(upstream.h[2:], second_cache, state.h, state.c, dc=upstream.c[2:])
        early = norm_prop_lstm_backward(upstream.h[:2], first_cache, late.h_0, late.c_0, dc=upstream.c[:2])
        total = {
            f"parameters.{name}": gradient + leaves(late.parameters)[name]
            for name, gradient in leaves(early.parameters).items()
        }
        actual = {"x": np.concatenate([early.x, late.x]), "h_0": early.h_0, "c_0": early.c_0} | total
        assert_all_close(actual, expected, backend="oracle")

    @pytest.mark.claim("np-cost")
    def test_it_is_a_plain_lstm_with_a_gain_on_the_cell(self) -> None:
        """The plain LSTM with folded weights, h' = sqrt(Var h) h as the state, and gamma_c over sqrt(Var c) as gain."""
        p, x, state = norm_prop_parameters(), sequence(), lstm_state(None)
        root_c, root_h = math.sqrt(NORM.var_c), math.sqrt(NORM.var_h)
        plain = LSTMParameters(
            p.gamma_ih[:, None] * unit_rows(p.weight_ih),
            p.gamma_hh[:, None] * unit_rows(p.weight_hh) / root_h,
            p.bias_ih,
            p.bias_hh,
            gamma_c=p.gamma_c / root_c,
        )
        output, cache = norm_prop_lstm_forward(x, p, NORM, state)
        folded, folded_cache = lstm_forward(x, plain, None, state=state._replace(h=state.h * root_h))
        assert_close(output.h, folded.h / root_h, quantity="output")
        assert_close(output.c, folded.c, quantity="output")
        dh = random_like(output.h, 4)
        gradients, of_folded = norm_prop_lstm_backward(dh, cache), lstm_backward(dh / root_h, folded_cache)
        assert_close(gradients.x, of_folded.x, quantity="gradient")
        assert_close(gradients.h_0, of_folded.h_0 * root_h, quantity="gradient")
        assert of_folded.parameters.gamma_c is not None
        assert_close(gradients.parameters.gamma_c, of_folded.parameters.gamma_c / root_c, quantity="gradient")

    def test_with_constants_of_one_it_is_weight_normalization(self) -> None:
        p = norm_prop_parameters()._replace(gamma_c=np.ones(H))
        wn = WeightNormLSTMParameters(p.weight_ih, p.weight_hh, p.gamma_ih, p.gamma_hh, p.bias_ih, p.bias_hh)
        output, _ = norm_prop_lstm_forward(sequence(), p, NormProp(1.0, 1.0))
        expected, _ = weight_norm_lstm_forward(sequence(), wn)
        assert_close(output.h, expected.h, quantity="exact")

    def test_no_case_sees_another(self) -> None:
        """No statistic of a batch: another first case changes no other, to the last bit of its own run."""
        p, x = norm_prop_parameters(), sequence()
        other = x.copy()
        other[:, 0] += 1.0
        outputs = [norm_prop_lstm_forward(values, p, NORM)[0].h for values in (x, other)]
        assert_close(outputs[1][:, 1:], outputs[0][:, 1:], quantity="exact")
        assert np.abs(outputs[1][:, 0] - outputs[0][:, 0]).max() > 1e-3


class TestRows:
    """What the lengths of the rows do, and do not."""

    def scaled(self, factor: Array) -> NormPropLSTMParameters:
        p = norm_prop_parameters()
        return p._replace(weight_ih=factor[:, None] * p.weight_ih, weight_hh=factor[::-1, None] * p.weight_hh)

    @pytest.mark.claim("np-16-17")
    def test_positive_factors_of_rows_change_no_output_and_divide_the_gradient(self) -> None:
        factor = np.random.default_rng(0).uniform(0.2, 5.0, 4 * H)
        results = {}
        for name, p in (("before", norm_prop_parameters()), ("after", self.scaled(factor))):
            output, cache = norm_prop_lstm_forward(sequence(), p, NORM)
            results[name] = output, norm_prop_lstm_backward(np.ones_like(output.h), cache).parameters
        assert_close(results["after"][0].h, results["before"][0].h, quantity="output")
        for name, of_rows in (("weight_ih", factor), ("weight_hh", factor[::-1])):
            before, after = (getattr(results[when][1], name) for when in ("before", "after"))
            assert_close(after * of_rows[:, None], before, quantity="gradient")
        for name in ("gamma_ih", "gamma_hh", "gamma_c"):
            before, after = (getattr(results[when][1], name) for when in ("before", "after"))
            assert_close(after, before, quantity="gradient")

    @pytest.mark.claim("np-16-17")
    def test_a_negative_factor_turns_the_row_round(self) -> None:
        factor = np.where(np.arange(4 * H) == 1, -2.0, 1.0)
        p = norm_prop_parameters()
        turned = p._replace(weight_ih=factor[:, None] * p.weight_ih)
        flipped = p._replace(gamma_ih=np.sign(factor) * p.gamma_ih)
        outputs = [norm_prop_lstm_forward(sequence(), changed, NORM)[0].h for changed in (p, turned, flipped)]
        assert_close(outputs[1], outputs[2], quantity="output")
        assert np.abs(outputs[1] - outputs[0]).max() > 1e-3

    @pytest.mark.claim("np-rows-grow")
    def test_a_gradient_step_lengthens_every_row_by_exactly_its_own_square(self) -> None:
        """<W, dW> = 0, so |W - lr dW|^2 = |W|^2 + lr^2 |dW|^2; the projection brings it back and changes no output."""
        p, lr = norm_prop_parameters(), 0.3
        output, cache = norm_prop_lstm_forward(sequence(), p, NORM)
        gradients = norm_prop_lstm_backward(random_like(output.h, 5), cache).parameters
        for name in ("weight_ih", "weight_hh"):
            W, dW = getattr(p, name), getattr(gradients, name)
            size = float((np.abs(W) * np.abs(dW)).sum(axis=1).max())
            assert_close((W * dW).sum(axis=1), np.zeros(4 * H), quantity="gradient", scale=size)
            stepped = ((W - lr * dW) ** 2).sum(axis=1)
            assert_close(stepped, (W**2).sum(axis=1) + lr**2 * (dW**2).sum(axis=1), quantity="output")
        moved = p._replace(weight_ih=p.weight_ih - lr * gradients.weight_ih)
        projected = moved._replace(weight_ih=unit_rows(moved.weight_ih))
        assert_close((projected.weight_ih**2).sum(axis=1), np.ones(4 * H), quantity="output")
        outputs = [norm_prop_lstm_forward(sequence(), changed, NORM)[0].h for changed in (moved, projected)]
        assert_close(outputs[1], outputs[0], quantity="output")

    @pytest.mark.parametrize(("rows", "columns"), [(3, 3), (3, 5), (5, 3)])
    def test_orthogonal_unit_rows(self, rows: int, columns: int) -> None:
        """Every row has length 1; a block of no more rows than columns is orthogonal besides."""
        W = orthogonal_unit_rows(np.random.default_rng(0), rows, columns)
        assert W.shape == (4 * rows, columns)
        assert_close((W**2).sum(axis=1), np.ones(4 * rows), quantity="output")
        for block in np.split(W, 4):
            if rows <= columns:
                assert_close(block @ block.T, np.eye(rows), quantity="output")
        assert len({block.tobytes() for block in np.split(W, 4)}) == 4


def random_network(gammas: tuple[float, float, float], hidden: int, seed: int) -> NormPropLSTMParameters:
    """Independent rows of length 1, and the gains of an experiment."""
    rng = np.random.default_rng(seed)
    W_ih, W_hh = (unit_rows(rng.standard_normal((4 * hidden, hidden))) for _ in range(2))
    g_x, g_h, g_c = gammas
    return NormPropLSTMParameters(W_ih, W_hh, np.full(4 * hidden, g_x), np.full(4 * hidden, g_h), np.full(hidden, g_c))


def without_recurrence(gamma_x: float, seed: int) -> LSTMOutput:
    """12 steps of 4,000 cases with gamma_h = 0, x iid N(0, 1) and orthogonal rows: all gates are independent."""
    hidden, cases, steps = 8, 4000, 12
    rng = np.random.default_rng(seed)
    orthogonal, ones = orthogonal_unit_rows(rng, 4 * hidden, 4 * hidden, 1), np.ones(4 * hidden)
    p = NormPropLSTMParameters(orthogonal, orthogonal[:, :hidden], gamma_x * ones, 0 * ones, np.ones(hidden))
    x = rng.standard_normal((steps, cases, 4 * hidden))
    return norm_prop_lstm_forward(x, p, norm_prop(gamma_x, 0.0, 1.0))[0]


def mean_square(values: Array) -> tuple[Array, Array]:
    """Mean of the squares at each step (T,) and its standard error, every unit of every case a draw of its own."""
    squares = values.reshape(len(values), -1) ** 2
    return squares.mean(axis=1), squares.std(axis=1) / math.sqrt(squares.shape[1])


class TestVariance:
    """Seeded simulations against the formulas, each with its own standard error."""

    @pytest.mark.claim("np-variance-of-the-cell")
    @pytest.mark.parametrize("gamma_x", [1.0, math.sqrt(8.0)])
    def test_exact_where_there_is_no_recurrent_product(self, gamma_x: float) -> None:
        """Var c_t = Var c (1 - B^t) at every step, from a cell of zeros."""
        measured, error = mean_square(without_recurrence(gamma_x, seed=6).c)
        steps = np.arange(1, len(measured) + 1)
        expected = cell_variance(gamma_x) * (1 - sigmoid_second_moment(gamma_x) ** steps)
        assert (error < 0.01 * expected).all()
        assert (np.abs(measured - expected) < STANDARD_ERRORS * error).all()

    @pytest.mark.claim("np-preserves")
    @pytest.mark.parametrize(
        ("gammas", "variance", "least", "most"),
        [
            ((0.5, 0.5, 0.5), "independent", 1.4, 2.5),
            ((2.0, 2.0, 1.0), "literal", 0.7, 0.97),
        ],
    )
    def test_variance_of_h_is_not_one(
        self, gammas: tuple[float, float, float], variance: Any, least: float, most: float
    ) -> None:
        """At the start of training, stationary over time: between the bounds by many standard errors of the cases."""
        hidden, cases, steps, late = 96, 48, 120, 60
        p = random_network(gammas, hidden, seed=7)
        x = np.random.default_rng(8).standard_normal((steps, cases, hidden))
        output, _ = norm_prop_lstm_forward(x, p, norm_prop(*gammas, variance))
        by_case = (output.h[late:] ** 2).mean(axis=(0, 2))
        error = float(by_case.std() / math.sqrt(cases))
        assert least + STANDARD_ERRORS * error < by_case.mean() < most - STANDARD_ERRORS * error

    @pytest.mark.claim("np-12")
    def test_variance_of_h_is_a_gaussian_approximation(self) -> None:
        """Even without a recurrent product: c is no Gaussian, and h, which should have variance 1, has less.

        A longer simulation gave 0.981 at gamma_x = 2.83: within the standard error, where 1 is not.
        """
        last = [without_recurrence(math.sqrt(8.0), seed).h[-1:] for seed in range(9, 17)]
        (measured,), (error,) = mean_square(np.concatenate(last, axis=1))
        assert abs(measured - 0.981) < STANDARD_ERRORS * error < 1.0 - measured


@pytest.mark.claim("np-20-26")
def test_determinant_of_a_step() -> None:
    """log|det d(h, c)/d(h, c)| = sum log|sh tanh(sc c) o (1 - o)| + sum log f + log|det W_ho|, by the complex step.

    The gates i and g drop out; sh and sc are the scales of NP (15), W_ho the recurrent rows of o as used.
    """
    p, x, state = norm_prop_parameters(), sequence()[:1], lstm_state(None)
    h, c = state.h[:1], state.c[:1]
    directions = np.eye(2 * H)
    cases = LSTMState(h + 1e-30j * directions[:, :H], c + 1e-30j * directions[:, H:])
    complex_p = NormPropLSTMParameters(*(array.astype(complex) for array in p if array is not None))
    stepped, _ = norm_prop_lstm_forward(np.repeat(x[:, :1], 2 * H, axis=1).astype(complex), complex_p, NORM, cases)
    jacobian = np.concatenate([stepped.h[0], stepped.c[0]], axis=1).imag / 1e-30
    W_ho = p.gamma_hh[3 * H :, None] * unit_rows(p.weight_hh)[3 * H :]
    assert p.bias_ih is not None
    assert p.bias_hh is not None
    a = p.gamma_ih * (x[0, :1] @ unit_rows(p.weight_ih).T) + p.gamma_hh * (h @ unit_rows(p.weight_hh).T)
    _, f, _, o = np.split(sigmoid(a + p.bias_ih + p.bias_hh)[0], 4)
    c_new = stepped.c[0, 0].real
    read = np.tanh(p.gamma_c * c_new / math.sqrt(NORM.var_c)) / math.sqrt(NORM.var_h)
    expected = np.log(np.abs(read * o * (1 - o))).sum() + np.log(f).sum() + np.linalg.slogdet(W_ho)[1]
    assert_close(np.array(np.linalg.slogdet(jacobian)[1]), np.array(expected), quantity="gradient")
