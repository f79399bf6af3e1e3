"""Derivatives of every mode of `ATNRNN` and `ATNGRU`, and the two under torch.compile and torch.export."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from atn import ATNGRU, ATNRNN
from atn.choices import BiasPlacement, Norm
from tests.support.cells import CELLS
from tests.support.comparison import assert_close
from tests.support.lstms import random, with_random_parameters

pytestmark = pytest.mark.usefixtures("auto_backend")

SMOOTH = ("RNN_TANH", "GRU")
"""The cells without a kink."""


def small(cell: str, norm: Norm, placement: BiasPlacement = "outside", layers: int = 1) -> ATNRNN | ATNGRU:
    """A module of 2 inputs and 3 hidden, all of whose parameters are drawn at random."""
    settings: dict[str, Any] = {"norm": norm, "k": 2 if norm == "atn" else None, "bias_placement": placement}
    return with_random_parameters(CELLS[cell].module(2, 3, layers, eps=1e-1, **settings))


@pytest.mark.parametrize(
    ("cell", "norm", "placement"),
    [
        ("RNN_TANH", "atn", "outside"),
        ("RNN_TANH", "ln", "inside"),
        ("RNN_TANH", "none", "outside"),
        ("GRU", "atn", "inside"),
        ("GRU", "ln", "outside"),
        ("GRU", "none", "outside"),
    ],
)
def test_first_second_and_forward_derivatives(cell: str, norm: Norm, placement: BiasPlacement) -> None:
    """Of input, state and every parameter."""
    module = small(cell, norm, placement)
    names = [name for name, _ in module.named_parameters()]

    def run(x: Tensor, h_0: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        values = dict(zip(names, parameters, strict=True))
        output, h_n = torch.func.functional_call(module, values, (x, h_0))
        return output, h_n

    inputs = (random(4, 2, 2), random(1, 2, 3, seed=1), *module.parameters())
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    assert gradcheck(run, leaves, fast_mode=True, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("norm", ["atn", "none"])
@pytest.mark.parametrize("cell", SMOOTH)
def test_transforms_agree(cell: str, norm: Norm) -> None:
    module, x, v = small(cell, norm, layers=2), random(3, 1, 2), random(3, 1, 2, seed=1)

    def run(x: Tensor) -> Tensor:
        output: Tensor = module(x)[0]
        return output

    jacobian = torch.func.jacrev(run)(x)
    assert_close(torch.func.jacfwd(run)(x), jacobian, quantity="gradient")
    assert_close(torch.func.jvp(run, (x,), (v,))[1], (jacobian * v).flatten(-3).sum(-1), quantity="gradient")
    batch = random(4, 3, 1, 2, seed=2)
    apart = torch.stack([run(case) for case in batch])
    assert_close(torch.func.vmap(run)(batch), apart, quantity="output", backend="eager")


class Streamed(nn.Module):
    """A cell in two chunks, as a module that takes and gives tensors alone."""

    def __init__(self, cell: ATNRNN | ATNGRU) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, h_0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, h_n = self.cell(x, h_0)
        _, state = self.cell.stream(x[:2])
        rest, _ = self.cell.stream(x[2:], state)
        return output, h_n, rest


@pytest.mark.one_graph
@pytest.mark.parametrize(("cell", "norm"), [("RNN_TANH", "atn"), ("RNN_RELU", "none"), ("GRU", "atn")])
def test_compiled_in_one_graph(cell: str, norm: Norm) -> None:
    """Outputs and gradients of whole and stream, traced by torch.compile without a break."""
    module = Streamed(small(cell, norm))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    results = []
    for run in (module, compiled):
        x, h_0 = random(4, 2, 2).requires_grad_(), random(1, 2, 3, seed=1).requires_grad_()
        outputs = run(x, h_0)
        upstream = [random(*output.shape, seed=3 + i) for i, output in enumerate(outputs)]
        results.append([*outputs, *torch.autograd.grad(outputs, [x, h_0, *module.parameters()], upstream)])
    for actual, expected in zip(*reversed(results), strict=True):
        scale = max(float(expected.detach().abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)


@pytest.mark.one_graph
@pytest.mark.parametrize(("cell", "norm"), [("RNN_TANH", "none"), ("RNN_RELU", "atn"), ("GRU", "atn")])
def test_exported(cell: str, norm: Norm) -> None:
    module = Streamed(small(cell, norm))
    inputs = random(4, 2, 2), random(1, 2, 3, seed=1)
    exported = torch.export.export(module, inputs).module()
    others = random(4, 2, 2, seed=5), random(1, 2, 3, seed=6)
    for actual, expected in zip(exported(*others), module(*others), strict=True):
        assert_close(actual, expected, quantity="output", backend="eager")
