"""The section of the report on the sensitivity study: in which cells of the declared grids which model is lowest.

A cell is decided if its seeds agree. A sentence of the paper is *robust* if it holds in every cell, *not seen* if it
holds in none, and otherwise it *depends on* the settings at whose values the cells differ most.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.common.errors import ExperimentError
from experiments.common.markdown import markdown
from experiments.report.paired import CONFIDENCE, Paired, in_words, paired
from experiments.report.results import Result, Results
from experiments.report.schema import NAMES
from experiments.report.tables import duration, over_seeds
from experiments.tasks.sensitivity import FOLLOWERS, GRIDS, Cell, Grid
from experiments.training.records.record import Record
from experiments.training.settings import ModelName

TITLE = "What the order depends on"

FIGURE = "sensitivity.png"

ROBUST = "robust"
NOT_SEEN = "not seen"
PENDING = "pending"

INTRODUCTION = f"""\
The paper reports one run of each model, at settings that its text gives only in part. This study varies what the text
leaves open. The grids, their seeds, their budgets and the rules that choose further cells stand in
[`tasks/sensitivity.py`](tasks/sensitivity.py); they were written before the runs were made. No cell is left out: a run
that has not ended is counted as missing. The loss is the mean training loss of the last 5 % of the steps, at a fixed
number of steps, since a minimum favors noise. Differences are paired: with the same seed two models see the same data.
The interval is Student's t, {CONFIDENCE:.0%}, over the seeds. With three seeds it is wide, so the last column says at
how many seeds ATN is the lower one. A sentence is *{ROBUST}* if it is true at every seed in every cell, and
*{NOT_SEEN}* if in no cell it is true at every seed. Otherwise it *depends on* the settings whose values differ most in
the share of cells in which it is true. `python -m experiments sweep --grid NAME` runs a grid, or what is left of it."""


class CellResult(NamedTuple):
    """The loss of each model at each seed in one cell, by model and seed; infinite for a run that diverged."""

    cell: Cell
    losses: Mapping[ModelName, Mapping[int, float]]
    shown: Mapping[str, Mapping[ModelName, Sequence[float]]]
    """The measurements that the grid's table shows, by name and model: the last one of each run."""

    def compared(self, first: ModelName, second: ModelName) -> Paired:
        """The paired differences of two models."""
        return paired(self.losses.get(first, {}), self.losses.get(second, {}))


class GridResult(NamedTuple):
    """The cells of a grid that have runs, in the order of the grid."""

    grid: Grid
    cells: tuple[CellResult, ...]
    records: tuple[Record, ...]
    """Records of its runs that have ended."""


def known_grids(records: Sequence[Record]) -> list[Grid]:
    """The declared grids, and those that follow from them as far as the runs that decide have ended."""
    grids = list(GRIDS)
    for follower in FOLLOWERS:
        try:
            grids += follower.grids(records)
        except ExperimentError:
            continue  # its cells are not known yet; the section says so
    return grids


def in_a_grid(results: Results) -> set[str]:
    """Names of the runs that belong to a cell of a grid and differ from their preset, which only this section shows."""
    records = _ended(results)
    grids = known_grids(records)
    return {
        record.name
        for record in records
        if record.differences and any(grid.cell_of(record) is not None for grid in grids)
    }


def _ended(results: Results) -> list[Record]:
    return [
        *(result.record for result in results.finished),
        *(record for record in results.unfinished if record.status == "nan"),
    ]


def grid_result(grid: Grid, results: Results) -> GridResult:
    """The runs of a grid, by cell. Runs without a stamp do not count."""
    finished = {result.record.name: result for result in results.finished}
    records = [record for record in _ended(results) if not record.unverified and grid.cell_of(record) is not None]
    cells = []
    for cell in grid.cells:
        of_cell = [record for record in records if grid.cell_of(record) == cell]
        losses = {
            model: {
                record.settings["seed"]: _loss(finished.get(record.name)) for record in of_cell if record.model == model
            }
            for model in grid.models
        }
        results_of_cell = [finished[record.name] for record in of_cell if record.name in finished]
        shown = {name: _last_measured(name, grid.models, results_of_cell) for name in grid.shown}
        cells.append(CellResult(cell, {model: by_seed for model, by_seed in losses.items() if by_seed}, shown))
    return GridResult(grid, tuple(cells), tuple(records))


def _last_measured(name: str, models: Sequence[ModelName], results: Sequence[Result]) -> dict[ModelName, list[float]]:
    """The last measurement of each run under this name, by model; models whose runs lack it are left out."""
    by_model = {
        model: [values[-1][1] for run in results if run.record.model == model and (values := run.measured(name))]
        for model in models
    }
    return {model: values for model, values in by_model.items() if values}


def _loss(result: Result | None) -> float:
    """Mean training loss of the last 5 % of the steps; infinite for a run that diverged, which has no result."""
    return float("inf") if result is None else result.summary.last_twentieth


