"""The oracle's channel normalization and network of one example, and what the norm does in a linear network."""

from typing import Any

import numpy as np
import pytest
import torch

import atn_reference
from atn_reference import (
    CirculantLayer,
    CirculantParameters,
    channel_norm_backward,
    channel_norm_forward,
    circulant_network_backward,
    circulant_network_forward,
    circular_convolution_forward,
    projected_gradient,
    released_gradient,
    squared_error_backward,
    squared_error_forward,
)
from tests.support.comparison import assert_close
from tests.support.complex_step import STEP, Array, Tree, assert_gradients
from tests.support.oracle_calls import WrongCall, assert_refused
from tests.support.tolerances import STANDARD_ERRORS

N = 12


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng([seed, 21]).standard_normal(shape)


def network(depth: int, channels: int = 1, taps: int = 5, seed: int = 0) -> CirculantParameters:
    """Random parameters of a network whose input has as many channels as its layers."""
    layers = [
        CirculantLayer(normal(seed + place, channels, channels, taps), normal(seed + 50 + place, channels) / 4)
        for place in range(depth)
    ]
    return CirculantParameters(tuple(layers), normal(seed + 100, channels), normal(seed + 101, 1))


def circulant(column: Array) -> Array:
    """Matrix of the circular convolution with these entries."""
    return np.stack([np.roll(column, shift) for shift in range(len(column))], axis=1)


class TestDefinition:
    """Forward and backward pass from their equations."""

    @pytest.mark.claim("cn-definition")
    def test_each_channel_has_its_own_unbiased_statistics(self) -> None:
        a, beta = normal(0, 3, N), normal(1, 3)
        y, _ = channel_norm_forward(a, beta, 0.3)
        for channel in range(3):
            mean = sum(a[channel]) / N
            var = sum((value - mean) ** 2 for value in a[channel]) / (N - 1)
            assert_close(y[channel], (a[channel] - mean) / (var + 0.3) ** 0.5 + beta[channel], quantity="output")

    @pytest.mark.claim("cn-definition")
    @pytest.mark.parametrize("shift", [True, False])
    def test_gradients_of_the_norm(self, *, shift: bool) -> None:
        inputs = {"a": normal(0, 3, N), **({"beta": normal(1, 3)} if shift else {})}

        def backward(dy: Tree, cache: Any) -> Tree:
            found = channel_norm_backward(dy, cache)._asdict()
            return found if shift else {"a": found["a"]}

        assert_gradients(lambda tree: channel_norm_forward(**tree, eps=1e-2), backward, inputs)

    @pytest.mark.claim("cn-definition")
    @pytest.mark.parametrize("relu", [True, False])
    @pytest.mark.parametrize("eps", [1e-2, None])
    def test_gradients_of_the_network(self, eps: float | None, *, relu: bool) -> None:
        def forward(tree: Tree) -> tuple[Tree, Any]:
            return circulant_network_forward(tree["x"], tree["parameters"], eps, relu=relu)

        def backward(dy: Tree, cache: Any) -> Tree:
            dx, parameters = circulant_network_backward(dy, cache)
            return {"x": dx, "parameters": parameters}

        assert_gradients(forward, backward, {"x": normal(2, 2, N), "parameters": network(3, channels=2)})

    def test_convolution_is_pytorch_s_with_reversed_filters_and_a_shift(self) -> None:
        """The released code pads by K//2 on both sides and correlates."""
        x, w = normal(3, 2, N), normal(4, 3, 2, 5)
        padded = np.concatenate([x[:, -2:], x, x[:, :2]], axis=1)
        released = torch.nn.functional.conv1d(torch.from_numpy(padded), torch.from_numpy(w[:, :, ::-1].copy()))
        assert_close(np.roll(circular_convolution_forward(x, w), -2, axis=1), released.numpy(), quantity="output")

    def test_one_layer_by_hand(self) -> None:
        """X = (1, 0, 0), w = (2, 1), without norm: a = (2, 1, 0), plus 1, times 3, minus 5, through the sigmoid."""
        parameters = CirculantParameters(
            (CirculantLayer(np.array([[[2.0, 1.0]]]), np.array([1.0])),), np.array([3.0]), np.array([-5.0])
        )
        y, _ = circulant_network_forward(np.array([[1.0, 0.0, 0.0]]), parameters, None)
        assert_close(y, 1 / (1 + np.exp(-np.array([4.0, 1.0, -2.0]))), quantity="output")


