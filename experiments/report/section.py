"""The section of the report on one study: settings, tables, figures, verdicts, and missing runs."""

from collections.abc import Sequence
from typing import Any

from experiments.common.markdown import markdown
from experiments.report.results import Result, Results
from experiments.report.schema import Case, Column, Figure, Panel, Presets, Series, Study
from experiments.report.selection import belongs, decides, deciding_runs, shows
from experiments.report.studies.registry import home
from experiments.report.tables import PROVENANCE, changes, number, over_seeds, provenance
from experiments.report.verdicts import AT_REDUCED_SIZE, PENDING, Verdict, judge, left_out, named
from experiments.training.records.summary import mean


def section(study: Study, results: Results) -> list[str]:
    """Lines of the section."""
    lines = [f"## {study.title}", "", f"{study.place}. {study.about}", "", *_settings(study)]
    for case in study.cases:
        lines += ["", f"### {case.title or 'Results'}", *(["", case.remark] if case.remark else [])]
        for presets in study.presets:
            lines += ["", *_table(study, presets, case, results)]
        for figure in study.figures:
            if figure.cases[-1] is case and panels(study, figure, results):
                lines += ["", f"![{figure.title}](figures/{figure.file})", "", f"*{figure.title}.* {figure.caption}"]
    lines += _others(study, results)
    return [*lines, "", "### What agrees with the paper, and what does not", "", *_findings(study, results), ""]


def figures(study: Study, results: Results) -> dict[str, bytes]:
    """The PNG of every figure that has runs, by file name."""
    return {figure.file: figure.draw(some) for figure in study.figures if (some := panels(study, figure, results))}


def panels(study: Study, figure: Figure, results: Results) -> list[Panel]:
    """The panels of a figure that have runs."""
    return [
        Panel(", ".join(filter(None, [study.title, case.title, f"settings “{' = '.join(presets)}”"])), case, runs)
        for case in figure.cases
        for presets in study.presets
        if (runs := deciding_runs(results, presets, case)) and _begun(study, presets, case, results)
    ]


def _begun(study: Study, presets: Presets, case: Case, results: Results) -> bool:
    """Whether there are finished runs that are made for the study, not only runs that it shows beside them."""
    return any(
        home(result.record) is study and belongs(result.record, presets, case, series)
        for series in case.series
        for result in results.finished
    )


def _settings(study: Study) -> list[str]:
    rows = [[f"`{name}`", *(_cell(getattr(each, name)) for each in study.presets.values())] for name in study.open]
    which = "These settings are open in the paper, differ between its text and the released script, or are ours"
    reasons = f"`{study.task} --help` explains each setting and, for most, gives the source of its value"
    return [
        f"{which}; {reasons}:",
        "",
        *markdown(["setting", *map(named, study.presets)], rows),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "the paper's"
    return f"{value:,g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _table(study: Study, presets: Presets, case: Case, results: Results) -> list[str]:
    if not _begun(study, presets, case, results):
        return [f"Settings {named(presets)}: not run yet."]
    rows = [row for series in case.series for row in _rows(study, presets, case, series, results)]
    paper = ["paper: minimum"] if case.printed else []
    header = ["model", *paper, *(column.header for column in case.columns), *PROVENANCE, "differences from the preset"]
    return [f"Settings {named(presets)}, {study.unit}:", "", *markdown(header, rows)]


def _rows(study: Study, presets: Presets, case: Case, series: Series, results: Results) -> list[list[str]]:
    """A row for the unchanged, verified runs, and one for each kind of other runs that are made for the study."""
    found = [result for result in results.finished if belongs(result.record, presets, case, series)]
    kinds: dict[tuple[str, bool], list[Result]] = {}
    for result in found:
        if decides(result.record) or home(result.record) is study:
            kinds.setdefault((changes(result.record), result.record.unverified), []).append(result)
    paper = [over_seeds([case.printed[series.label]])] if case.printed else []
    return [
        [series.label, *paper, *_numbers(case.columns, kinds[kind]), *provenance(kinds[kind]), _remarks(kinds[kind])]
        for kind in sorted(kinds)
    ]


def _numbers(columns: Sequence[Column], results: Sequence[Result]) -> list[str]:
    return [over_seeds([column.value(result) for result in results]) for column in columns]


def _remarks(results: Sequence[Result]) -> str:
    """Differences from the preset, and for shortened runs whether the training loss falls."""
    first = results[0]
    if not first.record.shortened:
        return changes(first.record)
    begin, end = mean([result.summary.first for result in results]), mean([result.final.train for result in results])
    way = "falls" if end < begin else "does not fall:"
    return f"{changes(first.record)}; training loss {way} from {number(begin)} to {number(end)}"


def _others(study: Study, results: Results) -> list[str]:
    """Runs of the task that belong to no case of a study."""
    others = [result for result in results.finished if home(result.record) is study and not shows(study, result.record)]
    if not others:
        return []
    columns = study.cases[0].columns
    header = ["run", *(column.header for column in columns), *PROVENANCE, "differences from the preset"]
    rows = [
        [f"`{result.record.name}`", *_numbers(columns, [result]), *provenance([result]), _remarks([result])]
        for result in others
    ]
    return ["", "### Other runs", "", f"Runs that the paper does not have, {study.unit}:", "", *markdown(header, rows)]


def _findings(study: Study, results: Results) -> list[str]:
    lines: list[str] = []
    verdicts = [verdict for verdict in judge(study, results) if verdict.outcome != PENDING]
    for case in study.cases:
        for presets in study.presets:
            of_case = [verdict for verdict in verdicts if verdict.case is case and verdict.presets == presets]
            if of_case and _begun(study, presets, case, results):
                size = f"**{AT_REDUCED_SIZE}**" if of_case[0].reduced else ""
                where = ", ".join(filter(None, [case.title, f"settings {named(presets)}", size]))
                lines += ["", f"{where}:", "", *verdict_table(of_case), *_distances(case, presets, results)]
    return lines[1:] or ["No run with the unchanged settings of a preset has finished yet."]


def verdict_table(verdicts: Sequence[Verdict]) -> list[str]:
    """Lines of a table with a row for every measure of every sentence, the deciding measure first.

    A column of differences is there only if a sentence has one.
    """
    differ = any(found.difference for verdict in verdicts for found in verdict.findings)
    header = ["sentence", "measure", "verdict", "measured", *(["paired difference"] if differ else []), "seeds"]
    rows = [
        [
            verdict.sentence.says if found is verdict.findings[0] else "",
            found.measure,
            f"**{found.outcome}**",
            found.numbers,
            *([found.difference or "–"] if differ else []),
            f"{verdict.seeds}; {left_out(verdict.diverged)}" if verdict.diverged else str(verdict.seeds),
        ]
        for verdict in verdicts
        for found in verdict.findings
    ]
    return markdown(header, rows)


def _distances(case: Case, presets: Presets, results: Results) -> list[str]:
    """A line with our minima as multiples of the paper's; none if the paper has no numbers of this case."""
    multiples = []
    for label, runs in deciding_runs(results, presets, case).items():
        if label in case.printed:
            ours = zip(*(case.columns[0].value(result) for result in runs), strict=True)
            ratios = [mean(some) / paper for some, paper in zip(ours, case.printed[label], strict=True)]
            multiples.append(f"{label} {' / '.join(f'{ratio:.3g}' for ratio in ratios)}")
    if not multiples:
        return []
    return ["", f"Our minimum as a multiple of the paper's, training / validation: {', '.join(multiples)}."]
