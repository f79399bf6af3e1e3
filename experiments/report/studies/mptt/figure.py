"""The figure of MPTT: test error against seconds an epoch, a panel for each store, model and window length."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.related.mptt.policies import STRATEGIES, Strategy
from experiments.report.plotting import Look, legend_below, png, tidy
from experiments.report.results import Result
from experiments.report.schema import Panel
from experiments.report.studies.mptt.numbers import LABELS, TIMED, floor, median_seconds, one_pass, window_by_window
from experiments.training.records.summary import mean

COLUMNS = 3
"""Panels side by side."""

LOOKS: Mapping[Strategy, Look] = {
    "rmb": Look("#D55E00", "s"),
    "smb": Look("#E69F00", "^"),
    "ssmb": Look("#009E73", "D"),
    "mptt-0": Look("#56B4E9", "v"),
    "mptt-1": Look("#0072B2", "o"),
}


def draw_accuracy(panels: Sequence[Panel]) -> bytes:
    """PNG with the panels that have the time of their epochs.

    A filled marker is the mean of the seeds in one pass, its bar reaches from the lowest to the highest; an open one is
    the same window by window, for RMB, with the floor as a dashed line.
    """
    shown = [panel for panel in panels if TIMED in panel.runs]
    rows = max(1, -(-len(shown) // COLUMNS))
    drawing = Drawing(figsize=(3.7 * COLUMNS, 3.4 * rows + 0.6), dpi=150, layout="constrained")
    axes = drawing.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    for ax in axes[len(shown) :]:
        ax.remove()
    for ax, panel in zip(axes, shown, strict=False):
        timed = panel.runs[TIMED][0]
        runs: dict[Strategy, Sequence[Result]] = {
            series.where["strategy"]: panel.runs[series.label]
            for series in panel.case.series
            if "strategy" in series.where and series.label in panel.runs
        }
        for strategy in STRATEGIES:
            if strategy in runs:
                _draw(ax, strategy, runs[strategy], median_seconds(timed, strategy))
        if "rmb" in runs:
            _draw_windows(ax, runs["rmb"], median_seconds(timed, "rmb"))
        ax.set_title(panel.case.title, fontsize=10)
        ax.set_xlabel("seconds an epoch")
        ax.tick_params(labelbottom=True)
        ax.set_xscale("log")
        ax.set_yscale("log")
        tidy(ax)
    for ax in axes[::COLUMNS]:
        ax.set_ylabel("test error, standard deviations of the level")
    legend_below(drawing, axes[: len(shown)], entry=2.2)
    return png(drawing)


def _draw(ax: Axes, strategy: Strategy, results: Sequence[Result], x: float) -> None:
    look = LOOKS[strategy]
    _point(ax, look, [one_pass(result) for result in results], x, f"{LABELS[strategy]}, one pass", markersize=6)


def _draw_windows(ax: Axes, results: Sequence[Result], x: float) -> None:
    values = [window_by_window(result) for result in results]
    # A ring around the filled marker where both have the same error.
    ring = {"markersize": 9, "markerfacecolor": "none"}
    _point(ax, LOOKS["rmb"], values, x, f"{LABELS['rmb']}, window by window", **ring)
    level = mean([floor(result) for result in results])
    ax.axhline(level, color="0.25", linestyle="--", linewidth=1.2, label="floor window by window")


def _point(ax: Axes, look: Look, values: Sequence[float], x: float, label: str, **marker: Any) -> None:
    center = mean(values)
    ax.errorbar(
        [x],
        [center],
        yerr=np.array([[center - min(values)], [max(values) - center]]),
        color=look.color,
        marker=look.marker,
        linestyle="none",
        capsize=3,
        label=label,
        **marker,
    )