class TestCollapse:
    """One linear channel without shifts, eps = 0: all norms but the last are superfluous."""

    @pytest.mark.claim("cn-collapse")
    def test_seven_layers(self) -> None:
        filters = [normal(10 + layer, 1, 1, 100) / 10 for layer in range(7)]
        normed = plain = normal(9, 1, 100)
        for w in filters:
            normed, _ = channel_norm_forward(circular_convolution_forward(normed, w), eps=0.0)
            plain = circular_convolution_forward(plain, w)
        assert_close(normed, channel_norm_forward(plain, eps=0.0)[0], quantity="output")

    @pytest.mark.claim("cn-collapse")
    def test_not_with_eps(self) -> None:
        """Eps is added to the variance of every layer, and is not homogeneous."""
        x, first, second = normal(9, 1, N), normal(10, 1, 1, N) / 100, normal(11, 1, 1, N)
        inner, _ = channel_norm_forward(circular_convolution_forward(x, first), eps=0.05)
        outer, _ = channel_norm_forward(circular_convolution_forward(inner, second), eps=0.05)
        at_once, _ = channel_norm_forward(
            circular_convolution_forward(circular_convolution_forward(x, first), second), eps=0.05
        )
        assert np.abs(outer - at_once).max() > 0.1


class TestScale:
    """The length of a filter does not matter, so the gradient is orthogonal to it."""

    @pytest.mark.claim("cn-scale")
    @pytest.mark.parametrize("relu", [True, False])
    def test_in_every_layer_and_every_channel(self, *, relu: bool) -> None:
        x, parameters = normal(5, 2, 30), network(4, channels=2)
        y, cache = circulant_network_forward(x, parameters, 0.0, relu=relu)
        _, gradients = circulant_network_backward(normal(6, 30), cache)
        for layer, found in zip(parameters.layers, gradients.layers, strict=True):
            along = (layer.w * found.w).sum(axis=(1, 2))
            length = np.sqrt((layer.w**2).sum(axis=(1, 2)) * (found.w**2).sum(axis=(1, 2)))
            assert_close(along / length, np.zeros(2), quantity="gradient", scale=1.0)
        scaled = parameters._replace(layers=tuple(layer._replace(w=3.0 * layer.w) for layer in parameters.layers))
        assert_close(circulant_network_forward(x, scaled, 0.0, relu=relu)[0], y, quantity="output")

    @pytest.mark.claim("cn-scale")
    def test_gradient_descent_never_shortens_a_filter(self) -> None:
        x, target, parameters = normal(7, 1, 30), (np.arange(30) < 15).astype(float), network(3, seed=30)
        for _ in range(20):
            y, cache = circulant_network_forward(x, parameters, 0.0)
            dy = squared_error_backward(np.array(1.0), squared_error_forward(y, target)[1])
            _, gradients = circulant_network_backward(dy, cache)
            moved = [layer.w - 0.5 * found.w for layer, found in zip(parameters.layers, gradients.layers, strict=True)]
            for layer, found, w in zip(parameters.layers, gradients.layers, moved, strict=True):
                grown = (layer.w**2).sum() + 0.25 * (found.w**2).sum()
                assert_close(np.array((w**2).sum()), np.array(grown), quantity="output")
            layers = tuple(
                layer._replace(w=w, beta=layer.beta - 0.5 * found.beta)
                for layer, found, w in zip(parameters.layers, gradients.layers, moved, strict=True)
            )
            parameters = parameters._replace(layers=layers)


class TestProjection:
    """The gradient of the last filter, and what figure 4b of the paper shows in its place."""

    X = circulant(normal(40, N) - normal(40, N).mean())
    w, y = normal(41, N), normal(42, N)

    @pytest.mark.claim("cn-gradient")
    def test_formula_is_the_derivative(self) -> None:
        def inner(w: Array) -> Any:
            Xw = self.X @ w
            return (Xw * self.y).sum() / np.sqrt((Xw * Xw).sum())

        derivative = np.array([inner(self.w + 1j * STEP * row).imag / STEP for row in np.eye(N)])
        found = projected_gradient(self.X, self.w, self.y)
        assert_close(found, derivative, quantity="gradient")
        assert_close(np.array(self.w @ found), np.array(0.0), quantity="gradient", scale=1.0)

    @pytest.mark.claim("cn-figure-4b")
    def test_released_code_projects_nothing(self) -> None:
        length = np.linalg.norm(self.X @ self.w)
        found = released_gradient(self.X, self.w, self.y)
        assert_close(found, self.X.T @ self.y / length, quantity="gradient")
        assert_close(np.array(self.w @ found), np.array(self.y @ self.X @ self.w / length), quantity="gradient")
        assert abs(self.w @ found) > 0.1


