"""The runs that are missing: the command of each, and an estimate of its time."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.report.results import Result, Results
from experiments.report.schema import Case, Presets, Series, Study, select
from experiments.report.studies.registry import home
from experiments.report.tables import duration
from experiments.training.records.record import Record
from experiments.training.settings import Settings

SAME_COST = ("batch", "hidden", "depth", "embedding", "bptt")
"""Settings that must agree for the time per step of one run to be an estimate for another run."""


def missing_lines(study: Study, results: Results) -> list[str]:
    """Lines of the report: the runs that stopped, then the commands of the runs that do not exist yet."""
    missing = [
        _line(study, presets, case, series, results)
        for presets in study.presets
        for case in study.cases
        for series in case.series
        if series.task == study.task and not select(results, presets, case, series)
    ]
    stopped = [f"- `{record.name}`: {_ended(record)}" for record in results.unfinished if home(record) is study]
    if not missing and not stopped:
        return ["Nothing."]
    return [*stopped, *([""] if stopped and missing else []), *(["```", *missing, "```"] if missing else [])]


def _line(study: Study, presets: Presets, case: Case, series: Series, results: Results) -> str:
    settings = study.presets[presets]
    estimate = _estimate(settings, case, series, results.finished)
    about = "" if estimate is None else f", {estimate.bound}about {duration(estimate.seconds)}"
    steps = "1 step" if settings.steps == 1 else f"{settings.steps:,} steps"
    return f"{command(study, presets, case, series)}  # {steps}{about}"


def command(study: Study, presets: Presets, case: Case, series: Series) -> str:
    """The command that makes a run of the series."""
    preset = study.preset if study.preset in presets else presets[0]
    flags = [flag for name, value in {**case.where, **series.where}.items() for flag in _flag(name, value)]
    words = ["python", "-m", "experiments", series.task, "--preset", preset, *flags, "--model", series.model]
    return shlex.join(words)


def _flag(name: str, value: Any) -> list[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", str(value)]


class Estimate(NamedTuple):
    """Estimated time of a run."""

    seconds: float
    bound: str
    """"at most " or "at least " if the time of a validation is not known, otherwise empty."""


def _estimate(settings: Settings, case: Case, series: Series, finished: Sequence[Result]) -> Estimate | None:
    """Time of a run, estimated from the most similar finished run in proportion to T; None if there is none."""
    where = {**case.where, **series.where}
    wanted = {name: getattr(settings, name) for name in SAME_COST if hasattr(settings, name)} | where
    similar = [
        result.record
        for result in finished
        if result.record.task in {other.task for other in case.series}
        and all(result.record.settings.get(name) == wanted[name] for name in SAME_COST if name in wanted)
    ]
    if not similar:
        return None
    nearest = max(
        similar, key=lambda record: (record.model == series.model, _shared(record, where), _knows_validation(record))
    )
    longer = wanted["T"] / nearest.settings["T"] if "T" in wanted else 1
    found = _scaled(nearest, settings)
    return found._replace(seconds=found.seconds * longer)


def _knows_validation(record: Record) -> bool:
    """Whether the record has the time of at least one validation."""
    return record.validation_seconds is not None and record.step >= record.settings["validate_every"]


def _scaled(record: Record, settings: Settings) -> Estimate:
    """Time of a run with these settings if its steps and validations take as long as those of the record."""
    wanted, recorded = settings.steps // settings.validate_every, record.step // record.settings["validate_every"]
    if record.validation_seconds is not None:
        steps = (record.seconds - record.validation_seconds) / record.step * settings.steps
        validations = record.validation_seconds / recorded * wanted if recorded else 0.0
        return Estimate(steps + validations, "at least " if wanted > recorded == 0 else "")
    # Older records have only the total time of steps and validations. The estimate from it is too long if the record
    # has more validations per step than the run would have, and too short if it has fewer.
    difference = recorded * settings.steps - wanted * record.step
    bound = "at most " if difference > 0 else "at least " if difference < 0 else ""
    return Estimate(record.seconds / record.step * settings.steps, bound)


def _shared(record: Record, where: dict[str, Any]) -> int:
    return sum(record.settings.get(name) == value for name, value in where.items())


def _ended(record: Record) -> str:
    if record.status == "nan":
        return f"the loss of step {record.step:,} was not finite"
    if record.status == "interrupted":
        return f"interrupted after step {record.step:,}"
    return "running or killed"
