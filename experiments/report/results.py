"""The runs that a report is about, and the two ways to put a run into a number."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import ExperimentError
from experiments.report.paper_numbers import Losses
from experiments.training.metrics import VALIDATION, Row, metrics_digest, read_metrics
from experiments.training.record import METRICS, RECORD, Record, load_record

FINAL_STEPS = 100
"""Training losses whose mean is a run's final training loss."""

FINAL_VALIDATIONS = 5
"""Validation losses whose mean is its final validation loss."""


class Result(NamedTuple):
    """A run that has finished, and its losses."""

    record: Record
    rows: list[Row]

    @property
    def seed(self) -> int:
        """The run's seed."""
        seed: int = self.record.settings["seed"]
        return seed

    @property
    def train(self) -> list[float]:
        """Training loss of steps 1, 2, ..."""
        return [row.train for row in self.rows]

    def measured(self, name: str) -> list[tuple[int, float]]:
        """Steps with a validation, and what it measured under this name."""
        return [(row.step, row.measured[name]) for row in self.rows if name in row.measured]

    @property
    def validation(self) -> list[tuple[int, float]]:
        """Steps with a validation, and its loss."""
        return self.measured(VALIDATION)

    @property
    def minimum(self) -> Losses:
        """The lowest loss of any single batch, which is what the paper's tables hold."""
        return Losses(min(self.train), min((loss for _, loss in self.validation), default=math.nan))

    @property
    def final(self) -> Losses:
        """Mean over the last `FINAL_STEPS` training batches, and over the last `FINAL_VALIDATIONS` others."""
        validation = [loss for _, loss in self.validation]
        return Losses(mean(self.train[-FINAL_STEPS:]), mean(validation[-FINAL_VALIDATIONS:]))


class Results(NamedTuple):
    """Everything in a folder of runs."""

    finished: list[Result]
    unfinished: list[Record]
    smoke: int
    """Number of smoke runs, which no report is about."""


def load_results(runs: Path) -> Results:
    """Read every run in the folder `runs`, in the order of their names.

    Raises
    ------
    ExperimentError
        If a record is damaged, or losses are not those of their record.
    """
    folders = sorted(path.parent for path in runs.glob(f"*/{RECORD}"))
    records = [(folder, record) for folder in folders if (record := load_record(folder)) is not None]
    told = [(folder, record) for folder, record in records if record.preset != "smoke"]
    return Results(
        finished=[Result(record, _rows(folder, record)) for folder, record in told if record.status == "finished"],
        unfinished=[record for _, record in told if record.status != "finished"],
        smoke=len(records) - len(told),
    )


def _rows(folder: Path, record: Record) -> list[Row]:
    path = folder / METRICS
    rows = read_metrics(path, record.step)
    if metrics_digest(path) != record.metrics_digest:
        raise ExperimentError(f"{path} is not the file that its record was written for")
    return rows


def mean(values: Sequence[float]) -> float:
    """Mean, NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def running_mean(values: Sequence[float], length: int) -> NDArray[np.float64]:
    """Means over `length` values in a row, or over all of them where there are fewer."""
    length = min(length, len(values))
    sums = np.cumsum(np.concatenate([[0.0], values]))
    means: NDArray[np.float64] = (sums[length:] - sums[:-length]) / length
    return means
