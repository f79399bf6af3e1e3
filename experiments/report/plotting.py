"""The code that all figures share: colors and markers of the curves, legends, and reproducible PNG files."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from experiments.report.schema import Series
from experiments.training.settings import ModelName

COLORS: Mapping[ModelName, tuple[str, ...]] = {
    "lstm": ("#009E73",),
    "ln": ("#E69F00",),
    "atn": ("#56B4E9", "#0072B2", "#CC79A7"),
    "detached": ("#D55E00",),
    "prop": ("#D55E00", "#7F3300"),
    "wn": ("#000000",),
    "bn": ("#CC79A7",),
    "shift": ("#D55E00",),
    "cn": ("#0072B2",),
    "equal": ("#0072B2",),
    "unequal": ("#E69F00",),
}
"""Colors of Okabe and Ito's palette, which color-blind readers can distinguish. A single series has the middle
color."""

MARKERS: Mapping[ModelName, tuple[str, ...]] = {
    "lstm": ("s",),
    "ln": ("^",),
    "atn": ("v", "o", "D"),
    "detached": ("X",),
    "prop": ("P", "x"),
    "wn": ("*",),
    "bn": ("D",),
    "shift": ("s",),
    "cn": ("o",),
    "equal": ("o",),
    "unequal": ("s",),
}
"""Markers, which distinguish the series without color."""

LEGEND_ENTRY = 1.5
"""Width of a legend entry in inches, enough for "ATN (k = 25)"."""


class Look(NamedTuple):
    """Color and marker of a series."""

    color: str
    marker: str


def looks(series: Sequence[Series]) -> dict[str, Look]:
    """Color and marker of each series, by its label."""
    found: dict[str, Look] = {}
    for model, colors in COLORS.items():
        labels = [member.label for member in series if member.model == model]
        first = (len(colors) - len(labels)) // 2
        for number, label in enumerate(labels, start=first):
            found[label] = Look(colors[number], MARKERS[model][number])
    return found


def tidy(ax: Axes) -> None:
    """Draw a light grid behind the curves and remove the frame."""
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, axes: Iterable[Axes], entry: float = LEGEND_ENTRY) -> None:
    """Draw one legend for all panels below them, where it covers no curve; `entry` is the width of an entry."""
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = min(len(handles), int(figure.get_figwidth() / entry))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)


def png(figure: Figure) -> bytes:
    """The figure as a PNG without date and version, so that equal records give identical files."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    # With one byte a pixel the file is a third as large, and lines and letters look the same.
    few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, format="png", optimize=True)
    return file.getvalue()
