"""What the paper says of its copying results, held against ours, one verdict a sentence.

A claim is put to every seed, for the training and the validation loss both. It is *confirmed* if it is true of every
seed, *not confirmed* if of none, *inconclusive* otherwise. Two losses are level if they differ by less than `MARGIN`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.copying import baseline
from experiments.paper import TABLE_1, Losses
from experiments.results import Result, mean
from experiments.settings import MODELS, ModelName
from experiments.tables import pair_over_seeds

MARGIN = 0.01
"""Relative difference below which two losses count as level: batches at the baseline scatter by less than that."""

STEEP_WINDOW = 20
"""Training losses averaged when looking for the step at which a run reaches the baseline."""

NAMES: Mapping[ModelName, str] = {"lstm": "LSTM", "ln": "LN", "atn": "ATN"}
"""The models as the paper's tables call them."""

Measure = Callable[[Result], Losses]
"""A way to put a run into two numbers."""

MEASURES: Mapping[str, Measure] = {
    "minimum": lambda result: result.minimum,
    "final value": lambda result: result.final,
}

Runs = Mapping[ModelName, Sequence[Result]]
"""Model -> its runs, of one preset and one T, over the seeds."""


class Finding(NamedTuple):
    """A claim held against the runs by one measure: the outcome, and the numbers it rests on."""

    measure: str
    outcome: str
    evidence: str


class Verdict(NamedTuple):
    """A claim, what was found, and the number of seeds that it rests on."""

    claim: str
    findings: list[Finding]
    seeds: int


def below(lower: float, upper: float) -> bool:
    """Whether `lower` is below `upper` by more than the margin."""
    return lower < upper * (1 - MARGIN)


def judge(T: int, runs: Runs) -> list[Verdict]:
    """Verdicts on everything that Table 1 and its text say about the models that were run at this T."""
    verdicts = [_against_baseline(T, model, runs[model]) for model in MODELS if model in runs]
    pairs: list[tuple[ModelName, ModelName]] = [("ln", "lstm"), ("atn", "ln")]
    for lower, upper in pairs:
        if shared := _shared_seeds(runs, lower, upper):
            verdicts.append(_against_each_other(T, lower, upper, shared))
    if shared := _shared_seeds(runs, "atn", "ln"):
        verdicts.append(_steepness(T, shared))
    return verdicts


def _against_baseline(T: int, model: ModelName, results: Sequence[Result]) -> Verdict:
    floor = Losses(baseline(T), baseline(T))
    expected = _expected(TABLE_1[T][model], floor)
    findings = []
    for name, measure in MEASURES.items():
        values = [measure(result) for result in results]
        outcome = _outcome([_agrees(value, floor, expected) for value in values])
        findings.append(Finding(name, outcome, pair_over_seeds(values)))
    claim = f"{NAMES[model]} {'gets below' if expected else 'stays at'} the baseline"
    return Verdict(claim, findings, len(results))


def _against_each_other(T: int, lower: ModelName, upper: ModelName, shared: Sequence[tuple[Result, Result]]) -> Verdict:
    expected = _expected(TABLE_1[T][lower], TABLE_1[T][upper])
    findings = []
    for name, measure in MEASURES.items():
        lowers, uppers = [measure(first) for first, _ in shared], [measure(second) for _, second in shared]
        truths = [_agrees(first, second, expected) for first, second in zip(lowers, uppers, strict=True)]
        evidence = f"{pair_over_seeds(lowers)} against {pair_over_seeds(uppers)}"
        findings.append(Finding(name, _outcome(truths), evidence))
    claim = f"{NAMES[lower]} is {'below' if expected else 'no lower than'} {NAMES[upper]}"
    return Verdict(claim, findings, len(shared))


def _steepness(T: int, shared: Sequence[tuple[Result, Result]]) -> Verdict:
    steps = [(steps_to_baseline(T, atn), steps_to_baseline(T, ln)) for atn, ln in shared]
    evidence = "; ".join(f"ATN {_show_steps(atn)}, LN {_show_steps(ln)}" for atn, ln in steps)
    outcome = _outcome([atn <= ln and atn < math.inf for atn, ln in steps])
    claim = "ATN falls at least as steeply as LN at first"
    return Verdict(claim, [Finding("steps to the baseline", outcome, evidence)], len(steps))


def steps_to_baseline(T: int, result: Result) -> float:
    """First step at which the mean of the last `STEEP_WINDOW` training losses is within 5 % of the baseline, or inf."""
    train = result.train
    ends = range(STEEP_WINDOW, len(train) + 1)
    return next((end for end in ends if mean(train[end - STEEP_WINDOW : end]) <= 1.05 * baseline(T)), math.inf)


def _shared_seeds(runs: Runs, first: ModelName, second: ModelName) -> list[tuple[Result, Result]]:
    others = {result.seed: result for result in runs.get(second, [])}
    return [(result, others[result.seed]) for result in runs.get(first, []) if result.seed in others]


def _expected(lower: Losses, upper: Losses) -> bool:
    """Whether the paper's numbers have the one below the other."""
    return below(lower.train, upper.train) and below(lower.validation, upper.validation)


def _agrees(lower: Losses, upper: Losses, expected: bool) -> bool:  # noqa: FBT001 - the paper's side of the comparison
    """Whether training and validation loss both stand as expected."""
    return below(lower.train, upper.train) == below(lower.validation, upper.validation) == expected


def _outcome(truths: Sequence[bool]) -> str:
    if all(truths):
        return "confirmed"
    return "inconclusive" if any(truths) else "not confirmed"


def _show_steps(steps: float) -> str:
    return "never" if steps == math.inf else f"after {steps:,} steps"
