"""Ten optimization steps driven by the oracle's gradients and by the library's, under the same torch optimizer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from atn_reference import (
    Affine,
    LSTMParameters,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    stacked_lstm_backward,
    stacked_lstm_forward,
)
from tests.support.comparison import assert_close
from tests.support.problems import Array, LSTMProblem
from tests.support.runners import BACKENDS, make_module, named_parameters, oracle_norm

PROBLEM = LSTMProblem(
    T=12, B=4, I=5, H=6, layers=2, directions=2, norm="atn", k=5, eps=1e-3, bias_placement="inside", bias=True,
    affine=True, initial_state=False, seed=3,
)  # fmt: skip

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "rmsprop": partial(torch.optim.RMSprop, lr=1e-3, momentum=0.9),
    "adam": partial(torch.optim.Adam, lr=1e-2),
}


def oracle_step(named: dict[str, Array], target: NDArray[np.int64]) -> tuple[float, dict[str, Array]]:
    """Loss and gradient of every parameter by the oracle."""
    layers = [[_parameters_of(named, layer, direction) for direction in range(2)] for layer in range(2)]
    (output, h_n, c_n), cache = stacked_lstm_forward(
        PROBLEM.arrays["x"], layers, oracle_norm(PROBLEM), PROBLEM.bias_placement
    )
    loss, loss_cache = softmax_cross_entropy_forward(output.reshape(-1, output.shape[-1]), target)
    doutput = softmax_cross_entropy_backward(1.0, loss_cache).reshape(output.shape)
    gradients = stacked_lstm_backward(doutput, np.zeros_like(h_n), np.zeros_like(c_n), cache)
    return float(loss), named_parameters(gradients.parameters)


def _parameters_of(named: dict[str, Array], layer: int, direction: int) -> LSTMParameters:
    suffix = f"l{layer}" + "_reverse" * direction

    def norm(name: str) -> Affine:
        return Affine(named[f"norm_{name}_{suffix}.weight"], named[f"norm_{name}_{suffix}.bias"])

    return LSTMParameters(
        weight_ih=named[f"weight_ih_{suffix}"],
        weight_hh=named[f"weight_hh_{suffix}"],
        bias_ih=named[f"bias_ih_{suffix}"],
        bias_hh=named[f"bias_hh_{suffix}"],
        norm_ih=norm("ih"),
        norm_hh=norm("hh"),
        norm_c=norm("c"),
    )


@pytest.mark.claim("prop-1", "eq-14")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_steps_stay_together(backend: str, optimizer: str) -> None:
    ours, oracles = (make_module(PROBLEM, backend, "float64") for _ in range(2))
    our_optimizer, oracle_optimizer = (OPTIMIZERS[optimizer](module.parameters()) for module in (ours, oracles))
    x = torch.from_numpy(PROBLEM.arrays["x"])
    target = np.random.default_rng(1).integers(0, 2 * PROBLEM.H, PROBLEM.T * PROBLEM.B)
    losses: list[Any] = []
    for _ in range(10):
        our_optimizer.zero_grad()
        loss = nn.functional.cross_entropy(ours(x)[0].flatten(0, 1), torch.from_numpy(target))
        torch.autograd.backward(loss)
        our_optimizer.step()

        parameters = {name: value.detach().numpy() for name, value in oracles.named_parameters()}
        oracle_loss, gradients = oracle_step(parameters, target)
        for name, value in oracles.named_parameters():
            value.grad = torch.from_numpy(gradients[name])
        oracle_optimizer.step()

        assert_close(loss, np.float64(oracle_loss), quantity="trajectory", backend=backend, what="loss")
        losses.append(oracle_loss)
    for (name, value), other in zip(ours.named_parameters(), oracles.parameters(), strict=True):
        assert_close(value, other, quantity="trajectory", backend=backend, scale=1.0, what=name)
    assert losses[-1] < losses[0]
