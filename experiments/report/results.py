"""The runs of a report, and two measures of a run: minimum and final value.

Runs are read from ``record.json`` and ``curve.csv``; the losses of single steps are not needed.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.common.errors import ExperimentError
from experiments.report.paper_numbers import Losses
from experiments.training.records.curve import CURVE, FEW_VALIDATIONS, FINAL_VALIDATIONS, Point, read_curve
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.record import Record, load_records
from experiments.training.records.summary import Summary, mean
from experiments.training.settings import UNREPORTED_PRESETS


class Result(NamedTuple):
    """The record and the curve of a finished run."""

    record: Record
    points: list[Point]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        seed: int = self.record.settings["seed"]
        return seed

    @property
    def summary(self) -> Summary:
        """The numbers of the run that were computed from the loss of every step.

        Raises
        ------
        ExperimentError
            The record does not have them.
        """
        if self.record.summary is None:
            raise ExperimentError(f"the record of {self.record.name} has no summary")
        return self.record.summary

    def measured(self, name: str) -> list[tuple[int, float]]:
        """Pairs of a step with a validation and the value that the validation measured under this name."""
        return [(point.step, point.measured[name]) for point in self.points if name in point.measured]

    def first_measured(self, name: str) -> float:
        """Value of a measurement at the first validation that has it; nan in a run too short for one."""
        return next((value for _, value in self.measured(name)), math.nan)

    def last_measured(self, name: str) -> float:
        """Value of a measurement at the last validation that has it; nan in a run too short for one."""
        return next((value for _, value in reversed(self.measured(name))), math.nan)

    def lowest_measured(self, name: str) -> float:
        """Lowest value of a measurement at any validation; nan in a run too short for one."""
        return min((value for _, value in self.measured(name)), default=math.nan)

    @property
    def validation(self) -> list[tuple[int, float]]:
        """Pairs of a step with a validation and its loss."""
        return self.measured(VALIDATION)

    @property
    def minimum(self) -> Losses:
        """The lowest loss of any single batch, which is what the paper's tables show."""
        return Losses(self.summary.minimum, self.lowest_measured(VALIDATION))

    @property
    def final(self) -> Losses:
        """Mean over the last 100 training batches and the last `FINAL_VALIDATIONS` validations, or of few the last."""
        validation = [loss for _, loss in self.validation]
        many = self.record.step // self.record.settings["validate_every"] >= FEW_VALIDATIONS
        return Losses(self.summary.final, mean(validation[-FINAL_VALIDATIONS if many else -1 :]))


class Results(NamedTuple):
    """All runs in a folder."""

    finished: list[Result]
    unfinished: list[Record]
    unreported: int
    """Number of demo and smoke runs, which no report is about."""


def load_results(runs: Path) -> Results:
    """Read every run in the folder `runs`, in the order of the names.

    Raises
    ------
    ExperimentError
        A record is damaged, or a curve does not belong to its record.
    """
    records = load_records(runs)
    shown = {folder: record for folder, record in records.items() if record.preset not in UNREPORTED_PRESETS}
    return Results(
        finished=[read_result(folder, record) for folder, record in shown.items() if record.status == "finished"],
        unfinished=[record for record in shown.values() if record.status != "finished"],
        unreported=len(records) - len(shown),
    )


def read_result(folder: Path, record: Record) -> Result:
    """The finished run in this folder, whose record has been read.

    Raises
    ------
    ExperimentError
        If the record is of an earlier version, or the curve is not the one of the record.
    """
    if record.summary is None:
        raise ExperimentError(
            f"{folder} was made by an earlier version: python -m experiments.cli.summarize {folder.parent} "
            "computes its curve and summary from its single-step losses"
        )
    return Result(record, read_curve(folder / CURVE, record.curve_digest))


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation, NaN for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan
