"""One call of a layer of ours and of torch's in each mode."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from atn import ATNGRU, ATNLSTM, ATNRNN
from benchmarks.limits import Mode
from benchmarks.overhead.rows import ATN_LSTM, Cell, Member
from benchmarks.peers.plain import OutputOnly
from benchmarks.sizes import Size
from benchmarks.timing import Call, Data, random_data, training_call

CPU = torch.device("cpu")


OURS: dict[Cell, type[ATNLSTM | ATNRNN | ATNGRU]] = {"LSTM": ATNLSTM, "RNN": ATNRNN, "GRU": ATNGRU}
PEERS: dict[Cell, type[nn.LSTM | nn.RNN | nn.GRU]] = {"LSTM": nn.LSTM, "RNN": nn.RNN, "GRU": nn.GRU}


class Pair(NamedTuple):
    """The call of a layer of ours and the corresponding call of torch's."""

    ours: Call
    peer: Call


def pair(size: Size, mode: Mode, member: Member = ATN_LSTM) -> Pair:
    """A call of a cell with a norm and one of torch's plain cell of this size, on the same input."""
    torch.manual_seed(0)
    k = size.k if member.norm == "atn" else None
    ours = OURS[member.cell](size.I, size.H, norm=member.norm, k=k)
    peer = PEERS[member.cell](size.I, size.H)
    data = random_data(size, CPU)
    if mode == "training":
        return Pair(training_call(OutputOnly(ours), data), training_call(OutputOnly(peer), data))
    x = data.x.detach()
    # In evaluation torch's layer keeps nothing for a backward pass; under no_grad alone it still does.
    ours.eval()
    peer.eval()
    if mode == "step of stream":
        return Pair(_stream(ours, x), _carried(peer, x))
    return Pair(_inference(ours, x), _inference(peer, x))


def training_of(size: Size) -> Call:
    """Forward and backward pass of an ATN-LSTM of this size."""
    torch.manual_seed(0)
    return training_call(OutputOnly(ATNLSTM(size.I, size.H, k=size.k)), _data(size))


def inference_of(size: Size) -> Call:
    """Forward pass of an ATN-LSTM of this size without gradients."""
    torch.manual_seed(0)
    return _inference(ATNLSTM(size.I, size.H, k=size.k).eval(), _data(size).x.detach())


def _data(size: Size) -> Data:
    return random_data(size, CPU)


def _inference(lstm: nn.Module, x: Tensor) -> Call:
    def call() -> None:
        with torch.no_grad():
            lstm(x)

    return call


def _stream(lstm: Any, x: Tensor) -> Call:
    """The next steps of one long sequence, whose windows have been filled."""
    with torch.no_grad():
        _, state = lstm.stream(x.expand(2 * (lstm.k or 1), -1, -1))

    def call() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = lstm.stream(x, state)

    return call


def _carried(lstm: nn.RNNBase, x: Tensor) -> Call:
    """The next steps of one long sequence in a layer of torch, whose caller carries the states."""
    with torch.no_grad():
        _, state = lstm(x)

    def call() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = lstm(x, state)

    return call
