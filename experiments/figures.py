"""Figure 2: loss of the copying problem over the iterations."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.copying import baseline
from experiments.results import Result
from experiments.settings import ModelName
from experiments.verdicts import NAMES, Runs

SMOOTHING = 50
"""Steps of the running mean that the strong lines show."""

COLOURS: Mapping[ModelName, str] = {"lstm": "#009E73", "ln": "#E69F00", "atn": "#0072B2"}
"""Three colours of Okabe and Ito's palette, which the colour-blind can tell apart."""

MARKERS: Mapping[ModelName, str] = {"lstm": "s", "ln": "^", "atn": "o"}
"""The same distinction without colour."""


def figure_2(T: int, panels: Mapping[str, Runs]) -> bytes:
    """PNG of Figure 2 at this T, one panel a preset.

    Faint: the loss of each training batch. Strong: its running mean. Markers: validation. Dashed: the baseline.
    """
    figure = Figure(figsize=(6.4 * len(panels), 4.2), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for number, (ax, (preset, runs)) in enumerate(zip(axes, panels.items(), strict=True)):
        _panel(ax, T, runs)
        ax.set_title(f"Copying, T = {T}, settings “{preset}”", fontsize=11)
        if number == 0:
            ax.set_ylabel("cross-entropy")
    file = io.BytesIO()
    # No date and no version inside, so that the same records give the same bytes.
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _panel(ax: Axes, T: int, runs: Runs) -> None:
    for model, results in runs.items():
        for result in results:
            _curve(ax, model, result)
        ax.plot([], [], color=COLOURS[model], marker=MARKERS[model], markersize=4, label=NAMES[model])
    ax.axhline(baseline(T), color="0.25", linestyle="--", linewidth=1, label="baseline")
    every = [result for results in runs.values() for result in results]
    ax.set_ylim(*_limits(T, every))
    ax.set_xlim(0, max(len(result.rows) for result in every))
    ax.set_xlabel("iterations")
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper right", ncols=2)


def _curve(ax: Axes, model: ModelName, result: Result) -> None:
    train = np.asarray(result.train)
    ax.plot(np.arange(1, len(train) + 1), train, color=COLOURS[model], alpha=0.18, linewidth=0.6)
    smooth = running_mean(train, SMOOTHING)
    ax.plot(np.arange(len(train) - len(smooth) + 1, len(train) + 1), smooth, color=COLOURS[model], linewidth=1.6)
    steps = [step for step, _ in result.validation]
    losses = [loss for _, loss in result.validation]
    ax.plot(steps, losses, color=COLOURS[model], marker=MARKERS[model], markersize=2.5, linestyle="none", alpha=0.8)


def _limits(T: int, results: Sequence[Result]) -> tuple[float, float]:
    """From just below the lowest smoothed loss to half above the baseline, where the curves differ."""
    lowest = min(float(running_mean(np.asarray(result.train), SMOOTHING).min()) for result in results)
    return min(0.95 * lowest, 0.8 * baseline(T)), 1.5 * baseline(T)


def running_mean(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Means over `length` values in a row, or over all of them where there are fewer."""
    length = min(length, len(values))
    sums = np.cumsum(np.concatenate([[0.0], values]))
    means: NDArray[np.float64] = (sums[length:] - sums[:-length]) / length
    return means
