"""What the paper says, held against runs that were made up to agree with it, or not to."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.catalog.registry import TASKS
from experiments.datasets.ucr import UCR_NAMES
from experiments.related.channel_norm import one_example
from experiments.related.channel_norm.one_example import final_loss, largest_gradient, smallest_gradient
from experiments.related.mptt import long_series
from experiments.related.mptt.policies import Strategy
from experiments.related.neuroview import readouts
from experiments.related.neuroview.importance import MEASURES, Measure
from experiments.report.paper_numbers import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, Losses
from experiments.report.results import Result
from experiments.report.schema import Study
from experiments.report.studies import norm_prop
from experiments.report.studies.ablation import DETACHED
from experiments.report.studies.registry import STUDIES
from experiments.report.verdicts import ClaimVerdict, claim_verdicts, deciding_line, judge, measured_verdicts
from experiments.tasks import char_ptb, norm_statistics, norm_variance
from experiments.training.records.record import UNVERIFIED
from experiments.training.settings import MODELS, ModelName, PresetName
from proofs.claims import load_claims
from tests.support.experiment_runs import falls_to, gathered, make_run, write_run


def level(_step: int, train: float) -> dict[str, float]:
    """Validation as good as training."""
    return {"validation": train}


def copying_run(model: ModelName, loss: float, within: int = 1000, **options: Any) -> Result:
    falling = falls_to(loss, within=within)
    return make_run("copying", model, falling, **{"preset": "released", "measured": level, **options})


@functools.cache
def copying_runs(T: int) -> tuple[Result, ...]:
    return tuple(copying_run(model, TABLE_1[T][model].train, T=T) for model in MODELS)


def adding_run(model: ModelName, loss: float, within: int, **options: Any) -> Result:
    return make_run("adding", model, falls_to(loss, 0.2, within), **{"preset": "released", **options})


@functools.cache
def adding_runs(T: int) -> tuple[Result, ...]:
    within = {"lstm": 6000, "ln": 4000, "atn": 1500}
    return tuple(adding_run(model, TABLE_2[T][model].train, within[model], T=T) for model in MODELS)


def denoise_run(model: ModelName, loss: float, within: int, T: int) -> Result:
    return make_run("denoise", model, falls_to(loss, 0.2, within), T=T, replace=True)


@functools.cache
def denoise_runs(T: int) -> tuple[Result, ...]:
    within = {"lstm": 5000, "ln": 3000, "atn": 1000}
    return tuple(denoise_run(model, TABLE_3[T][model].train, within[model], T) for model in MODELS)


def language_run(task: str, model: ModelName, losses: Losses, **options: Any) -> Result:
    """A run whose losses in nats are always these."""

    def measured(*_: object) -> Mapping[str, float]:
        return {"validation": losses.validation, char_ptb.VALIDATION_CARRIED: 1.0, "test": 1.0}

    return make_run(task, model, lambda _: losses.train, measured=measured, **options)


def in_nats(bits: Losses) -> Losses:
    return Losses(bits.train * np.log(2), bits.validation * np.log(2))


@functools.cache
def character_runs() -> tuple[Result, ...]:
    return tuple(language_run("char-ptb", model, in_nats(TABLE_4[model])) for model in MODELS)


@functools.cache
def word_runs() -> tuple[Result, ...]:
    return tuple(language_run("wikitext2", model, Losses(*np.log(TABLE_5[model]).tolist())) for model in MODELS)


def pixel_run(model: ModelName, accuracy: float) -> Result:
    return make_run("pixel-mnist", model, falls_to(1.0), measured=lambda *_: {"validation": 1.0, "accuracy": accuracy})


def statistics_run(k: int, spread: Mapping[str, float], lasting: int = 0) -> Result:
    """Means and variances that go up and down by so much, by norm.

    If `lasting` is not 0, the cell's mean has a spike that falls within so many steps: from the first step on, or, if
    it is negative, up to the last one.
    """
    measured = {
        f"{norm} {moment} {t}": float(moment == "variance") + (-1) ** t * spread[norm]
        for norm in norm_statistics.NORMS
        for moment in ("mean", "variance")
        for t in range(75)
    }
    if lasting:
        distances = {t: t if lasting > 0 else 74 - t for t in range(75)}
        measured |= {f"c mean {t}": float(np.exp(-distances[t] / abs(lasting))) for t in distances}
    return make_run(
        "statistics", "ln" if k == 1 else "atn", lambda _: 1.0, measured=lambda *_: {"validation": 1.0, **measured}, k=k
    )


def statistics_runs() -> tuple[Result, ...]:
    under_ln = statistics_run(1, dict.fromkeys(norm_statistics.NORMS, 0.001))
    return (under_ln, *(statistics_run(k, {"hh": 0.1, "ih": 0.4, "c": 0.2}, lasting=k) for k in (5, 25, 55)))


def window_run(k: int, loss: float) -> Result:
    options: dict[str, Any] = {"preset": "released", "measured": level, "T": 100, "k": k}
    return make_run("window-study", "atn", falls_to(loss), **options)


def window_runs() -> tuple[Result, ...]:
    return (*copying_runs(100), window_run(25, 0.137), window_run(65, 0.142))


def norm_prop_run(model: ModelName, bits: float) -> Result:
    return language_run("char-ptb", model, in_nats(Losses(bits, bits)), preset="normprop")


def norm_prop_runs() -> tuple[Result, ...]:
    return tuple(norm_prop_run(model, bits) for model, bits in norm_prop.PRINTED.items())


def variance_run(model: ModelName, h: float, gamma_hh: float = 2.0) -> Result:
    """The exact variance of c, and that of h at every step."""
    exact = norm_variance.cell_variance(2.0, 30)
    measured = {f"c variance {t}": value for t, value in enumerate(exact)} | {f"h variance {t}": h for t in range(30)}
    return make_run(
        "norm-variance",
        model,
        lambda _: 1.0,
        preset="normprop",
        measured=lambda *_: {"validation": 1.0, **measured},
        gamma_hh=gamma_hh,
    )


def one_example_run(model: ModelName, init: str, losses: Mapping[int, float], gradient: float) -> Result:
    """Final losses by depth, 0.01 or 0.25 where they are not given, and a first gradient that is 1 at depth 1."""
    usual = 0.01 if model == "cn" else 0.25
    measured = {final_loss(depth): losses.get(depth, usual) for depth in one_example.PAPER.depths}
    for name in (smallest_gradient, largest_gradient):
        measured |= {name(1): 1.0, name(30): gradient}
    return make_run(
        one_example.NAME, model, lambda _: 0.1, measured=lambda *_: {"validation": 0.1, **measured}, init=init
    )


PUBLISHED = {5: 0.00023, 10: 0.0019, 30: 0.114}


def one_example_runs() -> tuple[Result, ...]:
    normed = tuple(one_example_run("cn", init, PUBLISHED, 0.05) for init in one_example.INITS)
    return (*normed, *(one_example_run("shift", init, {}, 1e-9) for init in one_example.INITS))


def zero_share_run(model: ModelName, within: float = 2.0, random: float = 50.0, error: float = 0.05) -> Result:
    """Flagged genes within a type and in random cells, of 100 in all cells."""
    measured = {"validation": error, "whole": 100.0, "within": within, "random": random}
    return make_run("zero-share", model, lambda _: error, measured=lambda *_: measured)


def zero_share_runs() -> tuple[Result, ...]:
    return zero_share_run("equal"), zero_share_run("unequal")


def readouts_run(model: ModelName, higher: int = 6, shares: Mapping[Measure, float] | None = None) -> Result:
    """Higher accuracy from all states on so many sets and equal ones on the others, and shares of planted steps."""
    measured = {"validation": 0.1}
    for place, name in enumerate((*UCR_NAMES, "planted")):
        for split in readouts.SPLITS:
            measured[readouts.accuracy(split, name, "last")] = 0.8
            measured[readouts.accuracy(split, name, "per-step")] = 0.9 if place < higher else 0.8
    steps = range(1, readouts.PAPER.length + 1)
    inside = range(readouts.PAPER.first, readouts.PAPER.last + 1)
    for measure in MEASURES:
        share = (shares or {}).get(measure, 0.6)
        for t in steps:
            each = share / len(inside) if t in inside else (1 - share) / (len(steps) - len(inside))
            measured[readouts.at(readouts.share_name(measure), t)] = each
    for name in (readouts.EXAMPLE, readouts.EXAMPLE_CONTRIBUTIONS):
        measured |= {readouts.at(name, t): 0.5 for t in steps}
    return make_run(readouts.NAME, model, lambda _: 0.1, measured=lambda *_: measured)


def readouts_runs() -> tuple[Result, ...]:
    return tuple(map(readouts_run, MODELS))


ERRORS: Mapping[Strategy, float] = {"rmb": 0.9, "smb": 0.6, "ssmb": 0.4, "mptt-0": 0.3, "mptt-1": 0.2}


def message_run(
    strategy: Strategy, n: int, error: float, store: str = "reservoir", model: ModelName = "lstm"
) -> Result:
    """Test errors in one pass, and of 1.05 window by window."""
    measured = {"validation": error, "test": error, "validation_iif": 1.05, "test_iif": 1.05, "floor_iif": 1.0}
    return make_run("mptt", model, lambda _: error, measured=lambda *_: measured, strategy=strategy, n=n, store=store)


def message_runs() -> tuple[Result, ...]:
    return tuple(
        message_run(strategy, n, error * {14: 1.1, 30: 1.0, 90: 0.9}[n], store, model)
        for store, n, model in long_series.GRID
        for strategy, error in ERRORS.items()
    )


def timed_run(n: int, seconds: float, store: str = "reservoir", model: ModelName = "lstm") -> Result:
    """An epoch of MPTT takes these seconds, one of SMB 1 and one of SSMB 4."""
    times = {"rmb": 0.5, "smb": 1.0, "ssmb": 4.0, "mptt-0": seconds, "mptt-1": seconds}
    measured = {
        "validation": 1.0,
        **{f"{kind} {name}": t for kind in ("seconds", "updates") for name, t in times.items()},
    }
    return make_run("mptt-seconds", model, lambda _: 1.0, measured=lambda *_: measured, n=n, store=store)


def timed_runs() -> tuple[Result, ...]:
    return tuple(timed_run(n, 0.8, store, model) for store, n, model in long_series.GRID)


LIKE_THE_PAPER: Mapping[str, Callable[[], tuple[Result, ...]]] = {
    "table-1": lambda: copying_runs(100) + copying_runs(200),
    "table-2": lambda: adding_runs(100) + adding_runs(200),
    "table-3": lambda: denoise_runs(100) + denoise_runs(200),
    "table-4": character_runs,
    "table-5": word_runs,
    "figure-2": lambda: copying_runs(100) + copying_runs(200),
    "figure-3": lambda: adding_runs(100) + adding_runs(200),
    "figure-4": lambda: denoise_runs(100) + denoise_runs(200),
    "figure-5": lambda: (pixel_run("ln", 0.11), pixel_run("atn", 0.8)),
    "figure-6": statistics_runs,
    "figure-7": window_runs,
    "s1-faster-copying": lambda: copying_runs(100) + copying_runs(200),
    "s1-faster-adding": lambda: adding_runs(100) + adding_runs(200),
    "s1-faster-denoise": lambda: denoise_runs(100) + denoise_runs(200),
    "s4-copying-lstm": lambda: copying_runs(100) + copying_runs(200),
    "s4-copying-steep": lambda: copying_runs(100) + copying_runs(200),
    "s4-denoise-throughout": lambda: denoise_runs(100) + denoise_runs(200),
    "s5-large-k-gradients": window_runs,
    "np-similar-or-better": norm_prop_runs,
    "np-char-ptb-order": norm_prop_runs,
    "np-variance-at-start": lambda: (variance_run("prop", 1.05),),
    "cn-with": one_example_runs,
    "cn-without": one_example_runs,
    "cn-figure-2": one_example_runs,
    "hp-dropouts": zero_share_runs,
    "hp-dropouts-at-unequal-depth": zero_share_runs,
    "hp-clusters": zero_share_runs,
    "nv-accuracy": readouts_runs,
    "nv-planted-contributions": readouts_runs,
    "nv-planted-weights": readouts_runs,
    "mp-one-pass": message_runs,
    "mp-accuracy": message_runs,
    "mp-accuracy-stateful": message_runs,
    "mp-keeper-helps": message_runs,
    "mp-longer-windows": message_runs,
    "mp-speed": timed_runs,
    "mp-speed-stateful": timed_runs,
}
"""Claim -> runs that confirm it."""

UNLIKE_THE_PAPER: list[tuple[str, Callable[[], Result]]] = [
    ("table-1", lambda: copying_run("atn", 0.16, T=100)),
    ("table-1", lambda: copying_run("lstm", 0.07, T=200)),
    ("table-2", lambda: adding_run("atn", 0.01, 1500, T=200)),
    ("table-3", lambda: denoise_run("atn", 0.02, 1000, 200)),
    ("table-4", lambda: language_run("char-ptb", "atn", in_nats(Losses(1.389, 1.511)))),
    ("table-5", lambda: language_run("wikitext2", "ln", Losses(4.0, 4.0))),
    ("figure-2", lambda: copying_run("ln", 0.08, T=200)),
    ("figure-2", lambda: copying_run("atn", 0.18, T=100)),
    ("figure-3", lambda: adding_run("atn", 0.0006, 5000, T=100)),
    ("figure-3", lambda: adding_run("atn", 0.0012, 1500, T=200)),
    ("figure-4", lambda: denoise_run("atn", 0.01, 4000, 100)),
    ("figure-4", lambda: denoise_run("ln", 0.01, 3000, 100)),
    ("figure-4", lambda: denoise_run("lstm", 0.02, 5000, 100)),
    ("figure-5", lambda: pixel_run("ln", 0.3)),
    ("figure-5", lambda: pixel_run("atn", 0.12)),
    ("figure-5", lambda: pixel_run("atn", 0.4)),
    ("figure-6", lambda: statistics_run(1, {"hh": 0.001, "ih": 0.3, "c": 0.001})),
    ("figure-6", lambda: statistics_run(55, {"hh": 0.0015, "ih": 0.4, "c": 0.2}, lasting=55)),
    ("figure-6", lambda: statistics_run(55, {"hh": 0.1, "ih": 0.4, "c": 0.2}, lasting=4)),
    ("figure-6", lambda: statistics_run(5, {"hh": 0.1, "ih": 0.4, "c": 0.2}, lasting=-1)),
    ("figure-7", lambda: window_run(65, 0.12)),
    ("figure-7", lambda: window_run(25, 0.16)),
    ("s1-faster-copying", lambda: copying_run("ln", 0.15, 2000, T=100)),
    ("s1-faster-adding", lambda: adding_run("ln", 0.0013, 8000, T=100)),
    ("s1-faster-denoise", lambda: denoise_run("ln", 0.03, 9000, 200)),
    ("s4-copying-lstm", lambda: copying_run("lstm", 0.09, T=200)),
    ("s4-copying-steep", lambda: copying_run("atn", 0.1354, 2000, T=100)),
    ("s4-denoise-throughout", lambda: denoise_run("lstm", 0.001, 500, 100)),
    ("s4-denoise-throughout", lambda: denoise_run("ln", 0.001, 500, 200)),
    ("s5-large-k-gradients", lambda: window_run(65, 0.13)),
    ("np-similar-or-better", lambda: norm_prop_run("lstm", 1.41)),
    ("np-similar-or-better", lambda: norm_prop_run("prop", 1.46)),
    ("np-char-ptb-order", lambda: norm_prop_run("bn", 1.439)),
    ("np-char-ptb-order", lambda: norm_prop_run("ln", 1.433)),
    ("np-variance-at-start", lambda: variance_run("prop", 0.84)),
    ("cn-with", lambda: one_example_run("cn", "default", {**PUBLISHED, 30: 0.13}, 0.05)),
    ("cn-with", lambda: one_example_run("cn", "preserving", PUBLISHED, 1e-4)),
    ("cn-without", lambda: one_example_run("shift", "preserving", {12: 0.19}, 1e-9)),
    ("cn-without", lambda: one_example_run("shift", "default", {}, 0.01)),
    ("hp-dropouts", lambda: zero_share_run("equal", within=6.0)),
    ("hp-dropouts", lambda: zero_share_run("equal", random=30.0)),
    ("hp-dropouts-at-unequal-depth", lambda: zero_share_run("unequal", within=6.0)),
    ("hp-clusters", lambda: zero_share_run("equal", error=0.11)),
    ("cn-figure-2", lambda: one_example_run("cn", "default", {**PUBLISHED, 5: 0.01}, 0.05)),
    ("nv-accuracy", lambda: readouts_run("ln", higher=3)),
    ("nv-planted-contributions", lambda: readouts_run("atn", shares={"contributions": 0.49})),
    ("nv-planted-weights", lambda: readouts_run("lstm", shares={"weights": 0.49})),
    ("mp-one-pass", lambda: message_run("rmb", 90, 1.01)),
    ("mp-accuracy", lambda: message_run("mptt-0", 30, 0.87)),
    ("mp-accuracy", lambda: message_run("mptt-1", 30, 0.87, "snow")),
    ("mp-accuracy-stateful", lambda: message_run("ssmb", 30, 0.2, model="atn")),
    ("mp-accuracy-stateful", lambda: message_run("smb", 14, 0.3)),
    ("mp-keeper-helps", lambda: message_run("mptt-1", 30, 0.29)),
    ("mp-longer-windows", lambda: message_run("mptt-1", 90, 0.25)),
    ("mp-longer-windows", lambda: message_run("ssmb", 14, 0.3)),
    ("mp-speed", lambda: timed_run(90, 2.1)),
    ("mp-speed-stateful", lambda: timed_run(30, 1.01, "snow")),
]
"""Claim, and a run that takes the place of another one of these, and with which it is no longer true."""


SIZE = dict.fromkeys(("np-similar-or-better", "np-char-ptb-order"), " and at reduced size")
"""What the headline of a claim adds whose runs have a smaller size than the paper's."""


