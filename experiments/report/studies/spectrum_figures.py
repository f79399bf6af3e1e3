"""Figures of Lyapunov spectra: the exponents by their index, and the first one against the validation loss."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.related.lyapunov.exponents import read_exponents
from experiments.related.lyapunov.trained_spectrum import RELEASED, natural
from experiments.report.plotting import COLORS, MARKERS, legend_below, looks, png, tidy
from experiments.report.results import Result
from experiments.report.schema import NAMES, Panel
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.summary import mean
from experiments.training.settings import MODELS

LOWEST = -3.0
"""Lower limit of the exponents that are drawn; some are far below."""


def draw_initial(panels: Sequence[Panel]) -> bytes:
    """PNG with a panel for each initialization: the exponents of each model, averaged over the seeds."""
    figure = Drawing(figsize=(6.0 * len(panels), 4.4), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0].tolist()
    for ax, panel in zip(axes, panels, strict=True):
        for label, look in looks(panel.case.series).items():
            if label in panel.runs:
                values = _averaged(panel.runs[label])
                index = range(1, len(values) + 1)
                ax.plot(index, values, color=look.color, marker=look.marker, markersize=3, label=label)
        ax.axhline(0.0, color="0.25", linestyle="--", linewidth=1.0)
        ax.set_ylim(LOWEST, 0.25)
        ax.set_title(panel.title, fontsize=11)
        ax.set_xlabel("index i of the exponent")
        tidy(ax)
    axes[0].set_ylabel("exponent, nats a step")
    legend_below(figure, axes)
    return png(figure)


def _averaged(results: Sequence[Result]) -> list[float]:
    exponents: list[float] = np.mean([read_exponents(one.points[-1].measured).mean for one in results], axis=0).tolist()
    return exponents


def draw_trained(panels: Sequence[Panel]) -> bytes:
    """PNG with our models, a point for each learning rate, and the released statistics beside them."""
    (panel,) = panels
    figure = Drawing(figsize=(12.0, 4.6), dpi=150, layout="constrained")
    ours, theirs = figure.subplots(1, 2).tolist()
    for model in MODELS:
        points = [
            (series.where["lr"], *_last(panel.runs[series.label]))
            for series in panel.case.series
            if series.model == model and series.label in panel.runs
        ]
        middle = len(COLORS[model]) // 2
        _curve(ours, points, COLORS[model][middle], MARKERS[model][middle], NAMES[model])
    released = [(rate, natural(row.first), row.validation) for rate, row in RELEASED.items()]
    _curve(theirs, released, "0.3", "x", "LSTM, H = 512, released")
    for ax, title in ((ours, panel.title), (theirs, "released statistics of War and Peace, of h alone")):
        ax.set_title(title, fontsize=11)
        ax.set_xlabel("first exponent, nats a step")
        ax.set_ylabel("validation loss, nats a character")
        tidy(ax)
    legend_below(figure, (ours, theirs))
    return png(figure)


def _last(results: Sequence[Result]) -> tuple[float, float]:
    """First exponent and validation loss at the end, averaged over the seeds."""
    exponents = [result.last_measured("lambda 1") for result in results]
    return mean(exponents), mean([result.last_measured(VALIDATION) for result in results])


def _curve(ax: Axes, points: Sequence[tuple[float, float, float]], color: str, marker: str, label: str) -> None:
    """First exponent and loss at each learning rate, which stands beside its point."""
    _, x, y = zip(*points, strict=True)
    ax.plot(x, y, color=color, marker=marker, markersize=5, linewidth=1.2, label=label)
    for rate, x_at, y_at in points:
        note = ax.annotate(
            f"{rate:g}", (x_at, y_at), textcoords="offset points", xytext=(5, 4), fontsize=8, color=color
        )
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
