"""What the report declares of a task: its runs, the paper's numbers, the figures and the paper's sentences.

A *study* is one task of the benchmark. It has *cases*, the values of T for instance, each with the curves that the
paper compares, its *series*. A *sentence* is something that the paper says about a case, with the tests that decide it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.report.paper_numbers import Losses
from experiments.report.results import Result, Results
from experiments.training.settings import FOR_LOOKING, ModelName, PresetName, Settings

NAMES: Mapping[ModelName, str] = {"lstm": "LSTM", "ln": "LN", "atn": "ATN"}
"""The models as the paper's tables call them."""

Where = Mapping[str, Any]
"""Settings that single out runs, by field."""

Runs = Mapping[str, Sequence[Result]]
"""Label of a series -> its runs that count, of the same settings, over the seeds."""

Values = tuple[float, ...]
"""A training and a validation value, or one value alone."""

Presets = tuple[PresetName, ...]
"""Names of presets whose settings are the same."""


class Series(NamedTuple):
    """Runs that a table has as one row and a figure as one curve."""

    label: str
    task: str
    model: ModelName
    where: Where


class Column(NamedTuple):
    """A column of a table: what it says of one run."""

    header: str
    value: Callable[[Result], Values]


class Observation(NamedTuple):
    """What one seed says of a sentence: whether it is true there, and the numbers, by label."""

    true: bool
    numbers: Mapping[str, Values]


class Test(NamedTuple):
    """A way to decide a sentence at one seed."""

    measure: str
    """What is compared, in words: "minimum"."""
    observe: Callable[[Mapping[str, Result]], Observation]
    """From the seed's runs by label."""
    show: Callable[[float], str]
    """How its numbers are written."""


class Sentence(NamedTuple):
    """Something that the paper says about a case."""

    says: str
    needs: tuple[str, ...]
    """Labels of the series that it is about."""
    tests: tuple[Test, ...]
    """The first one decides; the others are told beside it."""
    claims: tuple[str, ...]
    """Claims of the registry that it is a part of; none for a sentence that stands beside them."""


class Axis(NamedTuple):
    """What a panel of a figure shows over the iterations."""

    measure: str
    """Name of what is measured at validations; the training loss is drawn with the validation loss."""
    label: str
    scale: str
    """"linear" or "log"."""
    lines: Mapping[str, float]
    """Levels to draw, by name: the baseline, chance, a floor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison of a study."""

    title: str
    """What tells it from the study's other cases: "T = 100"; empty for the only one."""
    where: Where
    series: tuple[Series, ...]
    printed: Mapping[str, Losses]
    """The paper's minima by label; empty where it prints none."""
    remark: str
    """What has to be known to read its numbers; may be empty."""
    columns: tuple[Column, ...]
    """Of its tables, between the paper's numbers and where ours come from."""
    axes: tuple[Axis, ...]
    """Of its panels in a figure."""
    sentences: tuple[Sentence, ...]


class Panel(NamedTuple):
    """One case under one preset, as a figure shows it."""

    title: str
    case: Case
    runs: Runs


class Figure(NamedTuple):
    """A figure of the paper: the file that has ours, and what draws it."""

    file: str
    title: str
    cases: tuple[Case, ...]
    draw: Callable[[Sequence[Panel]], bytes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What the report declares of one task."""

    task: str
    title: str
    place: str
    """Where the paper has it."""
    preset: PresetName
    """The preset that its one command runs."""
    flags: str
    """What else that command has."""
    about: str
    """What is trained, in a paragraph."""
    presets: Mapping[Presets, Settings]
    """The presets that the report is about."""
    open: tuple[str, ...]
    """Settings in which these differ, or which the paper leaves open."""
    unit: str
    """What the tables' pairs are: "training / validation loss"."""
    cases: tuple[Case, ...]
    figures: tuple[Figure, ...]


def distinct(presets: Mapping[PresetName, Settings]) -> dict[Presets, Settings]:
    """The presets that a report is about, those with the same settings together."""
    found: dict[Presets, Settings] = {}
    for name, settings in presets.items():
        if name not in FOR_LOOKING:
            same = next((names for names, others in found.items() if others == settings), ())
            found.pop(same, None)
            found[(*same, name)] = settings
    return found


def counting(results: Results, presets: Presets, case: Case) -> Runs:
    """The case's runs of the preset as it is, finished and verified, by label; labels without any are left out."""
    by_label = {series.label: select(results, presets, case, series) for series in case.series}
    return {label: runs for label, runs in by_label.items() if runs}


def select(results: Results, presets: Presets, case: Case, series: Series) -> list[Result]:
    """Runs of one series that count, one a seed."""
    found = [result for result in results.finished if counts(result) and belongs(result, presets, case, series)]
    by_seed = {result.seed: result for result in found}
    return [by_seed[seed] for seed in sorted(by_seed)]


def counts(result: Result) -> bool:
    """Whether a run's settings are its preset's and a stamp stood behind all of it."""
    return not (result.record.differences or result.record.shortened or result.record.unverified)


def belongs(result: Result, presets: Presets, case: Case, series: Series) -> bool:
    """Whether a run, as its preset or not, is one of the series."""
    record = result.record
    where = {**case.where, **series.where}
    return (
        record.preset in presets
        and (record.task, record.model) == (series.task, series.model)
        and all(record.settings.get(name) == value for name, value in where.items())
    )
