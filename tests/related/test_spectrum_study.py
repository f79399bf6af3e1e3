"""The studies of Lyapunov spectra: their runs, what these measure, and the sentences that they decide."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from atn import ATNLSTM
from atn.lyapunov import spectrum
from experiments.cli.main import main
from experiments.related.lyapunov import initial_spectrum, trained_spectrum
from experiments.related.lyapunov.exponents import read_exponents
from experiments.related.lyapunov.initial_spectrum import InitialSpectrum
from experiments.related.lyapunov.trained_spectrum import RELEASED, TrainedSpectrum, natural
from experiments.report.results import Result
from experiments.report.studies.spectrum import SPECTRUM, TRAINED_SPECTRUM
from experiments.report.verdicts import CONFIRMED, NOT_CONFIRMED, judge
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import load_record
from experiments.training.settings import MODELS
from tests.support.comparison import assert_close
from tests.support.experiment_runs import gathered, make_run

CPU = torch.device("cpu")


def measured(problem: InitialSpectrum | TrainedSpectrum) -> dict[str, float]:
    """What the first validation of a problem measures, in the conditions of a run."""
    problem.model.eval()
    with torch.no_grad():
        return {name: value.item() for name, value in problem.validation(1).items()}


def test_the_parts_of_the_study_at_initialization() -> None:
    paper = initial_spectrum.PAPER
    parts = initial_spectrum.plan("paper", paper, MODELS)
    found = [(part.model, part.settings.init, part.settings.k) for part in parts]  # type: ignore[attr-defined]  # of the study's settings
    models = [("lstm", 1), ("ln", 1), ("atn", 2), ("atn", 5), ("atn", 20)]
    assert found == [(model, init, k) for init in ("torch", "paper") for model, k in models]
    one = dataclasses.replace(paper, k=7, init="paper")
    assert [(part.model, part.settings) for part in initial_spectrum.plan("paper", one, MODELS)] == [("atn", one)]


def test_exponents_at_initialization_are_those_of_the_library() -> None:
    settings = dataclasses.replace(initial_spectrum.PRESETS["smoke"], k=3, init="paper")
    problem = InitialSpectrum(settings, "atn", CPU)
    found = read_exponents(measured(problem))
    assert isinstance(problem.model, ATNLSTM)
    expected = spectrum(problem.model, problem.x, count=6, burn_in=4)
    assert_close(found.mean, expected.mean[0], quantity="exact", backend="auto")
    assert_close(found.spread, expected.spread[0], quantity="exact", backend="auto")
    before = [parameter.clone() for parameter in problem.model.parameters()]
    torch.autograd.backward(problem.loss(1))
    problem.update(1)
    assert all(map(torch.equal, before, problem.model.parameters()))


def test_exponents_in_training_are_those_of_the_validation_text() -> None:
    settings = dataclasses.replace(trained_spectrum.PRESETS["smoke"], lr=0.01)
    problem = TrainedSpectrum(settings, "atn", CPU)
    found = read_exponents(measured(problem))
    x = problem.model.embedding(problem.columns["validation"][:12, :2])
    (layer,) = problem.model.layers
    assert isinstance(layer, ATNLSTM)
    expected = spectrum(layer, x, count=3, burn_in=5)
    assert_close(found.mean, expected.mean[0], quantity="exact", backend="auto")
    assert len(found.spread) == 3


@pytest.mark.parametrize(("task", "parts"), [("spectrum", 6), ("spectrum-ptb", 3)])
def test_a_command_makes_every_run_with_its_exponents(task: str, parts: int, tmp_path: Path) -> None:
    assert main([task, "--preset", "smoke", "--unverified", "--runs", str(tmp_path)]) == 0
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == parts
    for folder in folders:
        record = load_record(folder)
        assert record is not None
        assert record.status == "finished"
        exponents = read_exponents(read_metrics(folder / METRICS, record.step)[-1].measured)
        assert len(exponents.mean) == record.settings["exponents"]
        assert all(map(math.isfinite, exponents.mean + exponents.spread))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spectrum", "--length", "9", "--burn-in", "9"], "length is 9; it must be more than burn_in, 9"),
        (["spectrum", "--k", "40", "--burn-in", "9"], "burn_in is 9; it must be at least k - 1"),
        (["spectrum", "--sequences", "1"], "sequences is 1; it must be at least 2"),
        (["spectrum", "--exponents", "65"], "exponents is 65; it must be at most 64"),
        (
            ["spectrum", "--preset", "released"],
            "invalid choice 'released' for argument '--preset'. Expected one of ('paper', 'demo', 'smoke')",
        ),
        (["spectrum-ptb", "--length", "80"], "length is 80; it must be more than burn_in, 80"),
        (
            ["spectrum-ptb", "--preset", "smoke", "--length", "201"],
            "length and sequences are 201 and 2; they must",
        ),
        (
            ["spectrum-ptb", "--preset", "smoke", "--sequences", "3"],
            "length and sequences are 12 and 3; they must",
        ),
        (["spectrum-ptb", "--k", "82"], "burn_in is 80; it must be at least k - 1"),
        (["spectrum-ptb", "--exponents", "129"], "exponents is 129; it must be at most 128"),
        (["spectrum-ptb", "--lr", "-1"], "lr is -1.0; it must be at least 0"),
        (["spectrum", "--model", "lstm", "--k", "3"], "spectrum has no such run"),
    ],
)
def test_wrong_settings(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--unverified", "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


Measure = Callable[[int], float]
"""A measurement at the validation after a step."""


def run(task: str, model: Any, first: Measure, loss: Measure = lambda _: 2.0, slow: int = 1, **where: Any) -> Result:
    """A run whose first exponent is `first` and of which `slow` exponents are slow."""

    def values(step: int, _: float) -> dict[str, float]:
        others = {f"lambda {i}": -0.1 if i <= slow else -1.0 for i in range(2, 61)}
        spreads = {f"spread {i}": 0.01 for i in range(1, 61)}
        return {"validation": loss(step), "lambda 1": first(step), **others, **spreads}

    return make_run(task, model, lambda _: 2.0, measured=values, **where)


def outcomes(study: Any, results: list[Result]) -> dict[str, str]:
    """Outcome of each sentence, by its words; of several cases they are those of the last."""
    return {verdict.sentence.says: verdict.outcome for verdict in judge(study, gathered(results))}


def test_sentences_at_initialization() -> None:
    def results(exploding: float, slow: tuple[int, ...]) -> list[Result]:
        parts = initial_spectrum.plan("paper", initial_spectrum.PAPER, MODELS)
        counts = dict(zip((1, 2, 5, 20), slow, strict=True))
        values = {"lstm": -0.4, "ln": -0.1, "atn": exploding}
        return [
            run("spectrum", part.model, lambda _, m=part.model: values[m], slow=counts[s.k], init=s.init, k=s.k)  # type: ignore[misc]  # m is bound early
            for part in parts
            if isinstance(s := part.settings, initial_spectrum.SpectrumSettings) and s.k is not None
        ]

    good = outcomes(SPECTRUM, results(-0.05, (3, 4, 8, 20)))
    assert set(good.values()) == {CONFIRMED}
    bad = outcomes(SPECTRUM, results(0.06, (3, 4, 4, 20)))
    assert bad["The norm of the gradients is controlled under ATN (k = 5)"] == NOT_CONFIRMED
    assert bad["The norm of the gradients is controlled under LN"] == CONFIRMED
    assert bad["A longer window adds slow directions"] == NOT_CONFIRMED


def test_sentences_in_training() -> None:
    """The shape of the released statistics: lambda_1 rises, and the lowest loss is not at the highest rate."""

    def results(loss: dict[float, float], sign: float) -> list[Result]:
        return [
            run("spectrum-ptb", m, lambda step, r=r: sign * (r * 10 + step / 1e4 - 0.15), lambda _, r=r: loss[r], lr=r)  # type: ignore[misc]  # r is bound early
            for m in MODELS
            for r in RELEASED
        ]

    rising = outcomes(TRAINED_SPECTRUM, results({0.001: 2.0, 0.002: 1.9, 0.005: 1.8, 0.01: 1.7}, 1.0))
    assert set(rising.values()) == {CONFIRMED}
    best_elsewhere = outcomes(TRAINED_SPECTRUM, results({0.001: 2.0, 0.002: 1.9, 0.005: 1.6, 0.01: 1.7}, 1.0))
    assert best_elsewhere["The loss is lowest where the first exponent is nearest to 0 (LN)"] == NOT_CONFIRMED
    falling = outcomes(TRAINED_SPECTRUM, results({0.001: 2.0, 0.002: 1.9, 0.005: 1.8, 0.01: 1.7}, -1.0))
    assert falling["The first exponent rises with training (LSTM)"] == NOT_CONFIRMED
    assert falling["The first exponent rises with the learning rate (ATN)"] == NOT_CONFIRMED
    assert falling["No gradient explodes in training under ATN"] == NOT_CONFIRMED
    assert falling["No gradient vanishes in training under ATN"] == CONFIRMED


@pytest.mark.parametrize(("exponent", "word"), [(0.06, "explodes"), (-0.21, "vanishes")])
def test_every_validation_of_every_rate_counts(exponent: float, word: str) -> None:
    """A first exponent that is out of bounds in the middle of one run alone."""

    def of(rate: float, step: int) -> float:
        return exponent if (rate, step) == (0.005, 200) else -0.1

    results = [run("spectrum-ptb", "ln", lambda step, r=r: of(r, step), lambda _: 2.0, lr=r) for r in RELEASED]  # type: ignore[misc]  # r is bound early
    found = outcomes(TRAINED_SPECTRUM, results)
    says = {each: found[f"No gradient {each} in training under LN"] for each in ("explodes", "vanishes")}
    assert says == {each: NOT_CONFIRMED if each == word else CONFIRMED for each in says}


def test_released_rates_are_in_bits() -> None:
    assert natural(-1.0) == -math.log(2)
    assert list(RELEASED) == list(trained_spectrum.RATES["paper"])


def test_the_loss_in_training_is_of_the_validation_text() -> None:
    problem = TrainedSpectrum(dataclasses.replace(trained_spectrum.PRESETS["smoke"], lr=0.01), "ln", CPU)
    with torch.no_grad():
        assert problem.validation(1)[VALIDATION] == problem.evaluate(problem.model, "validation", carry=False)
