"""`NormalizedLinear`: a linear map and the norm of its output, in whole and in chunks."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from atn import NormalizedLinear
from atn.choices import BiasPlacement
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters


@pytest.mark.claim("eq-4")
@pytest.mark.parametrize("placement", ["outside", "inside"])
@pytest.mark.parametrize("bias", [False, True])
def test_one_step_is_layer_norm_of_a_linear_map(*, placement: BiasPlacement, bias: bool) -> None:
    module = with_random_parameters(NormalizedLinear(3, 5, bias, k=1, bias_placement=placement, **DOUBLE))
    x = random(4, 2, 3)
    b = module.bias if bias else torch.zeros(5).double()
    inside, outside = (b, 0 * b) if placement == "inside" else (0 * b, b)
    a = x @ module.weight.T + inside
    expected = nn.functional.layer_norm(a, (5,), module.norm.weight, module.norm.bias, module.norm.eps) + outside
    assert_close(module(x), expected, quantity="output", backend="eager")


@pytest.mark.parametrize("placement", ["outside", "inside"])
def test_autocast_computes_in_float32_and_answers_in_the_dtype_of_the_input(placement: BiasPlacement) -> None:
    module = with_random_parameters(NormalizedLinear(3, 5, k=2, bias_placement=placement))
    x = random(4, 2, 3).float()
    rounded = x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        plain, half = module(x), module(rounded)
    assert torch.equal(plain, module(x))
    # The norm takes its input in the dtype of the sequence, in which the product is rounded.
    a = nn.functional.linear(rounded.float(), module.weight, module.bias if placement == "inside" else None)
    b = module.bias if placement == "outside" else torch.zeros(5)
    with torch.autocast("cpu", torch.bfloat16):
        expected = (module.norm(a.bfloat16()) + b).bfloat16()
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, expected)


@pytest.mark.parametrize("placement", ["outside", "inside"])
def test_chunks_are_the_whole_and_cases_restart(placement: BiasPlacement) -> None:
    module = with_random_parameters(NormalizedLinear(3, 5, k=4, bias_placement=placement, **DOUBLE))
    x, reset = random(9, 2, 3), torch.zeros(9, 2).bool()
    first, memory = module.stream(x[:5])
    second, _ = module.stream(x[5:], memory)
    assert_close(torch.cat((first, second)), module(x), quantity="output", backend="eager")
    reset[6, 1] = True
    pieces, _ = module.stream(x, None, reset)
    assert_close(pieces[:, :1], module(x[:, :1]), quantity="output", backend="eager")
    assert_close(pieces[6:, 1:], module(x[6:, 1:]), quantity="output", backend="eager")


def test_one_seed_gives_the_numbers_of_torch_and_its_state_loads() -> None:
    torch.manual_seed(3)
    theirs = nn.Linear(3, 5)
    torch.manual_seed(3)
    ours = NormalizedLinear(3, 5, k=2)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert NormalizedLinear(3, 5, k=2, affine=False).load_state_dict(theirs.state_dict(), strict=True)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert (sorted(missing), unexpected) == (["norm.bias", "norm.weight"], [])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_rounded_after_product_norm_and_sum(dtype: torch.dtype) -> None:
    module = with_random_parameters(NormalizedLinear(3, 5, k=3, dtype=dtype))
    x = random(7, 2, 3).to(dtype)
    product = (x.float() @ module.weight.float().T).to(dtype)
    expected = (module.norm(product).float() + module.bias.float()).to(dtype)
    assert_close(module(x), expected, quantity="output", backend="eager")
    assert module(x).dtype == dtype


@pytest.mark.parametrize("placement", ["outside", "inside"])
def test_derivatives(placement: BiasPlacement) -> None:
    module = with_random_parameters(NormalizedLinear(2, 3, k=2, bias_placement=placement, eps=1e-1, **DOUBLE))
    x = random(4, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(module, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(module, x)


def test_a_stream_runs_the_hooks_of_the_module() -> None:
    """So that a pruned weight, which a hook computes, is fresh after each step of an optimizer."""
    module, x, seen = NormalizedLinear(3, 4, k=2), random(5, 2, 3).float(), []
    prune.l1_unstructured(module, "weight", amount=0.5)  # type: ignore[no-untyped-call]  # torch's own
    module.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(2):
        y, memory = module.stream(x)
        assert seen[-1][0] is x
        assert seen[-1][1][0] is y
        optimizer.zero_grad()
        y.square().sum().backward()
        optimizer.step()
    assert_close(module.stream(x)[0], module(x), quantity="output", backend="eager")
    assert memory.position == 5


def test_the_memory_of_a_stream_goes_to_stream() -> None:
    module, x = NormalizedLinear(3, 4, k=2), random(5, 2, 3).float()
    _, memory = module.stream(x)
    message = r"^forward takes one tensor, got NormMemory beside it; the NormMemory of a stream goes to stream$"
    call: Any = module
    with pytest.raises(TypeError, match=message):
        call(x, memory)
    with pytest.raises(TypeError, match=r"^forward takes one tensor, got int beside it$"):
        call(x, 3)


def test_reset_parameters_starts_the_norm_anew_too() -> None:
    torch.manual_seed(3)
    fresh = NormalizedLinear(3, 4, k=2)
    module = with_random_parameters(NormalizedLinear(3, 4, k=2))
    torch.manual_seed(3)
    module.reset_parameters()
    for name, value in fresh.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name


def test_reset_parameters_reaches_what_stands_behind_the_weight() -> None:
    torch.manual_seed(3)
    fresh = NormalizedLinear(3, 4, k=2)
    module = NormalizedLinear(3, 4, k=2)
    parametrize.register_parametrization(module, "weight", nn.Identity())
    torch.manual_seed(3)
    module.reset_parameters()
    assert torch.equal(module(random(5, 2, 3).float()), fresh(random(5, 2, 3).float()))
