"""An RNN with relu: states that grow beyond every number while other cases go on, and infinite gradients."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from atn import ATNRNN
from atn.choices import Norm
from tests.support.comparison import assert_close
from tests.support.lstms import random, with_random_parameters

pytestmark = pytest.mark.usefixtures("auto_backend")

LENGTHS = [2, 400, 30, 400]


def growing(norm: Norm, growth: float, *, bidirectional: bool = False) -> ATNRNN:
    """A layer whose states grow by this factor at each step, wherever an input is positive."""
    module = ATNRNN(1, 2, norm=norm, nonlinearity="relu", bidirectional=bidirectional)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("weight_ih"):
                parameter.fill_(1.0)
            elif name.startswith("weight_hh"):
                parameter.copy_(growth * torch.eye(2))
            elif "norm_hh" in name:
                parameter.fill_(growth)
            else:
                parameter.fill_(1.0 if "norm" in name else 0.0)
    return module


def cases() -> PackedSequence:
    """Two short cases of positive inputs, and two long ones of negative ones, whose states stay 0."""
    return pack_sequence([torch.full((T, 1), 1.0 if T < 100 else -1.0) for T in LENGTHS], enforce_sorted=False)


@pytest.mark.parametrize("norm", ["none", "wn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_in_which_a_state_would_overflow_leaves_no_trace(norm: Norm, *, bidirectional: bool) -> None:
    """The short cases would pass 1e38 within 130 steps of padding."""
    ours = growing(norm, 2.0, bidirectional=bidirectional)
    output, h_n = ours(cases())
    output.data.sum().backward()
    theirs = nn.RNN(1, 2, nonlinearity="relu", bidirectional=bidirectional)
    theirs.load_state_dict(growing("none", 2.0, bidirectional=bidirectional).state_dict())
    expected, expected_n = theirs(cases())
    expected.data.sum().backward()
    assert torch.equal(output.data, expected.data)
    assert torch.equal(h_n, expected_n)
    if norm == "none":
        for (name, left), (_, right) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert left.grad is not None, name
            assert right.grad is not None, name
            assert_close(
                left.grad, right.grad, quantity="gradient", backend="eager", scale=float(right.grad.abs().max())
            )
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ours.parameters())


def test_a_packed_batch_is_its_cases_one_by_one() -> None:
    module = growing("none", 1.1)
    sequences = [random(length, 1).float().abs() for length in (3, 40, 1, 40)]
    packed, h_n = module(pack_sequence(sequences, enforce_sorted=False))
    output, lengths = pad_packed_sequence(packed)
    for case, (sequence, length) in enumerate(zip(sequences, lengths.tolist(), strict=True)):
        alone, last = module(sequence.unsqueeze(1))
        assert_close(output[:length, case : case + 1], alone, quantity="output", backend="eager")
        assert_close(h_n[:, case : case + 1], last, quantity="output", backend="eager")
        assert not output[length:, case].any()


@pytest.mark.parametrize("norm", ["none", "ln"])
def test_a_unit_that_relu_turns_off_stops_an_infinite_gradient(norm: Norm) -> None:
    """As that of a square root at 0: torch chooses between the gradient and 0, and multiplies them by nothing."""
    ours = with_random_parameters(ATNRNN(3, 4, norm=norm, nonlinearity="relu", dtype=torch.float64))
    theirs = with_random_parameters(ATNRNN(3, 4, norm=norm, nonlinearity="relu", backend="eager", dtype=torch.float64))
    gradients = []
    for module in (ours, theirs):
        output = module(random(6, 2, 3))[0]
        assert (output == 0).any()
        gradients.append(torch.autograd.grad(output.sqrt().sum(), list(module.parameters())))
    for actual, expected in zip(*gradients, strict=True):
        assert expected.isfinite().all()
        assert_close(actual, expected, quantity="gradient", backend="eager")
    if norm == "none":
        plain = nn.RNN(3, 4, nonlinearity="relu", dtype=torch.float64)
        plain.load_state_dict(ours.state_dict())
        of_torch = torch.autograd.grad(plain(random(6, 2, 3))[0].sqrt().sum(), list(plain.parameters()))
        for actual, expected in zip(gradients[0], of_torch, strict=True):
            assert_close(actual, expected, quantity="gradient", backend="eager")