def without_its_like(runs: Iterable[Result], other: Result) -> list[Result]:
    return [run for run in runs if run.record.name != other.record.name]


def verdict_on(claim: str, runs: Iterable[Result]) -> ClaimVerdict:
    return claim_verdicts(gathered(runs))[claim]


class TestEachClaim:
    """Every measured claim can come out either way."""

    @pytest.mark.parametrize("claim", LIKE_THE_PAPER)
    def test_runs_like_the_paper_s_confirm_it(self, claim: str) -> None:
        verdict = verdict_on(claim, LIKE_THE_PAPER[claim]())
        assert verdict.headline == f"confirmed at 1 seed{SIZE.get(claim, '')}"
        assert {part.outcome for part in verdict.parts} == {"confirmed"}

    @pytest.mark.parametrize(("claim", "other"), UNLIKE_THE_PAPER)
    def test_runs_unlike_the_paper_s_do_not(self, claim: str, other: Callable[[], Result]) -> None:
        runs = without_its_like(LIKE_THE_PAPER[claim](), other())
        assert len(runs) == len(LIKE_THE_PAPER[claim]()) - 1
        assert verdict_on(claim, [*runs, other()]).headline == f"not confirmed at 1 seed{SIZE.get(claim, '')}"

    @pytest.mark.parametrize(("claim", "other"), UNLIKE_THE_PAPER)
    def test_it_is_pending_without_all_its_runs(self, claim: str, other: Callable[[], Result]) -> None:
        verdict = verdict_on(claim, without_its_like(LIKE_THE_PAPER[claim](), other()))
        assert verdict.outcome == "pending"
        of = verdict.open + len(verdict.parts)
        assert verdict.headline == f"pending; {verdict.open} of {of} sentences still without runs"


