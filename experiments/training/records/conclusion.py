"""The end of a run: its curve, the summary in its record, and its comparison with the runs of other models."""

import dataclasses
from pathlib import Path

from experiments.common.files import write_atomically
from experiments.training.records.curve import (
    CURVE,
    MOST_ROWS_IF_SHORTENED,
    curve_digest,
    encode_curve,
    make_curve,
)
from experiments.training.records.metrics import METRICS, metrics_digest, read_metrics
from experiments.training.records.record import Record, load_record
from experiments.training.records.summary import Comparison, compare, summarize
from experiments.training.settings import MODELS, ModelName, Settings, name_with_model


def conclude(folder: Path, record: Record, settings: Settings) -> Record:
    """Write the curve of a finished run, and return its record with the values that the report reads; not saved yet.

    Parameters
    ----------
    folder : Path
        The run's folder, with the losses of every step.
    record : Record
        The run's record at status "finished".
    settings : Settings
        Settings of the run, which name the levels of the training loss whose first step is recorded.

    Raises
    ------
    ExperimentError
        If the losses of the steps are damaged.
    OSError
        If the curve cannot be written.
    """
    every = settings.validate_every
    rows = read_metrics(folder / METRICS, record.step)
    most = min(settings.most_rows, MOST_ROWS_IF_SHORTENED) if record.shortened else settings.most_rows
    curve = encode_curve(make_curve(rows, every, most))
    write_atomically(folder / CURVE, curve)
    return dataclasses.replace(
        record,
        metrics_digest=metrics_digest(folder / METRICS),
        curve_digest=curve_digest(curve),
        summary=summarize([row.train for row in rows], every, settings.levels()),
    )


def with_comparisons(folder: Path, record: Record) -> Record:
    """The record of a concluded run with comparisons to the finished runs of the other models in the same folder.

    A run whose single-step losses are missing, or do not match its record, is left out.

    Raises
    ------
    ExperimentError
        If a record is damaged.
    """
    if record.summary is None:
        return record
    found = [_comparison(folder, record, model) for model in MODELS if model != record.model]
    comparisons = [comparison for comparison in found if comparison is not None]
    return dataclasses.replace(record, summary=dataclasses.replace(record.summary, comparisons=comparisons))


def _comparison(folder: Path, record: Record, model: ModelName) -> Comparison | None:
    beside = folder.parent / name_with_model(record.name, record.model, model)
    other = load_record(beside)
    path = beside / METRICS
    if other is None or other.status != "finished" or other.step != record.step or not path.exists():
        return None
    if metrics_digest(path) != other.metrics_digest:
        return None
    ours, theirs = ([row.train for row in read_metrics(where / METRICS, record.step)] for where in (folder, beside))
    return compare(other.name, other.metrics_digest, ours, theirs)
