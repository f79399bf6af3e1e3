"""Barberan et al. 2022: all hidden states against the last one, and which steps the weights and contributions name."""

from collections.abc import Callable, Mapping

from experiments.datasets.ucr import SIZES, UCR_NAMES
from experiments.related.neuroview import readouts
from experiments.related.neuroview.classifiers import HEADS
from experiments.related.neuroview.importance import MEASURES, Measure
from experiments.related.neuroview.readouts import PAPER, Split, accuracy, at, share_name
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
from experiments.report.statements import show_share
from experiments.report.studies.neuroview_figures import draw_accuracies, draw_planted
from experiments.training.records.summary import mean
from experiments.training.settings import MODELS, ModelName

FOUND = 0.5
"""Share of an importance that the planted steps have to have, so that it finds them."""

MOST = len(UCR_NAMES) / 2
"""Number of data sets above which the accuracy counts as higher in many cases."""


def accuracies(result: Result, split: Split, name: str) -> Values:
    """Accuracy of both classifiers of a data set at the end, from the last state and from all."""
    return tuple(result.last_measured(accuracy(split, name, head)) for head in HEADS)


def difference(result: Result, name: str) -> float:
    """Test accuracy from all states less that from the last state."""
    last, every = accuracies(result, "test", name)
    return every - last


def higher(result: Result) -> int:
    """Number of data sets of the archives on which all states have the higher test accuracy."""
    return sum(difference(result, name) > 0 for name in UCR_NAMES)


def planted_share(result: Result, measure: Measure) -> float:
    """Share of the planted steps in an importance."""
    return sum(result.last_measured(at(share_name(measure), step)) for step in range(PAPER.first, PAPER.last + 1))


def _sentence(
    model: ModelName,
    says: str,
    measure: str,
    value: Callable[[Result], float],
    least: float,
    show: Callable[[float], str],
    claims: tuple[str, ...],
) -> Sentence:
    """The value of a model's run is above a bound."""
    label = NAMES[model]

    def observe(runs: Mapping[str, Result]) -> Observation:
        found = value(runs[label])
        return Observation(found > least, {label: (found,)})

    return Sentence(f"{says}, {label}", (label,), (Test(measure, observe, show),), claims)


def _accuracy_sentence(model: ModelName) -> Sentence:
    return _sentence(
        model,
        "All states have the higher accuracy on most data sets",
        f"number of data sets with the higher test accuracy, of {len(UCR_NAMES)}, above {MOST:g}",
        higher,
        MOST,
        lambda count: f"{count:.2g}",
        ("nv-accuracy",),
    )


_PLANTED_SENTENCES: Mapping[Measure, tuple[str, tuple[str, ...]]] = {
    "contributions": ("The contributions find the planted steps", ("nv-planted-contributions",)),
    "weights": ("The weights find the planted steps", ("nv-planted-weights",)),
    # Of no claim: what the inputs matter, beside what the states do. That the classifiers use the planted steps is seen
    # in their accuracy, which is that of guessing without them.
    "inputs": ("The derivatives in the inputs find the planted steps", ()),
}


def _planted_sentence(model: ModelName, measure: Measure) -> Sentence:
    says, claims = _PLANTED_SENTENCES[measure]
    return _sentence(
        model,
        says,
        f"share of steps {PAPER.first} to {PAPER.last} in the {measure}, above {FOUND:.0%}",
        lambda result: planted_share(result, measure),
        FOUND,
        show_share,
        claims,
    )


def _both(name: str) -> Column:
    return Column(f"{name}: last / all", lambda result: accuracies(result, "test", name))


def _difference(name: str) -> Column:
    return Column(name, lambda result: (difference(result, name),))


def _training(result: Result) -> Values:
    pairs = [accuracies(result, "train", name) for name in UCR_NAMES]
    return tuple(mean(list(values)) for values in zip(*pairs, strict=True))


_SERIES = tuple(Series(NAMES[model], readouts.NAME, model, {}) for model in MODELS)

