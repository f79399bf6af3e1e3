"""The sizes and modes that are measured, and the other cells and norms with their limits."""

from typing import Literal, NamedTuple

from atn.choices import Norm
from benchmarks.limits import Bound, Mode
from benchmarks.sizes import NAMED, Size

Cell = Literal["LSTM", "RNN", "GRU"]
Heap = Literal["default", "kept"]
"""The default malloc, which returns large blocks to the system, or one that keeps freed memory."""

THREADS = (2, 1)
HEAPS: tuple[Heap, ...] = ("default", "kept")

ROWS = (
    NAMED["cpu"]["copying"],
    NAMED["cpu"]["adding"],
    Size(T=100, B=128, I=10, H=100, k=20),  # the paper's denoise task
    NAMED["cpu"]["pixels"],
    Size(T=220, B=32, I=200, H=200, k=20),
    NAMED["cpu"]["char-ptb"],
    Size(T=70, B=32, I=400, H=1150, k=25),  # words of WikiText-2
    Size(T=200, B=16, I=128, H=512, k=25),
    Size(T=50, B=1, I=40, H=256, k=10),
    Size(T=1, B=1, I=64, H=256, k=10),
    Size(T=1, B=1, I=64, H=1024, k=10),
)
"""The layers that are measured, float32."""

OVER_K = Size(T=400, B=32, I=32, H=128, k=200)
"""The layer whose time at k = 200 is compared with that at k = 1."""


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


def modes(size: Size) -> tuple[Mode, ...]:
    """What is measured of a row: single steps only where the row is one step of one case."""
    whole: tuple[Mode, ...] = ("training", "inference")
    return (*whole, "step of forward", "step of stream") if (size.T, size.B) == (1, 1) else whole
