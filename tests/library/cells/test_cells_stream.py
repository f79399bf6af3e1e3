"""Streams of `ATNRNN` and `ATNGRU`: chunks are the whole, and cases restart, move and are saved alone."""

import io
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from atn import ATNGRU, ATNRNN, HiddenState
from atn.choices import BiasPlacement, Norm
from tests.support.cells import CELLS, hidden_in_chunks
from tests.support.comparison import assert_close
from tests.support.lstms import NORMS, random, with_exact_input_products, with_random_parameters

pytestmark = [pytest.mark.parametrize("cell", CELLS), pytest.mark.usefixtures("auto_backend")]


@pytest.mark.parametrize(
    ("norm", "k", "dtype"),
    [
        ("none", None, torch.float32),
        ("ln", None, torch.bfloat16),
        ("atn", 2, torch.float64),
        *(("atn", 5, dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)),
        ("atn", 40, torch.float32),
        ("atn", 300, torch.float64),
        ("wn", None, torch.float64),
    ],
)
@given(
    placement=st.sampled_from(["outside", "inside"]), T=st.integers(1, 20), B=st.integers(1, 4),
    layers=st.integers(1, 2), lengths=st.lists(st.integers(1, 8), max_size=6), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_stream_equals_the_whole_bit_for_bit(
    cell: str, norm: Norm, k: int | None, dtype: torch.dtype, placement: BiasPlacement,
    T: int, B: int, layers: int, lengths: list[int], seed: int,
) -> None:  # fmt: skip
    # Weight normalization has its biases outside, and lengths of rows that no power of two keeps exact.
    settings: dict[str, Any] = {} if norm == "wn" else {"bias_placement": placement}
    module = with_random_parameters(CELLS[cell].module(3, 5, layers, norm=norm, k=k, dtype=dtype, **settings), seed)
    with_exact_input_products(module)
    x = random(T, B, 3, seed=seed).to(dtype)
    whole, h_n = module(x)
    outputs, state = hidden_in_chunks(module, x, lengths)
    quantity = "output" if norm == "wn" else "exact"
    assert_close(torch.cat(outputs), whole, quantity=quantity, backend="eager")
    assert_close(state.h.to(dtype), h_n, quantity=quantity, backend="eager")


def test_a_stream_runs_the_hooks_of_the_module(cell: str) -> None:
    """So that weights that they compute are fresh."""
    module, x, seen = with_random_parameters(CELLS[cell].module(3, 4, k=3)), random(5, 2, 3), []
    prune.random_unstructured(module, "weight_hh_l0", amount=0.3)  # type: ignore[no-untyped-call]  # torch's own
    module.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    with torch.no_grad():
        module.get_parameter("weight_hh_l0_orig").mul_(0.5)
    output, state = module.stream(x)
    assert torch.equal(output, module(x)[0])
    assert seen[0][0] is x
    assert seen[0][1][0] is output
    assert seen[0][1][1] is state


@pytest.mark.parametrize(("norm", "k"), NORMS)
def test_gradients_flow_through_the_state_until_it_is_detached(cell: str, norm: Norm, k: int | None) -> None:
    module = with_random_parameters(CELLS[cell].module(3, 4, 2, norm=norm, k=k))
    x, upstream = random(9, 2, 3).requires_grad_(), random(9, 2, 4, seed=1)
    leaves = [x, *module.parameters()]
    whole = torch.autograd.grad(module(x)[0], leaves, upstream)
    streamed = torch.autograd.grad(torch.cat(hidden_in_chunks(module, x, [2, 1, 4])[0]), leaves, upstream)
    for actual, expected in zip(streamed, whole, strict=True):
        scale = max(float(expected.abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)
    _, state = module.stream(x[:5])
    cut, _ = module.stream(x[5:], state.detach())
    (dx,) = torch.autograd.grad(cut.sum(), x)
    assert not dx[:5].any()
    assert dx[5:].any()


@pytest.mark.parametrize("T", [2, 6, 50])
def test_the_state_keeps_at_most_k_minus_1_pairs_of_numbers_a_norm(cell: str, T: int) -> None:
    _, state = CELLS[cell].module(3, 4, 2, k=5, dtype=torch.bfloat16).stream(torch.zeros(T, 7, 3).bfloat16())
    assert state.h.shape == (2, 7, 4)
    assert state.h.dtype == torch.float32
    for memory in state.memory:
        assert memory is not None
        assert memory._fields == ("ih", "hh")
        found = {(tuple(statistic.shape), statistic.dtype) for steps in memory for statistic in steps}
        assert found == {((min(4, T), 7), torch.float32)}


def alone(module: ATNRNN | ATNGRU, x: Tensor, reset: Tensor) -> Tensor:
    """Each case and each piece between restarts by itself, through `forward`; x (T, B, I), reset (T, B)."""
    T, B, _ = x.shape
    columns = []
    for case in range(B):
        starts = [0, *(t for t in range(1, T) if reset[t, case]), T]
        pieces = [module(x[start:end, case : case + 1])[0] for start, end in itertools.pairwise(starts)]
        columns.append(torch.cat(pieces))
    return torch.cat(columns, 1)


@pytest.mark.parametrize(("norm", "k"), NORMS)
@given(
    T=st.integers(2, 10), B=st.integers(1, 4), cut=st.integers(1, 9), share=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_pieces_between_restarts_are_as_if_run_apart(
    cell: str, norm: Norm, k: int | None, T: int, B: int, cut: int, share: float, seed: int
) -> None:
    module = with_random_parameters(CELLS[cell].module(3, 4, 2, norm=norm, k=k, eps=1e-2), seed)
    x, cut = random(T, B, 3, seed=seed).requires_grad_(), min(cut, T - 1)
    reset = torch.rand(T, B, generator=torch.Generator().manual_seed(seed)) < share
    leaves, upstream = [x, *module.parameters()], random(T, B, 4, seed=seed + 1)
    first, state = module.stream(x[:cut], None, reset[:cut])
    second, _ = module.stream(x[cut:], state, reset[cut:])
    output, apart = torch.cat((first, second)), alone(module, x, reset)
    assert_close(output, apart, quantity="output", backend="eager")
    gradients = (torch.autograd.grad(found, leaves, upstream) for found in (output, apart))
    for actual, expected in zip(*gradients, strict=True):
        scale = max(float(expected.abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)


def test_a_state_restarts_moves_and_is_saved(cell: str) -> None:
    module, x = with_random_parameters(CELLS[cell].module(3, 4, 2, k=5)), random(9, 3, 3)
    _, state = module.stream(x[:6])
    untouched, _ = module.stream(x[6:], state)
    restarted = state.reset(torch.tensor([False, True, False]))
    assert restarted.lengths == (4, 0, 4)
    after, _ = module.stream(x[6:], restarted)
    assert_close(after[:, [0, 2]], untouched[:, [0, 2]], quantity="output", backend="eager")
    assert_close(after[:, 1:2], module(x[6:, 1:2])[0], quantity="output", backend="eager")

    order = torch.tensor([2, 0, 1, 1])
    beams, _ = module.stream(x[6:, order], restarted.select(order))
    assert_close(beams, after[:, order], quantity="output", backend="eager")

    file = io.BytesIO()
    torch.save(restarted, file)
    file.seek(0)
    again = torch.load(file)
    assert type(again) is HiddenState
    assert torch.equal(module.stream(x[6:], again)[0], after)

    single, _ = module.float().stream(x[6:].float(), restarted.to(torch.float32))
    assert_close(single, after, quantity="output", backend="eager", dtype="float32")


@pytest.mark.parametrize("layout", ["batch_first", "no batch"])
def test_other_layouts(cell: str, layout: str) -> None:
    time_first = with_random_parameters(CELLS[cell].module(3, 4, 2, k=3))
    module = CELLS[cell].module(3, 4, 2, k=3, batch_first=layout == "batch_first")
    module.load_state_dict(time_first.state_dict())
    B = 2 if layout == "batch_first" else 1
    x, reset = random(7, B, 3), torch.rand(7, B, generator=torch.Generator().manual_seed(0)) < 0.4
    expected, _ = time_first.stream(x, None, reset)
    given_x, given_reset = (x.transpose(0, 1), reset.T) if layout == "batch_first" else (x[:, 0], reset[:, 0])
    output, other = module.stream(given_x, None, given_reset)
    laid_out = output.transpose(0, 1) if layout == "batch_first" else output.unsqueeze(1)
    assert_close(laid_out, expected, quantity="output", backend="eager")
    mask = torch.ones(B).bool() if layout == "batch_first" else torch.tensor(data=True)
    assert not other.reset(mask).h.any()
    assert other.reset(mask).h.shape == other.h.shape


@pytest.mark.parametrize(("norm", "k"), NORMS)
def test_packed_is_one_by_one(cell: str, norm: Norm, k: int | None) -> None:
    """Outputs, states and input gradients, with numbers in the padding that must not matter."""
    module = with_random_parameters(CELLS[cell].module(3, 4, 2, norm=norm, k=k, bidirectional=True))
    lengths = [3, 6, 1, 4]
    x, h_0 = random(6, 4, 3), random(4, 4, 4, seed=1)
    for case, length in enumerate(lengths):
        x[length:, case] = float("nan")
    x.requires_grad_()
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    packed_output, h_n = module(packed, h_0)
    output, _ = pad_packed_sequence(packed_output)
    upstream = random(*output.shape, seed=2)
    (dx,) = torch.autograd.grad(output, x, upstream)
    for case, length in enumerate(lengths):
        alone = x[:length, case : case + 1].detach().requires_grad_()
        expected, end = module(alone, h_0[:, case : case + 1])
        assert_close(output[:length, case : case + 1], expected, quantity="output", backend="eager")
        assert_close(h_n[:, case : case + 1], end, quantity="output", backend="eager")
        (gradient,) = torch.autograd.grad(expected, alone, upstream[:length, case : case + 1])
        assert_close(dx[:length, case : case + 1], gradient, quantity="gradient", backend="eager")
        assert not dx[length:, case].any()
