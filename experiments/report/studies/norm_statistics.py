"""Section 5.2 of the paper, Figure 6: mean and variance after each norm over the time steps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.report.plotting import legend_below, looks, png, tidy
from experiments.report.results import Result
from experiments.report.schema import (
    Case,
    Column,
    Figure,
    Observation,
    Panel,
    Sentence,
    Series,
    Study,
    Test,
    Values,
    distinct,
)
from experiments.report.tables import number
from experiments.tasks import norm_statistics
from experiments.tasks.norm_statistics import NORMS, Curves, NormName, read_statistics
from experiments.training.records.summary import mean

PRODUCTS: Mapping[NormName, str] = {"hh": "W_hh h", "ih": "W_ih x", "c": "c"}
"""What each norm is applied to, in the order of Figures 6a to 6c."""

CONSTANT = 0.05
"""Largest standard deviation over time that counts as constant: 5% of the variance 1 that a norm aims at. A larger one
counts as varying."""

VARYING = 2
"""Smallest ratio to the standard deviation under LN that counts as varying, too."""

_WINDOWS = tuple(f"ATN (k = {k})" for k in norm_statistics.WINDOWS["paper"])


def curves(result: Result) -> Mapping[NormName, Curves]:
    """Mean and variance after each norm at every time step."""
    return read_statistics(result.points[-1].measured)


def variation(result: Result, norm: NormName) -> Values:
    """Standard deviation over time of the mean and of the variance after a norm.

    The first step is left out, because h and the output of its norm are zero there.
    """
    return tuple(float(np.std(values[1:])) for values in curves(result)[norm])


def _variations(result: Result) -> dict[str, Values]:
    return {PRODUCTS[norm]: variation(result, norm) for norm in NORMS}


def _constant_under_ln() -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        found = _variations(runs["LN"])
        return Observation(all(value <= CONSTANT for values in found.values() for value in values), found)

    measure = f"standard deviations over time of mean / variance, each at most {CONSTANT:g}"
    says = "Mean and variance are constant under LN"
    return Sentence(says, ("LN",), (Test(measure, observe, number),), ("figure-6",))


def _varying(label: str, norm: NormName) -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        found, lns = variation(runs[label], norm), variation(runs["LN"], norm)
        varies = all(value > max(CONSTANT, VARYING * base) for value, base in zip(found, lns, strict=True))
        return Observation(varies, {PRODUCTS[norm]: found})

    measure = f"standard deviations over time of mean / variance, each above {CONSTANT:g} and {VARYING} times LN's"
    says = f"Mean and variance after the norm of {PRODUCTS[norm]} vary under {label}"
    return Sentence(says, (label, "LN"), (Test(measure, observe, number),), ("figure-6",))


def _most_for_the_input(label: str, moment: int) -> Sentence:
    """A reading of Figure 6 that decides no claim: the text calls 6b "highly variable" and compares it with nothing."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        found = {name: (values[moment],) for name, values in _variations(runs[label]).items()}
        return Observation(max(found, key=lambda name: found[name]) == PRODUCTS["ih"], found)

    says = f"The {Curves._fields[moment]} varies most for the input-to-hidden product under {label}"
    return Sentence(says, (label,), (Test("standard deviation over time", observe, number),), ())


def _longer_windows_keep_the_mean() -> Sentence:
    """The sentence of the text about Figure 6c."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        means = [np.asarray(curves(runs[label])["c"].mean) for label in _WINDOWS]
        later = [mean(values[len(values) // 2 :].tolist()) for values in means]
        early = int(means[0].argmax()) < len(means[0]) / 4
        return Observation(early and later == sorted(later), {_WINDOWS[n]: (value,) for n, value in enumerate(later)})

    says = "The memory cell's mean has an early spike, which longer windows keep up for longer"
    measure = "mean over the second half of the steps, ascending with k, and the place of the shortest window's peak"
    return Sentence(says, _WINDOWS, (Test(measure, observe, number),), ("figure-6",))


def draw_statistics(panels: Sequence[Panel]) -> bytes:
    """PNG with a column for each norm, means above and variances below, averaged over the seeds."""
    (panel,) = panels
    figure = Drawing(figsize=(13.5, 6.8), dpi=150, layout="constrained")
    axes = figure.subplots(2, len(NORMS), sharex=True)
    for column, norm in enumerate(NORMS):
        for row, moment in enumerate(Curves._fields):
            _panel(axes[row][column], panel, norm, row)
            axes[row][column].set_ylabel(moment)
        axes[0][column].set_title(f"({'abc'[column]}) after the norm of {PRODUCTS[norm]}", fontsize=11)
        axes[1][column].set_xlabel("time step")
    legend_below(figure, axes.flatten().tolist())
    return png(figure)


def _panel(ax: Axes, panel: Panel, norm: NormName, moment: int) -> None:
    for label, look in looks(panel.case.series).items():
        if label in panel.runs:
            values = np.mean([curves(result)[norm][moment] for result in panel.runs[label]], axis=0)
            ax.plot(range(1, len(values) + 1), values, color=look.color, linewidth=1.3, label=label)
    tidy(ax)


def _column(norm: NormName) -> Column:
    return Column(f"after {PRODUCTS[norm]}: mean / variance", lambda result: variation(result, norm))


_STATISTICS = Case(
    title="",
    where={},
    series=(
        Series("LN", norm_statistics.NAME, "ln", {"k": 1}),
        *(
            Series(label, norm_statistics.NAME, "atn", {"k": k})
            for label, k in zip(_WINDOWS, norm_statistics.WINDOWS["paper"], strict=True)
        ),
    ),
    printed={},
    remark="",
    columns=tuple(_column(norm) for norm in NORMS),
    axes=(),
    sentences=(
        _constant_under_ln(),
        *(_varying(label, norm) for label in _WINDOWS for norm in NORMS),
        *(_most_for_the_input(label, moment) for label in _WINDOWS for moment in range(len(Curves._fields))),
        _longer_windows_keep_the_mean(),
    ),
)

STATISTICS = Study(
    task=norm_statistics.NAME,
    title="Post-normalization statistics",
    place="Section 5.2, Figure 6",
    preset="paper",
    flags="",
    about="One iteration of the adding problem at T = 75, without gain and shift. The mean and the variance over the "
    "features of a case are averaged over the batch, which hides the differences between cases: after W_ih x the "
    "standard deviations of a single case are six to eight times as large, and the variance under LN would then count "
    "as varying, too. That what varies must exceed what counts as constant was settled when the runs were known.",
    presets=distinct(norm_statistics.PRESETS),
    open=("steps", "batch", "hidden", "bias_placement", "init"),
    unit="standard deviations over time, from the second step on",
    cases=(_STATISTICS,),
    figures=(
        Figure(
            "figure-6.png",
            "Figure 6",
            (_STATISTICS,),
            draw_statistics,
            "Mean (above) and variance (below) of the features after each norm, before any gain and shift, over the "
            "steps of the sequence; averaged over the batch and the seeds. The curves of two windows coincide until "
            "the shorter one is full. Every panel has an axis of its own.",
        ),
    ),
)
