"""Records of runs that nobody made, for tests of what reads records."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.catalog.registry import TASKS
from experiments.report.results import Result, Results
from experiments.training.records.curve import CURVE, curve_digest, encode_curve, make_curve
from experiments.training.records.metrics import Row
from experiments.training.records.record import Record, Session, Status, save_record
from experiments.training.records.summary import summarize
from experiments.training.settings import ModelName, PresetName, run_name

STAMP = "verify abcdef0123456789"

SYNTHETIC = ("copying", "adding", "denoise")
"""The tasks whose batches are drawn from the seed."""

Curve = Callable[[int], float]
"""Training loss of a step."""

Measured = Callable[[int, float], Mapping[str, float]]
"""What is measured at a validation, from the step and its training loss."""


def falls_to(loss: float, start: float = 1.0, within: int = 1000) -> Curve:
    """Falls in a straight line from about `start` above the loss and stays there."""
    return lambda step: loss + start * max(0.0, 1 - step / within)


def make_run(
    task: str,
    model: ModelName,
    curve: Curve,
    *,
    preset: PresetName = "paper",
    measured: Measured = lambda _, train: {"validation": train + 0.001},
    status: Status = "finished",
    stamp: str = STAMP,
    seconds: float = 0.25,
    validation_seconds: float | None = 0.0,
    **changes: Any,
) -> Result:
    """A run with these training losses, and at validations what `measured` gives of the step and its loss.

    `seconds` is the time of a step, `validation_seconds` the time of all validations, a part of the whole.
    """
    base = TASKS[task].presets[preset]
    settings = dataclasses.replace(base, **changes).completed()
    every = settings.validate_every
    losses = [curve(step) for step in range(1, settings.steps + 1)]
    rows = [Row(step, loss, {} if step % every else measured(step, loss)) for step, loss in enumerate(losses, 1)]
    session = Session("2026-01-01T00:00:00+00:00", 0, "", "c0ffee", {"torch": "2"}, "cpu: Abacus", 2, stamp)
    record = Record(
        name=run_name(task, preset, model, settings, base),
        task=task,
        model=model,
        preset=preset,
        settings=dataclasses.asdict(settings),
        differences=settings.differences(base),
        shortened=settings.steps < base.steps,
        status=status,
        step=settings.steps,
        seconds=float(seconds * settings.steps),
        metrics_digest="",
        sessions=[session],
        validation_seconds=validation_seconds,
        summary=summarize(losses, every, settings.levels()),
    )
    return Result(record, make_curve(rows, every, settings.most_rows))


def write_run(runs: Path, *args: Any, **kwargs: Any) -> Path:
    """Folder of a run that `make_run` makes of the arguments."""
    record, points = make_run(*args, **kwargs)
    folder = runs / record.name
    folder.mkdir(parents=True)
    content = encode_curve(points)
    (folder / CURVE).write_bytes(content)
    save_record(folder, dataclasses.replace(record, curve_digest=curve_digest(content)))
    return folder


def gathered(results: Iterable[Result]) -> Results:
    """The runs as they would be read from a folder."""
    every = list(results)
    finished = [result for result in every if result.record.status == "finished"]
    return Results(finished, [result.record for result in every if result.record.status != "finished"], 0)
