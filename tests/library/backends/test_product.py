"""The product with the recurrent weight in the fused backend, at the edges of its blocks, and what it promises.

Up to eight rows and two registers of columns make a block, and 256 terms are added up at once; a layer of 256 units or
more takes its steps with all cases at once. The gradients of the weights of a smaller one are added up in registers
over 128 cases, of one step or, in a small batch, of several.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from atn import ATNLSTM
from atn.choices import Norm
from tests.support.comparison import assert_close

T = 4
JOINT = 260


@pytest.fixture
def threads() -> Iterator[None]:
    """Leaves the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def layer(H: int, dtype: torch.dtype) -> ATNLSTM:
    """A plain LSTM, for its cases have nothing in common but the product."""
    torch.manual_seed(H)
    return ATNLSTM(2, H, norm="none", backend="fused", dtype=dtype)


def outputs_and_gradients(module: ATNLSTM, x: Tensor, h_0: Tensor) -> list[Tensor]:
    """Of h at every step; the gradients of x, h_0 and the weights, from a random one of h."""
    leaves = [x.detach().requires_grad_(), h_0.detach().requires_grad_(), *module.parameters()]
    h, _ = module(leaves[0], (leaves[1], torch.zeros_like(leaves[1])))
    upstream = torch.randn(h.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(h.dtype)
    return [h, *torch.autograd.grad(h, leaves, upstream)]


@pytest.mark.parametrize(
    ("B", "H"),
    [*((B, 9) for B in range(1, 14)), *((7, H) for H in (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 65)), (7, JOINT)],
)
def test_every_edge_of_a_block(B: int, H: int) -> None:
    x, h_0 = torch.randn(T, B, 2, dtype=torch.float64), torch.randn(1, B, H, dtype=torch.float64)
    fused = layer(H, torch.float64)
    eager = ATNLSTM(2, H, norm="none", backend="eager", dtype=torch.float64)
    eager.load_state_dict(fused.state_dict())
    for actual, expected in zip(
        outputs_and_gradients(fused, x, h_0), outputs_and_gradients(eager, x, h_0), strict=True
    ):
        assert_close(actual, expected, quantity="gradient", backend="fused")


@pytest.mark.parametrize(
    ("steps", "B", "I", "H"),
    [
        (37, 3, 2, 17),  # blocks of 32 steps, and the rest of 5
        (300, 1, 40, 9),  # blocks of 128 steps; three panels of the input in AVX-512, or more
        (3, 130, 33, 12),  # more cases than a block
        (2, 257, 1, 5),
        (64, 2, 3, 4),  # a whole block
        (70, 4, 17, JOINT),  # by BLAS, transposed
    ],
)
@pytest.mark.parametrize("norm", ["none", "atn"])
def test_gradients_of_weights_at_the_edges_of_their_blocks(steps: int, B: int, I: int, H: int, norm: Norm) -> None:
    given: dict[str, Any] = {"norm": norm, "dtype": torch.float64, **({"k": 3} if norm == "atn" else {})}
    modules = {name: ATNLSTM(I, H, **given, backend=name) for name in ("eager", "fused")}
    modules["eager"].load_state_dict(modules["fused"].state_dict())
    x, h_0 = torch.randn(steps, B, I, dtype=torch.float64), torch.randn(1, B, H, dtype=torch.float64)
    expected, found = (outputs_and_gradients(module, x, h_0) for module in modules.values())
    for actual, right in zip(found, expected, strict=True):
        assert_close(actual, right, quantity="parameter_gradient", backend="fused")


@pytest.mark.parametrize("H", [9, JOINT])
@pytest.mark.usefixtures("threads")
def test_the_gradient_of_the_input_is_the_same_with_any_threads_bit_for_bit(H: int) -> None:
    module = ATNLSTM(70, H, k=2, backend="fused")
    x, h_0 = torch.randn(2, 3, 70), torch.randn(1, 3, H)  # at these sizes BLAS rounds by the number of threads
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        _, dx, dh_0, *_ = outputs_and_gradients(module, x, h_0)
        found.append((dx, dh_0))
    for dx, dh_0 in found[1:]:
        assert torch.equal(dx, found[0][0])
        assert torch.equal(dh_0, found[0][1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("H", [9, JOINT])
@pytest.mark.usefixtures("threads")
def test_a_case_is_the_same_in_any_batch_and_with_any_threads_bit_for_bit(H: int, dtype: torch.dtype) -> None:
    module = layer(H, dtype)
    # The product with the input is left to BLAS, which does not promise as much: here there is nothing to add.
    x, h_0 = torch.zeros(T, 13, 2, dtype=dtype), torch.randn(1, 13, H, dtype=dtype)
    state = (h_0, torch.zeros_like(h_0))
    whole, _ = module(x, state)
    for count in (1, 2):
        torch.set_num_threads(count)
        for some in (slice(0, 1), slice(3, 8), slice(5, 12)):
            part, _ = module(x[:, some], (state[0][:, some], state[1][:, some]))
            assert torch.equal(part, whole[:, some])


@pytest.mark.parametrize("H", [9, JOINT])
def test_a_single_product_is_the_same_as_one_of_many_bit_for_bit(H: int) -> None:
    """For a single step the weight is laid out piece by piece, and not kept."""
    module = layer(H, torch.float32)
    x, h_0 = torch.zeros(T, 7, 2), torch.randn(1, 7, H)
    whole, _ = module(x, (h_0, torch.zeros_like(h_0)))
    state = (h_0, torch.zeros_like(h_0))
    for t in range(T):
        step, state = module(x[t : t + 1], state)
        assert torch.equal(step[0], whole[t])
