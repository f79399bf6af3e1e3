"""What the paper says, held against runs that were made up to agree with it, or not to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.catalog.registry import TASKS
from experiments.report.paper_numbers import TABLE_1, TABLE_2, TABLE_3, TABLE_4, Losses
from experiments.report.results import Result
from experiments.report.studies.registry import STUDIES
from experiments.report.verdicts import deciding_line, measured_verdicts
from experiments.training.records.record import UNVERIFIED
from experiments.training.settings import MODELS, ModelName, PresetName
from proofs.claims import load_claims
from tests.support.experiment_runs import falls_to, make_run, write_run
from tests.support.made_up_runs import (
    PUBLISHED,
    adding_run,
    adding_runs,
    character_runs,
    copying_run,
    copying_runs,
    denoise_run,
    denoise_runs,
    in_nats,
    language_run,
    message_run,
    message_runs,
    norm_prop_run,
    norm_prop_runs,
    one_example_run,
    one_example_runs,
    outcomes,
    pixel_run,
    readouts_run,
    readouts_runs,
    statistics_run,
    statistics_runs,
    timed_run,
    timed_runs,
    variance_run,
    verdict_on,
    window_run,
    window_runs,
    word_runs,
    zero_share_run,
    zero_share_runs,
)

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
    # What counts as constant under LN does not vary under ATN, however little LN's varies.
    ("figure-6", lambda: statistics_run(55, {"hh": 0.1, "ih": 0.03, "c": 0.2}, lasting=55)),
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


def test_a_claim_with_sentences_that_wait_is_pending_though_another_is_inconclusive() -> None:
    models: dict[ModelName, tuple[float, float]] = {"lstm": (0.18, 0.18), "ln": (0.15, 0.15), "atn": (0.12, 0.17)}
    runs = [copying_run(model, losses[seed], seed=seed) for model, losses in models.items() for seed in (0, 1)]
    assert verdict_on("table-1", runs).headline == "pending; 2 of 4 sentences still without runs"


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


def test_what_was_recorded_here_gets_a_verdict() -> None:
    assert measured_verdicts(Path(__file__).parents[3] / "experiments" / "runs")["table-1"].parts
