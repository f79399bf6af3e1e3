"""Section 4.1 of the paper: Tables 1 to 3, Figures 2 to 4, and the sentences of the text about them."""

from collections.abc import Mapping

from experiments.report.curves import CAPTION, draw_curves
from experiments.report.paper_numbers import TABLE_1, TABLE_2, TABLE_3, Losses, Printed
from experiments.report.results import Result
from experiments.report.schema import NAMES, Axis, Case, Column, Figure, Sentence, Series, Study, Values, distinct
from experiments.report.statements import (
    FINAL,
    LAST_TWENTIETH,
    MINIMUM,
    goes_below,
    is_below,
    is_not_below,
    reaches_first,
    runs_below,
    runs_parallel,
    stays_above,
)
from experiments.report.tables import number
from experiments.tasks import adding, copying, denoise
from experiments.tasks.denoise_floor import floor
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.summary import Level
from experiments.training.settings import MODELS

MARGIN = 0.01
"""Relative difference below which two losses count as equal; batches at the copying baseline differ by less."""

TABLE_MEASURES = (MINIMUM, FINAL, LAST_TWENTIETH)
"""Measures for sentences about a table, which shows minima."""

CURVE_MEASURES = (FINAL, MINIMUM, LAST_TWENTIETH)
"""Measures for sentences about curves, where a single lucky batch should not decide."""

COLUMNS = (
    Column("ours: minimum", lambda result: result.minimum),
    Column("ours: final", lambda result: result.final),
    Column("ours: last 5 %", LAST_TWENTIETH.of),
)

LOSS = "training / validation loss"


def of_models(task: str) -> tuple[Series, ...]:
    """The three models of the paper's tables."""
    return tuple(Series(NAMES[model], task, model, {}) for model in MODELS)


def by_label(printed: Printed) -> Mapping[str, Losses]:
    """The paper's numbers under the names of its tables."""
    return {NAMES[model]: losses for model, losses in printed.items()}


def atn_is_lowest(claim: str) -> tuple[Sentence, ...]:
    """The sentences that every table supports: ATN's minima are the lowest."""
    return (
        is_below("ATN", "LN", TABLE_MEASURES, MARGIN, (claim,)),
        is_below("ATN", "LSTM", TABLE_MEASURES, MARGIN, (claim,)),
    )


def trains_faster(task: str, level: Level) -> Sentence:
    """The sentence of section 1 that a norm speeds up training: LN reaches a level no later than the LSTM."""
    return reaches_first("LN", "LSTM", "LN falls no later than LSTM", level, (f"s1-faster-{task}",))


def _copying(T: int) -> Case:
    level, first = copying.baseline(T), copying.first_level(T)
    of_ln = goes_below if T == 100 else stays_above
    against_lstm = is_below if T == 100 else is_not_below
    return Case(
        title=f"T = {T}",
        where={"T": T},
        series=of_models(copying.NAME),
        printed=by_label(TABLE_1[T]),
        remark=f"Baseline 10 ln 8 / (T + 20) = {number(level)}.",
        columns=COLUMNS,
        axes=(Axis(VALIDATION, "cross-entropy", "linear", {"baseline": level}),),
        sentences=(
            stays_above("LSTM", "the baseline", level, CURVE_MEASURES, MARGIN, ("s4-copying-lstm",)),
            of_ln("LN", "the baseline", level, CURVE_MEASURES, MARGIN, ("figure-2",)),
            goes_below("ATN", "the baseline", level, CURVE_MEASURES, MARGIN, ("figure-2",)),
            against_lstm("LN", "LSTM", TABLE_MEASURES, MARGIN),
            *atn_is_lowest("table-1"),
            reaches_first("ATN", "LN", "ATN falls at least as steeply as LN at first", first, ("s4-copying-steep",)),
            trains_faster(copying.NAME, first),
        ),
    )


def _adding(T: int) -> Case:
    claims = ("figure-3",)
    return Case(
        title=f"T = {T}",
        where={"T": T},
        series=of_models(adding.NAME),
        printed=by_label(TABLE_2[T]),
        remark=f"Chance 1 / 6 = {number(adding.CHANCE)}; k = {adding.AddingSettings.paper_k[T]}.",
        columns=COLUMNS,
        axes=(Axis(VALIDATION, "mean squared error", "log", {"chance": adding.CHANCE}),),
        sentences=(
            *atn_is_lowest("table-2"),
            reaches_first("ATN", "LN", "ATN falls fast at first, no later than LN", adding.FIRST_LEVEL, claims),
            runs_parallel("ATN", "LN", "then ATN runs parallel to LN", 2, claims),
            # The text says it of Figure 3b.
            runs_below("ATN", "LN", "ATN is below LN but for the very beginning", 0.9, claims if T == 200 else ()),
            trains_faster(adding.NAME, adding.FIRST_LEVEL),
        ),
    )


