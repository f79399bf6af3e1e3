"""The oracle's LSTM with weight normalization, and that of PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from atn_reference import (
    LSTMState,
    weight_norm_forward,
    weight_norm_lstm_backward,
    weight_norm_lstm_forward,
    weight_norm_lstm_parameters,
)
from atn_reference import lstm_forward as plain_forward
from tests.support.comparison import assert_all_close, assert_close
from tests.support.complex_step import Tree, assert_gradients, leaves, random_like
from tests.support.oracle_cases import H, I, lstm_parameters, lstm_state, sequence, weight_norm_parameters


def backward(upstream: Tree, cache: Any) -> Tree:
    """Every output has an upstream gradient."""
    state = upstream.state
    return weight_norm_lstm_backward(upstream.h, cache, state.h, state.c, dc=upstream.c)._asdict()


def run(tree: Tree) -> tuple[Tree, Any]:
    return weight_norm_lstm_forward(tree["x"], tree["parameters"], LSTMState(tree["h_0"], tree["c_0"]))


@pytest.mark.parametrize("gamma_c", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_gradient(*, bias: bool, gamma_c: bool) -> None:
    state, parameters = lstm_state(None), weight_norm_parameters(bias=bias, gamma_c=gamma_c)
    assert_gradients(run, backward, {"x": sequence(), "parameters": parameters, "h_0": state.h, "c_0": state.c})


def test_at_the_start_it_is_the_plain_lstm() -> None:
    """The lengths of the rows as gains leave the weights, and so the network, as they were."""
    plain = lstm_parameters(affine=False)
    normed = weight_norm_lstm_parameters(plain)
    for name in ("ih", "hh"):
        weight = getattr(plain, f"weight_{name}")
        assert_close(weight_norm_forward(weight, getattr(normed, f"gamma_{name}"))[0], weight, quantity="output")
    output, _ = weight_norm_lstm_forward(sequence(), normed)
    assert_close(output.h, plain_forward(sequence(), plain, None)[0].h, quantity="output")


@pytest.mark.parametrize("start", [True, False])
def test_it_is_the_weight_norm_of_pytorch(*, start: bool) -> None:
    """`torch.nn.utils.parametrizations.weight_norm` of both weights of `torch.nn.LSTM`, outputs and gradients.

    At the start PyTorch's own lengths are the gains; otherwise gains and directions are set.
    """
    plain = lstm_parameters(affine=False)
    p = weight_norm_lstm_parameters(plain) if start else weight_norm_parameters()
    lstm: Any = nn.LSTM(I, H, dtype=torch.float64)
    lstm.load_state_dict({f"{name}_l0": torch.from_numpy(array) for name, array in leaves(plain).items()})
    for name in ("weight_ih_l0", "weight_hh_l0"):
        nn.utils.parametrizations.weight_norm(lstm, name, dim=0)
    of_ih, of_hh = lstm.parametrizations.weight_ih_l0, lstm.parametrizations.weight_hh_l0
    if not start:
        with torch.no_grad():
            for of, gamma in ((of_ih, p.gamma_ih), (of_hh, p.gamma_hh)):
                of.original0.copy_(torch.from_numpy(gamma)[:, None])
    x = torch.from_numpy(sequence()).requires_grad_()
    expected, _ = lstm(x)
    output, cache = weight_norm_lstm_forward(sequence(), p)
    assert_close(output.h, expected, quantity="output")

    dh = random_like(output.h, 1)
    expected.backward(torch.from_numpy(dh))
    gradients = weight_norm_lstm_backward(dh, cache)
    theirs = {
        "x": x.grad,
        "weight_ih": of_ih.original1.grad,
        "weight_hh": of_hh.original1.grad,
        "gamma_ih": of_ih.original0.grad[:, 0],
        "gamma_hh": of_hh.original0.grad[:, 0],
        "bias_ih": lstm.bias_ih_l0.grad,
        "bias_hh": lstm.bias_hh_l0.grad,
    }
    assert_all_close({"x": gradients.x} | leaves(gradients.parameters), theirs, backend="oracle")
    for name in ("weight_ih", "weight_hh"):
        v, dv = getattr(p, name), getattr(gradients.parameters, name)
        size = float((np.abs(v) * np.abs(dv)).sum(axis=1).max())
        assert_close((v * dv).sum(axis=1), np.zeros(4 * H), quantity="gradient", scale=size)