_PLANTED_STEPS = PAPER.last - PAPER.first + 1

_PUBLISHED = (
    "For comparison, InceptionTime and HC2 as aeon lists them: ArrowHead 0.863 and 0.869, GunPoint 1 and 1, "
    "ItalyPowerDemand 0.966 and 0.970."
)

_ACCURACY = Case(
    title="Accuracy on the test cases",
    where={},
    series=_SERIES,
    printed={},
    remark="From the last state, and from all states, after the last step. "
    + "; ".join(
        f"{name}: {size.train} training and {size.test} test cases, T = {size.T}, {size.classes} classes"
        for name, size in SIZES.items()
    )
    + f". {_PUBLISHED} With weights for every step a model fits any labels (`nv-interpolates`): see the training "
    "accuracy, a mean over the data sets. Where it is below 1 from the last state, training has not fitted all cases, "
    "and a difference is one of training as well.",
    columns=(*map(_both, UCR_NAMES), Column("training: last / all", _training)),
    axes=(),
    sentences=tuple(map(_accuracy_sentence, MODELS)),
)

_DIFFERENCES = Case(
    title="Accuracy from all states less that from the last",
    where={},
    series=_SERIES,
    printed={},
    remark="Paired by the seed: equal data and equal draws of the recurrent layer. The figure has the 95% intervals of "
    "the means.",
    columns=tuple(map(_difference, UCR_NAMES)),
    axes=(),
    sentences=(),
)

_PLANTED = Case(
    title="The planted steps",
    where={},
    series=_SERIES,
    printed={},
    remark=f"Noise of {PAPER.length} steps, whose mean tells the class in steps {PAPER.first} to {PAPER.last}: shares "
    f"of these {_PLANTED_STEPS} steps in three measures of importance. A measure that is blind would give them "
    f"{_PLANTED_STEPS / PAPER.length:.0%}. The derivatives in the inputs say what would move the margin of a trained "
    "classifier, and not what made it: they are no truth to hold the others against.",
    columns=(
        Column("test accuracy: last / all", lambda result: accuracies(result, "test", "planted")),
        Column(
            f"share of the {' / '.join(MEASURES)}",
            lambda result: tuple(planted_share(result, measure) for measure in MEASURES),
        ),
    ),
    axes=(),
    sentences=tuple(_planted_sentence(model, measure) for measure in MEASURES for model in MODELS),
)

NEUROVIEW = Study(
    task=readouts.NAME,
    title="All hidden states against the last",
    place="Barberan et al. 2022 (NeuroView-RNN)",
    preset="paper",
    flags="--seeds 0..9",
    about="Sequences are classified by a linear map of the last hidden state, as in a standard RNN, or of all hidden "
    "states. Small sets of the UCR and UEA archives, all training cases in each of "
    f"{PAPER.steps} updates, nothing chosen by the test cases. The sizes were chosen with another seed, and the "
    "thresholds of the sentences written down before the runs; none of the paper's sizes were at hand.",
    presets=distinct(readouts.PRESETS),
    open=("steps", "hidden", "k", "lr", "init", "bias_placement", "length", "first", "last", "amplitude", "cases"),
    unit="test accuracy, or shares",
    cases=(_ACCURACY, _DIFFERENCES, _PLANTED),
    figures=(
        Figure(
            "neuroview.png",
            "Accuracies and their paired differences",
            (_DIFFERENCES,),
            draw_accuracies,
            "On the left the mean over the seeds of the test accuracy of both classifiers: hollow by the last state, "
            "full by all states. On the right their difference by seed, its mean and 95% interval.",
        ),
        Figure(
            "neuroview-planted.png",
            "Contributions and weights over the steps",
            (_PLANTED,),
            draw_planted,
            "Above a test series of class 1 under the first seed, and what each of its steps adds to the margin of "
            "its class; below the share of each step by three measures, averaged over the seeds. "
            "The shaded steps are the planted ones.",
        ),
    ),
)