def _denoise(T: int, *, replace: bool) -> Case:
    level, best = denoise.baseline(T), floor(T) if replace else 0.0
    # The paper's numbers fit the public generator, so the runs with replacement decide the claims.
    table, figure, text = (("table-3",), ("figure-4",), ("s4-denoise-throughout",)) if replace else ((), (), ())

    def above_floor(result: Result) -> Values:
        return tuple(loss - best for loss in result.final)

    above = (Column("ours: final − floor", above_floor),) if replace else ()
    return Case(
        title=f"T = {T}, {'with' if replace else 'without'} replacement",
        where={"T": T, "replace": replace},
        series=of_models(denoise.NAME),
        printed=by_label(TABLE_3[T]),
        remark=f"Baseline 10 ln 9 / (T + 20) = {number(level)}; {_floor_in_words(best)}",
        columns=(*COLUMNS, *above),
        axes=(
            Axis(
                VALIDATION, "cross-entropy", "log", {"baseline": level} | ({"best possible": best} if replace else {})
            ),
        ),
        sentences=(
            is_below("ATN", "LN", TABLE_MEASURES, MARGIN, table),
            is_below("ATN", "LSTM", TABLE_MEASURES, MARGIN, table),
            is_below("LN", "LSTM", TABLE_MEASURES, MARGIN, figure),
            reaches_first("ATN", "LN", "ATN leaves the baseline earlier than LN", denoise.first_level(T), figure),
            is_below("ATN", "LN", (FINAL,), MARGIN, figure)._replace(says="ATN flattens lower than LN"),
            runs_below("ATN", "LN", "ATN is below LN throughout training", 0.9, text),
            runs_below("ATN", "LSTM", "ATN is below LSTM throughout training", 0.9, text),
            *((trains_faster(denoise.NAME, denoise.first_level(T)),) if replace else ()),
        ),
    )


def _floor_in_words(best: float) -> str:
    if best == 0:
        return "the places differ, so the lowest possible loss is 0."
    return (
        f"floor {number(best)}: a symbol drawn at the place of another one overwrites it, and both are in the target. "
        "A minimum below the floor is a lucky batch."
    )


def _figures(number: int, cases: tuple[Case, ...]) -> tuple[Figure, ...]:
    """Parts a and b of a figure, T = 100 and T = 200."""
    return tuple(
        Figure(
            f"figure-{number}{letter}.png",
            f"Figure {number}{letter}",
            tuple(case for case in cases if case.where["T"] == T),
            draw_curves,
            CAPTION,
        )
        for letter, T in (("a", 100), ("b", 200))
    )


_COPYING_CASES = tuple(_copying(T) for T in (100, 200))
_ADDING_CASES = tuple(_adding(T) for T in (100, 200))
_DENOISE_CASES = tuple(_denoise(T, replace=replace) for T in (100, 200) for replace in (True, False))

COPYING = Study(
    task=copying.NAME,
    title="Copying",
    place="Section 4.1.1, Table 1, Figure 2",
    preset="released",
    flags="--T 100",
    about="The model repeats ten symbols after T blanks. Batch 128, hidden size 68, k = 45, RMSProp.",
    presets=distinct(copying.PRESETS),
    open=("steps", "lr", "momentum", "alpha", "bias_placement", "init", "lstm_init"),
    unit=LOSS,
    cases=_COPYING_CASES,
    figures=_figures(2, _COPYING_CASES),
)

ADDING = Study(
    task=adding.NAME,
    title="Adding",
    place="Section 4.1.2, Table 2, Figure 3",
    preset="released",
    flags="--T 100",
    about="The model adds two marked numbers of a sequence of T numbers. Batch 50, hidden size 60, RMSProp. The "
    "figure shows the loss on a logarithmic axis, since it ends far below chance.",
    presets=distinct(adding.PRESETS),
    open=(
        "steps",
        "momentum",
        "alpha",
        "training_sequences",
        "validation_sequences",
        "bias_placement",
        "init",
        "lstm_init",
    ),
    unit=LOSS,
    cases=_ADDING_CASES,
    figures=_figures(3, _ADDING_CASES),
)

DENOISE = Study(
    task=denoise.NAME,
    title="Denoise",
    place="Section 4.1.3, Table 3, Figure 4",
    preset="paper",
    flags="--T 100",
    about="After a marker the model repeats ten symbols that stand among blanks, in their order. Batch 128, hidden "
    "size 100, Adam, k = 20 at T = 100 and 60 at T = 200. The paper does not say whether two symbols can have "
    "the same place. They can in the public generator of the task (`--replace`), and cannot with "
    "`--no-replace`. The runs with replacement decide the claims.",
    presets=distinct(denoise.PRESETS),
    open=("steps", "beta1", "beta2", "bias_placement", "init", "lstm_init"),
    unit=LOSS,
    cases=_DENOISE_CASES,
    figures=_figures(4, _DENOISE_CASES),
)
