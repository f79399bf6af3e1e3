"""The report on the copying problem: Table 1, Figure 2, and what the paper says about them."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.copying import PRESETS, baseline
from experiments.figures import figure_2
from experiments.paper import TABLE_1
from experiments.record import Record
from experiments.results import Result, Results, mean
from experiments.settings import MODELS, ModelName, PresetName
from experiments.tables import PROVENANCE, changes, markdown, number, pair, pair_over_seeds, provenance
from experiments.verdicts import NAMES, Runs, Verdict, judge

FIGURES = {100: "figure-2a.png", 200: "figure-2b.png"}
"""The paper's two values of T, and the figure that shows each."""

REPORTED: tuple[PresetName, ...] = ("paper", "released")
"""Presets that the report is about."""

OPEN = ("steps", "lr", "momentum", "alpha", "bias_placement", "init", "lstm_init")
"""Settings in which the two presets differ, or which the paper leaves open."""


class Kind(NamedTuple):
    """What runs share that differ in their seed alone."""

    preset: str
    T: int
    model: ModelName
    changes: str
    """Settings that are not the preset's, in words; empty for a run of the preset as it is."""


Groups = dict[Kind, list[Result]]


def copying_section(results: Results) -> list[str]:
    """Lines of the report."""
    groups = _group(results.finished)
    lines = ["## Copying", "", *_settings()]
    for T, figure in FIGURES.items():
        lines += ["", f"### Table 1, T = {T}", "", f"Baseline 10 ln 8 / (T + 20) = {number(baseline(T))}."]
        for preset in REPORTED:
            lines += _table(groups, preset, T)
        if _panels(groups, T):
            lines += ["", f"![Figure 2 at T = {T}](figures/{figure})"]
    lines += ["", "### What agrees with the paper, and what does not", "", *_findings(groups)]
    return [*lines, "", "### Still to run", "", *_missing(groups, results.unfinished), ""]


def copying_figures(results: Results) -> dict[str, bytes]:
    """File name -> PNG, for each T of which there are runs."""
    groups = _group(results.finished)
    return {name: figure_2(T, panels) for T, name in FIGURES.items() if (panels := _panels(groups, T))}


def _group(finished: Sequence[Result]) -> Groups:
    groups: Groups = {}
    for result in sorted(finished, key=lambda result: (MODELS.index(result.record.model), result.seed)):
        record = result.record
        if record.task == "copying":
            kind = Kind(record.preset, record.settings["T"], record.model, changes(record))
            groups.setdefault(kind, []).append(result)
    return groups


def _as_preset(groups: Groups, preset: str, T: int) -> Runs:
    """Runs of the preset as it is, by model."""
    kinds = {model: Kind(preset, T, model, "") for model in MODELS}
    return {model: groups[kind] for model, kind in kinds.items() if kind in groups}


def _panels(groups: Groups, T: int) -> dict[str, Runs]:
    return {preset: runs for preset in REPORTED if (runs := _as_preset(groups, preset, T))}


def _settings() -> list[str]:
    rows = [[f"`{name}`", *(_cell(getattr(PRESETS[preset], name)) for preset in REPORTED)] for name in OPEN]
    shared = PRESETS["paper"]
    return [
        f"Batch {shared.batch}, hidden size {shared.hidden}, k = {shared.k}, RMSProp. `paper` is what the text says",
        "and `released` what the released script does; where they differ or are silent, `copying.py` gives our choice",
        "and its reason beside each setting:",
        "",
        *markdown(["setting", *(f"`{preset}`" for preset in REPORTED)], rows),
    ]


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,g}"


def _table(groups: Groups, preset: str, T: int) -> list[str]:
    kinds = sorted((kind for kind in groups if kind[:2] == (preset, T)), key=lambda kind: kind.changes)
    if not kinds:
        return ["", f"Settings `{preset}`: not run yet."]
    header = ["model", "paper: minimum", "ours: minimum", "ours: final", *PROVENANCE, "not as the preset"]
    return [
        "",
        f"Settings `{preset}`, training / validation loss:",
        "",
        *markdown(header, [_row(kind, groups[kind]) for kind in kinds]),
    ]


def _row(kind: Kind, results: Sequence[Result]) -> list[str]:
    return [
        NAMES[kind.model],
        pair(TABLE_1[kind.T][kind.model]),
        pair_over_seeds([result.minimum for result in results]),
        pair_over_seeds([result.final for result in results]),
        *provenance(results),
        kind.changes,
    ]


def _findings(groups: Groups) -> list[str]:
    lines = []
    for T in FIGURES:
        for preset, runs in _panels(groups, T).items():
            unverified = any(result.record.unverified for results in runs.values() for result in results)
            lines += [
                "",
                f"T = {T}, settings `{preset}`{', partly from **unverified** runs' if unverified else ''}:",
                "",
            ]
            lines += [_sentence(verdict) for verdict in judge(T, runs)]
            lines += [_distance(T, model, results) for model, results in runs.items()]
    return lines[1:] or ["No run of a preset as it is has finished yet."]


def _sentence(verdict: Verdict) -> str:
    findings = [f"**{found.outcome}** by the {found.measure} ({found.evidence})" for found in verdict.findings]
    return f"- {verdict.claim}: {', '.join(findings)}; {_seeds(verdict.seeds)}."


def _distance(T: int, model: ModelName, results: Sequence[Result]) -> str:
    """How far our minimum is from the paper's."""
    printed = TABLE_1[T][model]
    train = mean([result.minimum.train for result in results]) / printed.train - 1
    validation = mean([result.minimum.validation for result in results]) / printed.validation - 1
    return (
        f"- {NAMES[model]}'s minimum against the paper's: {train:+.1%} training, {validation:+.1%} validation; "
        f"{_seeds(len(results))}."
    )


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _missing(groups: Groups, unfinished: Sequence[Record]) -> list[str]:
    missing = [
        f"python -m experiments copying --preset {preset} --T {T} --model {model}"
        for preset in REPORTED
        for T in FIGURES
        for model in MODELS
        if model not in _as_preset(groups, preset, T)
    ]
    stopped = [f"- `{record.name}`: {_ended(record)}" for record in unfinished if record.task == "copying"]
    if not missing and not stopped:
        return ["Nothing: every model has run with both presets at both lengths."]
    return [*stopped, *([""] if stopped and missing else []), *(["```", *missing, "```"] if missing else [])]


def _ended(record: Record) -> str:
    if record.status == "nan":
        return f"the loss of step {record.step:,} was not finite"
    if record.status == "interrupted":
        return f"interrupted after step {record.step:,}"
    return "running or killed"
