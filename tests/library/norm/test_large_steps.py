"""Steps beside one that is far larger, as an outlier of the data is: their gradients keep their digits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import atn.functional as F
from atn import ATNGRU, ATNLSTM, ATNRNN
from tests.support.comparison import assert_close
from tests.support.kernels import KERNELS, backend_with
from tests.support.lstms import random, with_random_parameters
from tests.support.runners import DTYPES

LARGE_STEPS = (3, 11)
WINDOWS = (1, 2, 7, 70)
"""Of one step, added directly, and merged from shorter ones."""

SCALES = (1e4, 1e8, 1e15)


def with_large_steps(rows: Tensor, scale: float) -> Tensor:
    rows = rows.clone()
    rows[list(LARGE_STEPS)] *= scale
    return rows


def gradient_of_the_other_steps(a: Tensor, k: int, backend: str) -> Tensor:
    """Gradient of a loss of the outputs of all other steps; their own last, and those of the steps in front of them."""
    leaf = a.requires_grad_()
    loss = F.assorted_time_norm(leaf, k, backend=backend).pow(3)
    others = [step for step in range(len(a)) if step not in LARGE_STEPS]
    (gradient,) = torch.autograd.grad(loss[others].sum(), leaf)
    return gradient[others]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_norm(kernel: str, dtype: str, k: int, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    a = with_large_steps(random(90 if k > 7 else 20, 2, 5), scale).to(DTYPES[dtype])
    expected = gradient_of_the_other_steps(a.double(), k, "eager")
    backend = backend_with(kernel, monkeypatch)
    found = gradient_of_the_other_steps(a, k, backend)
    assert_close(found, expected, quantity="gradient", backend=backend, dtype=dtype)


MODULES: dict[str, Callable[..., Any]] = {
    "LSTM": ATNLSTM,
    "LSTM, biases inside": partial(ATNLSTM, bias_placement="inside"),
    "GRU": ATNGRU,
    "RNN": ATNRNN,
}


def gradients_of(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Gradients of the parameters and of the steps beside the large ones, from those of the last steps' outputs."""
    leaf = x.requires_grad_()
    loss = module(leaf)[0][LARGE_STEPS[-1] + 1 :].square().sum()
    *of_parameters, of_x = torch.autograd.grad(loss, [*module.parameters(), leaf])
    return [*of_parameters, of_x[LARGE_STEPS[-1] + 1 :]]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("features", [3, 80])
@pytest.mark.parametrize("k", [4, 70])
@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        *((name, kernel) for name in MODULES for kernel in ("compiled", "fallback")),
        ("LSTM", "triton"),
        ("LSTM, biases inside", "triton"),
    ],
)
def test_a_network(
    name: str, kernel: str, k: int, features: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few and with many features, for which the rows from the input are computed again or kept."""
    module = with_random_parameters(MODULES[name](features, 5, k=k)).float()
    x = with_large_steps(random(20, 2, features), scale).float()
    expected = gradients_of(module.double(), x.double())
    module.float().backend = backend_with(kernel, monkeypatch)
    for found, exact in zip(gradients_of(module, x), expected, strict=True):
        assert_close(found, exact, quantity="gradient", backend=str(module.backend), dtype="float32")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [7, 70])
def test_the_memory_of_a_stream(kernel: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The large steps are in the first chunk, and the loss in the second."""
    x = with_large_steps(random(20, 2, 3), 1e8).float()
    module = with_random_parameters(ATNLSTM(3, 5, k=k)).float()

    def gradients(module: Any, x: Tensor) -> tuple[Tensor, ...]:
        _, state = module.stream(x[:13])
        return torch.autograd.grad(module.stream(x[13:], state)[0].square().sum(), list(module.parameters()))

    expected = gradients(module.double(), x.double())
    module.float().backend = backend_with(kernel, monkeypatch)
    for found, exact in zip(gradients(module, x), expected, strict=True):
        assert_close(found, exact, quantity="gradient", backend=str(module.backend), dtype="float32")
