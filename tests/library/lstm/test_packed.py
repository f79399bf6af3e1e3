"""Sequences of different lengths: a packed batch is its cases one by one, in outputs and gradients."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from atn import ATNLSTM, ATNRNN
from atn.choices import Norm
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters

pytestmark = pytest.mark.usefixtures("auto_backend")

LENGTHS = [3, 6, 1, 4]


def module(norm: Norm = "atn", **settings: Any) -> ATNLSTM:
    """Two layers, both directions, 3 features in, 4 hidden."""
    k = {"k": 3} if norm == "atn" else {}
    defaults: dict[str, Any] = {"num_layers": 2, "bidirectional": True, **k, **DOUBLE}
    return with_random_parameters(ATNLSTM(3, 4, norm=norm, **{**defaults, **settings}))


def padded(lengths: list[int], fill: float) -> Tensor:
    """Random batch (T, B, 3) with `fill` behind each case's end."""
    x = random(max(lengths), len(lengths), 3)
    for case, length in enumerate(lengths):
        x[length:, case] = fill
    return x


def states(lstm: ATNLSTM, B: int) -> tuple[Tensor, Tensor]:
    """Random initial states."""
    rows = lstm.num_layers * (1 + lstm.bidirectional)
    return random(rows, B, 4, seed=1), random(rows, B, 4, seed=2)


def assert_packed_is_one_by_one(lstm: ATNLSTM, lengths: list[int], x: Tensor) -> None:
    """Outputs, states and the gradients of input, states and parameters, with every output weighted at random."""
    h_0, c_0 = states(lstm, len(lengths))
    leaves = [x.requires_grad_(), h_0.requires_grad_(), c_0.requires_grad_(), *lstm.parameters()]
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    packed_output, (h_n, c_n) = lstm(packed, (h_0, c_0))
    assert isinstance(packed_output, PackedSequence)
    output, out_lengths = pad_packed_sequence(packed_output)
    assert out_lengths.tolist() == lengths
    upstream = [random(*value.shape, seed=9 + i) for i, value in enumerate((output, h_n, c_n))]

    loss = torch.zeros((), dtype=torch.float64)
    for case, length in enumerate(lengths):
        column = slice(case, case + 1)
        alone, (h_alone, c_alone) = lstm(x[:length, column], (h_0[:, column], c_0[:, column]))
        for actual, expected in (
            (output[:length, column], alone), (h_n[:, column], h_alone), (c_n[:, column], c_alone),
        ):  # fmt: skip
            assert_close(actual, expected, quantity="output", backend="eager")
        assert not output[length:, case].any()
        loss = loss + (alone * upstream[0][:length, column]).sum()
        loss = loss + (h_alone * upstream[1][:, column]).sum() + (c_alone * upstream[2][:, column]).sum()

    gradients = torch.autograd.grad((output, h_n, c_n), leaves, upstream)
    for actual, expected in zip(gradients, torch.autograd.grad(loss, leaves), strict=True):
        scale = max(float(expected.abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)
    for case, length in enumerate(lengths):
        assert not gradients[0][length:, case].any()


@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [LENGTHS, [5, 4, 4, 1], [1], [2, 2]])
def test_packed_is_one_by_one(lengths: list[int], bidirectional: bool, norm: Norm) -> None:  # noqa: FBT001 - parametrized
    assert_packed_is_one_by_one(module(norm, bidirectional=bidirectional), lengths, padded(lengths, 0.0))


@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=5), k=st.integers(1, 9))
def test_any_lengths(lengths: list[int], k: int) -> None:
    assert_packed_is_one_by_one(module(k=k, eps=1e-2), lengths, padded(lengths, 0.0))


def test_not_a_number_in_the_padding_stays_there() -> None:
    assert_packed_is_one_by_one(module(), LENGTHS, padded(LENGTHS, float("nan")))


def test_no_epsilon_and_no_bias_leave_no_zero_window_in_the_padding() -> None:
    """Padding with zeros would normalize constant windows: NaN, which a zero gradient does not stop."""
    lstm = module(eps=0.0, bias=False, num_layers=1, k=2)
    assert_packed_is_one_by_one(lstm, LENGTHS, padded(LENGTHS, 0.0))


@pytest.mark.parametrize(("norm", "hidden_size"), [("atn", 2), ("ln", 3)])
def test_no_epsilon_and_relu_leave_no_gradient_from_the_padding(norm: Norm, hidden_size: int) -> None:
    """Where the units of a case are off at its end, the norm of W_hh h would divide 0 by 0 behind it."""
    off = 0
    for seed in range(120):
        torch.manual_seed(seed)
        window: dict[str, Any] = {"k": 2} if norm == "atn" else {}
        rnn = ATNRNN(3, hidden_size, norm=norm, nonlinearity="relu", eps=0.0, **window, **DOUBLE)
        cases = [random(length, 3, seed=seed + length) for length in (2, 5)]
        h_0 = random(1, 2, hidden_size, seed=seed).abs()
        alone = [rnn(case.unsqueeze(1), h_0[:, [n]])[0] for n, case in enumerate(cases)]
        expected = torch.autograd.grad(sum(each.sum() for each in alone), list(rnn.parameters()))
        if all(gradient.isfinite().all() for gradient in expected):
            packed, _ = rnn(pack_sequence(cases, enforce_sorted=False), h_0)
            found = torch.autograd.grad(packed.data.sum(), list(rnn.parameters()))
            for gradient, other in zip(found, expected, strict=True):
                assert_close(gradient, other, quantity="gradient", backend="eager")
            off += int(not alone[0][-1].any())
    assert off > 0


@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_plain_packed_is_torch(batch_first: bool, enforce_sorted: bool) -> None:  # noqa: FBT001 - parametrized
    lengths = torch.tensor(sorted(LENGTHS, reverse=True) if enforce_sorted else LENGTHS)
    ours, theirs = module("none"), nn.LSTM(3, 4, 2, bidirectional=True, batch_first=batch_first, **DOUBLE)
    theirs.load_state_dict(ours.state_dict())
    x = padded(lengths.tolist(), 0.0)
    packed = pack_padded_sequence(
        x.transpose(0, 1) if batch_first else x, lengths, batch_first=batch_first, enforce_sorted=enforce_sorted
    )
    for hx in (None, states(ours, len(LENGTHS))):
        (actual, actual_n), (expected, expected_n) = ours(packed, hx), theirs(packed, hx)
        assert_close(actual.data, expected.data, quantity="output", backend="eager")
        for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            assert (getattr(actual, field) is None) == (getattr(expected, field) is None)
            if getattr(actual, field) is not None:
                assert torch.equal(getattr(actual, field), getattr(expected, field))
        for state, their_state in zip(actual_n, expected_n, strict=True):
            assert_close(state, their_state, quantity="output", backend="eager")


def test_half_types_pack_too() -> None:
    lstm = module().bfloat16()
    cases = [random(length, 3, seed=length).bfloat16() for length in LENGTHS]
    output, (h_n, _) = lstm(pack_sequence(cases, enforce_sorted=False))
    assert output.data.dtype == h_n.dtype == torch.bfloat16
    alone, _ = lstm(cases[1].unsqueeze(1))
    assert_close(pad_packed_sequence(output)[0][:6, 1:2], alone, quantity="output", backend="eager")
