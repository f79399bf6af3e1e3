"""Paired comparisons of two models over seeds, since models with the same seed see the same data.

LN and ATN start from the same parameters, too; the plain LSTM has an initialization of its own.
"""

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from scipy import stats

from experiments.training.records.summary import mean

CONFIDENCE = 0.95
"""Level of the intervals."""


class Paired(NamedTuple):
    """The differences of a quantity between two models, at the seeds that both have."""

    differences: tuple[float, ...]
    """First minus second, in the order of the seeds."""

    @property
    def mean(self) -> float:
        """Mean difference; infinite or NaN where a run diverged."""
        if all(map(math.isfinite, self.differences)):
            return mean(self.differences)
        return sum(self.differences) / len(self.differences)

    @property
    def interval(self) -> tuple[float, float]:
        """Confidence interval of the mean difference by Student's t at the level `CONFIDENCE`.

        It assumes normal differences, which few seeds cannot show. With n seeds it has n - 1 degrees of freedom. Both
        ends are NaN for fewer than two seeds, and where a run diverged.
        """
        if len(self.differences) < 2 or not all(map(math.isfinite, self.differences)):
            return (math.nan, math.nan)
        count = len(self.differences)
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        half = quantile * statistics.stdev(self.differences) / math.sqrt(count)
        return (self.mean - half, self.mean + half)

    @property
    def leaves_out_zero(self) -> bool:
        """Whether the confidence interval lies on one side of 0."""
        low, high = self.interval
        return low > 0 or high < 0

    @property
    def lower(self) -> int:
        """Number of seeds at which the first is below the second."""
        return sum(difference < 0 for difference in self.differences)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Paired:
    """Differences ``first - second`` at the seeds that both have, in their order."""
    return Paired(tuple(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())))


def in_words(pair: Paired) -> str:
    """The mean difference with its interval; without one for a single seed, and where a run diverged."""
    low, high = pair.interval
    if math.isnan(low):
        return f"{pair.mean:+.2g}"
    return f"{pair.mean:+.2g} [{low:+.2g}, {high:+.2g}]"
