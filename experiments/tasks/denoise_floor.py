"""The lowest loss that any model can have on the denoise task whose places are drawn with replacement.

Of symbols that fall on one place the last is seen and all are asked for. Who sees m symbols knows the first m ends of
groups that make up the ten, but not how long the groups are. Their lengths n_1, ..., n_m have the probability of
``1 / (n_1! ... n_m!)``, up to a factor, whatever the symbols are and wherever they stand. So with

    e[j, i] = probability that the first i groups are j symbols long,
    r[j]    = probability that the symbol j is no end of a group, so that it can be any,

the j-th symbol is v with the probability ``r[j] / 9 + sum of e[j, i] over the seen symbols i that are v``. The loss of
a model that knows this is the mean entropy of these distributions. Outputs are not fed back, so what counts is the
distribution of each symbol by itself. Everything is summed exactly; nothing is simulated.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from experiments.tasks.denoise import LENGTH, SYMBOLS


def floor(T: int) -> float:
    """Lowest mean loss over the T + 20 steps of the denoise task with replacement: 0.02351 at T = 100."""
    return lost_entropy(T + LENGTH - 1, LENGTH, SYMBOLS) / (T + 2 * LENGTH)


def lost_entropy(places: int, length: int, symbols: int) -> float:
    """Sum over the symbols of a sequence of what is unknown of each, in nats, when all that can be seen was seen.

    Parameters
    ----------
    places : int
        Number of places that are drawn from.
    length : int
        Number of symbols, each of which gets a place, with replacement.
    symbols : int
        Number of different symbols, all as likely.
    """
    chances = ((seen, _chance_of_seeing(seen, places, length)) for seen in range(1, min(length, places) + 1))
    return math.fsum(float(chance) * _entropy(seen, length, symbols) for seen, chance in chances)


def _chance_of_seeing(seen: int, places: int, length: int) -> Fraction:
    """Probability that `length` draws hit exactly `seen` different places."""
    return Fraction(math.comb(places, seen) * _onto(length, seen), places**length)


@functools.cache
def _onto(items: int, groups: int) -> int:
    """Number of ways to put `items` into `groups` groups, each with a name and none empty."""
    if groups == 0:
        return int(items == 0)
    return sum(math.comb(items, first) * _onto(items - first, groups - 1) for first in range(1, items + 1))


def _entropy(seen: int, length: int, symbols: int) -> float:
    """As `lost_entropy`, where exactly `seen` symbols can be seen."""
    return math.fsum(_entropy_of_one(_ends(j, seen, length), symbols) for j in range(1, length + 1))


def _ends(j: int, seen: int, length: int) -> list[Fraction]:
    """Probabilities, those above 0, that the symbol j, counted from 1, ends the first, second, ... group."""
    ways = math.comb(length, j)
    splits = [ways * _onto(j, i) * _onto(length - j, seen - i) for i in range(1, min(j, seen) + 1)]
    return [Fraction(split, _onto(length, seen)) for split in splits if split]


def _entropy_of_one(ends: Sequence[Fraction], symbols: int) -> float:
    """Entropy of one symbol, in nats, averaged over what the symbols are that are seen at these ends."""
    anything = (1 - sum(ends, Fraction())) / symbols
    total = 0.0
    for equal in _groupings(ends):
        # The ends of each group show the same symbol, and those of different groups different ones.
        chance = math.perm(symbols, len(equal)) / symbols ** len(ends)
        likely = [float(anything + weight) for weight in equal]
        total += chance * (sum(map(_surprise, likely)) + (symbols - len(equal)) * _surprise(float(anything)))
    return total


def _groupings(weights: Sequence[Fraction]) -> Iterator[list[Fraction]]:
    """Sums of the groups, for each way to divide the weights into groups."""
    if not weights:
        yield []
        return
    for sums in _groupings(weights[1:]):
        yield [weights[0], *sums]
        for index, value in enumerate(sums):
            yield [*sums[:index], value + weights[0], *sums[index + 1 :]]


def _surprise(probability: float) -> float:
    return -probability * math.log(probability) if probability > 0 else 0.0
