"""The lowest loss that any model can have on the denoise task whose places are drawn with replacement.

Two or more of the ten symbols can be drawn at the same place. Only the last of them is then in the input, while the
target contains all ten. A model therefore observes m <= 10 symbols. The ten symbols form m groups, one for each place
that was drawn; the model observes the last symbol of each group, but not the lengths n_1, ..., n_m of the groups.
The probability of these lengths is proportional to ``1 / (n_1! ... n_m!)``, independently of the symbols and of the
places. With

    e[j, i] = probability that the i-th group ends with the j-th symbol, that is n_1 + ... + n_i = j,
    r[j]    = 1 - sum of e[j, i] over i, the probability that the j-th symbol is not observed,

the j-th symbol is v with probability ``r[j] / 9 + sum of e[j, i] over the observed symbols i that equal v``. The lowest
loss is the mean entropy of these distributions. Each symbol counts by its own distribution, since the model does not
receive its earlier outputs as input. All sums are computed exactly; nothing is simulated.
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
    """Expected sum, in nats, of the entropies of the symbols of a sequence, given the symbols that are observed.

    Parameters
    ----------
    places : int
        Number of places to draw from.
    length : int
        Number of symbols; a place is drawn for each, with replacement.
    symbols : int
        Number of different symbols, all equally likely.
    """
    counts = range(1, min(length, places) + 1)
    return math.fsum(
        float(_probability_of_groups(groups, places, length)) * _entropy(groups, length, symbols) for groups in counts
    )


def _probability_of_groups(groups: int, places: int, length: int) -> Fraction:
    """Probability that `length` draws with replacement hit exactly `groups` different places."""
    return Fraction(math.comb(places, groups) * _onto(length, groups), places**length)


@functools.cache
def _onto(items: int, groups: int) -> int:
    """Number of ways to put distinguishable `items` into distinguishable `groups`, none of which is empty."""
    if groups == 0:
        return int(items == 0)
    return sum(math.comb(items, first) * _onto(items - first, groups - 1) for first in range(1, items + 1))


def _entropy(groups: int, length: int, symbols: int) -> float:
    """Expected sum, in nats, of the entropies of the symbols of a sequence that forms `groups` groups."""
    return math.fsum(_entropy_of_symbol(_ends(j, groups, length), symbols) for j in range(1, length + 1))


def _ends(j: int, groups: int, length: int) -> list[Fraction]:
    """The probabilities e[j, 1], e[j, 2], ... that are not 0; j counts from 1."""
    ways = math.comb(length, j)
    splits = [ways * _onto(j, i) * _onto(length - j, groups - i) for i in range(1, min(j, groups) + 1)]
    return [Fraction(split, _onto(length, groups)) for split in splits if split]


def _entropy_of_symbol(ends: Sequence[Fraction], symbols: int) -> float:
    """Entropy in nats of a symbol with the probabilities `ends`, averaged over the values of the observed symbols."""
    unobserved = (1 - sum(ends, Fraction())) / symbols
    total = 0.0
    for equal in _partition_sums(ends):
        # Observed symbols of one block of the partition are equal, those of different blocks differ.
        probability = math.perm(symbols, len(equal)) / symbols ** len(ends)
        observed = [float(unobserved + weight) for weight in equal]
        total += probability * (sum(map(_surprise, observed)) + (symbols - len(equal)) * _surprise(float(unobserved)))
    return total


def _partition_sums(weights: Sequence[Fraction]) -> Iterator[list[Fraction]]:
    """For each partition of the weights into blocks, the sum of each block."""
    if not weights:
        yield []
        return
    for sums in _partition_sums(weights[1:]):
        yield [weights[0], *sums]
        for index, value in enumerate(sums):
            yield [*sums[:index], value + weights[0], *sums[index + 1 :]]


def _surprise(probability: float) -> float:
    """-p log p, the term of an entropy in nats; 0 at p = 0."""
    return -probability * math.log(probability) if probability > 0 else 0.0
