"""The declared grids: their runs exist, no run belongs to two cells of a grid, and the rules choose what they say."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.catalog.registry import TASKS
from experiments.catalog.sensitivity import (
    DENOISE_SETTINGS,
    FOLLOWERS,
    GRIDS,
    NAMES,
    PAPER_CELL,
    PIXEL_RATES,
    Cell,
    Grid,
    find_grids,
    ranked_cells,
)
from experiments.cli.main import main
from experiments.cli.sweep import parse_sweep, plan_sweep
from experiments.common.errors import ExperimentError
from experiments.training.records.record import Record
from experiments.training.records.summary import summarize
from experiments.training.settings import ModelName, run_name


def record(grid: Grid, cell: Cell, model: ModelName, seed: int, loss: float, **more: Any) -> Record:
    """Record of a finished run of a grid with this training loss at every step."""
    preset = TASKS[grid.task].presets[grid.preset]
    settings = dataclasses.replace(preset, **{**grid.fixed, **cell, "seed": seed, **more}).completed()
    differences = settings.differences(preset)
    return Record(
        name=run_name(grid.task, grid.preset, model, settings, preset),
        task=grid.task,
        model=model,
        preset=grid.preset,
        settings=dataclasses.asdict(settings),
        differences=differences,
        shortened="steps" in differences,
        status="finished",
        step=settings.steps,
        seconds=1.0,
        metrics_digest="",
        sessions=[],
        summary=summarize([loss] * 20, 10),
    )


def records(grid: Grid, loss: Callable[[Cell, ModelName, int], float]) -> list[Record]:
    """A record for every run of a grid."""
    return [
        record(grid, cell, model, seed, loss(cell, model, seed))
        for cell in grid.cells
        for model in grid.models
        for seed in grid.seeds
    ]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_a_sweep_plans_exactly_the_runs_of_a_grid(grid: Grid, tmp_path: Path) -> None:
    entries = plan_sweep(parse_sweep(["--grid", grid.name, "--runs", str(tmp_path), "--unverified"]))
    expected = {one.name for one in records(grid, lambda *_: 1.0)}
    assert {entry.name for entry in entries} == expected
    assert len(entries) == len(expected) == grid.runs


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_each_run_belongs_to_its_cell_and_other_runs_to_none(grid: Grid) -> None:
    for cell in grid.cells:
        one = record(grid, cell, grid.models[0], grid.seeds[0], 1.0)
        assert grid.cell_of(one) == cell
        assert grid.cell_of(dataclasses.replace(one, task="another")) is None
        assert grid.cell_of(record(grid, cell, grid.models[0], 77, 1.0)) is None
        assert grid.cell_of(record(grid, cell, grid.models[0], grid.seeds[0], 1.0, steps=7)) is None
        assert grid.cell_of(record(grid, cell, grid.models[0], grid.seeds[0], 1.0, init="orthogonal")) is None


def test_names_are_different() -> None:
    assert len(set(NAMES)) == len(GRIDS) + len(FOLLOWERS)


def test_the_best_cell_has_the_lowest_mean_over_models_and_seeds() -> None:
    """One model or one seed alone would choose another cell."""
    grid = DENOISE_SETTINGS
    first, second, third = grid.cells[5], grid.cells[2], grid.cells[0]

    def loss(cell: Cell, model: ModelName, seed: int) -> float:
        if cell == first:
            return 0.3
        if cell == second:
            return 0.1 if model == "atn" else 0.6  # mean 0.35, ATN's lowest
        if cell == third:
            return 0.0 if seed == 1 else 0.6  # mean 0.4, the lowest of one seed
        return 0.5

    assert ranked_cells(grid, records(grid, loss))[:3] == [first, second, third]


def test_a_run_that_diverged_makes_its_cell_the_worst() -> None:
    grid = DENOISE_SETTINGS
    found = records(grid, lambda cell, *_: 0.1 if cell == grid.cells[3] else 0.5)
    index = next(i for i, one in enumerate(found) if grid.cell_of(one) == grid.cells[3])
    found[index] = dataclasses.replace(found[index], status="nan", summary=None)
    assert ranked_cells(grid, found)[-1] == grid.cells[3]


def test_what_follows_waits_for_what_decides() -> None:
    found = records(DENOISE_SETTINGS, lambda *_: 0.5)[1:]
    with pytest.raises(ExperimentError, match=r"1 of the 48 runs of the grid denoise-settings"):
        find_grids("denoise-long", found)
    with pytest.raises(ExperimentError, match=r"12 of the 12 runs of the grid pixel-rates .*: run them first"):
        find_grids("pixel-norm", [])


def test_followers_take_the_cells_of_the_rule() -> None:
    grid = DENOISE_SETTINGS
    paper = grid.cells.index(PAPER_CELL)
    ranked = [grid.cells[paper], grid.cells[6], grid.cells[1]]
    found = records(grid, lambda cell, *_: 0.1 * ranked.index(cell) if cell in ranked else 0.9)
    (initialization,) = find_grids("denoise-initialization", found)
    assert initialization.cells == tuple({**cell, "init": init} for cell in ranked[:2] for init in ("paper", "torch"))
    # The runs with the paper's initialization are those that decided.
    assert sum(initialization.cell_of(one) is not None for one in found) == 12
    (long,) = find_grids("denoise-long", found)
    assert long.cells == tuple({"T": T, **cell} for T in (100, 200) for cell in ranked[:2])
    assert "steps" not in long.fixed  # all of the paper's steps


def test_every_model_has_its_own_best_rate_on_pixels() -> None:
    best = {"lstm": 1e-3, "ln": 3e-2, "atn": 3e-3}
    found = records(PIXEL_RATES, lambda cell, model, _: 0.1 if cell["lr"] == best[model] else 0.5)
    grids = find_grids("pixel-norm", found)
    assert {grid.models[0]: {cell["lr"] for cell in grid.cells} for grid in grids} == {m: {r} for m, r in best.items()}
    assert [len(grid.cells) for grid in grids] == [1, 3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grid", "nothing"], "unknown grid 'nothing'; there are denoise-settings, "),
        (["copying", "--grid", "windows"], "--grid has its own tasks"),
        (["--grid", "windows", "--seeds", "3"], "--grid has its own tasks"),
        (["--grid", "windows", "--presets", "paper"], "--grid has its own tasks"),
        (["--grid", "denoise-settings", "--models", "wn"], "--models wn: --grid denoise-settings has ln, atn"),
    ],
)
def test_a_grid_that_cannot_be_understood(
    words: Sequence[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *words, "--unverified", "--runs", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
