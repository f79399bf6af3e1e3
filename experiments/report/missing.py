"""What is still to run: the exact commands, and how long each would take."""

import shlex
from collections.abc import Sequence
from typing import Any

from experiments.report.results import Result, Results
from experiments.report.schema import Case, Presets, Series, Study, select
from experiments.report.tables import duration
from experiments.training.record import Record
from experiments.training.settings import Settings

SAME_COST = ("batch", "hidden", "depth", "embedding", "bptt")
"""Settings that have to be the same for one run's time a step to be an estimate of another's."""


def missing_lines(study: Study, results: Results) -> list[str]:
    """Lines of the report: runs that stopped, then commands of those that have not been made."""
    missing = [
        _line(study, presets, case, series, results)
        for presets in study.presets
        for case in study.cases
        for series in case.series
        if series.task == study.task and not select(results, presets, case, series)
    ]
    stopped = [f"- `{record.name}`: {_ended(record)}" for record in results.unfinished if record.task == study.task]
    if not missing and not stopped:
        return ["Nothing."]
    return [*stopped, *([""] if stopped and missing else []), *(["```", *missing, "```"] if missing else [])]


def _line(study: Study, presets: Presets, case: Case, series: Series, results: Results) -> str:
    settings = study.presets[presets]
    seconds = _seconds(settings, case, series, results.finished)
    about = "" if seconds is None else f", about {duration(seconds)}"
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


def _seconds(settings: Settings, case: Case, series: Series, finished: Sequence[Result]) -> float | None:
    """Time of a run by the time a step took in the most similar one, in proportion to T; None if there is none."""
    where = {**case.where, **series.where}
    wanted = {name: getattr(settings, name) for name in SAME_COST if hasattr(settings, name)} | where
    similar = [
        result.record
        for result in finished
        if result.record.task in {one.task for one in case.series}
        and all(result.record.settings.get(name) == wanted[name] for name in SAME_COST if name in wanted)
    ]
    if not similar:
        return None
    nearest = max(similar, key=lambda record: (record.model == series.model, _shared(record, where)))
    longer = wanted["T"] / nearest.settings["T"] if "T" in wanted else 1
    return nearest.seconds / nearest.step * settings.steps * longer


def _shared(record: Record, where: dict[str, Any]) -> int:
    return sum(record.settings.get(name) == value for name, value in where.items())


def _ended(record: Record) -> str:
    if record.status == "nan":
        return f"the loss of step {record.step:,} was not finite"
    if record.status == "interrupted":
        return f"interrupted after step {record.step:,}"
    return "running or killed"
