"""The shortest possible time of a pass on this machine, from its operations and bytes.

A pass cannot be faster than its floating-point operations at the speed of a large matrix product, nor than its bytes at
the speed of a stream triad; both speeds are measured in the same run. The operations are those of the products with
W_ih and W_hh, two per multiplication, and three times as many with a backward pass. The bytes are those of the numbers
that must be read or written: input, weights and output once in inference; in training also the gates, c and h that a
backward pass reads, and the gradients of the preactivations, which are written once and read twice.
"""

import time
from typing import NamedTuple

import torch

from benchmarks.limits import Mode
from benchmarks.overhead.rows import Cell
from benchmarks.sizes import Size
from benchmarks.timing import Call

PRODUCT = 1536
"""Rows and columns of the measured matrix product."""

TRIAD = 1 << 24
"""Elements of each of the triad's three arrays: 64 MiB each, more than any cache."""

REPEATS = 7
NUMBER_BYTES = 4


class Machine(NamedTuple):
    """Floating-point operations and bytes a second."""

    operations: float
    bytes: float


class Work(NamedTuple):
    """Floating-point operations and bytes of one pass."""

    operations: float
    bytes: float

    def seconds(self, machine: Machine) -> float:
        """Shortest time on this machine."""
        return max(self.operations / machine.operations, self.bytes / machine.bytes)


def measure_machine() -> Machine:
    """The speeds of a matrix product and of a stream triad, with the threads that PyTorch has; the best of a few."""
    a, b = torch.rand(PRODUCT, PRODUCT), torch.rand(PRODUCT, PRODUCT)
    out = torch.empty_like(a)
    x, y, z = torch.rand(TRIAD), torch.rand(TRIAD), torch.empty(TRIAD)
    product = min(_seconds(lambda: torch.mm(a, b, out=out)) for _ in range(REPEATS))
    triad = min(_seconds(lambda: torch.add(x, y, alpha=3.0, out=z)) for _ in range(REPEATS))
    return Machine(2 * PRODUCT**3 / product, 3 * TRIAD * NUMBER_BYTES / triad)


BLOCKS: dict[Cell, int] = {"LSTM": 4, "RNN": 1, "GRU": 3}
"""Blocks of H rows of a weight."""

STATES: dict[Cell, int] = {"LSTM": 2, "RNN": 1, "GRU": 1}


def work(size: Size, mode: Mode, cell: Cell = "LSTM") -> Work:
    """Operations and bytes of one pass of a layer."""
    T, B, I, H = size.T, size.B, size.I, size.H
    rows = BLOCKS[cell] * H
    products = 2 * T * B * rows * (I + H)
    weights = rows * (I + H)
    forward = T * B * (I + H) + weights
    if mode != "training":
        return Work(products, forward * NUMBER_BYTES)
    kept = 2 * T * B * (rows + STATES[cell] * H)  # gates and states: written, and read by the backward pass
    gradients = 3 * T * B * rows  # of the preactivations: written, read for W_hh and for W_ih
    backward = T * B * (I + H) + weights  # of the input and from the output; of the weights
    return Work(3 * products, (forward + kept + gradients + backward) * NUMBER_BYTES)


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