def test_one_false_sentence_is_enough_while_others_wait() -> None:
    runs = [copying_run("lstm", 0.17), copying_run("ln", 0.13), copying_run("atn", 0.15)]
    headline = verdict_on("table-1", runs).headline
    assert headline == "not confirmed at 1 seed; 2 of 4 sentences still without runs"


def test_the_measured_claims_of_the_registry_are_those_that_get_a_verdict(tmp_path: Path) -> None:
    measured = {claim.id: claim.experiment for claim in load_claims().values() if claim.verdict == "measured"}
    verdicts = measured_verdicts(tmp_path)
    # Those of the Lyapunov spectra are held in `tests/related/test_spectrum_study.py`.
    of_spectra = {claim for claim, task in measured.items() if task.startswith("spectrum")}
    assert verdicts.keys() == measured.keys()
    assert measured.keys() - of_spectra == LIKE_THE_PAPER.keys() == {claim for claim, _ in UNLIKE_THE_PAPER}
    assert {verdict.outcome for verdict in verdicts.values()} == {"pending"}
    sentences = [(study.task, sentence) for study in STUDIES for case in study.cases for sentence in case.sentences]
    judged = {(claim, task) for task, sentence in sentences for claim in sentence.claims}
    assert judged >= set(measured.items())
    assert {(claim, task) for claim, task in judged if claim not in of_spectra} == {
        (claim, task) for claim, task in measured.items() if claim not in of_spectra
    }


