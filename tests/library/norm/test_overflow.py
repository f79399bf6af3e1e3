"""Numbers whose squares leave float32: what IEEE arithmetic gives, the same on every backend."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import atn.functional as F
from atn import ATNGRU, ATNLSTM, ATNRNN
from tests.support.comparison import assert_close
from tests.support.kernels import KERNELS, backend_with
from tests.support.lstms import random, with_random_parameters
from tests.support.runners import DTYPES

# The interpreter of the GPU's kernels computes with NumPy, which warns where IEEE arithmetic goes on.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")

ROWS = torch.tensor([[[1.0, -1, 3, 2]], [[2, 1, -3, 1]], [[-1, 2, 2, -2]], [[3, 1, 1, -1]]])
WINDOWS = [1, 3, 2000]
"""Of one step, held in one tensor, and merged from shorter ones."""


@pytest.fixture(params=KERNELS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each backend's name in turn; the fused one twice, without its compiled part too."""
    return backend_with(request.param, monkeypatch)


def derivatives(a: Tensor, k: int, backend: str) -> tuple[Tensor, ...]:
    """Output, and the gradients of input, gain and shift."""
    return derivatives_of(partial(F.assorted_time_norm, backend=backend), a, k)


def derivatives_of(function: Callable[..., Tensor], a: Tensor, k: int) -> tuple[Tensor, ...]:
    """The same of a function of a, k, gain and shift."""
    gain, shift = (torch.linspace(start, 2, 4).to(a.dtype).requires_grad_() for start in (0.5, -1))
    leaves = (a.requires_grad_(), gain, shift)
    y = function(a, k, gain, shift)
    upstream = torch.tensor([0.125, -0.25, 0.5, 0.0625]).to(a.dtype).expand(y.shape)
    return y.detach(), *torch.autograd.grad(y, leaves, upstream)


def assert_derivatives_close(
    found: tuple[Tensor, ...], expected: tuple[Tensor, ...], backend: str, dtype: str = "float32"
) -> None:
    for quantity, actual, exact in zip(["output", *["gradient"] * 3], found, expected, strict=True):
        assert_close(actual, exact, quantity=quantity, backend=backend, dtype=dtype)


@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15, 1e18])
def test_up_to_the_largest_square_every_derivative_is_right(backend: str, scale: float, k: int) -> None:
    """The third power of 1/sqrt(var) leaves float32 from 1e13 on, long before the variance does."""
    a = (ROWS * scale).clone()
    found, expected = derivatives(a, k, backend), derivatives(a.detach().double(), k, "eager")
    assert_derivatives_close(found, expected, backend)


def test_a_sum_of_variances_may_overflow_where_none_does(backend: str) -> None:
    a, k = ROWS.repeat(15, 1, 1) * 2e18, 50
    assert torch.isinf(a.var(2).sum())
    assert_derivatives_close(derivatives(a.clone(), k, backend), derivatives(a.double(), k, "eager"), backend)


@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e19, 1e25, 3e37])
def test_an_infinite_variance_leaves_the_shift(backend: str, scale: float, dtype: torch.dtype, k: int) -> None:
    y, da, dgain, dshift = derivatives((ROWS * scale).to(dtype), k, backend)
    assert torch.equal(y, torch.linspace(-1, 2, 4).to(dtype).expand(y.shape))
    assert torch.equal(dshift, torch.tensor([0.5, -1, 2, 0.25]).to(dtype))
    assert not da.any()
    assert not dgain.any()


@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("scale", [1e155, 1e200, 1e307])
def test_float64_has_the_same_answer_in_its_own_range(backend: str, scale: float, k: int) -> None:
    y, da, dgain, _ = derivatives(ROWS.double() * scale, k, backend)
    assert torch.equal(y, torch.linspace(-1, 2, 4).double().expand(y.shape))
    assert not da.any()
    assert not dgain.any()


HUGE_STEPS = (2, 8, 9)


def written_out(a: Tensor, k: int, gain: Tensor, shift: Tensor) -> Tensor:
    """Eqs. (7)-(9) as they stand, and the shift where the window holds one of the huge steps."""
    y = []
    for t in range(a.shape[0]):
        steps = range(max(0, t - k + 1), t + 1)
        rows = a[steps.start : steps.stop]
        mean, var = (statistic.unsqueeze(1) for statistic in (rows.mean((0, 2)), rows.var((0, 2), correction=0)))
        normalized = (a[t] - mean) / (var + 1e-5).sqrt()
        y.append(shift.expand(a[t].shape) if set(steps) & set(HUGE_STEPS) else normalized * gain + shift)
    return torch.stack(y)


@pytest.mark.parametrize(
    ("dtype", "scale", "k"),
    [
        *((dtype, scale, k) for dtype, scale in (("float32", 1e20), ("float64", 1e155)) for k in (1, 3, 70)),
        ("float32", 3e37, 3),
        ("float32", 1e20, 260),  # beyond what any backend computes without merging
    ],
)
def test_a_step_beside_one_that_overflows_has_its_own_derivative(
    backend: str, dtype: str, scale: float, k: int
) -> None:
    """It belongs to windows whose variance is infinite, its own among them, and to later ones of which it is not."""
    a = random(15 if k < 70 else k + 15, 2 if k < 70 else 1, 4).to(DTYPES[dtype])
    a[list(HUGE_STEPS)] *= scale
    found = derivatives(a.clone(), k, backend)
    expected = derivatives_of(written_out, a.double(), k)
    assert_derivatives_close(found, expected, backend, dtype)
    assert expected[1][12].any()


@pytest.mark.parametrize("k", WINDOWS)
@pytest.mark.parametrize("level", [1e38, 3e38])
def test_an_infinite_mean_is_not_a_number(backend: str, level: float, k: int) -> None:
    y, da, *_ = derivatives(torch.full((4, 1, 4), level), k, backend)
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


@pytest.mark.parametrize("features", [3, 70])
def test_the_steps_beside_it_are_right_in_a_layer(backend: str, features: int) -> None:
    """A huge input and a huge initial state, of which every norm sees one; its numbers are lost in either type.

    The preactivations from an input of many features are kept for the backward pass, those from few computed again.
    """
    for cell in (ATNLSTM,) if backend == "triton" else (ATNLSTM, ATNGRU, ATNRNN):
        found, expected = (
            results_beside_a_huge_step(cell, features, backend, torch.float32, 1e25),
            results_beside_a_huge_step(cell, features, "eager", torch.float64, 1e180),
        )
        for name, actual in found.items():
            quantity = "output" if name == "output" else "gradient"
            assert_close(actual, expected[name], quantity=quantity, backend=backend, dtype="float32", what=name)


def results_beside_a_huge_step(
    cell: Any, features: int, backend: str, dtype: torch.dtype, scale: float
) -> dict[str, Tensor]:
    """Output and gradients by name."""
    module = with_random_parameters(cell(features, 4, k=2, backend=backend, dtype=torch.float64)).to(dtype)
    x, h_0 = random(9, 2, features).to(dtype), random(1, 2, 4, seed=3).to(dtype)
    x[4] *= scale
    if cell is not ATNGRU:  # whose output holds a part of its first state
        h_0 *= scale
    output, _ = module(x.requires_grad_(), (h_0, torch.zeros_like(h_0)) if cell is ATNLSTM else h_0)
    leaves = {"x": x, **dict(module.named_parameters())}
    gradients = torch.autograd.grad(output.square().sum(), list(leaves.values()))
    return {"output": output, **dict(zip(leaves, gradients, strict=True))}
