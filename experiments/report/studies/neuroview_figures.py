"""Figures of NeuroView-RNN: accuracies of both classifiers, and contributions over the steps of a series."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.datasets.ucr import UCR_NAMES
from experiments.related.neuroview.classifiers import HEADS
from experiments.related.neuroview.importance import Measure
from experiments.related.neuroview.readouts import (
    EXAMPLE,
    EXAMPLE_CONTRIBUTIONS,
    PAPER,
    accuracy,
    at,
    share_name,
)
from experiments.report.paired import Paired, paired
from experiments.report.plotting import Look, legend_below, looks, png, tidy
from experiments.report.results import Result
from experiments.report.schema import Panel


class Line(NamedTuple):
    """How a measure is drawn."""

    color: str
    style: str
    label: str


LINES: dict[Measure, Line] = {
    "contributions": Line("#0072B2", "-", "contributions: difference between the classes"),
    "weights": Line("#D55E00", "--", "weights: lengths"),
    "inputs": Line("#000000", ":", "inputs: derivatives"),
}


def draw_accuracies(panels: Sequence[Panel]) -> bytes:
    """PNG with the mean test accuracies on the left, and their paired differences with 95% intervals on the right.

    A hollow marker is the classifier by the last state, a full one that by all states.
    """
    (panel,) = panels
    drawing = Drawing(figsize=(12.0, 4.6), dpi=150, layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    shown = [(label, look) for label, look in looks(panel.case.series).items() if label in panel.runs]
    for place, (label, look) in enumerate(shown):
        rows = np.arange(len(UCR_NAMES)) + (place - (len(shown) - 1) / 2) * 0.24
        _means(left, rows, panel.runs[label], look, label)
        pairs = [_pair(panel.runs[label], name) for name in UCR_NAMES]
        centers = np.array([each.mean for each in pairs])
        reach = np.array([each.interval[1] - each.mean for each in pairs])
        error = None if np.isnan(reach).any() else reach
        right.errorbar(centers, rows, xerr=error, fmt=look.marker, color=look.color, markersize=5, capsize=3)
    left.set_yticks(range(len(UCR_NAMES)), UCR_NAMES)
    left.invert_yaxis()
    left.set_xlabel("test accuracy: last state (hollow), all states (full)")
    right.set_xlabel("test accuracy from all states less that from the last")
    right.axvline(0.0, color="0.25", linestyle="--", linewidth=1.0)
    for ax in (left, right):
        tidy(ax)
    legend_below(drawing, [left])
    return png(drawing)


def _by_seed(runs: Sequence[Result], name: str, head: int) -> dict[int, float]:
    return {result.seed: result.last_measured(accuracy("test", name, HEADS[head])) for result in runs}


def _pair(runs: Sequence[Result], name: str) -> Paired:
    return paired(_by_seed(runs, name, 1), _by_seed(runs, name, 0))


def _means(ax: Axes, rows: npt.NDArray[np.floating[Any]], runs: Sequence[Result], look: Look, label: str) -> None:
    last, every = ([np.mean(list(_by_seed(runs, name, head).values())) for name in UCR_NAMES] for head in (0, 1))
    ax.hlines(rows, last, every, color=look.color, linewidth=1.0)
    # A ring around the full marker where both have the same accuracy.
    ax.plot(last, rows, look.marker, color=look.color, markerfacecolor="none", markersize=8)
    ax.plot(every, rows, look.marker, color=look.color, markersize=5, label=label)


def draw_planted(panels: Sequence[Panel]) -> bytes:
    """PNG with a column for each model: one series with the contributions of its steps, and the measures below it.

    Above is a test case of the first seed; below are shares of the steps, means over the seeds. The planted steps are
    shaded.
    """
    (panel,) = panels
    labels = [series.label for series in panel.case.series if series.label in panel.runs]
    drawing = Drawing(figsize=(4.6 * len(labels), 6.4), dpi=150, layout="constrained")
    axes = drawing.subplots(2, len(labels), sharex=True, sharey="row", squeeze=False)
    for column, label in enumerate(labels):
        upper, lower = axes[0][column], axes[1][column]
        _series(upper, panel.runs[label][0])
        _measures(lower, panel.runs[label])
        upper.set_title(label, fontsize=11)
        lower.set_xlabel("step t")
        for ax in (upper, lower):
            ax.axvspan(PAPER.first - 0.5, PAPER.last + 0.5, color="0.9", zorder=0)
            tidy(ax)
    axes[0][0].set_ylabel("one test series of class 1, contributions")
    axes[1][0].set_ylabel("share of the step")
    legend_below(drawing, axes.flatten().tolist())
    return png(drawing)


def _curve(result: Result, name: str) -> list[float]:
    measured = result.points[-1].measured
    return [measured[at(name, step)] for step in range(1, PAPER.length + 1)]


def _series(ax: Axes, result: Result) -> None:
    steps = range(1, PAPER.length + 1)
    ax.plot(steps, _curve(result, EXAMPLE), color="0.5", linewidth=0.9, label="series")
    ax.bar(steps, _curve(result, EXAMPLE_CONTRIBUTIONS), color="#009E73", label="contribution to the margin of class 1")


def _measures(ax: Axes, runs: Sequence[Result]) -> None:
    steps = range(1, PAPER.length + 1)
    for measure, line in LINES.items():
        shares = np.mean([_curve(result, share_name(measure)) for result in runs], axis=0)
        ax.plot(steps, shares, color=line.color, linestyle=line.style, linewidth=1.6, label=line.label)
