"""Numbers whose squares leave float32: what IEEE arithmetic gives, the same on every backend."""

import pytest
import torch
from torch import Tensor

import atn.functional as F
from atn import ATNLSTM
from atn.backend.fused import backend as fused
from atn.backend.fused import fallback
from tests.support.comparison import assert_close
from tests.support.lstms import random, with_random_parameters

# The interpreter of the GPU's kernels computes with NumPy, which warns where IEEE arithmetic goes on.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")

ROWS = torch.tensor([[[1.0, -1, 3, 2]], [[2, 1, -3, 1]], [[-1, 2, 2, -2]], [[3, 1, 1, -1]]])
WINDOWS = [1, 3, 2000]
"""Of one step, held in one tensor, and merged from shorter ones."""


@pytest.fixture(params=["eager", "fused", "plain loop", "triton"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each backend; the plain loop is the fused one without its compiled part."""
    if request.param == "plain loop":
        monkeypatch.setattr(fused, "kernels", lambda: fallback)
        return "fused"
    return str(request.param)


def derivatives(a: Tensor, k: int, backend: str) -> tuple[Tensor, ...]:
    """Output, and the gradients of input, gain and shift."""
    gain, shift = (torch.linspace(start, 2, 4).to(a.dtype).requires_grad_() for start in (0.5, -1))
    leaves = (a.requires_grad_(), gain, shift)
    y = F.assorted_time_norm(a, k, gain, shift, backend=backend)
    upstream = torch.tensor([0.125, -0.25, 0.5, 0.0625]).to(a.dtype).expand(y.shape)
    return y.detach(), *torch.autograd.grad(y, leaves, upstream)


@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15, 1e18])
def test_up_to_the_largest_square_every_derivative_is_right(backend: str, scale: float, k: int) -> None:
    """The third power of 1/sqrt(var) leaves float32 from 1e13 on, long before the variance does."""
    a = (ROWS * scale).clone()
    found, expected = derivatives(a, k, backend), derivatives(a.detach().double(), k, "eager")
    for quantity, actual, exact in zip(["output", *["gradient"] * 3], found, expected, strict=True):
        assert_close(actual, exact, quantity=quantity, backend=backend, dtype="float32")


@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e20, 1e30])
def test_an_infinite_variance_leaves_the_shift(backend: str, scale: float, dtype: torch.dtype, k: int) -> None:
    y, da, dgain, dshift = derivatives((ROWS * scale).to(dtype), k, backend)
    assert torch.equal(y, torch.linspace(-1, 2, 4).to(dtype).expand(y.shape))
    assert torch.equal(dshift, torch.tensor([0.5, -1, 2, 0.25]).to(dtype))
    assert not da.any()
    assert not dgain.any()


@pytest.mark.parametrize("k", WINDOWS)
def test_an_infinite_mean_is_not_a_number(backend: str, k: int) -> None:
    y, da, *_ = derivatives(torch.full((4, 1, 4), 3e38), k, backend)
    assert y.isnan().all()
    assert da.isnan().all()


def test_a_layer_reads_nothing_from_such_a_step(backend: str) -> None:
    """Without W_ih x, whose norm is its shift; output and gradients are those of any input as large."""
    module = with_random_parameters(ATNLSTM(3, 4, k=2, backend=backend).float())
    x = random(4, 2, 3).float()
    results = []
    for values in (x * 1e22, x * 1e27):
        leaf = values.requires_grad_()
        output, _ = module(leaf)
        results.append([output, *torch.autograd.grad(output.square().sum(), [leaf, *module.parameters()])])
        assert not any(tensor.isnan().any() for tensor in results[-1])
        assert not any(tensor.any() for tensor in results[-1][1:3])  # of x and W_ih
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, quantity="exact", backend=backend)
    with torch.no_grad():
        module.get_parameter("weight_ih_l0").zero_()
    assert_close(results[0][0], module(x)[0], quantity="output", backend=backend)
