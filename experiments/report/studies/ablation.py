"""Ablations: sections 5.1 and 5.3 of the paper, Figures 5 and 7, with their sentences; and one in no paper."""

import math
from typing import NamedTuple

from experiments.report.curves import CAPTION, draw_curves
from experiments.report.schema import NAMES, Axis, Case, Column, Figure, Series, Study, distinct
from experiments.report.statements import Bounds, ends_between, goes_below, is_below
from experiments.report.studies.synthetic import COLUMNS, CURVE_MEASURES, LOSS, MARGIN
from experiments.report.tables import number
from experiments.tasks import copying, pixel_mnist, window_lengths
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName


class Accuracy(NamedTuple):
    """A sentence of the paper about the last accuracy of a model on noisy pixel MNIST."""

    model: ModelName
    says: str
    bounds: Bounds
    """Accuracies for which it is true."""


ACCURACIES = (
    # The most frequent digit is 11.4 % of the validation images.
    Accuracy("ln", "LN is no better than guessing", Bounds(0, 0.15)),
    Accuracy("atn", "ATN learns", Bounds(0.2, 1)),
)

_PIXELS = Case(
    title="",
    where={},
    # Figure 5 has no plain LSTM.
    series=(Series("LN", pixel_mnist.NAME, "ln", {}), Series("ATN", pixel_mnist.NAME, "atn", {})),
    printed={},
    remark="A model that guesses has the loss ln 10 = 2.303 and the accuracy 0.1.",
    columns=(
        *COLUMNS,
        Column("ours: final accuracy", lambda result: (result.last_measured(pixel_mnist.ACCURACY),)),
    ),
    axes=(
        Axis(VALIDATION, "cross-entropy", "linear", {"chance": math.log(10)}),
        Axis(pixel_mnist.ACCURACY, "accuracy", "linear", {"chance": 0.1}),
    ),
    sentences=(
        *(
            ends_between(NAMES[each.model], each.says, pixel_mnist.ACCURACY, each.bounds, ("figure-5",))
            for each in ACCURACIES
        ),
        ends_between("ATN", "ATN performs quite well", pixel_mnist.ACCURACY, Bounds(0.5, 1), ("figure-5",)),
    ),
)

PIXEL_MNIST = Study(
    task=pixel_mnist.NAME,
    title="Noisy pixel-by-pixel MNIST",
    place="Section 5.1, Figure 5",
    preset="paper",
    flags="",
    about="The model predicts the digit after the 784 pixels of its image, which have noise of variance 0.1. Only in "
    "this experiment are the biases outside the norms and eps = 1; k = 10. The paper leaves the size, the "
    "optimizer and the number of steps open. Ours were chosen by the training loss of ATN in about seven short "
    "trials. Nor does it say how the gates start: ours have chrono initialization, which opens the forget gates. "
    "Without it both models guess, as the grid [pixel-start](#pixel-start) shows. Trials of the same four learning "
    "rates for every model, made later, found the one chosen best for LN and ATN; every model at its best rate is in "
    "the grid `pixel-norm` below.",
    presets=distinct(pixel_mnist.PRESETS),
    open=("steps", "batch", "hidden", "lr", "clip", "init", "lstm_init", "chrono", "chrono_at"),
    unit=LOSS,
    cases=(_PIXELS,),
    figures=(
        Figure(
            "figure-5.png",
            "Figure 5",
            (_PIXELS,),
            draw_curves,
            f"{CAPTION} On the right the accuracy at the validations, averaged over the seeds.",
        ),
    ),
)

_STUDIED = tuple(f"ATN (k = {k})" for k in window_lengths.WINDOWS["paper"])
_SHORT, _BEST, _LONG = _STUDIED
_BASELINE = copying.baseline(100)

