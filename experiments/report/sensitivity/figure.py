"""The figure of the sensitivity study: the losses of every cell, and which model is lowest in it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.plotting import COLORS, MARKERS, legend_below, png, tidy
from experiments.report.results import Results
from experiments.report.schema import NAMES
from experiments.report.sensitivity.grid_results import CellResult, GridResult, grid_results, varied
from experiments.report.sensitivity.sentences import is_lower
from experiments.training.settings import ModelName

FIGURE = "sensitivity.png"

ROW = 0.34
"""Height of a cell in inches."""


def sensitivity_figures(results: Results) -> dict[str, bytes]:
    """The PNG of the study by its file name; none if no grid has something to compare."""
    drawn = [one for one in grid_results(results) if is_drawn(one)]
    return {FIGURE: draw_cells(drawn)} if drawn else {}


def is_drawn(result: GridResult) -> bool:
    """Whether a figure has something to compare: at least two cells with runs."""
    return sum(bool(one.losses) for one in result.cells) > 1


def draw_cells(results: Sequence[GridResult]) -> bytes:
    """PNG with a panel for each grid, one row for each cell.

    A marker is the loss of one run, a short line the mean over the seeds, and the background has the color of the model
    with the lowest mean if it is lowest at every seed; no color means that the seeds disagree, runs are missing, or
    the runs are trials of a setting.
    """
    heights = [len(result.cells) + 1.5 for result in results]
    figure = Figure(figsize=(9.0, ROW * sum(heights) + 0.6 * len(results) + 0.6), dpi=150, layout="constrained")
    axes = figure.subplots(len(results), 1, squeeze=False, gridspec_kw={"height_ratios": heights}).flatten().tolist()
    for ax, result in zip(axes, results, strict=True):
        _panel(ax, result)
    legend_below(figure, axes)
    return png(figure)


def _panel(ax: Axes, result: GridResult) -> None:
    names = varied(result.grid)
    for row, one in enumerate(result.cells):
        winner = None if result.grid.is_trial else lowest_at_every_seed(one, len(result.grid.seeds))
        if winner is not None:
            ax.axhspan(row - 0.5, row + 0.5, color=_color(winner), alpha=0.15, linewidth=0)
        for place, (model, losses) in enumerate(one.losses.items(), start=1):
            # Each model on a height of its own, so that equal losses do not hide each other.
            height = row - 0.5 + place / (len(one.losses) + 1)
            values = list(losses.values())
            ax.plot(
                values, [height] * len(values), _marker(model), color=_color(model), markersize=5, label=NAMES[model]
            )
            mean = sum(values) / len(values)
            ax.plot([mean, mean], [height - 0.2, height + 0.2], color=_color(model), linewidth=1.6)
    labels = [", ".join(f"{name} {_in_words(one.cell.get(name))}" for name in names) for one in result.cells]
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_title(f"{result.grid.name}: {result.grid.task}", fontsize=10)
    ax.set_xlabel("training loss, mean of the last 5 % of the steps", fontsize=9)
    tidy(ax)


def lowest_at_every_seed(one: CellResult, seeds: int) -> ModelName | None:
    """The model that is below all others at each of so many seeds; None if there is none or a run is missing."""
    if len(one.losses) < 2 or any(len(losses) < seeds for losses in one.losses.values()):
        return None
    for model, losses in one.losses.items():
        others = [is_lower(model, other) for other in one.losses if other != model]
        if all(sentence.holds(one, seed) for sentence in others for seed in losses):
            return model
    return None


def _in_words(value: object) -> str:
    """The value of a setting; none where there is none, as no clipping."""
    return "none" if value is None else str(value)


def _color(model: ModelName) -> str:
    return COLORS[model][len(COLORS[model]) // 2]


def _marker(model: ModelName) -> str:
    return MARKERS[model][len(MARKERS[model]) // 2]
