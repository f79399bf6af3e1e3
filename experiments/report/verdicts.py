"""The verdict of our runs on each sentence of the paper, and from these the verdict on each claim of ``proofs/papers``.

A sentence is tested for every seed. It is *confirmed* if it is true for every seed, *not confirmed* if it is true for
no seed, *inconclusive* otherwise, and *pending* while no seed has all the runs that it needs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.report.paired import Paired, in_words
from experiments.report.results import Result, Results, load_results
from experiments.report.schema import Case, Observation, Presets, Sentence, Study, Test
from experiments.report.selection import deciding_runs, diverged
from experiments.report.studies.registry import STUDIES
from experiments.report.tables import number, over_seeds

CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
INCONCLUSIVE = "inconclusive"
PENDING = "pending"

AT_REDUCED_SIZE = "at reduced size"


class Finding(NamedTuple):
    """The outcome of a sentence by one measure, and the numbers behind it."""

    measure: str
    outcome: str
    numbers: str
    """The measured numbers of each label, over the seeds."""
    difference: str
    """The paired difference of two labels, see `_difference`; may be empty."""


class Verdict(NamedTuple):
    """The findings on a sentence, the deciding measure first, with the number of seeds and the runs behind them."""

    study: Study
    presets: Presets
    case: Case
    sentence: Sentence
    findings: tuple[Finding, ...]
    seeds: int
    diverged: int
    """Number of seeds left out because the loss of a run became not finite, so that there are no numbers to compare."""
    runs: tuple[str, ...]
    """Names of the runs."""

    @property
    def outcome(self) -> str:
        """Outcome by the deciding measure."""
        return self.findings[0].outcome

    @property
    def reduced(self) -> bool:
        """Whether the runs are of a reduced size."""
        return self.study.reduced.issuperset(self.presets)


class ClaimVerdict(NamedTuple):
    """Verdict on a claim of ``proofs/papers``."""

    outcome: str
    """"confirmed", "not confirmed", "inconclusive" or "pending"."""
    deciding: tuple[Verdict, ...]
    """Its sentences for the presets that decide the outcome."""

    @property
    def parts(self) -> tuple[Verdict, ...]:
        """The sentences that were decided."""
        return tuple(part for part in self.deciding if part.outcome != PENDING)

    @property
    def open(self) -> int:
        """Number of sentences that were not decided."""
        return len(self.deciding) - len(self.parts)

    @property
    def seeds(self) -> int:
        """Smallest number of seeds behind a decided sentence; 0 if no sentence was decided."""
        return min((part.seeds for part in self.parts), default=0)

    @property
    def _size(self) -> str:
        """Whether all or some of its runs are of a reduced size, in words; empty if none is."""
        reduced = [part.reduced for part in self.parts]
        return "" if not any(reduced) else AT_REDUCED_SIZE if all(reduced) else f"partly {AT_REDUCED_SIZE}"

    @property
    def headline(self) -> str:
        """Outcome and seeds in words."""
        size = f" and {self._size}" if self._size else ""
        outcome = self.outcome if self.outcome == PENDING else f"{self.outcome} at {_seeds_in_words(self.seeds)}{size}"
        diverged = max((part.diverged for part in self.deciding), default=0)
        remarks = [left_out(diverged)] if diverged else []
        if self.open:
            remarks.append(f"{self.open} of {self.open + len(self.parts)} sentences still without runs")
        return "; ".join([outcome, *remarks])


def _seeds_in_words(count: int) -> str:
    """A number of seeds in words."""
    return "1 seed" if count == 1 else f"{count} seeds"


def left_out(diverged: int) -> str:
    """A number of seeds without a verdict in words."""
    return f"{_seeds_in_words(diverged)} left out, where a loss was not finite"


def named(presets: Presets) -> str:
    """Names of presets with equal settings, as the report writes them."""
    return " = ".join(f"`{name}`" for name in presets)


def deciding_line(verdict: Verdict) -> str:
    """One line with a sentence, its case and preset, and its outcome by the deciding measure."""
    size = AT_REDUCED_SIZE if verdict.reduced else ""
    where = ", ".join(filter(None, [verdict.case.title, named(verdict.presets), size]))
    found = verdict.findings[0]
    numbers = f"{found.numbers}, paired difference {found.difference}" if found.difference else found.numbers
    return f"{verdict.sentence.says} ({where}): {found.outcome} by the {found.measure}, {numbers}"


def measured_verdicts(runs: Path) -> dict[str, ClaimVerdict]:
    """Verdict on every measured claim, by its id in ``proofs/papers``, from the runs in a folder.

    Raises
    ------
    ExperimentError
        A record or a curve is damaged.
    """
    return claim_verdicts(load_results(runs))


def claim_verdicts(results: Results) -> dict[str, ClaimVerdict]:
    """Verdict on every measured claim by its id, in the order of the studies."""
    verdicts = [verdict for study in STUDIES for verdict in judge(study, results)]
    claims = dict.fromkeys(claim for verdict in verdicts for claim in verdict.sentence.claims)
    return {claim: _of_claim([verdict for verdict in verdicts if claim in verdict.sentence.claims]) for claim in claims}


def judge(study: Study, results: Results) -> list[Verdict]:
    """Verdict on every sentence of the study, for each of its presets."""
    return [
        _of_sentence(study, presets, case, sentence, results)
        for case in study.cases
        for presets in study.presets
        for sentence in case.sentences
    ]


def _of_sentence(study: Study, presets: Presets, case: Case, sentence: Sentence, results: Results) -> Verdict:
    runs = deciding_runs(results, presets, case)
    needed = [series for series in case.series if series.label in sentence.needs]
    by_label = {label: {result.seed: result for result in runs.get(label, [])} for label in sentence.needs}
    seeds = sorted(set.intersection(*(set(of_seed) for of_seed in by_label.values())))
    at_seeds = [{label: of_seed[seed] for label, of_seed in by_label.items()} for seed in seeds]
    return Verdict(
        study=study,
        presets=presets,
        case=case,
        sentence=sentence,
        findings=tuple(_find(test, at_seeds) for test in sentence.tests),
        seeds=len(seeds),
        diverged=len(set().union(*(diverged(results, presets, case, series) for series in needed))),
        runs=tuple(result.record.name for at_seed in at_seeds for result in at_seed.values()),
    )


def _find(test: Test, at_seeds: Sequence[Mapping[str, Result]]) -> Finding:
    observed = [test.observe(runs) for runs in at_seeds]
    if not observed:
        return Finding(test.measure, PENDING, "", "")
    labels = observed[0].numbers
    shown = [
        f"{label} {over_seeds([observation.numbers[label] for observation in observed], test.show)}" for label in labels
    ]
    outcome = _over_seeds([observation.true for observation in observed])
    difference = _difference(observed) if test.show is number else ""
    return Finding(test.measure, outcome, ", ".join(shown), difference)


def _difference(observed: Sequence[Observation]) -> str:
    """The paired difference of two labels in each of their numbers; empty for other observations or one seed."""
    if len(observed) < 2 or len(observed[0].numbers) != 2:
        return ""
    first, second = zip(*(observation.numbers.values() for observation in observed), strict=True)
    parts = range(len(first[0]))
    pairs = [Paired(tuple(a[part] - b[part] for a, b in zip(first, second, strict=True))) for part in parts]
    return " / ".join(map(in_words, pairs))


def _over_seeds(truths: Sequence[bool]) -> str:
    if all(truths):
        return CONFIRMED
    return INCONCLUSIVE if any(truths) else NOT_CONFIRMED


def _of_claim(verdicts: Sequence[Verdict]) -> ClaimVerdict:
    """Verdict on a claim from the verdicts on its sentences.

    For each preset the claim is confirmed if all its sentences are. Presets that disagree make it inconclusive. Presets
    with all their runs decide; if there is no such preset, those with some of their runs decide. Those of a reduced
    size decide only where no other would.
    """
    groups = [
        [verdict for verdict in verdicts if verdict.presets == presets]
        for presets in dict.fromkeys(verdict.presets for verdict in verdicts)
    ]
    begun = [group for group in groups if any(verdict.outcome != PENDING for verdict in group)]
    complete = [group for group in begun if all(verdict.outcome != PENDING for verdict in group)]
    deciding = _of_full_size(complete) or complete or _of_full_size(begun) or begun or groups[:1]
    outcomes = {_together([verdict.outcome for verdict in group]) for group in deciding}
    return ClaimVerdict(
        outcome=outcomes.pop() if len(outcomes) == 1 else INCONCLUSIVE,
        deciding=tuple(verdict for group in deciding for verdict in group),
    )


def _of_full_size(groups: Sequence[list[Verdict]]) -> list[list[Verdict]]:
    return [group for group in groups if not group[0].reduced]


def _together(outcomes: Sequence[str]) -> str:
    """Outcome of a claim whose sentences must all be true."""
    return next((kind for kind in (NOT_CONFIRMED, PENDING, INCONCLUSIVE) if kind in outcomes), CONFIRMED)
