"""The study of zero shares: what a run draws, counts and keeps, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.cli.main import main
from experiments.related.hippo import zero_share
from experiments.related.hippo.zero_proportion import zero_shares
from experiments.related.hippo.zero_share import MODELS, PRESETS, ZeroShare, flagged
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import load_record

CPU = torch.device("cpu")


def test_a_step_is_a_data_set_of_its_own_and_the_same_again() -> None:
    first, again = (ZeroShare(PRESETS["smoke"], "equal", CPU) for _ in range(2))
    assert first.measure(1) == again.measure(1) != first.measure(2)
    other = ZeroShare(dataclasses.replace(PRESETS["smoke"], seed=1), "equal", CPU)
    assert other.measure(1) != first.measure(1)
    assert first.loss(1).item() == pytest.approx(first.measure(1)[VALIDATION])


def test_flagged_genes_are_counted_in_all_cells_within_types_and_in_random_cells() -> None:
    """Genes that one type alone has are in excess of zeros in all cells and within no type."""
    rng = np.random.default_rng(0)
    types = np.repeat([0, 1, 2], [60, 20, 20])
    X = rng.poisson(np.where(types == 0, 4.0, 0.0), (40, 100))
    found = flagged(X, types, 2.0, rng)
    assert found.whole == (zero_shares(X).z > 2).sum() == 40
    assert found.within < 3
    assert found.within < found.random <= 40


def test_unequal_depth_is_the_model_s() -> None:
    assert PRESETS["paper"].design("equal").depth_deviation == 0
    assert PRESETS["paper"].design("unequal").depth_deviation == PRESETS["paper"].depth_deviation > 0


def command(runs: Path, *more: str) -> list[str]:
    return ["zero-share", "--preset", "smoke", "--unverified", "--runs", str(runs), *more]


def test_a_command_makes_a_run_of_each_depth(tmp_path: Path) -> None:
    assert main(command(tmp_path)) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [
        f"zero-share-smoke-{model}-seed0" for model in MODELS
    ]
    for folder in tmp_path.iterdir():
        record = load_record(folder)
        assert record is not None
        assert record.status == "finished"
        rows = read_metrics(folder / METRICS, 2)
        assert [set(row.measured) for row in rows] == [{VALIDATION, "whole", "within", "random"}] * 2
        assert [row.train for row in rows] == pytest.approx([row.measured[VALIDATION] for row in rows], abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "20"), "sizes is (20,); it must be two integers or more, each at least 2"),
        (("--sizes", "20", "1"), "sizes is (20, 1); it must be two integers or more, each at least 2"),
        (("--markers", "20"), "markers is (20,); it must have a number for each of sizes"),
        (("--markers", "200", "200"), "together at most genes, 300"),
        (("--fold", "-1"), "fold is -1.0; it must be at least 0"),
        (("--genes", "0"), "genes is 0; it must be at least 1"),
        (
            ("--model", "atn"),
            "invalid choice 'atn' for argument '--model'. Expected one of ('equal', 'unequal', 'all')",
        ),
        (
            ("--preset", "released"),
            "invalid choice 'released' for argument '--preset'. Expected one of ('paper', 'demo', 'smoke')",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, *arguments)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_random_cell_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the control: as many cells as each cluster has, and no cell twice."""
    seen: list[Any] = []

    def noted(X: Any) -> Any:
        seen.append(X[0])
        return zero_shares(X)

    monkeypatch.setattr(zero_share, "zero_shares", noted)
    flagged(np.arange(20).reshape(1, 20), np.repeat([0, 1], [12, 8]), 2.0, np.random.default_rng(0))
    assert [len(set(cells.tolist())) for cells in seen] == [20, 12, 8, 12, 8]