def test_every_task_measures_a_claim_and_a_claim_waits_for_a_task() -> None:
    assert {claim.experiment for claim in load_claims().values()} - {""} == set(TASKS)


def test_verdicts_on_a_folder_are_those_on_its_runs(tmp_path: Path) -> None:
    for model in MODELS:
        write_run(tmp_path, "copying", model, falls_to(TABLE_1[100][model].train), preset="released")
    verdict = measured_verdicts(tmp_path)["table-1"]
    assert verdict.headline == "pending; 2 of 4 sentences still without runs"
    assert [part.outcome for part in verdict.parts] == ["confirmed"] * 2


class TestSeeds:
    """Several seeds, and seeds that do not have all the runs."""

    def test_seeds_that_disagree_are_inconclusive(self) -> None:
        runs = [*copying_runs(100), *copying_runs(200)]
        runs += [copying_run(model, TABLE_1[100][model].train, seed=1) for model in MODELS]
        verdict = verdict_on("table-1", runs)
        assert (verdict.outcome, [part.seeds for part in verdict.parts]) == ("confirmed", [2, 2, 1, 1])
        runs += [copying_run("lstm", 0.17, seed=2), copying_run("ln", 0.15, seed=2), copying_run("atn", 0.16, seed=2)]
        verdict = verdict_on("table-1", runs)
        assert verdict.headline == "inconclusive at 1 seed"
        assert [part.outcome for part in verdict.parts] == ["inconclusive", *["confirmed"] * 3]

    def test_a_seed_without_the_other_model_does_not_count(self) -> None:
        runs = [*copying_runs(100), *copying_runs(200), copying_run("atn", 0.17, seed=1)]
        assert verdict_on("table-1", runs).headline == "confirmed at 1 seed"

    def test_a_seed_with_a_run_that_diverged_is_left_out_and_counted(self) -> None:
        runs = [*copying_runs(100), *copying_runs(200)]
        runs += [copying_run(model, TABLE_1[100][model].train, seed=1) for model in ("lstm", "ln")]
        bad = copying_run("atn", 0.17, seed=1, status="nan")
        assert verdict_on("table-1", [*runs, bad]).headline == (
            "confirmed at 1 seed; 1 seed left out, where a loss was not finite"
        )
        other = [
            copying_run("atn", 0.17, seed=1, status="nan", lr=1.0),
            copying_run("atn", 0.17, seed=1, status="nan", stamp=UNVERIFIED),
            copying_run("atn", 0.17, seed=2, status="interrupted"),
        ]
        assert verdict_on("table-1", [*runs, *other]).headline == "confirmed at 1 seed"

    def test_numbers_are_means_and_spreads(self) -> None:
        runs = [copying_run("atn", loss, seed=seed) for seed, loss in enumerate((0.12, 0.13, 0.14))]
        runs += [copying_run("ln", 0.15, seed=seed) for seed in range(3)]
        (part,) = verdict_on("table-1", runs).parts
        assert deciding_line(part) == (
            "ATN is below LN (T = 100, `released`): confirmed by the minimum, "
            "ATN 0.1300 ± 0.01 / 0.1300 ± 0.01, LN 0.1500 ± 0 / 0.1500 ± 0, "
            "paired difference -0.02 [-0.045, +0.0048] / -0.02 [-0.045, +0.0048]"
        )
        assert len(part.runs) == 6