class Draws:
    """Many linear networks of one channel at initialization, full filters N(0, 1/N), by the fast Fourier transform."""

    COUNT = 4000
    SAMPLES = 100

    def __init__(self, depth: int) -> None:
        self.rng = np.random.default_rng([depth, 22])
        x = self._filters()
        self.spectrum = np.fft.rfft(x - x.mean(axis=1, keepdims=True))
        for _ in range(depth - 1):
            self.spectrum = self.spectrum * np.fft.rfft(self._filters())
        self.y, self.w = (self.rng.standard_normal((self.COUNT, self.SAMPLES)) for _ in range(2))
        self.Xw = np.fft.irfft(self.spectrum * np.fft.rfft(self.w), self.SAMPLES)
        self.length = np.linalg.norm(self.Xw, axis=1, keepdims=True)

    def _filters(self) -> Array:
        filters: Array = self.rng.standard_normal((self.COUNT, self.SAMPLES)) / np.sqrt(self.SAMPLES)
        return filters

    def gradient_norms(self, residual: Array) -> Array:
        """Norms of X^T times a residual, draw by draw."""
        transposed = np.fft.irfft(self.spectrum.conj() * np.fft.rfft(residual), self.SAMPLES)
        norms: Array = np.linalg.norm(transposed, axis=1)
        return norms


def assert_median(values: Array, expected: float) -> None:
    """As many draws below the expected median as a fair coin would have."""
    below = (values < expected).mean()
    assert abs(below - 0.5) <= STANDARD_ERRORS * 0.5 / np.sqrt(len(values)), f"{np.median(values)} is not {expected}"


class TestInitialization:
    """Figure 4: many networks at their initialization."""

    @pytest.mark.claim("cn-figure-4a", "cn-figure-4b")
    @pytest.mark.parametrize(
        ("depth", "plain", "normed"), [(1, 16.63, 0.9915), (6, 21.41, 0.9464), (20, 2.222, 0.858), (40, 0.0613, 0.7963)]
    )
    def test_median_gradients(self, depth: int, plain: float, normed: float) -> None:
        """The numbers are the medians of 100,000 draws of another seed.

        As released the second is 1 at every depth: X and its transpose have the same singular values and vectors alike,
        so |X^T y| and |X w| are two draws of one distribution.
        """
        draws = Draws(depth)
        u = draws.Xw / draws.length
        assert_median(draws.gradient_norms(draws.y - draws.Xw), plain)
        assert_median(
            draws.gradient_norms(draws.y - u * (u * draws.y).sum(axis=1, keepdims=True)) / draws.length[:, 0], normed
        )
        assert_median(draws.gradient_norms(draws.y) / draws.length[:, 0], 1.0)

    @pytest.mark.claim("cn-figure-4a")
    @pytest.mark.parametrize("depth", [1, 6, 20])
    def test_typical_frequency_vanishes(self, depth: int) -> None:
        """Log |X(f)|^2 has the mean -0.57722 d and the variance d pi^2/6 at every 0 < f < N/2."""
        logs = np.log(np.abs(Draws(depth).spectrum[:, 1:-1]) ** 2).ravel()
        variance = depth * np.pi**2 / 6
        # The fourth cumulant of log Exp(1) is pi^4/15.
        error_of_variance = np.sqrt((2 * variance**2 + depth * np.pi**4 / 15) / logs.size)
        assert abs(logs.mean() + np.euler_gamma * depth) <= STANDARD_ERRORS * np.sqrt(variance / logs.size)
        assert abs(logs.var() - variance) <= STANDARD_ERRORS * error_of_variance


