"""`ATNLSTM.stream`: chunks in sequence are the whole, and the state is all that connects them."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atn import ATNGRU, ATNLSTM, ATNRNN
from atn.choices import BiasPlacement, Norm
from tests.support.comparison import assert_close
from tests.support.lstms import NORMS, in_chunks, random, with_exact_input_products, with_random_parameters

pytestmark = pytest.mark.usefixtures("auto_backend")


@pytest.mark.parametrize(
    ("norm", "k", "dtype"),
    [
        ("none", None, torch.float32),
        ("ln", None, torch.bfloat16),
        ("atn", 2, torch.float64),
        *(("atn", 5, dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)),
        ("atn", 40, torch.float32),
    ],
)
@given(
    placement=st.sampled_from(["outside", "inside"]),
    T=st.integers(1, 20), B=st.integers(1, 4), layers=st.integers(1, 2),
    lengths=st.lists(st.integers(1, 8), max_size=6), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_stream_equals_the_whole_bit_for_bit(
    norm: Norm, k: int | None, dtype: torch.dtype, placement: BiasPlacement,
    T: int, B: int, layers: int, lengths: list[int], seed: int,
) -> None:  # fmt: skip
    module = ATNLSTM(3, 5, layers, norm=norm, k=k, bias_placement=placement, dtype=dtype)
    with_exact_input_products(with_random_parameters(module, seed))
    x = random(T, B, 3, seed=seed).to(dtype)
    whole, (h_n, c_n) = module(x)
    output, state = in_chunks(module, x, lengths)
    assert_close(output, whole, quantity="exact", backend="eager")
    assert_close(state.h.to(dtype), h_n, quantity="exact", backend="eager")
    assert_close(state.c.to(dtype), c_n, quantity="exact", backend="eager")


@pytest.mark.parametrize(("norm", "k"), NORMS)
def test_gradients_flow_through_the_state(norm: Norm, k: int | None) -> None:
    module = with_random_parameters(ATNLSTM(3, 4, 2, norm=norm, k=k, dtype=torch.float64))
    x = random(9, 2, 3).requires_grad_()
    upstream = random(9, 2, 4, seed=1)
    leaves = [x, *module.parameters()]
    whole = torch.autograd.grad(module(x)[0], leaves, upstream)
    streamed = torch.autograd.grad(in_chunks(module, x, [2, 1, 4])[0], leaves, upstream)
    for actual, expected in zip(streamed, whole, strict=True):
        scale = max(float(expected.abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)


def test_detach_cuts_every_path_and_keeps_the_numbers() -> None:
    module = with_random_parameters(ATNLSTM(3, 4, 2, k=4, dtype=torch.float64))
    x = random(9, 2, 3).requires_grad_()
    _, state = module.stream(x[:5])
    linked, _ = module.stream(x[5:], state)
    cut, _ = module.stream(x[5:], state.detach())
    assert torch.equal(cut, linked)
    (dx,) = torch.autograd.grad(cut.sum(), x)
    assert not dx[:5].any()
    assert dx[5:].any()


@pytest.mark.claim("s3-fixed-cost")
@pytest.mark.parametrize("T", [2, 6, 50])
def test_the_state_keeps_at_most_k_minus_1_pairs_of_numbers_a_norm(T: int) -> None:
    module = ATNLSTM(3, 4, 2, k=5)
    _, state = module.stream(torch.zeros(T, 7, 3))
    assert state.h.shape == state.c.shape == (2, 7, 4)
    assert len(state.memory) == 2
    for memory in state.memory:
        assert memory is not None
        shapes = {tuple(statistic.shape) for steps in memory for statistic in steps}
        assert shapes == {(min(4, T), 7)}


@pytest.mark.parametrize("make", [ATNLSTM, ATNGRU, ATNRNN])
def test_the_windows_of_a_state_hold_no_more_memory_than_they_show(make: Any) -> None:
    """They are the last of all steps that were computed, which a view would keep."""
    _, state = make(3, 4, k=5).stream(torch.randn(50, 2, 3))
    for steps in state.memory[0]:
        assert [tensor.untyped_storage().nbytes() for tensor in steps] == [tensor.nbytes for tensor in steps]


def test_the_module_keeps_nothing() -> None:
    module = with_random_parameters(ATNLSTM(3, 4, k=4))
    x = random(6, 2, 3).float()
    before = module(x)[0]
    module.stream(x[:4])
    assert torch.equal(module(x)[0], before)
    assert list(module.buffers()) == []


@pytest.mark.parametrize(("norm", "k"), [("none", None), ("atn", 4)])
@pytest.mark.parametrize("layout", ["batch_first", "no batch"])
def test_other_layouts_stream_too(layout: str, norm: Norm, k: int | None) -> None:
    settings: dict[str, Any] = {"norm": norm, "k": k, "batch_first": layout == "batch_first", "dtype": torch.float64}
    module = with_random_parameters(ATNLSTM(3, 4, 2, **settings))
    x, axis = (random(2, 9, 3), 1) if layout == "batch_first" else (random(9, 3), 0)
    whole, (h_n, c_n) = module(x)
    output, state = in_chunks(module, x, [1, 3, 2], axis)
    assert_close(output, whole, quantity="output", backend="eager")
    assert_close(state.h, h_n, quantity="output", backend="eager")
    assert_close(state.c, c_n, quantity="output", backend="eager")


def test_half_types_keep_their_state_in_float32() -> None:
    module = ATNLSTM(3, 4, k=3, dtype=torch.bfloat16)
    output, state = module.stream(torch.zeros(5, 2, 3, dtype=torch.bfloat16))
    assert output.dtype == torch.bfloat16
    assert state.h.dtype == state.c.dtype == torch.float32
    assert state.memory[0] is not None
    assert state.memory[0].hh.mean.dtype == torch.float32


def test_the_state_moves_between_dtypes() -> None:
    module = with_random_parameters(ATNLSTM(3, 4, k=3))
    x = random(6, 2, 3).float()
    _, state = module.stream(x[:4])
    single, _ = module.stream(x[4:], state)
    double, _ = module.double().stream(x[4:].double(), state.to(torch.float64))
    assert double.dtype == torch.float64
    assert_close(single, double, quantity="output", backend="eager", dtype="float32")


def test_a_state_of_torch_continues_a_plain_lstm() -> None:
    """`forward` with (h, c) of a stream's state is the stream, where no window connects the chunks."""
    module = with_random_parameters(ATNLSTM(3, 4, norm="none"))
    x = random(6, 2, 3).float()
    _, state = module.stream(x[:4])
    assert torch.equal(module(x[4:], (state.h, state.c))[0], module.stream(x[4:], state)[0])


