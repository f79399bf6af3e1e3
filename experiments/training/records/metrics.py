"""The losses of every step of a run in ``metrics.jsonl``, which stays on the machine and is not committed.

One JSON line per step: ``{"step": 100, "train": 0.1742, "validation": 0.1739}``.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.common.errors import ExperimentError
from experiments.common.files import append_durably, write_atomically
from experiments.training import distributed

METRICS = "metrics.jsonl"

VALIDATION = "validation"
"""Name of the validation loss among the measurements of a validation."""


class Row(NamedTuple):
    """One step: the loss of its training batch, and the measurements of its validation, if there was one."""

    step: int
    train: float
    measured: Mapping[str, float]


class MetricsLog:
    """Collects losses on the device and writes them to ``metrics.jsonl``.

    `add` keeps the tensors and never waits for the device; `read` waits and fetches their values; `write` appends the
    fetched values to the file.

    Parameters
    ----------
    path : Path
        The file.
    watchers : sequence of callables
        Called with each row that is read.
    """

    def __init__(self, path: Path, watchers: Sequence[Callable[[Row], None]] = ()) -> None:
        self.path = path
        self._watchers = watchers
        self._pending: list[tuple[int, Tensor, Mapping[str, Tensor]]] = []
        self._read: list[Row] = []
        self.latest = math.nan
        """The training loss that was read last."""

    def add(self, step: int, train: Tensor, measured: Mapping[str, Tensor]) -> None:
        """Keep the training loss of a step and the measurements of its validation, all of them scalars."""
        self._pending.append((step, train, measured))

    def read(self) -> Row | None:
        """Fetch the losses; return the first row with a loss that is not finite, which is not written to the file.

        If several processes train together, all of them call this: the training loss is their mean.
        """
        pending, self._pending = self._pending, []
        losses = distributed.mean(torch.stack([train for _, train, _ in pending])).tolist()
        for (step, _, measured), train in zip(pending, losses, strict=True):
            row = Row(step, train, {name: value.item() for name, value in measured.items()})
            if not all(math.isfinite(value) for value in (row.train, *row.measured.values())):
                return row
            self._read.append(row)
            self.latest = row.train
            for watch in self._watchers:
                watch(row)
        return None

    def write(self) -> None:
        """Append the rows read so far to the file, in the main process only.

        Raises
        ------
        OSError
            Of the write; the file stands as before.
        """
        if distributed.is_main_process():
            append_durably(self.path, b"".join(_encode(row) for row in self._read))
        self._read.clear()


def _encode(row: Row) -> bytes:
    return (json.dumps({"step": row.step, "train": row.train, **row.measured}) + "\n").encode()


def cut_metrics(path: Path, step: int) -> None:
    """Keep the rows 1..step of the file; a killed run logs its steps after the checkpoint again.

    Raises
    ------
    ExperimentError
        If one of these rows is missing or damaged; the file is unchanged.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    _decode(path, lines[:step], step)
    if len(lines) != step:
        write_atomically(path, b"".join(lines[:step]))


def read_metrics(path: Path, steps: int) -> list[Row]:
    """All rows of a run that ended after `steps` steps.

    Raises
    ------
    ExperimentError
        If the file has not exactly the rows 1..steps.
    """
    return _decode(path, path.read_bytes().splitlines() if path.exists() else [], steps)


def metrics_digest(path: Path) -> str:
    """SHA-256 of the file, which the record of a finished run holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _decode(path: Path, lines: list[bytes], steps: int) -> list[Row]:
    if len(lines) != steps:
        raise ExperimentError(f"{path} is damaged: it has {len(lines)} rows and should have {steps}")
    rows = []
    for step, line in enumerate(lines, start=1):
        try:
            measured = json.loads(line)
            row = Row(measured.pop("step"), measured.pop("train"), measured)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ExperimentError(f"{path} is damaged: row {step} cannot be read") from None
        if row.step != step or not all(isinstance(value, float) for value in (row.train, *row.measured.values())):
            raise ExperimentError(f"{path} is damaged: row {step} is not the row of step {step}")
        rows.append(row)
    return rows
