"""Kim, Zhou and Chen 2020: genes with zeros in excess, in all cells, within a type, and in as many random cells."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from experiments.related.hippo import zero_share
from experiments.related.hippo.zero_share import Flagged
from experiments.report.plotting import legend_below, looks, png, tidy
from experiments.report.results import Result
from experiments.report.schema import (
    NAMES,
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
from experiments.report.statements import show_share
from experiments.report.tables import number
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.summary import mean

GONE = 0.05
"""Share of the genes flagged in all cells below which a number counts as gone."""

KEPT = 1 / 3
"""Share of them that as many random cells have to show, so that it is not the loss of power that makes them go."""

FOUND = 0.9
"""Adjusted Rand index from which on the types count as found."""

EQUAL, UNEQUAL = (NAMES[model] for model in zero_share.MODELS)


def average(result: Result, name: str) -> float:
    """Mean over the data sets of a run."""
    return mean([value for _, value in result.measured(name)])


def counts(result: Result) -> Values:
    """Flagged genes in all cells, within a type and in random cells, each a mean over the data sets."""
    return tuple(average(result, name) for name in Flagged._fields)


def _shares(result: Result) -> Values:
    whole, within, random = counts(result)
    return within / whole, random / whole


def _about(
    label: str,
    says: str,
    measure: str,
    value: Callable[[Result], float],
    true: Callable[[float], bool],
    claim: str,
) -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        found = value(runs[label])
        return Observation(true(found), {label: (found,)})

    return Sentence(says, (label,), (Test(measure, observe, show_share),), (claim,))


def _go(label: str, claim: str) -> Sentence:
    return _about(
        label,
        f"Zeros in excess are gone within a type, {label}",
        f"flagged genes within a type, of those in all cells, below {GONE:.0%}",
        lambda result: _shares(result)[0],
        lambda share: share < GONE,
        claim,
    )


_SENTENCES = (
    _go(EQUAL, "hp-dropouts"),
    _about(
        EQUAL,
        "They are not gone in as many random cells",
        f"flagged genes in random cells, of those in all cells, above {KEPT:.0%}",
        lambda result: _shares(result)[1],
        lambda share: share > KEPT,
        "hp-dropouts",
    ),
    _go(UNEQUAL, "hp-dropouts-at-unequal-depth"),
    _about(
        EQUAL,
        "The clusters are the types",
        f"adjusted Rand index, at least {FOUND:.0%}",
        lambda result: 1 - average(result, VALIDATION),
        lambda index: index >= FOUND,
        "hp-clusters",
    ),
)


def draw_counts(panels: Sequence[Panel]) -> bytes:
    """PNG with a group of bars for each way to choose cells, and a bar for each kind of depth."""
    (panel,) = panels
    drawing = Drawing(figsize=(7.0, 4.4), dpi=150, layout="constrained")
    ax = drawing.subplots()
    names = ("in all cells", "within a type", "in as many random cells")
    shown = [(label, look) for label, look in looks(panel.case.series).items() if label in panel.runs]
    for place, (label, look) in enumerate(shown):
        values = np.asarray([counts(result) for result in panel.runs[label]])
        at = np.arange(len(names)) + (place - (len(shown) - 1) / 2) * 0.38
        error = np.stack([values.mean(0) - values.min(0), values.max(0) - values.mean(0)])
        ax.bar(at, values.mean(0), 0.36, yerr=error, color=look.color, ecolor="0.3", capsize=3, label=label)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("genes with zeros in excess, z > 2")
    tidy(ax)
    legend_below(drawing, [ax])
    return png(drawing)


_CASE = Case(
    title="",
    where={},
    series=tuple(Series(NAMES[model], zero_share.NAME, model, {}) for model in zero_share.MODELS),
    printed={},
    remark="Numbers are means over the data sets of a run; the types are known, since the counts are simulated.",
    columns=(
        Column("genes with z > 2: in all cells / within a type / in random cells", counts),
        Column("1 − adjusted Rand index", lambda result: (average(result, VALIDATION),)),
    ),
    axes=(),
    sentences=_SENTENCES,
)

ZERO_SHARE = Study(
    task=zero_share.NAME,
    title="Zero shares of cell types",
    place="Kim, Zhou and Chen 2020",
    preset="paper",
    flags="--seeds 0..4",
    about="Poisson counts of 200 cells of four types, of equal depth or with a deviation of the log-depth of "
    f"{number(zero_share.PAPER.depth_deviation)}. HIPPO's test flags genes with zeros in excess of Poisson's share, by "
    "more than z = 2 standard errors; a smaller number of cells flags fewer for want of power alone, which random "
    "cells show. The thresholds were written down before the runs.",
    presets=distinct(zero_share.PRESETS),
    open=("genes", "sizes", "markers", "fold", "depth_deviation", "threshold"),
    unit="means over the data sets",
    cases=(_CASE,),
    figures=(
        Figure(
            "zero-share.png",
            "Genes with zeros in excess",
            (_CASE,),
            draw_counts,
            "A bar is the mean over the seeds; the line on it reaches from the lowest seed to the highest.",
        ),
    ),
)