class TestExponentialTime:
    """L = (w_1 ... w_d - 1)^2/2 from w_i = 1/2."""

    @pytest.mark.claim("cn-exponential")
    @pytest.mark.parametrize(("depth", "time"), [(5, 3.0303), (10, 32.432), (20, 14564.0), (30, 9.58698e6)])
    def test_time_of_gradient_flow(self, depth: int, time: float) -> None:
        """Until the product is 0.9, from the integral over log w; never below its bound."""
        log_w = np.linspace(np.log(0.5), np.log(0.9) / depth, 20_001)
        rate = np.exp((2 - depth) * log_w) / (1 - np.exp(depth * log_w))
        found = np.trapezoid(rate, log_w)
        assert abs(found / time - 1) < 1e-4
        assert found > (2.0 ** (depth - 2) - 0.9 ** ((2 - depth) / depth)) / (depth - 2)

    @pytest.mark.claim("cn-exponential")
    @pytest.mark.parametrize(("depth", "time"), [(5, 3.0303), (10, 32.432)])
    def test_steps_of_gradient_descent(self, depth: int, time: float) -> None:
        """As many as the time of the flow over a small learning rate."""
        w, lr, steps = 0.5, 0.002, 0
        while w**depth < 0.9:
            w += lr * (1 - w**depth) * w ** (depth - 1)
            steps += 1
        assert abs(steps * lr / time - 1) < 0.02

    @pytest.mark.claim("cn-default-initialization")
    def test_default_initialization_of_pytorch(self) -> None:
        """Variance 1/(3 fan-in): after 30 layers an amplitude of 3^-15 = 7e-8."""
        torch.manual_seed(0)
        weight = torch.nn.Conv1d(20, 40, 15).weight.detach().double()
        bound = 1 / np.sqrt(20 * 15)
        assert 0.999 * bound < weight.abs().max() <= bound
        error = np.sqrt(4 / 45) * bound**2 / np.sqrt(weight.numel())
        assert abs(weight.var().item() - 1 / (3 * 20 * 15)) <= STANDARD_ERRORS * error
        assert round(3.0**-15 * 1e8) == 7


# Untyped, for the calls below are wrong on purpose.
oracle: Any = atn_reference
NETWORK: Any = network(2)
CACHE = circulant_network_forward(normal(0, 1, N), NETWORK)[1]

WRONG_CALLS: dict[str, WrongCall] = {
    "one sample": (lambda: oracle.channel_norm_forward(normal(0, 3, 1)), ValueError, "a: had 1 sample, must have at"),
    "rank": (lambda: oracle.channel_norm_forward(normal(0, 3)), ValueError, "a: shape was (3,), must be (C, N)"),
    "shift": (
        lambda: oracle.channel_norm_forward(normal(0, 3, N), normal(0, N)),
        ValueError,
        "beta: shape was (12,), must be (C,) with C = 3",
    ),
    "eps": (lambda: oracle.channel_norm_forward(normal(0, 3, N), eps=-1), ValueError, "eps: was -1.0, must be"),
    "taps": (
        lambda: oracle.circular_convolution_forward(normal(0, 1, 4), normal(1, 1, 1, 5)),
        ValueError,
        "w: had 5 taps, must have at most N = 4",
    ),
    "channels": (
        lambda: oracle.circulant_network_forward(normal(0, 2, N), NETWORK),
        ValueError,
        "w: shape was (1, 1, 5), must be (D, C, K) with C = 2",
    ),
    "dtype": (
        lambda: oracle.circulant_network_forward(normal(0, 1, N).astype(np.float32), NETWORK),
        TypeError,
        "w: dtype was float64, must be float32, the dtype of x",
    ),
    "bias": (
        lambda: oracle.circulant_network_forward(normal(0, 1, N), NETWORK._replace(bias=np.ones(2))),
        ValueError,
        "bias: shape was (2,), must be (1,)",
    ),
    "layer": (
        lambda: oracle.circulant_network_forward(normal(0, 1, N), NETWORK._replace(layers=[normal(0, 1, 1, 5)])),
        TypeError,
        "layer: was ndarray, must be CirculantLayer",
    ),
    "parameters": (
        lambda: oracle.circulant_network_forward(normal(0, 1, N), NETWORK.layers),
        TypeError,
        "parameters: was tuple, must be CirculantParameters",
    ),
    "dy": (
        lambda: oracle.circulant_network_backward(normal(0, 3), CACHE),
        ValueError,
        "dy: shape was (3,), must be (12,), the shape of its output",
    ),
    "X": (
        lambda: oracle.projected_gradient(normal(0, 3, 4), normal(0, 3), normal(0, 3)),
        ValueError,
        "X: shape was (3, 4), must be (N, N)",
    ),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_call(call: str) -> None:
    assert_refused(WRONG_CALLS[call])
