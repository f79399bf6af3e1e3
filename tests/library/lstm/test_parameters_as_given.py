"""Parameters as users pass them: expanded, strided, frozen; and a backward pass inside autocast."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import atn.functional as F
from atn import ATNGRU, ATNLSTM, ATNRNN
from atn.backend.fused import backend, fallback
from atn.choices import Base
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters

pytestmark = pytest.mark.usefixtures("auto_backend")


def strided(values: Tensor) -> Tensor:
    """The same numbers, every second element of a larger tensor."""
    wide = torch.full((*values.shape, 2), torch.nan, dtype=values.dtype)
    wide[..., 0] = values
    return wide[..., 0]


def expanded(values: Tensor) -> Tensor:
    """The first number everywhere, stored once."""
    return values.flatten()[:1].expand(values.shape)


def test_the_layouts_are_what_they_say() -> None:
    assert strided(random(3, 4)).stride() == (8, 2)
    assert expanded(random(4)).stride() == (0,)


@pytest.mark.parametrize("layout", [strided, expanded])
def test_a_layers_parameters_of_any_layout(layout: Callable[[Tensor], Tensor]) -> None:
    """Each parameter alone, output and gradients against a contiguous copy."""
    module, x = with_random_parameters(ATNLSTM(3, 4, k=2, bias_placement="inside", **DOUBLE)), random(5, 2, 3)
    plain = {name: parameter.detach() for name, parameter in module.named_parameters()}
    for name, values in plain.items():
        results = []
        for tensor in (layout(values), layout(values).contiguous()):
            leaf = tensor.detach().requires_grad_()
            assert leaf.stride() == tensor.stride()
            output, _ = torch.func.functional_call(module, {**plain, name: leaf}, (x,))
            results.append((output, *torch.autograd.grad(output.square().sum(), leaf)))
        for actual, expected in zip(*results, strict=True):
            assert_close(actual, expected, quantity="gradient", backend="eager", scale=1.0, what=name)


@pytest.mark.parametrize("base", ["layer", "batch"])
@pytest.mark.parametrize("layout", [strided, expanded])
def test_a_norms_gain_and_shift_of_any_layout(layout: Callable[[Tensor], Tensor], base: Base) -> None:
    a, weight, bias = random(5, 3, 4), random(4, seed=1), random(4, seed=2)
    results = []
    for pair in ((layout(weight), layout(bias)), (layout(weight).contiguous(), layout(bias).contiguous())):
        leaves = gain, shift = [tensor.detach().requires_grad_() for tensor in pair]
        y = F.assorted_time_norm(a, 2, gain, shift, base=base)
        results.append((y, *torch.autograd.grad(y.square().sum(), leaves)))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, quantity="gradient", backend="eager")


def test_what_is_frozen_leaves_the_other_gradients_alone() -> None:
    """Each parameter in turn, and the input; what is frozen has no gradient itself."""
    module, x = with_random_parameters(ATNLSTM(3, 4, 2, k=2, bias_placement="inside", **DOUBLE)), random(5, 2, 3)
    leaves = {"x": x, **dict(module.named_parameters())}

    def gradients() -> dict[str, Tensor | None]:
        for leaf in leaves.values():
            leaf.grad = None
        module(x)[0].square().sum().backward()
        return {name: leaf.grad for name, leaf in leaves.items()}

    x.requires_grad_()
    expected = gradients()
    for frozen, leaf in leaves.items():
        leaf.requires_grad_(False)  # noqa: FBT003 - torch takes it by position
        found = gradients()
        assert found.pop(frozen) is None
        for name, gradient in found.items():
            assert_close(gradient, expected[name], quantity="exact", backend="eager", what=f"{name} beside {frozen}")
        leaf.requires_grad_()


@pytest.mark.parametrize("cell", [ATNLSTM, ATNGRU, ATNRNN])
@pytest.mark.parametrize("norm", ["atn", "none"])
def test_without_a_compiler_autocast_does_not_round_either(
    cell: Any, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "kernels", lambda: fallback)
    module = with_random_parameters(cell(3, 4, 2, norm=norm, backend="fused", **({"k": 2} if norm == "atn" else {})))
    module.float()
    loss, parameters = module(random(5, 2, 3).float())[0].square().sum(), list(module.parameters())
    expected = torch.autograd.grad(loss, parameters, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(loss, parameters)
    for inside, outside in zip(found, expected, strict=True):
        assert_close(inside, outside, quantity="exact", backend="eager")


@pytest.mark.parametrize("hidden_size", [4, 256])
def test_a_backward_pass_inside_autocast_is_the_one_outside(hidden_size: int) -> None:
    """The products of the hand-written backward pass, which autocast would round, keep the dtype of the forward one.

    Those of a small layer are computed in its loop over time, those of a large one by BLAS.
    """
    module = with_random_parameters(ATNLSTM(3, hidden_size, 2, k=2, bidirectional=True, backend="fused").float())
    loss, parameters = module(random(5, 2, 3).float())[0].square().sum(), list(module.parameters())
    expected = torch.autograd.grad(loss, parameters, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(loss, parameters)
    for (name, _), inside, outside in zip(module.named_parameters(), found, expected, strict=True):
        assert_close(inside, outside, quantity="gradient", backend="eager", what=name)
