"""What torch does with the tensors that a graph keeps, and with gradients that it only implies, on every kernel."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm

T, B, N = 5, 2, 3

MODULES: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: ATNLSTM(N, N, k=2, num_layers=2),
    "LSTM, plain": lambda: ATNLSTM(N, N, norm="none"),
    "LSTM, prop": lambda: ATNLSTM(N, N, norm="prop"),
    "GRU": lambda: ATNGRU(N, N, k=2),
    "RNN": lambda: ATNRNN(N, N, k=2),
    "norm": lambda: AssortedTimeNorm(N, k=2),
}
"""Modules whose backward passes are kernels of their own, by name."""

each_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


def made(make: Callable[[], nn.Module]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    return make(), torch.randn(T, B, N, requires_grad=True)


def output_of(result: Any) -> Tensor:
    """The output of a call, without the states that a cell returns beside it."""
    output: Tensor = result[0] if isinstance(result, tuple) else result
    return output


def gradients(loss: Tensor, module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, (x, *module.parameters()))


@each_module
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_gives_the_same_gradients(make: Callable[[], nn.Module], *, reentrant: bool) -> None:
    module, x = made(make)
    expected = gradients(output_of(module(x)).square().sum(), module, x)
    torch.autograd.backward(output_of(checkpoint(module, x, use_reentrant=reentrant)).square().sum())
    found = (x.grad, *(parameter.grad for parameter in module.parameters()))
    assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True) if left is not None)
    assert all(gradient is not None for gradient in found)


@each_module
def test_a_saved_tensor_is_unpacked_once(make: Callable[[], nn.Module]) -> None:
    """What hooks do at each, such as a copy to another device, is not done twice."""
    module, x = made(make)
    unpacked: dict[int, int] = {}
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        kept.append(tensor)
        unpacked[len(kept) - 1] = 0
        return len(kept) - 1

    def unpack(place: int) -> Tensor:
        unpacked[place] += 1
        return kept[place]

    with saved_tensors_hooks(pack, unpack):
        loss = output_of(module(x)).square().sum()
    gradients(loss, module, x)
    assert unpacked
    assert set(unpacked.values()) == {1}


@each_module
def test_a_gradient_of_implied_zeros(make: Callable[[], nn.Module]) -> None:
    """That of `sgn` is such a tensor, which has no memory."""
    module, x = made(make)
    found = gradients(output_of(module(x)).sgn().sum(), module, x)
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in found)


@each_module
def test_an_input_of_implied_zeros(make: Callable[[], nn.Module]) -> None:
    module, _ = made(make)
    implied, plain = torch._efficientzerotensor((T, B, N)), torch.zeros(T, B, N)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            assert torch.equal(output_of(module(implied)), output_of(module(plain)))


@each_module
def test_a_caller_may_change_the_output_in_place(make: Callable[[], nn.Module]) -> None:
    """What the backward pass reads is not what the caller got."""
    module, x = made(make)
    expected = gradients((2 * output_of(module(x))).square().sum(), module, x)
    found = gradients(output_of(module(x)).mul_(2).square().sum(), module, x)
    assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True))
