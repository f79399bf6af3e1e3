"""Variance of c and of h over time at initialization, for every norm: what Norm-Prop is said to preserve."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

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
)
from experiments.report.statements import show_share
from experiments.report.tables import number
from experiments.tasks import norm_variance
from experiments.tasks.norm_variance import NORMPROP, STATES, State, cell_variance, read_variances
from experiments.training.settings import ModelName

MODELS: tuple[ModelName, ...] = ("lstm", "wn", "ln", "atn", "bn", "prop")
"""The models of the figure, Norm-Prop with the gains of its paper."""

INDEPENDENT = "Norm-Prop (gamma_hh = 0)"
"""Norm-Prop whose gates do not depend on the state, for which the variance of c is known exactly."""

SAMPLING = 0.03
"""Largest relative distance to the exact variance: the batch is a sample, and a unit's rows are orthogonal only within
each gate."""

NEAR = 0.1
"""Largest distance to 1 at which a variance counts as preserved."""

SETTLED = 10
"""The step from which on the variance of h is to be near 1; before, c grows from zero."""


def variances(result: Result, state: State) -> list[float]:
    """Variance of a state at steps 1, 2, ..., T."""
    return list(read_variances(result.points[-1].measured)[state])


def _exact() -> list[float]:
    return cell_variance(2.0, NORMPROP.T)


def _is_exact() -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        pairs = zip(variances(runs[INDEPENDENT], "c"), _exact(), strict=True)
        distance = max(abs(measured / exact - 1) for measured, exact in pairs)
        return Observation(distance <= SAMPLING, {INDEPENDENT: (distance,)})

    says = "Without a gain on W_hh h the variance of c is Var c (1 - B^t)"
    return Sentence(says, (INDEPENDENT,), (Test(f"largest distance, at most {SAMPLING:.0%}", observe, show_share),), ())


def _is_preserved() -> Sentence:
    label = NAMES["prop"]

    def observe(runs: Mapping[str, Result]) -> Observation:
        later = variances(runs[label], "h")[SETTLED - 1 :]
        return Observation(all(abs(value - 1) <= NEAR for value in later), {label: (min(later), max(later))})

    says = f"Norm-Prop keeps the variance of h within {NEAR:.0%} of 1"
    test = Test(f"smallest and largest variance from step {SETTLED} on", observe, number)
    return Sentence(says, (label,), (test,), ("np-variance-at-start",))


def _is_nearer(other: ModelName) -> Sentence:
    labels = (NAMES["prop"], NAMES[other])

    def observe(runs: Mapping[str, Result]) -> Observation:
        last = {label: variances(runs[label], "h")[-1] for label in labels}
        ours, theirs = (abs(math.log(last[label])) for label in labels)
        return Observation(ours < theirs, {label: (value,) for label, value in last.items()})

    says = f"The variance of h is nearer to 1 under Norm-Prop than under {NAMES[other]}"
    return Sentence(says, labels, (Test("variance at the last step; nearer by its logarithm", observe, number),), ())


def _at(state: State) -> Column:
    def value(result: Result) -> Values:
        found = variances(result, state)
        return found[0], found[-1]

    return Column(f"Var {state} at the first / last step", value)


def draw_variances(panels: Sequence[Panel]) -> bytes:
    """PNG with Var c beside Var h over the steps, averaged over the seeds; the wide and the dotted line are exact."""
    (panel,) = panels
    figure = Drawing(figsize=(11.0, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(STATES)).tolist()
    for ax, state in zip(axes, STATES, strict=True):
        _draw(ax, panel, state)
    steps = range(1, NORMPROP.T + 1)
    axes[0].plot(steps, _exact(), color="0.8", linewidth=8, zorder=1, label="Var c (1 - B^t)")
    axes[1].axhline(1, color="0.25", linestyle=":", linewidth=1.2, label="Var h = 1")
    legend_below(figure, axes)
    return png(figure)


def _draw(ax: Axes, panel: Panel, state: State) -> None:
    for label, look in looks(panel.case.series).items():
        if label in panel.runs:
            values = np.mean([variances(result, state) for result in panel.runs[label]], axis=0)
            steps = range(1, len(values) + 1)
            ax.plot(steps, values, color=look.color, marker=look.marker, markersize=3, linewidth=1.2, label=label)
    ax.set_yscale("log")
    ax.set_xlabel("time step")
    ax.set_ylabel(f"variance of {state}")
    tidy(ax)


_CASE = Case(
    title="",
    where={},
    series=(
        *(Series(NAMES[model], norm_variance.NAME, model, {"gamma_hh": NORMPROP.gamma_hh}) for model in MODELS),
        Series(INDEPENDENT, norm_variance.NAME, "prop", {"gamma_hh": 0.0}),
    ),
    printed={},
    remark="",
    columns=tuple(_at(state) for state in STATES),
    axes=(),
    sentences=(_is_exact(), _is_preserved(), *(_is_nearer(model) for model in MODELS if model != "prop")),
)

NORM_VARIANCE = Study(
    task=norm_variance.NAME,
    title="Variance over time",
    place="*Recurrent Normalization Propagation*, section 3",
    preset="normprop",
    flags="--model prop",
    about="One layer on independent noise, before any training: the variances of c and of h over all units and cases. "
    "The constants of Norm-Prop come from Eqs. (9)-(10) of its paper. LSTM and WN coincide: the gains of WN start "
    "at the lengths of the rows.",
    presets={("normprop",): NORMPROP},
    open=("T", "batch", "hidden", "k", "bias_placement", "init", "lstm_init"),
    unit="variances",
    cases=(_CASE,),
    figures=(
        Figure(
            "variance.png",
            "Variance over time",
            (_CASE,),
            draw_variances,
            "Lines of models are means over the seeds. Those of LSTM and WN coincide, since weight normalization "
            "changes no weight at the start. The wide gray line is the exact variance of c of Norm-Prop with "
            "gamma_hh = 0; the dotted one is the variance of h that Norm-Prop is made for.",
        ),
    ),
)
