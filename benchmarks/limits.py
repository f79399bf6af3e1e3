"""The limits that the figures are held to, and the targets below them: each declared once, for every table."""

from typing import Literal, NamedTuple

from benchmarks.sizes import Device

Mode = Literal["training", "inference", "step of forward", "step of stream"]


class Bound(NamedTuple):
    """A figure is to be at most `limit`, better at most `target`."""

    limit: float
    target: float

    def __str__(self) -> str:
        return f"{self.limit:g} ({self.target:g})"


LIMIT_AND_TARGET = "*limit (target)*"
"""Heading of the row with the bounds."""

RATIO: dict[Mode, Bound] = {
    "training": Bound(1.15, 1.0),
    "inference": Bound(1.10, 1.0),
    "step of forward": Bound(1.2, 0.8),
    "step of stream": Bound(1.2, 0.8),
}
"""Time of `ATNLSTM` over nn.LSTM's on the CPU, in each mode."""

TRAINING: dict[Device, Bound] = {"cpu": RATIO["training"], "cuda": Bound(2.0, 1.1)}
"""Time of a forward and backward pass over nn.LSTM's."""

LONG_WINDOW: dict[Device, Bound] = {"cpu": Bound(1.05, 1.02), "cuda": Bound(1.05, 1.02)}
"""Time at k = 200 over time at k = 1."""

ALLOCATED = Bound(1.5, 1.0)
"""Bytes in use at once during inference, over nn.LSTM's."""

KEPT = Bound(12.0, 8.0)
"""Numbers kept for the backward pass, in multiples of T*B*H; terms in T*B are extra."""
