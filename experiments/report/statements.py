"""The kinds of sentences that the paper has, each as a test on the runs of one seed.

One loss is *below* another if it is smaller by more than a margin, relative to the other loss; otherwise the two count
as equal. Every study has its own margin.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.report.paper_numbers import Losses
from experiments.report.results import Result
from experiments.report.schema import Observation, Sentence, Test
from experiments.report.tables import number
from experiments.training.records.summary import COMPARED_AFTER, Comparison, Level, mean


class Measure(NamedTuple):
    """A measure of a run: a training and a validation number."""

    name: str
    of: Callable[[Result], Losses]


MINIMUM = Measure("minimum", lambda result: result.minimum)
FINAL = Measure("final value", lambda result: result.final)


def _last_twentieth(result: Result) -> Losses:
    """Mean over the last 5 % of the steps, and over the validations among them, or the last one if there is none."""
    begin = result.record.step - result.record.step // 20
    validations = [loss for step, loss in result.validation if step > begin] or [result.final.validation]
    return Losses(result.summary.last_twentieth, mean(validations))


LAST_TWENTIETH = Measure("mean of the last 5 %", _last_twentieth)
"""A minimum rewards noise; this is a mean over a part of the run that is chosen beforehand."""


def below(lower: float, upper: float, margin: float) -> bool:
    """Whether `lower` is below `upper` by more than the margin."""
    return lower < upper * (1 - margin)


def _both(lower: Losses, upper: Losses, margin: float) -> bool:
    return below(lower.train, upper.train, margin) and below(lower.validation, upper.validation, margin)


def _neither(lower: Losses, upper: Losses, margin: float) -> bool:
    return not (below(lower.train, upper.train, margin) or below(lower.validation, upper.validation, margin))


def _tests(measures: Sequence[Measure], labels: Sequence[str], true: Callable[..., bool]) -> tuple[Test, ...]:
    """A test for each measure, which applies `true` to the numbers of the runs in the order of the labels."""

    def test(measure: Measure) -> Test:
        def observe(runs: Mapping[str, Result]) -> Observation:
            values = {label: measure.of(runs[label]) for label in labels}
            return Observation(true(*values.values()), values)

        return Test(measure.name, observe, number)

    return tuple(map(test, measures))


def is_below(
    first: str, second: str, measures: Sequence[Measure], margin: float, claims: tuple[str, ...] = ()
) -> Sentence:
    """`first` is below `second`, in training and in validation."""
    tests = _tests(measures, (first, second), lambda lower, upper: _both(lower, upper, margin))
    return Sentence(f"{first} is below {second}", (first, second), tests, claims)


def is_not_below(
    first: str, second: str, measures: Sequence[Measure], margin: float, claims: tuple[str, ...] = ()
) -> Sentence:
    """`first` equals `second` or is above it, in training and in validation."""
    tests = _tests(measures, (first, second), lambda lower, upper: _neither(lower, upper, margin))
    return Sentence(f"{first} is no lower than {second}", (first, second), tests, claims)


def goes_below(
    label: str, name: str, level: float, measures: Sequence[Measure], margin: float, claims: tuple[str, ...] = ()
) -> Sentence:
    """The loss falls below a level, in training and in validation."""
    tests = _tests(measures, (label,), lambda value: _both(value, Losses(level, level), margin))
    return Sentence(f"{label} gets below {name} ({number(level)})", (label,), tests, claims)


def stays_above(
    label: str, name: str, level: float, measures: Sequence[Measure], margin: float, claims: tuple[str, ...] = ()
) -> Sentence:
    """Neither the training loss nor the validation loss falls below a level."""
    tests = _tests(measures, (label,), lambda value: _neither(value, Losses(level, level), margin))
    return Sentence(f"{label} does not get below {name} ({number(level)})", (label,), tests, claims)


def reaches_first(first: str, second: str, says: str, level: Level, claims: tuple[str, ...] = ()) -> Sentence:
    """`first` reaches a level of the training loss, which its record has, no later than `second`."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        steps = {label: runs[label].summary.crossing(level) for label in (first, second)}
        true = steps[first] <= steps[second] and steps[first] < math.inf
        return Observation(true, {label: (step,) for label, step in steps.items()})

    return Sentence(
        says, (first, second), (Test(f"steps to a loss of {number(level.loss)}", observe, show_steps),), claims
    )


