"""Aggregates over the last k of a growing sequence of steps, merged pairwise.

The aggregate of 2n steps is merged from two of n, that of n + 1 steps from one of n and a single step, in the order of
the binary digits of k. A step takes at most 2 log2(k) merges, and a sum of k terms passes log2(k) roundings rather than
k of them. The order depends on k alone, never on how many steps there are or on where a chunk of a stream begins, so
that a stream equals the whole bit for bit. A running sum with one addition and one subtraction a step would be cheaper,
and would lose digits without bound.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import index
from typing import Generic, NamedTuple, TypeVar

A = TypeVar("A")


class Merge(NamedTuple):
    """How a window is made of two shorter ones: so many steps up to the last, and so many in front of those."""

    near_length: int
    far_length: int


@dataclass(frozen=True, slots=True)
class Parts(Generic[A]):
    """Two aggregates to be merged, and the number of steps in each."""

    near: A
    far: A
    near_length: int
    far_length: int


def merges(k: int) -> Iterator[Merge]:
    """Steps by which a window grows from one step to k."""
    k = index(k)  # an integer whose value a tracer knows: the number of merges depends on it
    length = 1
    for place in reversed(range(k.bit_length() - 1)):
        yield Merge(length, length)
        length *= 2
        if k >> place & 1:
            yield Merge(1, length)
            length += 1


class SlidingWindow(Generic[A]):
    """Takes one step after the other, and answers with the aggregate of the last min(k, number of steps).

    Parameters
    ----------
    k
        Length of the window.
    merge
        Joins two aggregates.
    """

    def __init__(self, k: int, merge: Callable[[Parts[A]], A]) -> None:
        self._merge = merge
        self._merges = list(merges(k))
        # What every merge is made of, by step. Kept whole: the graph of the backward pass keeps it anyway.
        self._history: list[list[A]] = [[] for _ in self._merges]
        self._count = 0

    def add(self, step: A) -> A:
        """Take in the aggregate of the next step alone; the aggregate of the window that ends in it."""
        window = step
        for (near_length, far_length), history in zip(self._merges, self._history, strict=True):
            history.append(window)
            far_end = self._count - near_length
            if self._count < far_length:
                # The window holds every step that there is, and so do all longer ones.
                continue
            near = step if near_length == 1 else window
            window = self._merge(Parts(near, history[far_end], near_length, min(far_length, far_end + 1)))
        self._count += 1
        return window
