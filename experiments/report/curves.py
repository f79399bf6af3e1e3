"""Figures of the losses, and of other measurements of the validations, over the iterations."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.report.plotting import Look, legend_below, looks, png, tidy
from experiments.report.results import Result
from experiments.report.schema import Axis, Panel, Runs
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.summary import running_mean

SMOOTHING = 50
"""Smallest number of steps of the running mean that the strong lines show. The mean takes as many rows of the curve as
cover that many steps."""

CAPTION = (
    f"Thick: running mean of the training loss over {SMOOTHING} steps or a little more, averaged over the seeds; thin: "
    "that of each seed; markers: validations, averaged over the seeds."
)
"""What `draw_curves` draws, for the readers of the report."""

COLUMNS = 2
"""Panels side by side."""


def draw_curves(panels: Sequence[Panel]) -> bytes:
    """PNG with one or more axes for each panel.

    The strong line is the running mean of the training loss, averaged over the seeds. With several seeds the thin lines
    are those of each; with one, the faint band is the range of the losses that each row of the curve covers. The
    markers are the validations, averaged over the seeds. The dashed lines are levels such as the baseline.
    """
    drawn = [(panel, axis) for panel in panels for axis in panel.case.axes]
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(6.0 * columns, 4.0 * rows + 0.4), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    limits = _limits(drawn)
    for ax, (panel, axis), of_axis in zip(axes, drawn, limits, strict=False):
        _panel(ax, panel, axis)
        ax.set_ylim(*of_axis)
    for ax in axes[len(drawn) :]:
        ax.remove()
    legend_below(figure, axes[: len(drawn)])
    return png(figure)


def _panel(ax: Axes, panel: Panel, axis: Axis) -> None:
    for label, look in looks(panel.case.series).items():
        if label in panel.runs:
            _curve(ax, label, look, panel.runs[label], axis.measure)
    for number, (name, level) in enumerate(axis.lines.items()):
        ax.axhline(level, color="0.25", linestyle=("--", ":")[number], linewidth=1.2, label=name)
    ax.set_yscale(axis.scale)
    ax.set_xlim(0, max(result.record.step for results in panel.runs.values() for result in results))
    ax.set_title(panel.title, fontsize=11)
    ax.set_xlabel("iterations")
    ax.set_ylabel(axis.label)
    tidy(ax)


def _curve(ax: Axes, label: str, look: Look, results: Sequence[Result], measure: str) -> None:
    if measure == VALIDATION:
        _training(ax, look, results)
    steps = [step for step, _ in results[0].measured(measure)]
    means = _measured(results, measure)
    line = "none" if measure == VALIDATION else "-"
    ax.plot(steps, means, color=look.color, marker=look.marker, markersize=3, linestyle=line, alpha=0.8)
    ax.plot([], [], color=look.color, marker=look.marker, markersize=4, label=label)


def _measured(results: Sequence[Result], measure: str) -> NDArray[np.float64]:
    """Values at the validations, averaged over the seeds."""
    means: NDArray[np.float64] = np.mean([[value for _, value in run.measured(measure)] for run in results], axis=0)
    return means


def _training(ax: Axes, look: Look, results: Sequence[Result]) -> None:
    smooth = _smoothed(results)
    points = results[0].points
    steps = [point.step for point in points][len(points) - smooth.shape[1] :]
    if len(results) == 1:
        lowest, highest = ([getattr(point, name) for point in points] for name in ("minimum", "maximum"))
        ax.fill_between([point.step for point in points], lowest, highest, color=look.color, alpha=0.18, linewidth=0.6)
    else:
        ax.plot(steps, smooth.T, color=look.color, alpha=0.45, linewidth=0.7)
    ax.plot(steps, smooth.mean(0), color=look.color, linewidth=1.6)


def _smoothed(results: Sequence[Result]) -> NDArray[np.float64]:
    """Running means (seeds, rows) over the smallest number of rows that covers `SMOOTHING` steps."""
    first = results[0]
    length = -(-SMOOTHING * len(first.points) // first.record.step)
    return np.stack([running_mean([point.mean for point in result.points], length) for result in results])


def _lowest_drawn(results: Sequence[Result]) -> float:
    """The lowest drawn point: of the validations, and of the band of a single seed, or the lines of several."""
    validations = float(_measured(results, VALIDATION).min(initial=np.inf))
    if len(results) == 1:
        return min(validations, *(point.minimum for point in results[0].points))
    return min(validations, float(_smoothed(results).min()))


def _limits(drawn: Sequence[tuple[Panel, Axis]]) -> list[tuple[float, float]]:
    """Limits of the y-axis of each panel; those that show the same measure beside the same levels have the same."""
    own = [_own_limits(axis, panel.runs) for panel, axis in drawn]
    alike = [[limits for limits, (_, other) in zip(own, drawn, strict=True) if other == axis] for _, axis in drawn]
    return [(min(low for low, _ in some), max(high for _, high in some)) for some in alike]


def _own_limits(axis: Axis, runs: Runs) -> tuple[float, float]:
    """Limits of the y-axis of one panel: from just below the lowest point to a little above the highest level."""
    if axis.measure != VALIDATION:
        return 0.0, 1.0
    lowest = min(map(_lowest_drawn, runs.values()))
    levels = list(axis.lines.values())
    if axis.scale == "log":
        return 0.7 * min(lowest, *levels), 1.5 * max(levels)
    return min(0.95 * lowest, 0.8 * min(levels)), 1.3 * max(levels)
