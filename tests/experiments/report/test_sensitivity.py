"""The section on the sensitivity study: paired differences, verdicts over cells, and which runs it alone shows."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from experiments.catalog.sensitivity import (
    COPYING_PLACEMENT,
    DENOISE_SETTINGS,
    GRIDS,
    PIXEL_RATES,
    Cell,
    Grid,
    find_grids,
)
from experiments.report.paired import Paired, in_words, paired
from experiments.report.results import Result, Results
from experiments.report.sensitivity import figure
from experiments.report.sensitivity.effects import Effect, effects
from experiments.report.sensitivity.figure import lowest_at_every_seed, sensitivity_figures
from experiments.report.sensitivity.grid_results import CellResult, GridResult, grid_result, in_a_grid
from experiments.report.sensitivity.section import sensitivity_section
from experiments.report.sensitivity.sentences import is_lower, sentences_of
from experiments.report.sensitivity.verdicts import verdict
from experiments.training.records.record import UNVERIFIED
from experiments.training.settings import ModelName
from tests.support.experiment_runs import gathered, make_run

GRID = DENOISE_SETTINGS

Loss = Callable[[Cell, ModelName, int], float]


def runs(loss: Loss, grid: Grid = GRID, cells: int | None = None, stamp: str = "verify abcdef0123456789") -> Results:
    """The runs of the first cells of a grid, each with one training loss at every step."""

    def run(cell: Cell, model: ModelName, seed: int) -> Result:
        level = loss(cell, model, seed)
        settings = {**grid.fixed, **cell, "seed": seed}
        return make_run(grid.task, model, lambda _: level, preset=grid.preset, stamp=stamp, **settings)

    return gathered(
        run(cell, model, seed) for cell in grid.cells[:cells] for model in grid.models for seed in grid.seeds
    )


def atn_lower_where(holds: Callable[[Cell], bool]) -> Loss:
    return lambda cell, model, _: 0.5 if model == "ln" else (0.4 if holds(cell) else 0.6)


def test_a_tie_is_not_lower() -> None:
    assert Paired((0.0, -1.0, 1.0)).lower == 1


def test_the_interval_of_a_paired_difference() -> None:
    """Fixed values: mean 2, standard deviation 1, three seeds, so 2 ± 4.302653 / sqrt(3)."""
    pair = paired({0: 4.0, 1: 3.0, 2: 7.0, 9: 100.0}, {2: 4.0, 1: 2.0, 0: 2.0})
    assert pair.differences == (2.0, 1.0, 3.0)
    assert pair.mean == 2.0
    assert pair.interval == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert pair.lower == 0
    assert in_words(pair) == "+2 [-0.48, +4.5]"
    assert all(map(math.isnan, Paired((1.0,)).interval))
    assert in_words(Paired((1.0,))) == "+1"
    assert in_words(Paired((math.inf, 1.0))) == "+inf"


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        (lambda _: True, "robust (8 of 8 cells)"),
        (lambda _: False, "not seen (0 of 8 cells)"),
        (
            lambda cell: cell["lr"] == 1e-3,
            "depends on `lr` (4 of 8 cells)",
        ),
        (
            lambda cell: cell["lr"] == 1e-3 and cell["clip"] is None,
            "depends on `lr` and `clip` (2 of 8 cells)",
        ),
        (
            lambda cell: (cell["lr"] == 1e-3) == (cell["clip"] is None),
            "depends on the cell, on no single setting clearly (4 of 8 cells)",
        ),
    ],
)
def test_the_verdict_over_the_cells(holds: Callable[[Cell], bool], expected: str) -> None:
    assert verdict(grid_result(GRID, runs(atn_lower_where(holds))), is_lower("atn", "ln")) == expected


def test_what_a_setting_changes_is_the_mean_over_the_pairs_of_cells_that_differ_in_it_alone() -> None:
    """ATN is .01, .02 and .04 further from LN without clipping, by seed, and by as much again at the higher rate."""

    def loss(cell: Cell, model: ModelName, seed: int) -> float:
        if model == "ln":
            return 0.5
        extra = {0: 0.01, 1: 0.02, 5544: 0.04}[seed]
        return 0.6 + extra * (int(cell["clip"] is None) + int(cell["lr"] == 1e-2))

    found = {effect.setting: effect for effect in effects(grid_result(GRID, runs(loss)), is_lower("atn", "ln"))}
    assert {name: (one.first, one.other, len(one.pairs)) for name, one in found.items()} == {
        "bias_placement": ("inside", "outside", 4),
        "lr": (1e-2, 1e-3, 4),
        "clip": (None, 1.0, 4),
    }
    assert found["bias_placement"].change.differences == pytest.approx((0, 0, 0))
    assert found["lr"].change.differences == pytest.approx((-0.01, -0.02, -0.04))
    assert found["clip"].change.differences == pytest.approx((-0.01, -0.02, -0.04))


def test_a_change_within_the_spread_of_the_seeds_is_not_clear() -> None:
    """Clipping changes the difference by -.2, -.2 and +.1: its interval has 0 in it; the rate by -.4 at every seed."""

    def loss(cell: Cell, model: ModelName, seed: int) -> float:
        clipped = cell["clip"] is not None
        if model == "ln":
            return 0.5
        return 0.7 + clipped * (0.1 if seed == 1 else -0.2) - 0.4 * int(cell["lr"] == 1e-3)

    result = grid_result(GRID, runs(loss))
    assert [effect.setting for effect in effects(result, is_lower("atn", "ln")) if effect.decides] == ["lr"]
    (row,) = [line for line in sensitivity_section(runs(loss)) if "`clip`: None → 1.0" in line]
    assert row.startswith("| `denoise-settings` | loss of ATN − LN | `clip`: None → 1.0 | -0.1 [-0.53, +0.33] | no |")
    assert row.endswith("| -0.1 / -0.1 / -0.1 / -0.1 | 0 of 4 |")


def test_a_diverged_run_makes_no_change_clear() -> None:
    def loss(cell: Cell, model: ModelName, _: int) -> float:
        return 0.5 if model == "ln" else (0.6 if cell["clip"] is None else 0.4)

    result = grid_result(GRID, runs(loss))
    diverged = {**result.cells[0].losses, "atn": dict.fromkeys(GRID.seeds, math.inf)}
    cells = (result.cells[0]._replace(losses=diverged), *result.cells[1:])
    deciding = [
        [effect.setting for effect in effects(each, is_lower("atn", "ln")) if effect.decides]
        for each in (result, result._replace(cells=cells))
    ]
    assert deciding == [["clip"], []]


def test_a_setting_with_which_the_sentence_does_not_flip_is_not_named() -> None:
    """The rate changes the difference clearly, and ATN is above LN at either; clipping brings it below."""

    def loss(cell: Cell, model: ModelName, seed: int) -> float:
        if model == "ln":
            return 0.5
        return (0.4 if cell["clip"] else 0.6) + (0.05 + 1e-4 * (seed == 1)) * int(cell["lr"] == 1e-3)

    result = grid_result(GRID, runs(loss))
    changes = {effect.setting: effect for effect in effects(result, is_lower("atn", "ln"))}
    assert changes["lr"].change.leaves_out_zero
    assert (changes["lr"].flips, changes["clip"].flips) == (0, 4)
    assert verdict(result, is_lower("atn", "ln")) == "depends on `clip` (4 of 8 cells)"


def test_a_setting_that_does_the_opposite_in_some_cells_is_named_together_with_the_others() -> None:
    """Clipping brings ATN below LN, but with the biases outside and the low rate it takes ATN above."""

    def loss(cell: Cell, model: ModelName, seed: int) -> float:
        if model == "ln":
            return 0.5
        opposed = (cell["bias_placement"], cell["lr"]) == ("outside", 1e-3)
        return 0.6 if (cell["clip"] is None) != opposed else 0.4 + 1e-4 * (seed == 1)

    result = grid_result(GRID, runs(loss))
    (clip,) = [effect for effect in effects(result, is_lower("atn", "ln")) if effect.setting == "clip"]
    assert clip.against == 1
    found = verdict(result, is_lower("atn", "ln"))
    assert found == "depends on `clip`, together with other settings (4 of 8 cells)"
    (row,) = [line for line in sensitivity_section(runs(loss)) if "`clip`: None → 1.0" in line]
    assert row.endswith("| yes | -0.2 / -0.2 / -0.2 / +0.2 | 1 of 4 |")


def test_a_change_of_nothing_goes_no_other_way() -> None:
    still, up = Paired((0.0, 0.0)), Paired((1.0, 2.0))
    assert Effect("clip", None, 1.0, (still, up), flips=1).against == 0
    assert Effect("clip", None, 1.0, (Paired((-0.1, -0.1)), up), flips=1).against == 1
    assert Effect("clip", None, 1.0, (Paired((-0.1, 0.1)), up), flips=1).against == 0


def test_a_change_between_runs_that_diverged_goes_no_way() -> None:
    unknown, up = Paired((math.nan, math.nan)), Paired((1.0, 2.0))
    effect = Effect("clip", None, 1.0, (unknown, up), flips=1)
    assert (effect.against, effect.decides) == (0, False)
    assert math.isnan(Paired((math.inf, -math.inf)).mean)


def test_losses_less_than_a_hundredth_apart_count_as_equal() -> None:
    result = grid_result(GRID, runs(lambda _, model, __: 0.5 if model == "ln" else 0.4951))
    assert verdict(result, is_lower("atn", "ln")) == "not seen (0 of 8 cells)"
    assert lowest_at_every_seed(result.cells[0], 3) is None
    result = grid_result(GRID, runs(lambda _, model, __: 0.5 if model == "ln" else 0.4949))
    assert verdict(result, is_lower("atn", "ln")) == "robust (8 of 8 cells)"


def test_the_section_says_how_many_runs_are_older_than_their_grid() -> None:
    some = runs(atn_lower_where(lambda _: True), stamp="verify 0000")

    def of_age(run: Result, started: str, stamp: str) -> Result:
        session = dataclasses.replace(run.record.sessions[0], started=started, stamp=stamp)
        return run._replace(record=dataclasses.replace(run.record, sessions=[session]))

    times = ["2026-11-25T09:48:20+00:00", "2026-11-25T09:48:22+00:00", *["2026-11-28T00:00:00+00:00"] * 46]
    stamps = ["gate 1111", *["gate 2222"] * 47]
    aged = gathered(map(of_age, some.finished, times, stamps))
    (row,) = [line for line in sensitivity_section(aged) if line.startswith("| `denoise-settings` | 48 of 48")]
    assert row.startswith("| `denoise-settings` | 48 of 48 | 1 | 2 |")


def test_one_seed_that_disagrees_undoes_a_cell() -> None:
    def loss(cell: Cell, model: ModelName, seed: int) -> float:
        return 0.5 if model == "ln" else (0.6 if cell == GRID.cells[0] and seed == 1 else 0.4)

    result = grid_result(GRID, runs(loss))
    assert verdict(result, is_lower("atn", "ln")).endswith("(7 of 8 cells)")
    assert lowest_at_every_seed(result.cells[0], 3) is None
    assert lowest_at_every_seed(result.cells[1], 3) == "atn"


def test_missing_cells_leave_the_verdict_open() -> None:
    result = grid_result(GRID, runs(atn_lower_where(lambda _: True), cells=3))
    assert verdict(result, is_lower("atn", "ln")) == "pending: true in 3 of 3 cells, 5 still to run"
    assert lowest_at_every_seed(result.cells[7], 3) is None


def test_a_cell_that_lacks_a_seed_is_still_to_run() -> None:
    results = runs(atn_lower_where(lambda _: True), cells=2)
    results.finished.pop()
    found = verdict(grid_result(GRID, results), is_lower("atn", "ln"))
    assert found == "pending: true in 1 of 1 cells, 7 still to run"


def test_runs_of_another_grid_count_as_older_than_the_one_that_borrows_them() -> None:
    """Two models and three seeds a cell."""
    results = runs(atn_lower_where(lambda _: True))
    began = min(each.record.sessions[0].started for each in results.finished)
    later = GRID._replace(declared=began, borrowed=GRID.cells[:2])
    assert grid_result(later, results).older == 12
    assert grid_result(later._replace(borrowed=()), results).older == 0
    assert grid_result(later._replace(declared="9999"), results).older == 48


def test_runs_without_a_stamp_do_not_count() -> None:
    assert not grid_result(GRID, runs(atn_lower_where(lambda _: True), cells=1, stamp=UNVERIFIED)).records


def test_the_section_has_every_cell_and_the_other_sections_none() -> None:
    results = runs(atn_lower_where(lambda cell: cell["lr"] == 1e-3))
    lines = sensitivity_section(results)
    (overview,) = [line for line in lines if line.startswith("| `denoise-settings` | 48")]
    assert overview.startswith("| `denoise-settings` | 48 of 48 | 48 | 1 | 6 min |")
    assert "| outside | 0.001 | 1.0 | 0.5000 ± 0 | 0.4000 ± 0 | -0.1 [-0.1, -0.1] | 3 of 3 seeds |" in lines
    assert "| inside | 0.01 | None | 0.5000 ± 0 | 0.6000 ± 0 | +0.1 [+0.1, +0.1] | 0 of 3 seeds |" in lines
    assert in_a_grid(results) == {result.record.name for result in results.finished}
    assert sensitivity_figures(results)["sensitivity.png"].startswith(b"\x89PNG")


def test_a_grid_shows_its_measurements_beside_the_loss() -> None:
    """Those of the last validation; a model that has none gets a dash."""

    def run(model: ModelName, first: float, last: float) -> Result:
        def measured(step: int, _: float) -> dict[str, float]:
            accuracy = {"validation": 1.0, "accuracy": last if step == PIXEL_RATES.fixed["steps"] else first}
            return accuracy if model == "lstm" else {**accuracy, "contrast": 10 * accuracy["accuracy"]}

        settings = {**PIXEL_RATES.fixed, "lr": 1e-3, "seed": PIXEL_RATES.seeds[0]}
        return make_run("pixel-mnist", model, lambda _: 1.0, measured=measured, **settings)

    lines = sensitivity_section(gathered([run("lstm", 0.1, 0.2), run("ln", 0.1, 0.3), run("atn", 0.1, 0.15)]))
    (header,) = [line for line in lines if "accuracy:" in line]
    assert "| accuracy: LSTM / LN / ATN | contrast: LSTM / LN / ATN |" in header
    (row,) = [line for line in lines if line.startswith("| 0.001 | 1.000")]
    assert "| 0.2000 / 0.3000 / 0.1500 | – / 3.000 / 1.500 |" in row


BEST_RATES: dict[ModelName, float] = {"lstm": 1e-3, "ln": 3e-3, "atn": 1e-2}
"""The rate at which the made-up trials of a model end lowest."""


def pixel_run(cell: Cell, model: ModelName, seed: int, loss: float, accuracy: float) -> Result:
    def measured(*_: Any) -> dict[str, float]:
        return {"validation": 1.0, "accuracy": accuracy}

    settings = {**PIXEL_RATES.fixed, **cell, "seed": seed}
    return make_run("pixel-mnist", model, lambda _: loss, measured=measured, **settings)


def test_the_models_of_a_grid_are_compared_each_at_its_own_rate() -> None:
    """LN guesses with eps = 1e-5 alone; the LSTM, which has no norm, is the same in every cell."""
    trials = [
        pixel_run(cell, model, PIXEL_RATES.seeds[0], abs(cell["lr"] - BEST_RATES[model]), 0.1)
        for cell in PIXEL_RATES.cells
        for model in PIXEL_RATES.models
    ]
    grids = find_grids("pixel-norm", [run.record for run in trials])
    level = {"lstm": 0.4, "ln": 0.6, "atn": 0.5}

    def runs_of(grid: Grid) -> list[Result]:
        return [
            pixel_run(cell, model, seed, level[model], 0.1 if (model, cell["eps"]) == ("ln", 1e-5) else 0.9)
            for cell in grid.cells
            for model in grid.models
            for seed in grid.seeds
        ]

    some = [run for grid in grids for run in runs_of(grid)]
    lines = sensitivity_section(gathered([*trials, *some]))
    assert [line for line in lines if line.startswith("| `pixel-norm` | 21 of 21 |")]
    assert (
        "Each model at the settings that were best in its trials: LSTM lr = 0.001; LN lr = 0.003; ATN lr = 0.01."
        in lines
    )
    verdicts = [line.split(" | ") for line in lines if "| `pixel-norm` |" in line and not line.startswith("| `")]
    on_eps, robust, not_seen = (
        "depends on `eps` (1 of 3 cells)",
        "robust (3 of 3 cells)",
        "not seen (0 of 3 cells)",
    )
    assert {
        says.removeprefix("| "): (found, of_opposite.removesuffix(" |")) for says, _, found, of_opposite in verdicts
    } == {
        "LN is no better than guessing: accuracy at most 15%": (on_eps, "–"),
        "ATN learns: accuracy at least 20%": (robust, "–"),
        "ATN is below LN": (robust, not_seen),
        "ATN is below LSTM": (not_seen, robust),
        "LN is below LSTM": (not_seen, robust),
    }
    rows = [line for line in lines if line.startswith(("| 1.0 | ", "| 1e-05 | "))]
    assert len(rows) == 3
    assert all("| 0.4000 ± 0 | 0.6000 ± 0 | 0.5000 ± 0 |" in row for row in rows)
    assert sensitivity_figures(gathered([*trials, *some]))["sensitivity.png"].startswith(b"\x89PNG")


def test_a_diverged_run_is_no_better_than_guessing_and_lower_than_none() -> None:
    """Its loss counts as infinite, its accuracy as 0."""
    cell = {"eps": 1.0}
    losses: dict[ModelName, dict[int, float]] = {"ln": {0: math.inf}, "atn": {0: 0.5}}
    grid = PIXEL_RATES._replace(seeds=(0,), models=("ln", "atn"), cells=(cell,))
    result = GridResult(grid, (CellResult(cell, losses, {"accuracy": {"atn": {0: 0.9}}}),), (), 2, {})
    found = {sentence.says: verdict(result, sentence) for sentence in sentences_of(grid)}
    assert found == {
        "LN is no better than guessing: accuracy at most 15%": "true at every seed",
        "ATN learns: accuracy at least 20%": "true at every seed",
        "ATN is below LN": "true at every seed",
    }


def test_trials_of_a_rate_decide_no_sentence() -> None:
    lines = sensitivity_section(gathered([pixel_run(PIXEL_RATES.cells[0], "ln", PIXEL_RATES.seeds[0], 1.0, 0.1)]))
    assert [line for line in lines if line.startswith("| `pixel-rates` | 1 of 12 |")]
    assert not [line for line in lines if "| `pixel-rates` |" in line and not line.startswith("| `pixel-rates`")]
    assert [grid.name for grid in GRIDS if grid.is_trial] == ["pixel-rates"]


def test_the_figure_colors_no_cell_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figure, "png", drawn.append)
    for grid, colored in ((PIXEL_RATES, 0), (GRID, 8)):
        figure.draw_cells([grid_result(grid, runs(lambda _, model, __: 0.5 if model == "ln" else 0.6, grid))])
        assert len(drawn[-1].axes[0].patches) == colored


def test_a_record_from_before_a_setting_has_its_default() -> None:
    """Clipping came after the first runs of denoise, which therefore have none."""

    def aged(run: Result) -> Result:
        settings = {name: value for name, value in run.record.settings.items() if name != "clip"}
        return run._replace(record=dataclasses.replace(run.record, settings=settings))

    unclipped = [run for run in runs(lambda *_: 0.5).finished if run.record.settings["clip"] is None]
    assert unclipped
    for run in unclipped:
        cell = GRID.cell_of(aged(run).record)
        assert cell is not None
        assert cell["clip"] is None
        assert cell == GRID.cell_of(run.record)


def test_runs_with_the_settings_of_a_preset_stay_in_their_own_section() -> None:
    """The cell "inside" of this grid is Table 1 of the paper."""
    results = runs(atn_lower_where(lambda _: True), COPYING_PLACEMENT)
    own = in_a_grid(results)
    assert len(own) == 6
    assert all("outside" in name for name in own)
