"""The sizes, the modes, and the figures to reach."""

from typing import Literal, NamedTuple

from atn.choices import Norm
from benchmarks.sizes import Size

Cell = Literal["LSTM", "RNN", "GRU"]
Mode = Literal["training", "inference", "step of forward", "step of stream"]
Heap = Literal["default", "kept"]
"""The default malloc, which returns large blocks to the system, or one that keeps freed memory."""

THREADS = (2, 1)
HEAPS: tuple[Heap, ...] = ("default", "kept")

ROWS = (
    Size(T=120, B=128, I=10, H=68, k=45),  # the paper's copying problem, T = 100
    Size(T=100, B=50, I=2, H=60, k=25),  # its adding problem, T = 100
    Size(T=100, B=128, I=10, H=100, k=20),  # its denoise task
    Size(T=784, B=128, I=1, H=128, k=10),  # images read pixel by pixel
    Size(T=220, B=32, I=200, H=200, k=20),
    Size(T=220, B=32, I=200, H=1000, k=10),  # characters of the Penn Treebank
    Size(T=70, B=32, I=400, H=1150, k=25),  # words of WikiText-2
    Size(T=200, B=16, I=128, H=512, k=25),
    Size(T=50, B=1, I=40, H=256, k=10),
    Size(T=1, B=1, I=64, H=256, k=10),
    Size(T=1, B=1, I=64, H=1024, k=10),
)
"""The layers that are measured, float32."""

OVER_K = Size(T=400, B=32, I=32, H=128, k=200)
"""The layer whose time at k = 200 is compared with that at k = 1."""


class Bound(NamedTuple):
    """A figure to reach: at most `must`, better at most `aim`."""

    must: float
    aim: float


class Member(NamedTuple):
    """A cell with a norm, which is compared with torch's plain cell of that name."""

    cell: Cell
    norm: Norm


ATN_LSTM = Member("LSTM", "atn")
"""What the rows above are measured of."""

FAMILY: dict[Member, Bound] = {
    Member("RNN", "atn"): Bound(1.3, 1.0),
    Member("GRU", "atn"): Bound(1.3, 1.0),
    Member("LSTM", "prop"): Bound(1.1, 1.0),
    Member("LSTM", "wn"): Bound(1.1, 1.0),
}
"""The other cells and norms, with the figure for the time in training and in inference over that of torch's cell."""

FAMILY_ROWS = (ROWS[0], ROWS[1], ROWS[4])
"""The sizes at which they are measured."""

RATIO: dict[Mode, Bound] = {
    "training": Bound(1.15, 1.0),
    "inference": Bound(1.10, 1.0),
    "step of forward": Bound(1.2, 0.8),
    "step of stream": Bound(1.2, 0.8),
}
"""Time over nn.LSTM's, in each mode."""

ALLOCATED = Bound(1.5, 1.0)
"""Bytes in use at once during inference, over nn.LSTM's."""

KEPT = Bound(12.0, 8.0)
"""Numbers kept for the backward pass, in multiples of T*B*H."""

LONG_WINDOW = Bound(1.05, 1.02)
"""Time at k = 200 over time at k = 1."""


def modes(size: Size) -> tuple[Mode, ...]:
    """What is measured of a row: single steps only where the row is one step of one case."""
    whole: tuple[Mode, ...] = ("training", "inference")
    return (*whole, "step of forward", "step of stream") if (size.T, size.B) == (1, 1) else whole