class TestWhichRunsDecide:
    """Runs of a preset as it is, with a stamp."""

    @pytest.mark.parametrize("change", [{"k": 25}, {"steps": 2000}, {"stamp": UNVERIFIED}, {"status": "interrupted"}])
    def test_changed_shortened_unverified_and_unfinished_runs_do_not(self, change: dict[str, Any]) -> None:
        runs = [run for run in (*copying_runs(100), *copying_runs(200)) if run.record.model != "atn"]
        deciding = [copying_run("atn", TABLE_1[T]["atn"].train, T=T) for T in (100, 200)]
        others = [copying_run("atn", TABLE_1[T]["atn"].train, T=T, **change) for T in (100, 200)]
        assert verdict_on("table-1", [*runs, *deciding]).outcome == "confirmed"
        assert verdict_on("table-1", [*runs, *others]).parts == ()

    def test_presets_that_disagree_are_inconclusive_unless_one_was_run_in_part(self) -> None:
        released = [*copying_runs(100), *copying_runs(200)]
        in_part = [
            copying_run(model, TABLE_1[T][model].train, preset="paper", T=T)
            for T in (100, 200)
            for model in MODELS
            if (T, model) != (200, "atn")
        ]
        assert verdict_on("table-1", released + in_part).headline == "confirmed at 1 seed"
        other = copying_run("atn", 0.1, preset="paper", T=200)
        assert verdict_on("table-1", [*released, *in_part, other]).headline == "inconclusive at 1 seed"

    def test_presets_with_the_same_settings_are_one(self) -> None:
        within = {"lstm": 6000, "ln": 4000, "atn": 1500}
        others = [adding_run(m, TABLE_2[200][m].train, within[m], preset="paper", T=200) for m in MODELS]
        assert verdict_on("table-2", [*adding_runs(100), *others]).headline == "confirmed at 1 seed"

    def test_runs_of_a_reduced_size_say_so_and_decide_only_where_no_others_do(self) -> None:
        def runs(preset: PresetName, losses: Mapping[ModelName, Losses], models: Sequence[ModelName]) -> list[Result]:
            return [language_run("char-ptb", model, in_nats(losses[model]), preset=preset) for model in models]

        reduced = runs("budget", TABLE_4, MODELS)
        verdict = verdict_on("table-4", reduced)
        assert verdict.headline == "confirmed at 1 seed and at reduced size"
        assert deciding_line(verdict.parts[0]).startswith("ATN is below LN (`budget`, at reduced size): confirmed by")
        unlike = {**TABLE_4, "atn": TABLE_4["lstm"]}
        assert verdict_on("table-4", [*reduced, *runs("released", unlike, ["ln", "atn"])]).headline == verdict.headline
        assert (
            verdict_on("table-4", [*reduced, *runs("released", unlike, MODELS)]).headline == "not confirmed at 1 seed"
        )
        full = verdict_on("table-4", runs("released", TABLE_4, MODELS))
        both = full._replace(deciding=(*full.deciding, *verdict.deciding))  # as of a claim that spans two studies
        assert both.headline == "confirmed at 1 seed and partly at reduced size"

    def test_denoise_without_replacement_is_judged_and_decides_nothing(self) -> None:
        runs = [make_run("denoise", m, falls_to(TABLE_3[100][m].train, 0.2), T=100, replace=False) for m in MODELS]
        assert verdict_on("table-3", runs).parts == ()
        assert outcomes("denoise", runs)["ATN is below LN"] == ["confirmed"] * 3


