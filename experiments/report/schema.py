"""The types in which the report describes a task: its runs, the paper's numbers, its figures and its sentences.

A *study* is the description of one task of the benchmark. It has *cases*, for instance one for each T. A case has
*series*, the curves that the paper compares, and *sentences*, statements of the paper with the tests that decide them.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.report.paper_numbers import Losses
from experiments.report.results import Result
from experiments.training.settings import UNREPORTED_PRESETS, ModelName, PresetName, Settings

NAMES: Mapping[ModelName, str] = {
    "lstm": "LSTM",
    "ln": "LN",
    "atn": "ATN",
    "detached": "detached ATN",
    "prop": "Norm-Prop",
    "wn": "WN",
    "bn": "BN",
    "shift": "shift alone",
    "cn": "channel norm",
    "equal": "equal depth",
    "unequal": "unequal depth",
}
"""Names of the models in tables and figures."""

Where = Mapping[str, Any]
"""Settings that select runs, by field."""

Runs = Mapping[str, Sequence[Result]]
"""The runs of each series, by label: one for each seed, with equal settings."""

Values = tuple[float, ...]
"""A training and a validation value, or a single value."""

Presets = tuple[PresetName, ...]
"""Names of presets with equal settings."""


class Series(NamedTuple):
    """Runs that are one row of a table and one curve of a figure."""

    label: str
    task: str
    model: ModelName
    where: Where


class Column(NamedTuple):
    """A column of a table, and its value for one run."""

    header: str
    value: Callable[[Result], Values]


class Observation(NamedTuple):
    """Whether a sentence is true for one seed, and the numbers that decide it, by label."""

    true: bool
    numbers: Mapping[str, Values]


class Test(NamedTuple):
    """A test that decides a sentence for one seed."""

    measure: str
    """Name of the compared quantity, for instance "minimum"."""
    observe: Callable[[Mapping[str, Result]], Observation]
    """Computes the observation from the runs of the seed, by label."""
    show: Callable[[float], str]
    """Formats a number of the observation."""


class Sentence(NamedTuple):
    """A statement of the paper about a case."""

    says: str
    needs: tuple[str, ...]
    """Labels of the series that it compares."""
    tests: tuple[Test, ...]
    """The first test decides; the outcomes of the others are reported beside it."""
    claims: tuple[str, ...]
    """Ids of the claims of ``proofs/papers`` that it is a part of; may be empty."""


class Axis(NamedTuple):
    """The quantity that a panel of a figure shows over the iterations."""

    measure: str
    """Name of a measurement of the validations; a panel of the validation loss shows the training loss as well."""
    label: str
    scale: str
    """"linear" or "log"."""
    lines: Mapping[str, float]
    """Horizontal lines to draw, by name, for instance the baseline."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison of a study."""

    title: str
    """Title of the case, for instance "T = 100"; empty if the study has only this case."""
    where: Where
    series: tuple[Series, ...]
    printed: Mapping[str, Losses]
    """The paper's minima by label; empty if it prints none."""
    remark: str
    """A remark that explains its numbers; may be empty."""
    columns: tuple[Column, ...]
    """Columns of its tables, between the paper's numbers and the columns of provenance."""
    axes: tuple[Axis, ...]
    """Axes of its panels in a figure."""
    sentences: tuple[Sentence, ...]


class Panel(NamedTuple):
    """The runs of one case under one preset, to be drawn in a figure."""

    title: str
    case: Case
    runs: Runs


class Figure(NamedTuple):
    """A figure of the report, of the paper or our own."""

    file: str
    title: str
    cases: tuple[Case, ...]
    draw: Callable[[Sequence[Panel]], bytes]
    """Its PNG, from the panels of its cases."""
    caption: str
    """What its lines, markers and bars are, in words that stand below it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """The description of one task in the report."""

    task: str
    title: str
    place: str
    """Section, tables and figures of the paper."""
    preset: PresetName
    """Preset in the command that the report shows."""
    flags: str
    """Other flags of that command."""
    about: str
    """A paragraph that describes the task."""
    presets: Mapping[Presets, Settings]
    """The presets that the report shows."""
    open: tuple[str, ...]
    """Settings in which these presets differ, or which the paper leaves open."""
    unit: str
    """Meaning of the pairs in the tables: "training / validation loss"."""
    cases: tuple[Case, ...]
    figures: tuple[Figure, ...]
    reduced: frozenset[PresetName] = frozenset()
    """Presets whose size is below that of the paper's experiment. Each verdict on one says so."""


def distinct(presets: Mapping[PresetName, Settings]) -> dict[Presets, Settings]:
    """The presets that a report is about, those with the same settings together."""
    found: dict[Presets, Settings] = {}
    for name, settings in presets.items():
        if name not in UNREPORTED_PRESETS:
            same = next((names for names, others in found.items() if others == settings), ())
            found.pop(same, None)
            found[(*same, name)] = settings
    return found
