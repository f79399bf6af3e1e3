"""The language model of *Recurrent Normalization Propagation* (Laurent, Ballas, Vincent 2017), section 4.1."""

import itertools
from collections.abc import Mapping

from experiments.report.results import Result
from experiments.report.schema import NAMES, Case, Column, Observation, Sentence, Series, Study, Test
from experiments.report.statements import below
from experiments.report.studies.language import CHARACTER_MARGIN
from experiments.report.tables import number
from experiments.tasks import char_ptb
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName

PRINTED: Mapping[ModelName, float] = {"prop": 1.422, "bn": 1.433, "wn": 1.438, "ln": 1.439, "lstm": 1.455}
"""Validation bits per character that the paper prints, at 1,000 units, in ascending order."""


MODELS: tuple[ModelName, ...] = ("lstm", "wn", "bn", "ln", "prop", "atn")
"""The models of the table: that paper's, and ATN beside them, of which no sentence is."""


def lowest_bits(result: Result) -> float:
    """The lowest bits per character of any validation, which is what the paper prints."""
    return char_ptb.bits_per_character(result.lowest_measured(VALIDATION))


def _compared(first: ModelName, second: ModelName, claim: str, *, strictly: bool) -> Sentence:
    """In validation `first` is below `second`; or, if not `strictly`, no higher. Both by more than the margin."""
    labels = NAMES[first], NAMES[second]

    def observe(runs: Mapping[str, Result]) -> Observation:
        lower, upper = (lowest_bits(runs[label]) for label in labels)
        true = below(lower, upper, CHARACTER_MARGIN) if strictly else not below(upper, lower, CHARACTER_MARGIN)
        return Observation(true, {labels[0]: (lower,), labels[1]: (upper,)})

    says = f"{labels[0]} is {'below' if strictly else 'no higher than'} {labels[1]}"
    return Sentence(says, labels, (Test("lowest validation", observe, number),), (claim,))


def _apart(lower: ModelName, upper: ModelName) -> bool:
    """Whether the paper's numbers of two models differ by more than the margin."""
    return below(PRINTED[lower], PRINTED[upper], CHARACTER_MARGIN)


_CASE = Case(
    title="",
    where={},
    series=tuple(Series(NAMES[model], char_ptb.NAME, model, {}) for model in MODELS),
    printed={},
    remark="**At reduced size:** 128 units where the paper has 1,000, and one epoch. It prints "
    + ", ".join(f"{bits} for {NAMES[model]}" for model, bits in PRINTED.items())
    + f" (validation). Numbers less than {CHARACTER_MARGIN:.1%} apart count as level.",
    columns=(Column("ours: lowest validation", lambda result: (lowest_bits(result),)),),
    axes=(),
    sentences=(
        *(_compared("prop", other, "np-similar-or-better", strictly=False) for other in PRINTED if other != "prop"),
        *(
            _compared(lower, upper, "np-char-ptb-order", strictly=_apart(lower, upper))
            for lower, upper in itertools.pairwise(PRINTED)
        ),
    ),
)

NORM_PROP = Study(
    task=char_ptb.NAME,
    title="Normalization Propagation",
    place="*Recurrent Normalization Propagation*, section 4.1",
    preset="normprop",
    flags="--model prop",
    about="The language model of another paper, whose norm and whose baselines the library has: windows of 100 "
    "characters that begin anywhere, batch 64, Adam; 128 units for 1,000, and one epoch. `python -m experiments sweep "
    "char-ptb --presets normprop --models lstm wn bn ln prop atn --seeds 0..2` makes every run.",
    presets={("normprop",): char_ptb.NORMPROP},
    open=("steps", "hidden", "inputs", "input_scale", "decay", "bias_placement", "init", "lstm_init", "k"),
    unit="validation bits per character",
    reduced=frozenset({"normprop"}),
    cases=(_CASE,),
    figures=(),
)