_WINDOWS = Case(
    title="T = 100",
    where={"T": 100},
    series=(
        # The plain LSTM, LN and ATN with the k of the copying problem are runs of that task and are not repeated.
        Series("LSTM", copying.NAME, "lstm", {}),
        Series("LN", copying.NAME, "ln", {}),
        *(
            Series(label, copying.NAME if k == copying.PAPER.k else window_lengths.NAME, "atn", {"k": k})
            for label, k in zip(_STUDIED, window_lengths.WINDOWS["paper"], strict=True)
        ),
    ),
    printed={},
    remark=f"Baseline 10 ln 8 / (T + 20) = {number(_BASELINE)}. LSTM, LN and {_BEST} are runs of the copying problem.",
    columns=COLUMNS,
    axes=(Axis(VALIDATION, "cross-entropy", "linear", {"baseline": _BASELINE}),),
    sentences=(
        is_below(_BEST, _SHORT, CURVE_MEASURES, MARGIN, ("figure-7",)),
        is_below(_BEST, _LONG, CURVE_MEASURES, MARGIN, ("figure-7", "s5-large-k-gradients")),
        is_below(_SHORT, _LONG, CURVE_MEASURES, MARGIN, ("figure-7", "s5-large-k-gradients")),
        *(
            is_below(label, other, CURVE_MEASURES, MARGIN, ("figure-7",))
            for label in _STUDIED
            for other in ("LN", "LSTM")
        ),
    ),
)

WINDOW_STUDY = Study(
    task=window_lengths.NAME,
    title="Window lengths",
    place="Section 5.3, Figure 7",
    preset="released",
    flags="",
    about="The copying problem for ATN with three window lengths. The runs show whether a long window trains worse, "
    "but not whether the reason is the one that the paper supposes. Windows of 5 and of all 120 steps are in the grid "
    "[windows](#windows).",
    presets=distinct(window_lengths.PRESETS),
    open=("steps", "lr", "momentum", "bias_placement", "init", "lstm_init"),
    unit=LOSS,
    cases=(_WINDOWS,),
    figures=(Figure("figure-7.png", "Figure 7", (_WINDOWS,), draw_curves, CAPTION),),
)

_DETACHED_ATN = NAMES["detached"]

_DETACHED = Case(
    title="T = 100",
    where={"T": 100},
    # LN and ATN are runs of the copying problem and are not repeated.
    series=tuple(Series(NAMES[model], copying.NAME, model, {}) for model in ("ln", "atn", "detached")),
    printed={},
    remark=f"Baseline 10 ln 8 / (T + 20) = {number(_BASELINE)}. LN and ATN are the runs of the section on copying.",
    columns=COLUMNS,
    axes=(Axis(VALIDATION, "cross-entropy", "linear", {"baseline": _BASELINE}),),
    sentences=(
        goes_below(_DETACHED_ATN, "the baseline", _BASELINE, CURVE_MEASURES, MARGIN),
        is_below(_DETACHED_ATN, "LN", CURVE_MEASURES, MARGIN),
        is_below("ATN", _DETACHED_ATN, CURVE_MEASURES, MARGIN),
    ),
)

DETACHED = Study(
    task=copying.NAME,
    title="Detached statistics",
    place="In no paper",
    preset="released",
    flags="--T 100 --model detached",
    about="ATN differs from LN in two ways: the forward pass normalizes by the statistics of k steps, and the gradient "
    "flows through these statistics into the past steps. Detached ATN keeps the first and removes the second: mean and "
    "variance are constants to the gradient (`detach`). If it is below LN, the statistics of k steps help by "
    "themselves; if ATN is below it, so does the gradient through them. It also removes the gradient through the "
    "current step's statistics, which LN has. Declared before the runs: the copying problem with the settings of the "
    "released script and seeds 0, 1 and 5544, everything else as in the runs of LN and ATN.",
    presets={("released",): copying.RELEASED},
    open=("steps", "lr", "momentum", "k", "bias_placement", "init"),
    unit=LOSS,
    cases=(_DETACHED,),
    figures=(Figure("detached.png", "Detached statistics", (_DETACHED,), draw_curves, CAPTION),),
)
