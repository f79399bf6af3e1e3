"""The matrix of claims shows what was found of the measured ones."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.report.verdicts import claim_verdicts
from experiments.training.settings import ModelName
from proofs.claims import load_claims, load_papers
from tests.support.experiment_runs import falls_to, gathered, make_run, write_run
from tests.verification import matrix

LOSSES: Mapping[ModelName, float] = {"lstm": 0.3, "ln": 0.2, "atn": 0.1}


def cells(text: str, claim: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| **{claim}**")]
    return line[2:-2].split(" | ")


def no_evidence() -> dict[str, Any]:
    return {claim: {"tests": [], "errors": []} for claim in load_claims()}


def test_a_measured_claim_has_its_verdict_numbers_and_runs() -> None:
    runs = [
        make_run("copying", model, falls_to(loss), preset="released", T=T, seed=seed)
        for model, loss in LOSSES.items()
        for T in (100, 200)
        for seed in range(3)
    ]
    text = matrix.render(load_papers(), no_evidence(), claim_verdicts(gathered(runs)))
    row = cells(text, "table-1")
    assert row[2] == "**measured**: confirmed at 3 seeds"
    assert row[4].startswith(
        "ATN is below LN (T = 100, `released`): confirmed by the minimum, "
        "ATN 0.1000 ± 0 / 0.1010 ± 0, LN 0.2000 ± 0 / 0.2010 ± 0, "
        "paired difference -0.1 [-0.1, -0.1] / -0.1 [-0.1, -0.1]<br>"
    )
    assert row[4].count("`copying-released-T100-atn-seed") == 3
    assert cells(text, "figure-2")[2] == "**measured**: not confirmed at 3 seeds"
    assert cells(text, "table-2")[2:5] == [
        "**measured**: pending; 4 of 4 sentences still without runs",
        "—",
        "none yet",
    ]
    assert "2 measured and confirmed, 3 measured and not confirmed, 14 measured and pending" in text


def test_every_paper_has_a_section_with_its_own_claims_and_tally() -> None:
    papers = load_papers()
    text = matrix.render(papers, no_evidence(), claim_verdicts(gathered([])))
    sections = text.split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == [paper.title for paper in papers]
    for paper, section in zip(papers, sections, strict=True):
        assert f"{paper.source}. {len(paper.claims)} claims: " in section
        assert re.findall(r"^\| \*\*(\S+)\*\*", section, flags=re.MULTILINE) == list(paper.claims)


@pytest.mark.parametrize("arguments", [[], ["nowhere.json"], ["a", "b"]], ids=len)
def test_without_evidence_it_says_how_to_call_it(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: python -m tests.verification.matrix FILE")


def test_another_number_is_another_matrix() -> None:
    """Digits of errors are blanked before two matrices are compared, digits of verdicts are not."""
    texts = []
    for shift in (0.0, 0.01):
        runs = gathered(make_run("copying", model, falls_to(loss + shift)) for model, loss in LOSSES.items())
        texts.append(matrix.render(load_papers(), no_evidence(), claim_verdicts(runs)))
    assert not matrix.same_but_for_digits(*texts)


def test_the_command_rewrites_a_matrix_without_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(matrix, "DOCUMENT", tmp_path / "VERIFICATION.md")
    shown = {"claims": {claim: {"tests": ["tests/test_a.py::test_b"], "errors": []} for claim in load_claims()}}
    evidence = tmp_path / "evidence.json"
    evidence.write_text(json.dumps(shown))
    assert [matrix.main([str(evidence)]) for _ in range(2)] == [1, 0]
    for model, loss in LOSSES.items():
        write_run(tmp_path / "runs", "copying", model, falls_to(loss))
    assert [matrix.main([str(evidence)]) for _ in range(2)] == [1, 0]
    assert "ATN is below LN (T = 100, `paper`): confirmed" in (tmp_path / "VERIFICATION.md").read_text("utf-8")
    assert "look at it and commit it" in capsys.readouterr().out