def show_steps(steps: float) -> str:
    """A number of steps in words; "never" for inf."""
    return "never" if steps == math.inf else f"{steps:,.0f} steps"


def runs_below(first: str, second: str, says: str, share: float, claims: tuple[str, ...] = ()) -> Sentence:
    """After the first tenth of training, `first` has the lower loss in at least the given fraction of the steps."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        found = share_below(runs[first], runs[second])
        return Observation(found >= share, {first: (found,)})

    after = f"{COMPARED_AFTER:.0%}"
    measure = f"share of the steps after the first {after} at which it is the lower one, at least {share:.0%}"
    return Sentence(says, (first, second), (Test(measure, observe, show_share),), claims)


def share_below(first: Result, second: Result) -> float:
    """Fraction of the steps after the first tenth at which `first` has the lower running mean.

    The record of the run that ended last has this number. If the single-step losses of the two runs were never on one
    machine, the number is computed from the rows of their curves instead.
    """
    if (found := _comparison(first, second)) is not None:
        return found.below
    if (found := _comparison(second, first)) is not None:
        return found.above
    rows = list(zip(first.points, second.points, strict=True))
    later = [(ours.mean, theirs.mean) for ours, theirs in rows if ours.step > COMPARED_AFTER * rows[-1][0].step]
    return sum(ours < theirs for ours, theirs in later) / len(later)


def _comparison(result: Result, other: Result) -> Comparison | None:
    """The comparison with exactly the run `other` in the record of `result`; None if there is none."""
    for comparison in result.summary.comparisons:
        if (comparison.run, comparison.metrics_digest) == (other.record.name, other.record.metrics_digest):
            return comparison
    return None


def runs_parallel(first: str, second: str, says: str, factor: float, claims: tuple[str, ...] = ()) -> Sentence:
    """From the sixth to the last tenth of training the ratio of the two losses changes by less than a factor."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        ratios = [_tenth(runs[first], part) / _tenth(runs[second], part) for part in (5, 9)]
        true = 1 / factor < ratios[1] / ratios[0] < factor
        return Observation(true, {f"{first} : {second}": tuple(ratios)})

    measure = f"ratio of the losses in the sixth and the last tenth of training, less than a factor {factor:g} apart"
    return Sentence(says, (first, second), (Test(measure, observe, number),), claims)


def _tenth(result: Result, part: int) -> float:
    """Mean training loss of one tenth of the steps, numbered 0 to 9; NaN for a run of fewer than ten steps."""
    tenths = result.summary.tenths
    return tenths[part] if tenths else math.nan


class Bounds(NamedTuple):
    """An interval of fractions, ends included, that begins at 0 or ends at 1."""

    lowest: float
    highest: float

    def include(self, share: float) -> bool:
        """Whether a fraction lies within the bounds."""
        return self.lowest <= share <= self.highest

    @property
    def in_words(self) -> str:
        """The one bound that is not an end of all fractions: "at least 20%" or "at most 15%"."""
        return f"at least {self.lowest:.0%}" if self.highest == 1 else f"at most {self.highest:.0%}"


def ends_between(label: str, says: str, name: str, bounds: Bounds, claims: tuple[str, ...] = ()) -> Sentence:
    """The last measurement under a name, a fraction, lies within the bounds."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        last = runs[label].last_measured(name)
        return Observation(bounds.include(last), {label: (last,)})

    return Sentence(says, (label,), (Test(f"final {name}, {bounds.in_words}", observe, show_share),), claims)


def show_share(share: float) -> str:
    """A fraction as a percentage."""
    return f"{share:.1%}"
