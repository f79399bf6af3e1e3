"""What the runs of each declared grid measured, cell by cell."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.catalog.sensitivity import FOLLOWERS, GRIDS, Cell, Grid
from experiments.common.errors import ExperimentError
from experiments.report.paired import Paired, paired
from experiments.report.results import Result, Results
from experiments.training.records.record import Record
from experiments.training.settings import ModelName


class CellResult(NamedTuple):
    """What the runs of one cell measured, by model and seed."""

    cell: Cell
    losses: Mapping[ModelName, Mapping[int, float]]
    """Mean training loss of the last 5 % of the steps; infinite for a run that diverged."""
    shown: Mapping[str, Mapping[ModelName, Mapping[int, float]]]
    """The measurements that the grid's table shows, by name: the last one of each run."""

    def compared(self, first: ModelName, second: ModelName) -> Paired:
        """The paired differences of the losses of two models."""
        return paired(self.losses.get(first, {}), self.losses.get(second, {}))


class GridResult(NamedTuple):
    """The runs of a grid by cell, in the order of the grid."""

    grid: Grid
    cells: tuple[CellResult, ...]
    records: tuple[Record, ...]
    """Records of its runs that have ended."""
    runs: int
    """Number of runs that it has in all."""
    own: Mapping[ModelName, Cell]
    """Settings that a model has for itself, in every cell; empty where all models have the same."""

    def complete(self, models: Sequence[ModelName]) -> list[CellResult]:
        """The cells in which all these models have all the seeds of the grid."""
        seeds = set(self.grid.seeds)
        return [one for one in self.cells if all(one.losses.get(model, {}).keys() == seeds for model in models)]

    @property
    def older(self) -> int:
        """Number of its runs that had begun before the grid was declared, or were made for another grid."""
        grid = self.grid
        return sum(
            record.sessions[0].started < grid.declared or grid.cell_of(record) in grid.borrowed
            for record in self.records
        )

    @property
    def versions(self) -> int:
        """Number of different versions of the sources by which its runs were made."""
        return len({session.stamp for record in self.records for session in record.sessions})


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
    return GridResult(grid, tuple(cells), tuple(records), grid.runs, {})


def joined(parts: Sequence[GridResult]) -> GridResult:
    """One result of the grids of a name, which have a model each, with settings that it has for itself.

    A setting belongs to the models if no grid varies it. A model with a single cell is the same in all of them.
    """
    if len(parts) == 1:
        return parts[0]
    fullest = max(parts, key=lambda part: len(part.cells))
    common = {name for part in parts for name in varied(part.grid)}
    own = {
        model: {name: value for name, value in part.grid.cells[0].items() if name not in common}
        for part in parts
        for model in part.grid.models
    }
    cells = [
        _joined_cell({name: one.cell[name] for name in one.cell if name in common}, parts) for one in fullest.cells
    ]
    return GridResult(
        grid=fullest.grid._replace(
            models=tuple(model for part in parts for model in part.grid.models), cells=tuple(one.cell for one in cells)
        ),
        cells=tuple(cells),
        records=tuple(record for part in parts for record in part.records),
        runs=sum(part.runs for part in parts),
        own=own,
    )


def _joined_cell(cell: Cell, parts: Sequence[GridResult]) -> CellResult:
    found = [one for part in parts for one in part.cells if len(part.cells) == 1 or cell.items() <= one.cell.items()]
    names = dict.fromkeys(name for one in found for name in one.shown)
    return CellResult(
        cell,
        {model: losses for one in found for model, losses in one.losses.items()},
        {name: {model: values for one in found for model, values in one.shown[name].items()} for name in names},
    )


def _last_measured(
    name: str, models: Sequence[ModelName], results: Sequence[Result]
) -> dict[ModelName, dict[int, float]]:
    """The last measurement under this name, by model and seed; models whose runs lack it are left out."""
    by_model = {
        model: {
            run.seed: values[-1][1] for run in results if run.record.model == model and (values := run.measured(name))
        }
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


def grid_results(results: Results) -> list[GridResult]:
    """The result of every grid whose cells are known, those of the same name together."""
    by_name = itertools.groupby(known_grids(_ended(results)), key=lambda grid: grid.name)
    return [joined([grid_result(grid, results) for grid in grids]) for _, grids in by_name]