def varied(grid: Grid) -> list[str]:
    """Names of the settings in which the cells of a grid differ."""
    names = dict.fromkeys(name for cell in grid.cells for name in cell)
    return [name for name in names if len({cell.get(name) for cell in grid.cells}) > 1]


def verdict(result: GridResult, first: ModelName, second: ModelName) -> str:
    """In which cells `first` is below `second` at every seed, as a verdict on the sentence that it is lower.

    Only complete cells count: those with all the seeds of the grid.
    """
    seeds = len(result.grid.seeds)
    complete = [
        (one.cell, pair) for one in result.cells if len((pair := one.compared(first, second)).differences) == seeds
    ]
    if not complete:
        return PENDING
    holds = {index: pair.lower == seeds for index, (_, pair) in enumerate(complete)}
    missing = len(result.cells) - len(complete)
    if missing:
        return f"{PENDING}: true in {sum(holds.values())} of {len(holds)} cells, {missing} still to run"
    count = f"{sum(holds.values())} of {len(holds)} cells"
    if all(holds.values()):
        return f"{ROBUST} ({count})"
    if not any(holds.values()):
        return f"{NOT_SEEN} ({count})"
    return f"depends on {_factors([cell for cell, _ in complete], holds)} ({count})"


def _factors(cells: Sequence[Cell], holds: Mapping[int, bool]) -> str:
    """The settings whose values differ most in the share of cells in which the sentence holds, with these shares."""
    spreads: dict[str, float] = {}
    shares: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for cell in cells for name in cell):
        by_value: dict[str, list[bool]] = {}
        for index, cell in enumerate(cells):
            by_value.setdefault(str(cell.get(name)), []).append(holds[index])
        if len(by_value) > 1:
            shares[name] = {value: sum(found) / len(found) for value, found in by_value.items()}
            spreads[name] = max(shares[name].values()) - min(shares[name].values())
    widest = max(spreads.values(), default=0.0)
    named = [
        f"`{name}` ({', '.join(f'{value}: {share:.0%}' for value, share in shares[name].items())})"
        for name, spread in spreads.items()
        if spread == widest and spread > 0
    ]
    return " and ".join(named) or "the combination of settings"


def grid_results(results: Results) -> list[GridResult]:
    """The result of every grid whose cells are known."""
    return [grid_result(grid, results) for grid in known_grids(_ended(results))]


def is_drawn(result: GridResult) -> bool:
    """Whether a figure has something to compare: at least two cells with runs."""
    return sum(bool(one.losses) for one in result.cells) > 1


def sensitivity_section(results: Results) -> list[str]:
    """Lines of the section: a table of verdicts, the figure, and a table for each grid."""
    grids = grid_results(results)
    lines = [f"## {TITLE}", "", INTRODUCTION, "", *_overview(grids)]
    if any(map(is_drawn, grids)):
        lines += ["", f"![{TITLE}](figures/{FIGURE})"]
    for result in grids:
        if result.records:
            lines += ["", f"### {_heading(result.grid)}", "", *_table(result)]
    return [*lines, ""]


def _heading(grid: Grid) -> str:
    fixed = ", ".join(f"{name} = {value}" for name, value in grid.fixed.items())
    models = f" ({', '.join(NAMES[model] for model in grid.models)})"
    return f"{grid.name}: {grid.task}, preset {grid.preset}{f', {fixed}' if fixed else ''}{models}"


def _overview(grids: Sequence[GridResult]) -> list[str]:
    rows = []
    for result in grids:
        grid = result.grid
        models = set(grid.models)
        against_ln = verdict(result, "atn", "ln") if {"atn", "ln"} <= models else "–"
        against_lstm = verdict(result, "atn", "lstm") if {"atn", "lstm"} <= models else "–"
        done = f"{len(result.records)} of {grid.runs}"
        budget = duration(60 * grid.minutes * grid.runs)
        rows.append([f"`{grid.name}`", done, budget, against_ln, against_lstm])
    waiting = sorted({follower.name for follower in FOLLOWERS} - {result.grid.name for result in grids})
    note = [f"Their cells are not known yet: {', '.join(f'`{name}`' for name in waiting)}."] if waiting else []
    header = ["grid", "runs", "budget, one core", "ATN below LN", "ATN below LSTM"]
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
            " / ".join(_values_over_seeds(one.shown.get(name, {}).get(model, ())) for model in result.grid.models)
            for name in result.grid.shown
        ]
        rows.append([*row, *(_compared(one.compared("atn", "ln")) if compared else [])])
    return markdown(header, rows)


def _over_seeds(losses: Mapping[int, float]) -> str:
    return over_seeds([(loss,) for loss in losses.values()]) if losses else "to run"


def _values_over_seeds(values: Sequence[float]) -> str:
    return over_seeds([(value,) for value in values]) if values else "–"


def _compared(pair: Paired) -> list[str]:
    if not pair.differences:
        return ["to run", "–"]
    return [in_words(pair), f"{pair.lower} of {len(pair.differences)} seeds"]
