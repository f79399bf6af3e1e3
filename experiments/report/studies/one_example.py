"""Dai and Heckel 2019: training on one example, with channel normalization and without it, over the depth."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.related.channel_norm import one_example
from experiments.related.channel_norm.network import InitName
from experiments.related.channel_norm.one_example import final_loss, largest_gradient, smallest_gradient
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
from experiments.report.tables import number

PUBLISHED_DEPTHS = (5, 10, 30)
"""Depths whose final losses the released notebook prints."""

CONSTANT_LOSS = 0.25
"""Loss of the constant 1/2."""

TRAINED = CONSTANT_LOSS / 2
"""A network with a loss below it counts as trained."""

UNTRAINED = 0.2
"""A network with a loss above it counts as not trained: within a fifth of the constant."""

VANISHED = 1e-3
"""Ratio to the gradient of depth 1 below which a gradient counts as vanished."""

NORMED, PLAIN = NAMES["cn"], NAMES["shift"]
_DEPTHS = one_example.PAPER.depths
_SHALLOW, _DEEP = _DEPTHS[0], _DEPTHS[-1]


def _losses(result: Result, depths: Sequence[int]) -> Values:
    return tuple(result.last_measured(final_loss(depth)) for depth in depths)


def _about(
    label: str, says: str, measure: str, values: Callable[[Result], Values], true: Callable[[Values], bool], claim: str
) -> Sentence:
    """A sentence on the runs of one label."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        found = values(runs[label])
        return Observation(true(found), {label: found})

    return Sentence(says, (label,), (Test(measure, observe, number),), (claim,))


def _trains(depth: int) -> Sentence:
    return _about(
        NORMED,
        f"With the norm a network of {depth} layers trains",
        f"final loss, below {number(TRAINED)}",
        lambda result: _losses(result, (depth,)),
        lambda losses: max(losses) < TRAINED,
        "cn-with",
    )


def _gradients(result: Result, name: Callable[[int], str]) -> Values:
    return result.last_measured(name(_SHALLOW)), result.last_measured(name(_DEEP))


_SENTENCES = (
    _about(
        NORMED,
        f"With the norm the first gradients do not vanish from depth {_SHALLOW} to depth {_DEEP}",
        f"smallest gradient of a layer at both, the second above {VANISHED:g} of the first",
        lambda result: _gradients(result, smallest_gradient),
        lambda found: found[1] > VANISHED * found[0],
        "cn-with",
    ),
    *(_trains(depth) for depth in PUBLISHED_DEPTHS),
    _about(
        PLAIN,
        f"Without the norm the first gradients vanish from depth {_SHALLOW} to depth {_DEEP}",
        f"largest gradient of a layer at both, the second below {VANISHED:g} of the first",
        lambda result: _gradients(result, largest_gradient),
        lambda found: found[1] < VANISHED * found[0],
        "cn-without",
    ),
    _about(
        PLAIN,
        "Without the norm no network of 10 or more layers trains",
        f"lowest final loss, above {number(UNTRAINED)}",
        lambda result: (min(_losses(result, [depth for depth in _DEPTHS if depth >= 10])),),
        lambda found: found[0] > UNTRAINED,
        "cn-without",
    ),
    _about(
        NORMED,
        "With the norm the final loss rises with the depth",
        f"final losses of {', '.join(map(str, PUBLISHED_DEPTHS))} layers, ascending",
        lambda result: _losses(result, PUBLISHED_DEPTHS),
        lambda losses: list(losses) == sorted(losses),
        "cn-figure-2",
    ),
)