def outcomes(task: str, runs: Iterable[Result]) -> dict[str, list[str]]:
    """Sentence -> outcome by each measure, of the sentences with runs, in the paper's study of the task."""
    return outcomes_in(next(study for study in STUDIES if study.task == task), runs)


def outcomes_in(study: Study, runs: Iterable[Result]) -> dict[str, list[str]]:
    """The same in any study."""
    verdicts = judge(study, gathered(runs))
    return {
        verdict.sentence.says: [found.outcome for found in verdict.findings] for verdict in verdicts if verdict.seeds
    }


class TestSentences:
    """Forms of sentences."""

    def test_at_200_the_paper_has_lstm_and_ln_level(self) -> None:
        found = outcomes("copying", copying_runs(200))
        assert found["LSTM does not get below the baseline (0.09452)"] == ["confirmed"] * 3
        assert found["LN does not get below the baseline (0.09452)"] == ["confirmed"] * 3
        assert found["ATN gets below the baseline (0.09452)"] == ["confirmed"] * 3
        assert found["LN is no lower than LSTM"] == ["confirmed"] * 3

    def test_losses_within_the_margin_are_level(self) -> None:
        runs = [copying_run("ln", 0.150), copying_run("atn", 0.149)]
        assert outcomes("copying", runs)["ATN is below LN"] == ["not confirmed"] * 3

    def test_one_of_training_and_validation_is_not_enough(self) -> None:
        def worse(*_: object) -> dict[str, float]:
            return {"validation": 0.16}

        found = outcomes("copying", [copying_run("ln", 0.15), copying_run("atn", 0.12, measured=worse)])
        assert found["ATN is below LN"] == ["not confirmed"] * 3
        assert found["ATN gets below the baseline (0.1733)"] == ["confirmed"] * 3

    def test_the_minimum_and_the_final_value_are_told_apart(self) -> None:
        spoiled = make_run(
            "copying", "atn", lambda step: 0.12 if step == 2000 else 0.17, preset="released", measured=level
        )
        assert outcomes("copying", [copying_run("ln", 0.15), spoiled])["ATN is below LN"] == [
            "confirmed",
            "not confirmed",
            "not confirmed",
        ]

    def test_the_first_steep_fall(self) -> None:
        says = "ATN falls at least as steeply as LN at first"
        slow = make_run("copying", "atn", falls_to(0.13, within=2000), preset="released")
        assert outcomes("copying", copying_runs(100))[says] == ["confirmed"]
        assert outcomes("copying", [copying_run("ln", 0.15), slow])[says] == ["not confirmed"]

    @pytest.mark.parametrize(
        ("factor", "outcome"), [(1.9, "confirmed"), (2.1, "not confirmed"), (0.4, "not confirmed")]
    )
    def test_curves_that_part_or_close_up_are_not_parallel(self, factor: float, outcome: str) -> None:
        def curve(step: int) -> float:
            return 0.0005 * (1 if step <= 15_000 else factor)

        runs = [adding_run("ln", 0.001, 1000), make_run("adding", "atn", curve, preset="released")]
        assert outcomes("adding", runs)["then ATN runs parallel to LN"] == [outcome]

    def test_the_exact_variance_is_met_or_not(self) -> None:
        says = "Without a gain on W_hh h the variance of c is Var c (1 - B^t)"
        exact = variance_run("prop", 1.0, gamma_hh=0.0)
        assert outcomes("norm-variance", [exact])[says] == ["confirmed"]
        measured = {**exact.points[-1].measured, "c variance 7": exact.points[-1].measured["c variance 7"] * 1.04}
        other = exact._replace(points=[exact.points[-1]._replace(measured=measured)])
        assert outcomes("norm-variance", [other])[says] == ["not confirmed"]

    @pytest.mark.parametrize(
        ("loss", "below_ln", "below_it"), [(0.14, True, True), (0.13, True, False), (0.16, False, True)]
    )
    def test_detached_atn_stands_between_ln_and_atn_or_not(
        self, loss: float, *, below_ln: bool, below_it: bool
    ) -> None:
        found = outcomes_in(DETACHED, [*copying_runs(100), copying_run("detached", loss)])
        words = {True: ["confirmed"] * 3, False: ["not confirmed"] * 3}
        assert found["detached ATN is below LN"] == words[below_ln]
        assert found["ATN is below detached ATN"] == words[below_it]
        assert found["detached ATN gets below the baseline (0.1733)"] == ["confirmed"] * 3

    def test_a_training_minimum_of_a_language_model_is_of_an_epoch(self) -> None:
        def lucky(step: int) -> float:
            return 0.1 if step == 800 else 1.0

        def measured(step: int, _: float) -> dict[str, float]:
            return {"validation": 1.0 + step / 1e6, "validation_carried": 1.0}

        runs = [
            make_run("char-ptb", "atn", lucky, measured=measured),
            language_run("char-ptb", "ln", Losses(1.0, 1.1)),
        ]
        (part,) = [part for part in verdict_on("table-4", runs).parts if "LN" in part.sentence.needs]
        # The epoch of the lucky window is lower by 0.9 / 713 nats than 1 / ln 2 = 1.443 bits.
        assert part.findings[0].numbers.startswith("ATN 1.441 / 1.444")
        assert part.outcome == "not confirmed"


def test_what_was_recorded_here_gets_a_verdict() -> None:
    assert measured_verdicts(Path(__file__).parents[3] / "experiments" / "runs")["table-1"].parts
