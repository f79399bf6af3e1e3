"""Lyapunov spectra: at initialization against the window length, and of character models in training.

The sentences about training are those of Vogt et al. 2022; that about gradients is the ATN paper's, section 1. The
thresholds were written before the first run.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from experiments.common.markdown import markdown
from experiments.related.lyapunov import initial_spectrum, trained_spectrum
from experiments.related.lyapunov.exponents import read_exponents
from experiments.related.lyapunov.trained_spectrum import RELEASED, natural
from experiments.report.results import Result
from experiments.report.schema import (
    NAMES,
    Case,
    Column,
    Figure,
    Observation,
    Sentence,
    Series,
    Study,
    Test,
    Values,
    distinct,
)
from experiments.report.studies.spectrum_figures import LOWEST, draw_initial, draw_trained
from experiments.report.tables import number
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import MODELS, ModelName

EXPLODING = 0.05
"""Smallest first exponent that counts as growth: 5 % a step, more than its spread over short sequences."""

VANISHING = -0.2
"""Largest first exponent that counts as decay: a gradient halves in less than four steps."""

SLOW = -0.2
"""Smallest exponent of a direction that counts as slow."""

Observe = Callable[[Mapping[str, Result]], Observation]
"""Computes the observation of a sentence from the runs of one seed, by label."""

_WINDOWS = initial_spectrum.WINDOWS["paper"]
_LABELS = tuple(f"ATN (k = {k})" for k in _WINDOWS)
_RATES = trained_spectrum.RATES["paper"]


def last_exponents(result: Result) -> list[float]:
    """Mean exponents at the last validation."""
    return read_exponents(result.points[-1].measured).mean


def first_exponent(result: Result) -> float:
    """The first of them."""
    return last_exponents(result)[0]


def slow_directions(result: Result) -> int:
    """Number of exponents above `SLOW`."""
    return sum(value > SLOW for value in last_exponents(result))


def _spread(result: Result) -> Values:
    """Spread of the first exponent over the sequences; nan in a run too short for a validation."""
    return (next(iter(read_exponents(result.points[-1].measured).spread), math.nan),)


def _first_exponents(runs: Mapping[str, Result]) -> dict[str, Values]:
    return {label: (first_exponent(result),) for label, result in runs.items()}


def _controlled(label: str) -> Sentence:
    """The ATN paper's sentence on one normalized model."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        return Observation(VANISHING < first_exponent(runs[label]) < EXPLODING, _first_exponents({label: runs[label]}))

    measure = f"first exponent at initialization, between {VANISHING:g} and {EXPLODING:g}"
    says = f"The norm of the gradients is controlled under {label}"
    return Sentence(says, (label,), (Test(measure, observe, number),), ("s1-gradients-controlled",))


def _vanishes_without_a_norm() -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        return Observation(first_exponent(runs["LSTM"]) < VANISHING, _first_exponents({"LSTM": runs["LSTM"]}))

    measure = f"first exponent at initialization, below {VANISHING:g}"
    says = "Without a norm the gradients of the LSTM vanish as it starts"
    return Sentence(says, ("LSTM",), (Test(measure, observe, number),), ())


def _longer_windows_are_slower() -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        counts = [slow_directions(runs[label]) for label in ("LN", *_LABELS)]
        true = counts == sorted(set(counts))
        return Observation(true, {label: (n,) for label, n in zip(("LN", *_LABELS), counts, strict=True)})

    measure = f"number of exponents above {SLOW:g}, ascending with k"
    says = "A longer window adds slow directions"
    return Sentence(says, ("LN", *_LABELS), (Test(measure, observe, "{:.0f}".format),), ())


