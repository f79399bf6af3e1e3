"""Plots of the ratio to nn.LSTM along each axis."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.end_labels import End, label_ends
from benchmarks.results import GroupResult
from benchmarks.sizes import BASE, BASE_OF_K, Axis
from benchmarks.timing import PASSES
from benchmarks.variants import BASELINE
from experiments.report.plotting import png, tidy

COLORS = {"eager": "#D55E00", "fused": "#0072B2", "triton": "#009E73", "oracle": "#CC79A7"}
"""The color of a backend, and of the oracle, from Okabe and Ito's palette, which is safe for color-blind readers."""

STYLES = {"atn": ("-", "o"), "ln": ("--", "^")}
"""A norm's line and marker: the same distinction without color."""

Line = list[tuple[int, float]]
"""Points of a curve: value on the axis, ratio."""


def axis_figure(axis: Axis, results: list[GroupResult]) -> bytes:
    """PNG of the ratios along `axis`, one panel per pass."""
    figure = Figure(figsize=(11, 4.2), dpi=150, layout="constrained")
    panels = {name: _lines(axis, results, name) for name in PASSES}
    limits = _limits([ratio for lines in panels.values() for points in lines.values() for _, ratio in points])
    axes = figure.subplots(1, len(PASSES), sharey=True)
    for ax, (name, lines) in zip(axes, panels.items(), strict=True):
        _panel(ax, axis, lines, limits)
        ax.set_title(name, fontsize=11)
    axes[0].set_ylabel("time as a multiple of nn.LSTM's")
    figure.suptitle(_fixed(axis), fontsize=11)
    return png(figure)


def _fixed(axis: Axis) -> str:
    base = BASE_OF_K if axis == "k" else BASE
    return ", ".join(f"{name} = {getattr(base, name)}" for name in ("T", "B", "I", "H", "k") if name != axis)


def _lines(axis: Axis, results: list[GroupResult], name: str) -> dict[tuple[str, str], Line]:
    """The points of each backend and norm; along k, a variant that does not depend on k is a horizontal line."""
    lines: dict[tuple[str, str], Line] = {}
    for result in results:
        values = sorted({getattr(found.size, axis) for found in result.measurements})
        for found in result.measurements:
            ratio = result.ratio(found, name)
            if found.backend is not None and ratio is not None:
                at = values if axis == "k" and found.norm != "atn" else [getattr(found.size, axis)]
                lines.setdefault((found.backend, found.norm), []).extend((value, ratio.median) for value in at)
    return {key: sorted(points) for key, points in lines.items()}


def _limits(ratios: list[float]) -> tuple[float, float]:
    """Limits of the y axis, which the panels share."""
    return min(0.8, 0.9 * min(ratios)), 1.15 * max(1.3, *ratios)


def _panel(ax: Axes, axis: Axis, lines: dict[tuple[str, str], Line], limits: tuple[float, float]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = sorted({value for points in lines.values() for value, _ in points})
    ax.set_xticks(ticks, [str(value) for value in ticks], minor=False)
    ax.set_xticks([], minor=True)
    ax.plot([ticks[0], ticks[-1]], [1, 1], color="0.25", linewidth=1)
    ax.set_ylim(limits)
    _y_ticks(ax)
    ends = {BASELINE: End(1.0, "0.25")}
    for (backend, norm), points in lines.items():
        style, marker = STYLES[norm]
        if axis == "k" and norm != "atn":
            marker = ""  # measured once, for all k
        values, ratios = zip(*points, strict=True)
        ax.plot(values, ratios, color=COLORS[backend], linestyle=style, marker=marker, markersize=4, linewidth=1.5)
        ends[f"{norm}, {backend}"] = End(ratios[-1], COLORS[backend])
    label_ends(ax, ticks[-1], ends)
    ax.set_xlabel(axis)
    tidy(ax)


def _y_ticks(ax: Axes) -> None:
    low, high = ax.get_ylim()
    ticks = [value for value in (0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100) if low <= value <= high]
    ax.set_yticks(ticks, [f"{value:g}" for value in ticks], minor=False)
    ax.set_yticks([], minor=True)
