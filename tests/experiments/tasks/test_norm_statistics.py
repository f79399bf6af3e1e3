"""The statistics after the norms: that they are those of the model, and how a run keeps them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.cli.main import main
from experiments.tasks.norm_statistics import (
    NORMS,
    PRESETS,
    Curves,
    NormName,
    Statistics,
    normalized,
    plan,
    read_statistics,
)
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import load_record
from experiments.training.settings import MODELS, ModelName

CPU = torch.device("cpu")
TINY = dataclasses.replace(PRESETS["smoke"], T=7, batch=3, hidden=5, k=3)


def problem(model: ModelName, **fields: Any) -> Statistics:
    """The tiny problem with other fields."""
    return Statistics(dataclasses.replace(TINY, **fields), model, CPU)


def curves(statistics: Statistics) -> Mapping[NormName, Curves]:
    """What the first iteration measures."""
    statistics.loss(1)
    with torch.no_grad():
        measured = {name: value.item() for name, value in statistics.validation(1).items()}
    return read_statistics(measured)


@pytest.mark.parametrize("model", ["ln", "atn"])
@pytest.mark.parametrize("placement", ["inside", "outside"])
def test_the_gates_of_the_normalized_values_are_those_of_the_model(model: ModelName, placement: str) -> None:
    lstm = problem(model, bias_placement=placement, init="torch").model.lstm.double()
    x = torch.randn(9, 4, 2, generator=torch.manual_seed(3), dtype=torch.float64)
    values = normalized(lstm, x)
    torch.testing.assert_close(values.h, lstm(x)[0])
    biases = 0 if placement == "inside" else lstm.get_parameter("bias_ih_l0") + lstm.get_parameter("bias_hh_l0")
    i, f, g, o = torch.chunk(values.hh + values.ih + biases, 4, dim=2)
    # Eq. (15) gives c anew from the gates, Eq. (16) h from c as it is after its norm.
    c = torch.zeros_like(values.c[0])
    raw = []
    for t in range(9):
        c = f[t].sigmoid() * c + i[t].sigmoid() * g[t].tanh()
        raw.append(c)
    torch.testing.assert_close(raw[-1][None], lstm(x)[1][1])
    torch.testing.assert_close(o.sigmoid() * values.c.tanh(), values.h)


def test_the_norms_have_no_gains_and_shifts() -> None:
    assert sorted(name for name, _ in problem("atn").model.lstm.named_parameters()) == [
        "bias_hh_l0",
        "bias_ih_l0",
        "weight_hh_l0",
        "weight_ih_l0",
    ]


def test_curves_are_statistics_over_the_features_averaged_over_the_batch() -> None:
    statistics = problem("atn")
    x, _ = statistics.batch("train", 1)
    with torch.no_grad():
        y = normalized(statistics.model.lstm, x).ih
    found = curves(statistics)["ih"]
    for t in range(TINY.T):
        cases = y[t].double().numpy()
        assert found.mean[t] == pytest.approx(cases.mean(axis=1).mean(), abs=1e-6)
        assert found.variance[t] == pytest.approx(cases.var(axis=1).mean(), rel=1e-5)


def test_of_ln_they_are_constant_and_of_atn_they_are_not() -> None:
    # Not 0: h is 0 before the first step.
    settings = {"hidden": 40, "eps": 1e-12, "T": 20}
    of_ln, of_atn = curves(problem("ln", **settings)), curves(problem("atn", k=8, **settings))
    assert of_ln["ih"].mean == pytest.approx([0] * 20, abs=1e-6)
    assert of_ln["ih"].variance == pytest.approx([1] * 20, rel=1e-5)
    for ln, atn in ((of_ln["ih"], of_atn["ih"]), (of_ln["c"], of_atn["c"])):
        assert max(ln.variance) - min(ln.variance) < 1e-4
        assert max(atn.variance) - min(atn.variance) > 0.1
    # The first step has no other step in its window.
    assert of_atn["ih"].variance[0] == pytest.approx(1, rel=1e-5)


def test_they_are_those_before_the_update() -> None:
    statistics = problem("atn")
    torch.autograd.backward(statistics.loss(1))
    before = statistics.validation(1)
    statistics.update(1)
    after = statistics.validation(1)
    assert before[VALIDATION] != after[VALIDATION]
    assert all(torch.equal(before[name], after[name]) for name in before if name != VALIDATION)


def test_the_presets_and_the_plan_are_the_paper_s() -> None:
    paper = PRESETS["paper"]
    assert (paper.T, paper.batch, paper.hidden, paper.steps, paper.validate_every) == (75, 50, 60, 1, 1)
    parts = plan("paper", paper, MODELS)
    assert [(part.task, part.model, part.settings) for part in parts] == [
        ("statistics", model, dataclasses.replace(paper, k=k))
        for model, k in [("ln", 1), ("atn", 5), ("atn", 25), ("atn", 55)]
    ]
    assert [part.model for part in plan("paper", paper, ["ln"])] == ["ln"]
    assert plan("paper", dataclasses.replace(paper, k=9), MODELS)[0].settings == dataclasses.replace(paper, k=9)
    assert plan("paper", paper, ["lstm"]) == []


def test_a_command_makes_a_run_of_each_model_with_its_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["statistics", "--preset", "smoke", "--unverified", "--runs", str(tmp_path)]
    assert main(command) == 0
    folders = {path.name: path for path in tmp_path.iterdir()}
    assert sorted(folders) == [
        "statistics-smoke-k1-ln-seed5544",
        "statistics-smoke-k2-atn-seed5544",
        "statistics-smoke-k4-atn-seed5544",
        "statistics-smoke-k8-atn-seed5544",
    ]
    folder = folders["statistics-smoke-k4-atn-seed5544"]
    record = load_record(folder)
    assert record is not None
    assert (record.status, record.step, record.settings["k"], record.differences) == ("finished", 1, 4, {})
    (row,) = read_metrics(folder / METRICS, 1)
    found = read_statistics(row.measured)
    assert tuple(found) == NORMS
    assert all(len(curve) == 10 for norm in found.values() for curve in norm)
    assert main([*command, "--model", "lstm"]) == 2
    assert "statistics has no such run" in capsys.readouterr().err
