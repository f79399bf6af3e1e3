"""The summary in a record: every reported number that needs the losses of all steps, computed when a run ends."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FINAL_STEPS = 100
"""Training losses whose mean is a run's final training loss."""

COMPARED_WINDOW = 50
"""Training losses in each running mean by which two runs are compared step by step."""

COMPARED_AFTER = 0.1
"""Fraction of the steps that a comparison leaves out at the beginning."""


class Level(NamedTuple):
    """A training loss, of which a run records when it was reached."""

    loss: float
    window: int
    """Number of training losses whose mean has to be at or below `loss`."""


@dataclasses.dataclass(frozen=True)
class Crossing:
    """When a run reached a level."""

    loss: float
    window: int
    step: int | None
    """First step at which the mean of the last `window` training losses is at or below `loss`; None if never."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Running means of this run's training loss beside those of another run, at the same steps.

    The comparison is over the steps after the first `COMPARED_AFTER` of all steps, with means over `COMPARED_WINDOW`.
    """

    run: str
    """Name of the other run."""
    metrics_digest: str
    """Digest of the other run's single-step losses: a run of the same name that was made again has another one."""
    below: float
    """Share of the steps at which this run is the lower one."""
    above: float
    """Share of the steps at which the other run is the lower one."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """Numbers of a finished run that need the training loss of every step."""

    first: float
    """Training loss of the first step."""
    last: float
    """Training loss of the last step."""
    minimum: float
    """Lowest training loss of any step."""
    lowest_between_validations: float
    """Lowest mean over the steps from one validation to the next. A shorter last interval, cut by the end of the run,
    counts only if there is no other."""
    final: float
    """Mean over the last `FINAL_STEPS` steps."""
    last_twentieth: float
    """Mean over the last 5 % of the steps, rounded down, but at least one step."""
    tenths: list[float]
    """Mean over each tenth of the steps; empty for a run of fewer than ten."""
    crossings: list[Crossing]
    """One for each level that the task's settings name."""
    comparisons: list[Comparison] = dataclasses.field(default_factory=list)
    """Comparisons with runs of the same settings and another model that had finished before this run."""

    def crossing(self, level: Level) -> float:
        """First step at the level, or inf.

        Raises
        ------
        KeyError
            If the run did not record this level.
        """
        steps = {(crossing.loss, crossing.window): crossing.step for crossing in self.crossings}
        step = steps[level]
        return math.inf if step is None else float(step)


def summarize(losses: Sequence[float], validate_every: int, levels: Sequence[Level] = ()) -> Summary:
    """Summary, without comparisons, of the training losses of the steps 1, 2, ..."""
    count = len(losses)
    whole = range(0, max(count // validate_every, 1) * validate_every, validate_every)
    tenths = [losses[count * part // 10 : count * (part + 1) // 10] for part in range(10)]
    return Summary(
        first=losses[0],
        last=losses[-1],
        minimum=min(losses),
        lowest_between_validations=min(mean(losses[start : start + validate_every]) for start in whole),
        final=mean(losses[-FINAL_STEPS:]),
        last_twentieth=mean(losses[-max(count // 20, 1) :]),
        tenths=[mean(tenth) for tenth in tenths] if count >= len(tenths) else [],
        crossings=[Crossing(level.loss, level.window, first_at(losses, level)) for level in levels],
    )


def first_at(losses: Sequence[float], level: Level) -> int | None:
    """First step at which the mean of the last `level.window` training losses is at or below the level."""
    means = running_mean(losses, level.window)
    reached = (means <= level.loss).nonzero()[0]
    return int(reached[0]) + len(losses) - len(means) + 1 if len(reached) else None


def compare(name: str, metrics_digest: str, ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """Comparison with the run `name`, from the training losses of both runs, of which there are equally many."""
    ours_smooth, theirs_smooth = (running_mean(losses, COMPARED_WINDOW) for losses in (ours, theirs))
    begin = int(COMPARED_AFTER * len(ours_smooth))
    below = ours_smooth[begin:] < theirs_smooth[begin:]
    above = ours_smooth[begin:] > theirs_smooth[begin:]
    return Comparison(name, metrics_digest, float(below.mean()), float(above.mean()))


def mean(values: Sequence[float]) -> float:
    """Mean, NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def running_mean(values: Sequence[float], length: int) -> NDArray[np.float64]:
    """Means over `length` consecutive values, or over all values if there are fewer."""
    length = min(length, len(values))
    sums = np.cumsum(np.concatenate([[0.0], values]))
    means: NDArray[np.float64] = (sums[length:] - sums[:-length]) / length
    return means