def draw_depths(panels: Sequence[Panel]) -> bytes:
    """PNG with a column for each initialization: final losses above, gradients at the first step below.

    A line is the median of the seeds, a band reaches from the lowest to the highest; for the gradients from the
    smallest of any layer and seed to the largest.
    """
    drawing = Drawing(figsize=(6.0 * len(panels), 7.4), dpi=150, layout="constrained")
    axes = drawing.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False)
    for column, panel in enumerate(panels):
        upper, lower = axes[0][column], axes[1][column]
        for label, look in looks(panel.case.series).items():
            if label in panel.runs:
                runs = panel.runs[label]
                _band(upper, look.color, label, _table(runs, final_loss), _table(runs, final_loss))
                _band(lower, look.color, label, _table(runs, smallest_gradient), _table(runs, largest_gradient))
        upper.axhline(CONSTANT_LOSS, color="0.25", linestyle="--", linewidth=1.2, label="loss of the constant 1/2")
        upper.set_title(panel.case.title, fontsize=11)
        upper.set_ylabel("final loss")
        lower.set_ylabel("first gradients of the filters")
        lower.set_xlabel("layers")
        for ax in (upper, lower):
            ax.set_yscale("log")
            tidy(ax)
    legend_below(drawing, axes.flatten().tolist())
    return png(drawing)


def _table(runs: Sequence[Result], name: Callable[[int], str]) -> list[list[float]]:
    """Measurements by seed and depth."""
    return [[result.last_measured(name(depth)) for depth in _DEPTHS] for result in runs]


def _band(ax: Axes, color: str, label: str, lowest: list[list[float]], highest: list[list[float]]) -> None:
    low, high = np.asarray(lowest), np.asarray(highest)
    ax.fill_between(_DEPTHS, low.min(0), high.max(0), color=color, alpha=0.2, linewidth=0)
    ax.plot(
        _DEPTHS,
        np.median(np.sqrt(low * high), axis=0),
        color=color,
        linewidth=1.6,
        marker="o",
        markersize=3,
        label=label,
    )


def _case(init: InitName, title: str, remark: str) -> Case:
    return Case(
        title=title,
        where={"init": init},
        series=tuple(Series(NAMES[model], one_example.NAME, model, {}) for model in one_example.MODELS),
        printed={},
        remark=remark,
        columns=(
            Column(
                f"final loss at depth {' / '.join(map(str, PUBLISHED_DEPTHS))}",
                lambda result: _losses(result, PUBLISHED_DEPTHS),
            ),
            Column(
                f"first gradients at depth {_DEEP}: smallest / largest",
                lambda result: (
                    result.last_measured(smallest_gradient(_DEEP)),
                    result.last_measured(largest_gradient(_DEEP)),
                ),
            ),
        ),
        axes=(),
        sentences=_SENTENCES,
    )


_CASES = (
    _case(
        "default",
        "default initialization",
        "PyTorch's filters, of variance 1/(3 taps). The released notebook prints, for one seed, final losses of "
        "0.00023, 0.0019 and 0.114 with the norm and 0.500, 0.250 and 0.250 without it; its first gradients at depth "
        "30 lie from 0.009 to 0.05 and from 4e-11 to 1e-9.",
    ),
    _case(
        "preserving",
        "variance-preserving initialization",
        "Filters of variance 1/taps: what remains of the effect is due to the depth, and not to the scale of PyTorch's "
        "filters.",
    ),
)

ONE_EXAMPLE = Study(
    task=one_example.NAME,
    title="Channel normalization of one example",
    place="Dai and Heckel 2019, figures 1 and 2",
    preset="paper",
    flags="--seeds 0..4",
    about="Linear convolutional networks of one channel, 1 to 30 layers deep, are trained to map one random signal to "
    "a step, with channel normalization in every layer or a shift alone. The thresholds of the sentences were written "
    "down before the runs.",
    presets=distinct(one_example.PRESETS),
    open=("steps", "samples", "taps", "lr", "momentum"),
    unit="single networks, final loss after the last step",
    cases=_CASES,
    figures=(
        Figure(
            "one-example.png",
            "Final losses and first gradients over the depth",
            _CASES,
            draw_depths,
            "A line is the median of the seeds and a band reaches from the lowest to the highest; for the gradients "
            "the band reaches from the smallest of any layer and seed to the largest, and the line is the median over "
            "the seeds of the geometric mean of smallest and largest.",
        ),
    ),
)
