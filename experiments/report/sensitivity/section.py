"""The section of the report on the sensitivity study: verdicts, the figure, and a table for each grid."""

from collections.abc import Mapping, Sequence

from experiments.common.markdown import markdown
from experiments.report.paired import CONFIDENCE, Paired, in_words
from experiments.report.results import Results
from experiments.report.schema import NAMES
from experiments.report.sensitivity.figure import FIGURE, is_drawn
from experiments.report.sensitivity.grid_results import GridResult, grid_results, varied
from experiments.report.sensitivity.verdicts import NOT_SEEN, ROBUST, Statement, opposite, statements, verdict
from experiments.report.tables import duration, over_seeds
from experiments.tasks.sensitivity import FOLLOWERS, Grid

TITLE = "What the order depends on"

INTRODUCTION = f"""\
The paper reports one run of each model, at settings that its text gives only in part. This study varies what the text
leaves open. The grids, their seeds, their budgets and the rules that choose further cells stand in
[`tasks/sensitivity.py`](tasks/sensitivity.py); they were written before the runs were made. No cell is left out: a run
that has not ended is counted as missing. The loss is the mean training loss of the last 5 % of the steps, at a fixed
number of steps, since a minimum favors noise. Differences are paired: with the same seed two models see the same data.
The interval is Student's t, {CONFIDENCE:.0%}, over the seeds. With three seeds it is wide, so the last column says at
how many seeds ATN is the lower one. A sentence is *{ROBUST}* if it is true at every seed in every cell, and
*{NOT_SEEN}* if in no cell it is true at every seed. Otherwise it *depends on* the settings whose values differ most in
the share of cells in which it is true. The same is said of the sentence with its models exchanged: where neither is
true, the seeds decide. `python -m experiments sweep --grid NAME` runs a grid, or what is left of it."""


def sensitivity_section(results: Results) -> list[str]:
    """Lines of the section: a table of verdicts, the figure, and a table for each grid."""
    grids = grid_results(results)
    lines = [f"## {TITLE}", "", INTRODUCTION, "", *_verdicts(grids), "", *_overview(grids)]
    if any(map(is_drawn, grids)):
        lines += ["", f"![{TITLE}](figures/{FIGURE})"]
    for result in grids:
        if result.records:
            lines += ["", f"### {_heading(result.grid)}", "", *_own(result), *_table(result)]
    return [*lines, ""]


def _heading(grid: Grid) -> str:
    fixed = ", ".join(f"{name} = {value}" for name, value in grid.fixed.items())
    models = f" ({', '.join(NAMES[model] for model in grid.models)})"
    return f"{grid.name}: {grid.task}, preset {grid.preset}{f', {fixed}' if fixed else ''}{models}"


def _own(result: GridResult) -> list[str]:
    """A sentence on the settings that each model has for itself, which trials have chosen."""
    if not result.own:
        return []
    of_models = [
        f"{NAMES[model]} {', '.join(f'{name} = {value}' for name, value in cell.items())}"
        for model, cell in result.own.items()
    ]
    return [f"Each model at the settings that were best in its trials: {'; '.join(of_models)}.", ""]


def _verdicts(grids: Sequence[GridResult]) -> list[str]:
    rows = [
        [statement.says, f"`{result.grid.name}`", verdict(result, statement), _of_the_opposite(result, statement)]
        for result in grids
        for statement in statements(result.grid)
    ]
    return markdown(["sentence of the paper", "grid", "verdict", "with the models exchanged"], rows)


def _of_the_opposite(result: GridResult, statement: Statement) -> str:
    other = opposite(statement)
    return "–" if other is None else verdict(result, other)


def _overview(grids: Sequence[GridResult]) -> list[str]:
    rows = [
        [
            f"`{result.grid.name}`",
            f"{len(result.records)} of {result.runs}",
            duration(60 * result.grid.minutes * result.runs),
            duration(sum(record.seconds for record in result.records)) if result.records else "–",
        ]
        for result in grids
    ]
    waiting = sorted({follower.name for follower in FOLLOWERS} - {result.grid.name for result in grids})
    note = [f"Their cells are not known yet: {', '.join(f'`{name}`' for name in waiting)}."] if waiting else []
    header = ["grid", "runs", "budget, one core", "spent so far"]
    return [*markdown(header, rows), *([""] if note else []), *note]


def _table(result: GridResult) -> list[str]:
    names = varied(result.grid)
    compared = {"atn", "ln"} <= set(result.grid.models)
    header = [*(f"`{name}`" for name in names), *(NAMES[model] for model in result.grid.models)]
    header += [f"{name}: {' / '.join(NAMES[model] for model in result.grid.models)}" for name in result.grid.shown]
    header += ["ATN − LN, interval", "ATN lower at"] if compared else []
    rows = []
    for one in result.cells:
        row = [str(one.cell.get(name)) for name in names]
        row += [_over_seeds(one.losses.get(model, {})) for model in result.grid.models]
        row += [
            " / ".join(_measured_over_seeds(one.shown.get(name, {}).get(model, {})) for model in result.grid.models)
            for name in result.grid.shown
        ]
        rows.append([*row, *(_compared(one.compared("atn", "ln")) if compared else [])])
    return markdown(header, rows)


def _over_seeds(losses: Mapping[int, float]) -> str:
    return over_seeds([(loss,) for loss in losses.values()]) if losses else "to run"


def _measured_over_seeds(values: Mapping[int, float]) -> str:
    return over_seeds([(value,) for value in values.values()]) if values else "–"


def _compared(pair: Paired) -> list[str]:
    if not pair.differences:
        return ["to run", "–"]
    return [in_words(pair), f"{pair.lower} of {len(pair.differences)} seeds"]