@pytest.mark.parametrize("make", [ATNLSTM, ATNGRU, ATNRNN])
def test_under_autocast_the_dtype_of_the_chunks_may_change(make: Any) -> None:
    """The windows go on in the dtype that the next chunk is computed in, as the hidden states do."""
    torch.manual_seed(0)
    module, x = make(3, 4, k=3), torch.randn(6, 2, 3)
    whole, _ = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        for first, second in [(torch.float32, torch.float64), (torch.float64, torch.float32)]:
            _, state = module.stream(x[:3].to(first))
            output, _ = module.stream(x[3:].to(second), state)
            assert output.dtype == second
            torch.testing.assert_close(output.float(), whole[3:])


@pytest.mark.parametrize("make", [ATNLSTM, ATNGRU, ATNRNN])
def test_under_autocast_a_state_has_the_dtype_that_was_computed_in(make: Any) -> None:
    """Float32 data and float64 parameters are computed in float64, and a state is not rounded between chunks."""
    torch.manual_seed(0)
    module, x = make(3, 4, k=3, dtype=torch.float64), torch.randn(6, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        _, whole = module.stream(x)
        _, state = module.stream(x[:3])
        _, state = module.stream(x[3:], state)
    assert state.h.dtype == torch.float64
    torch.testing.assert_close(state.h, whole.h, rtol=1e-12, atol=1e-12)


def test_a_stream_of_no_cases_may_have_lengths() -> None:
    module = ATNLSTM(3, 4, k=3)
    _, state = module.stream(torch.zeros(5, 0, 3))
    output, _ = module.stream(torch.zeros(2, 0, 3), state._replace(lengths=()))
    assert output.shape == (2, 0, 4)
