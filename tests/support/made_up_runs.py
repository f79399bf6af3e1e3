"""Runs that were made up to agree with what the paper says, or not to, and what the report finds in them."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

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
from experiments.report.studies.registry import STUDIES
from experiments.report.verdicts import ClaimVerdict, claim_verdicts, judge
from experiments.tasks import char_ptb, norm_statistics, norm_variance
from experiments.training.settings import MODELS, ModelName
from tests.support.experiment_runs import falls_to, gathered, make_run


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


def outcomes(task: str, runs: Iterable[Result]) -> dict[str, list[str]]:
    """Sentence -> outcome by each measure, of the sentences with runs, in the paper's study of the task."""
    return outcomes_in(next(study for study in STUDIES if study.task == task), runs)


def outcomes_in(study: Study, runs: Iterable[Result]) -> dict[str, list[str]]:
    """The same in any study."""
    verdicts = judge(study, gathered(runs))
    return {
        verdict.sentence.says: [found.outcome for found in verdict.findings] for verdict in verdicts if verdict.seeds
    }


def verdict_on(claim: str, runs: Iterable[Result]) -> ClaimVerdict:
    return claim_verdicts(gathered(runs))[claim]
