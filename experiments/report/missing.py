"""The runs that are missing: the command of each, and an estimate of its time."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.report.results import Result, Results
from experiments.report.schema import Case, Presets, Series, Study
from experiments.report.selection import deciding_runs_of, diverged
from experiments.report.studies.registry import home
from experiments.report.tables import duration
from experiments.report.verdicts import ClaimVerdict
from experiments.training.records.record import Record
from experiments.training.settings import Settings

SETTLED_SEEDS = 3
"""Fewest seeds of a verdict that counts as settled."""

SAME_COST = ("batch", "hidden", "depth", "embedding", "bptt")
"""Settings that must agree for the time per step of one run to be an estimate for another run."""


class Missing(NamedTuple):
    """The runs that one series of a case lacks under one preset."""

    study: Study
    presets: Presets
    case: Case
    series: Series
    seeds: tuple[int, ...]
    """Their seeds."""
    estimate: "Estimate | None"
    """Estimated time of one of them; None if no run is similar."""

    @property
    def command(self) -> str:
        """The command that makes them."""
        seeds = ",".join(map(str, self.seeds))
        where = {**self.case.where, **self.series.where}
        flags = [flag for name, value in where.items() for flag in _flag(name, value)]
        preset = self.study.preset if self.study.preset in self.presets else self.presets[0]
        task, model = self.series.task, self.series.model
        words = ["python", "-m", "experiments", task, "--preset", preset, *flags, "--model", model, "--seeds", seeds]
        return shlex.join(words)


def missing_lines(study: Study, results: Results) -> list[str]:
    """Lines of the report: the runs that stopped, then the commands of the runs that do not exist yet."""
    missing = [_line(one) for one in missing_runs(study, results) if one.series.task == study.task]
    stopped = [f"- `{record.name}`: {_ended(record)}" for record in results.unfinished if home(record) is study]
    if not missing and not stopped:
        return ["Nothing."]
    return [*stopped, *([""] if stopped and missing else []), *(["```", *missing, "```"] if missing else [])]


def missing_runs(study: Study, results: Results) -> list[Missing]:
    """Runs that the study lacks for verdicts over `SETTLED_SEEDS` seeds, in the order of presets, cases and series."""
    return [one for presets in study.presets for case in study.cases for one in _of_case(study, presets, case, results)]


def _of_case(study: Study, presets: Presets, case: Case, results: Results) -> list[Missing]:
    settings = study.presets[presets]
    return [
        Missing(study, presets, case, series, lacking, _estimate(settings, case, series, results.finished))
        for series in case.series
        if (lacking := _lacking(settings, presets, case, series, results))
    ]


def _lacking(settings: Settings, presets: Presets, case: Case, series: Series, results: Results) -> tuple[int, ...]:
    """Seeds without a run, of the `SETTLED_SEEDS` that most series of the case have; a tie has the preset's seed first.

    Runs with equal seeds see the same data, so a case is compared at the seeds that all of its series have. A run whose
    loss was not finite has ended: to make it again changes nothing.
    """
    have = {other.label: {one.seed for one in deciding_runs_of(results, presets, case, other)} for other in case.series}
    ended = diverged(results, presets, case, series)
    known = dict.fromkeys([settings.seed, *range(SETTLED_SEEDS), *sorted(set.union(*have.values()))])
    wanted = sorted(known, key=lambda seed: -sum(seed in seeds for seeds in have.values()))[:SETTLED_SEEDS]
    return tuple(seed for seed in wanted if seed not in have[series.label] | ended)


def time_to_settle(verdict: ClaimVerdict, results: Results) -> str:
    """Estimated time, on one core, of the runs that the sentences of a claim lack; a dash if they lack none."""
    missing = {
        one.command: one
        for part in verdict.deciding
        for one in _of_case(part.study, part.presets, part.case, results)
        if one.series.label in part.sentence.needs
    }
    if not missing:
        return "–"
    known = [(one.estimate, len(one.seeds)) for one in missing.values() if one.estimate is not None]
    if not known:
        return "not known"
    bounds = {estimate.bound for estimate, _ in known if estimate.bound}
    if len(known) < len(missing):
        bounds.add("at least ")
    bound = bounds.pop() if len(bounds) == 1 else ""
    return f"{bound}about {duration(sum(estimate.seconds * seeds for estimate, seeds in known))}"


def _line(missing: Missing) -> str:
    settings = missing.study.presets[missing.presets]
    each = " each" if len(missing.seeds) > 1 else ""
    about = "" if missing.estimate is None else f", {missing.estimate.bound}about {duration(missing.estimate.seconds)}"
    steps = "1 step" if settings.steps == 1 else f"{settings.steps:,} steps"
    return f"{missing.command}  # {steps}{about}{each}"


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
    nearest = max(similar, key=lambda record: _likeness(record, settings, series, where))
    longer = wanted["T"] / nearest.settings["T"] if "T" in wanted else 1
    found = _scaled(nearest, settings)
    return found._replace(seconds=found.seconds * longer)


def _likeness(record: Record, settings: Settings, series: Series, where: dict[str, Any]) -> tuple[bool, bool, int, str]:
    """Order of the runs as an estimate: first one that is no mere bound, then the same model, then equal settings."""
    exact = not _scaled(record, settings).bound
    return exact, record.model == series.model, _shared(record, where), record.sessions[-1].started


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