def _initial_case(init: str) -> Case:
    return Case(
        title=f"{init} initialization",
        where={"init": init},
        series=(
            Series("LSTM", initial_spectrum.NAME, "lstm", {"k": 1}),
            Series("LN", initial_spectrum.NAME, "ln", {"k": 1}),
            *(
                Series(label, initial_spectrum.NAME, "atn", {"k": k})
                for label, k in zip(_LABELS, _WINDOWS, strict=True)
            ),
        ),
        printed={},
        remark="",
        columns=(
            Column("lambda 1 / lambda 8", lambda result: (last_exponents(result)[0], last_exponents(result)[7])),
            Column("spread of lambda 1 over the sequences", _spread),
            Column(f"exponents above {SLOW:g}", lambda result: (float(slow_directions(result)),)),
        ),
        axes=(),
        sentences=(
            *(_controlled(label) for label in ("LN", *_LABELS)),
            _vanishes_without_a_norm(),
            _longer_windows_are_slower(),
        ),
    )


_INITIAL = tuple(_initial_case(init) for init in initial_spectrum.INITS)

SPECTRUM = Study(
    task=initial_spectrum.NAME,
    title="Lyapunov spectra at initialization",
    place="Section 1 of the ATN paper; after Vogt et al. 2022",
    preset="paper",
    flags="",
    about="One layer of 32 units, driven by standard normal inputs, is not trained. The exponents are the mean rates, "
    "in nats a step, at which a change of the state grows in each direction; a gradient on its way back grows by the "
    "first. All in the state's minimal coordinates, by `atn.lyapunov`.",
    presets=distinct(initial_spectrum.PRESETS),
    open=("hidden", "inputs", "sequences", "length", "burn_in", "exponents", "eps", "bias_placement"),
    unit="nats a step",
    cases=_INITIAL,
    figures=(
        Figure(
            "spectrum.png",
            "Lyapunov spectra at initialization",
            _INITIAL,
            draw_initial,
            f"Exponents in descending order, each averaged over the seeds. Those below {LOWEST:g} are not shown.",
        ),
    ),
)


def _label(model: ModelName, rate: float) -> str:
    return f"{NAMES[model]}, lr {rate:g}"


def _of_model(model: ModelName, runs: Mapping[str, Result]) -> list[Result]:
    """Runs of one model, by rate ascending."""
    return [runs[_label(model, rate)] for rate in _RATES]


def _rises_with_training(model: ModelName) -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        values = [[value for _, value in result.measured("lambda 1")] for result in _of_model(model, runs)]
        shown = {_label(model, rate): (v[0], v[-1]) for rate, v in zip(_RATES, values, strict=True)}
        return Observation(all(v[-1] > v[0] for v in values), shown)

    says = f"The first exponent rises with training ({NAMES[model]})"
    return _sentence(says, model, "first exponent at the first and the last validation, at every rate", observe)


def _rises_with_the_rate(model: ModelName) -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        values = [first_exponent(result) for result in _of_model(model, runs)]
        return Observation(values == sorted(values), _shown(model, values))

    says = f"The first exponent rises with the learning rate ({NAMES[model]})"
    return _sentence(says, model, "first exponent at the end, ascending", observe)


def _tells_the_best_rate(model: ModelName) -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        results = _of_model(model, runs)
        losses = [result.last_measured(VALIDATION) for result in results]
        distances = [abs(first_exponent(result)) for result in results]
        true = losses.index(min(losses)) == distances.index(min(distances))
        return Observation(
            true,
            {
                _label(model, rate): (first_exponent(result), loss)
                for rate, result, loss in zip(_RATES, results, losses, strict=True)
            },
        )

    says = f"The loss is lowest where the first exponent is nearest to 0 ({NAMES[model]})"
    return _sentence(says, model, "first exponent and validation loss at the end, by rate", observe)


def _stays_controlled(model: ModelName) -> Sentence:
    def observe(runs: Mapping[str, Result]) -> Observation:
        values = [max(_in_training(result)) for result in _of_model(model, runs)]
        return Observation(all(value < EXPLODING for value in values), _shown(model, values))

    says = f"No gradient explodes in training under {NAMES[model]}"
    measure = f"largest first exponent of any validation, below {EXPLODING:g} at every rate"
    # Of the LSTM it is the control: where that is true too, no norm is needed for it.
    claims = () if model == "lstm" else ("s1-gradients-controlled",)
    return _sentence(says, model, measure, observe, claims)


