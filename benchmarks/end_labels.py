"""The names of curves, written where the curves end."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

GAP = 0.055
"""Least distance between two names, as a part of the panel's height."""


class End(NamedTuple):
    """Right end of a curve."""

    height: float
    """In the unit of the y axis."""
    color: str


def label_ends(ax: Axes, at: float, ends: Mapping[str, End]) -> None:
    """Write each name in its curve's color to the right of x = `at`, at the curve's end or as near as others allow.

    The y axis is logarithmic and has its final limits.
    """
    low, high = map(math.log, ax.get_ylim())
    heights = [(math.log(end.height) - low) / (high - low) for end in ends.values()]
    for (name, end), height in zip(ends.items(), apart(heights, GAP), strict=True):
        place, units = (at, height), ("data", "axes fraction")
        note = ax.annotate(name, place, (7, 0), xycoords=units, textcoords="offset points", va="center")
        note.set(color=end.color, fontsize=8, annotation_clip=False)


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights in the same order, `gap` or more from each other and half of it from 0 and 1, with the least movement.

    That is the least sum of squares. Less the gaps below each, they have to rise: isotonic regression, which bounds on
    the result only cut.
    """
    order = np.argsort(heights, kind="stable")
    gaps = gap * np.arange(len(heights))
    moved = np.empty(len(heights))
    rising = isotonic_regression(np.asarray(heights)[order] - gaps).x
    moved[order] = rising.clip(gap / 2, 1 - gap / 2 - gaps[-1]) + gaps
    return moved.tolist()
