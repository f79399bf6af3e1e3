"""One call of `ATNLSTM` and of `torch.nn.LSTM` in each mode."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from atn import ATNLSTM
from benchmarks.overhead.rows import Mode
from benchmarks.peers import OutputOnly
from benchmarks.sizes import Size
from benchmarks.timing import Call, Data, random_data, training_call

CPU = torch.device("cpu")


class Pair(NamedTuple):
    """The call of an ATNLSTM and the corresponding call of an nn.LSTM."""

    ours: Call
    peer: Call


def pair(size: Size, mode: Mode) -> Pair:
    """A call of an ATN-LSTM and one of a `torch.nn.LSTM` of this size, on the same input."""
    torch.manual_seed(0)
    ours, peer = ATNLSTM(size.I, size.H, k=size.k), nn.LSTM(size.I, size.H)
    data = random_data(size, CPU)
    if mode == "training":
        return Pair(training_call(OutputOnly(ours), data), training_call(OutputOnly(peer), data))
    x = data.x.detach()
    # In evaluation nn.LSTM keeps nothing for a backward pass; under no_grad alone it still does.
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


def _stream(lstm: ATNLSTM, x: Tensor) -> Call:
    """The next steps of one long sequence, whose windows have been filled."""
    with torch.no_grad():
        _, state = lstm.stream(x.expand(2 * (lstm.k or 1), -1, -1))

    def call() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = lstm.stream(x, state)

    return call


def _carried(lstm: nn.LSTM, x: Tensor) -> Call:
    """The next steps of one long sequence in nn.LSTM, whose caller carries h and c."""
    with torch.no_grad():
        _, state = lstm(x)

    def call() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = lstm(x, state)

    return call