def _does_not_vanish(model: ModelName) -> Sentence:
    """The other half, of training: no sentence of the paper, and beside `_stays_controlled` what a norm costs."""

    def observe(runs: Mapping[str, Result]) -> Observation:
        values = [min(_in_training(result)) for result in _of_model(model, runs)]
        return Observation(all(value > VANISHING for value in values), _shown(model, values))

    says = f"No gradient vanishes in training under {NAMES[model]}"
    measure = f"smallest first exponent of any validation, above {VANISHING:g} at every rate"
    return _sentence(says, model, measure, observe, ())


def _in_training(result: Result) -> list[float]:
    """The first exponents at the validations."""
    return [value for _, value in result.measured("lambda 1")]


def _shown(model: ModelName, values: Sequence[float]) -> dict[str, Values]:
    return {_label(model, rate): (value,) for rate, value in zip(_RATES, values, strict=True)}


def _sentence(
    says: str, model: ModelName, measure: str, observe: Observe, claims: tuple[str, ...] = ("ly-readout",)
) -> Sentence:
    needs = tuple(_label(model, rate) for rate in _RATES)
    return Sentence(says, needs, (Test(measure, observe, number),), claims)


_PUBLISHED = "\n".join(
    markdown(
        ["learning rate", "lambda 1, nats a step", "validation loss"],
        [[f"{rate:g}", number(natural(row.first)), number(row.validation)] for rate, row in RELEASED.items()],
    )
)

_TRAINED = Case(
    title="",
    where={},
    series=tuple(
        Series(_label(model, rate), trained_spectrum.NAME, model, {"lr": rate}) for model in MODELS for rate in _RATES
    ),
    printed={},
    remark="Beside ours stand the statistics that the authors released of an LSTM of 512 units on *War and Peace* "
    "after 15 epochs. Theirs are of h alone, at fixed c, and of the product in the wrong order "
    f"(`proofs/ERRATA_LYAPUNOV.md`), so that their shape can be compared and their size cannot:\n\n{_PUBLISHED}",
    columns=(
        Column(
            "lambda 1: first / last validation",
            lambda result: (result.first_measured("lambda 1"), result.last_measured("lambda 1")),
        ),
        Column("its spread over the sequences", _spread),
        Column("validation loss at the end", lambda result: (result.last_measured(VALIDATION),)),
    ),
    axes=(),
    sentences=tuple(
        sentence
        for model in MODELS
        for sentence in (
            _rises_with_training(model),
            _rises_with_the_rate(model),
            _tells_the_best_rate(model),
            _stays_controlled(model),
            _does_not_vanish(model),
        )
    ),
)

TRAINED_SPECTRUM = Study(
    task=trained_spectrum.NAME,
    title="Lyapunov spectra in training",
    place="Vogt et al. 2022, and section 1 of the ATN paper",
    preset="paper",
    flags="",
    about="Character models of 64 units read a fifth of the Penn Treebank once at four learning rates. The first "
    "exponents are measured on the validation text after every 100 steps. A text of this length supports an ordering, "
    "not the paper's numbers. The LSTM is the control: where it passes a test as well, the norm is not the "
    f"reason. A first exponent below {VANISHING:g} is one of gradients that vanish.",
    presets=distinct(trained_spectrum.PRESETS),
    open=("steps", "batch", "bptt", "hidden", "k", "sequences", "length", "burn_in", "init", "lstm_init"),
    unit="nats a step, and nats a character",
    reduced=frozenset({"paper"}),
    cases=(_TRAINED,),
    figures=(
        Figure(
            "spectrum-ptb.png",
            "First exponent against loss",
            (_TRAINED,),
            draw_trained,
            "A point is the end of training at one learning rate, which stands beside it, averaged over the seeds. On "
            "the left our runs, on the right the statistics that the authors released, after 15 epochs on another text "
            "and at another size; their exponents leave the state c out.",
        ),
    ),
)
