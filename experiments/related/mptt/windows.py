"""Windows of a long series: where they begin, and the orders in which strategies go through them.

A window of length n that begins at its *head* h has the steps h, h + 1, ..., h + n - 1 of the N steps of the series.
Heads are ascending; a window's *place* is the index of its head.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.intp]


def window_heads(N: int, n: int, stride: int) -> Integers:
    """Heads 0, s, 2s, ... of the windows that fit, and N - n if it is not one of them; shape (W,).

    Raises
    ------
    ValueError
        If n or the stride is below 1, n is above N, or the stride is above n, which would leave steps out.
    """
    if not 1 <= n <= N:
        raise ValueError(f"n is {n}; it must be from 1 to N, {N}")
    if not 1 <= stride <= n:
        raise ValueError(f"stride is {stride}; it must be from 1 to n, {n}")
    return np.unique(np.append(np.arange(0, N - n + 1, stride), N - n))


def later_places(heads: Integers, n: int) -> list[Integers]:
    """For each window the places of the heads in (h, h + n]: those whose initial state it computes (the key map)."""
    ends = np.searchsorted(heads, heads + n, side="right")
    return [np.arange(place + 1, end) for place, end in enumerate(ends)]


def shuffled_batches(count: int, batch: int, rng: np.random.Generator) -> list[Integers]:
    """Batches of the places 0 ... count - 1 in an order drawn anew; the last one may be smaller."""
    order = rng.permutation(count)
    return [order[start : start + batch] for start in range(0, count, batch)]


def rows_in_order(N: int, n: int, batch: int) -> Integers:
    """Heads of stateful batches, shape (steps, batch): the series is cut into `batch` rows, read beside each other.

    Row b has the next steps * n steps of the series, with steps = N // (n * batch); what is left over at the end is not
    read.

    Raises
    ------
    ValueError
        If a row is shorter than a window.
    """
    steps = N // (n * batch)
    if steps < 1:
        raise ValueError(f"batch is {batch}; it must be at most N // n, {N // n}")
    return n * np.arange(steps)[:, None] + n * steps * np.arange(batch)


def one_by_one(N: int, n: int, batch: int) -> list[Integers]:
    """Heads 0, n, 2n, ... in order, in runs of `batch` windows for one update; the last one may be shorter."""
    heads = n * np.arange(N // n)
    return [heads[start : start + batch] for start in range(0, len(heads), batch)]
