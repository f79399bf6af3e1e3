"""The demonstration: the preset, and the table, figure and commands that its command ends with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.catalog.registry import TASKS
from experiments.cli import demonstration
from experiments.cli.demonstration import demonstrate, figure_name
from experiments.cli.main import main
from experiments.common.errors import ExperimentError
from experiments.report.studies.registry import STUDIES
from experiments.tasks.copying import PRESETS, Copying
from experiments.training.records.curve import CURVE
from experiments.training.records.record import Record, load_record
from experiments.training.settings import ModelName
from tests.support.commands import faults, nox_commands
from tests.support.experiment_runs import falls_to, write_run

TINY = ["--T=2", "--batch=4", "--hidden=6", "--k=3", "--steps=12", "--validate-every=5", "--unverified"]
PNG = b"\x89PNG"


def recorded(runs: Path, model: ModelName, loss: float, **options: Any) -> Record:
    """Record of a finished demonstration run whose loss ends at `loss`."""
    folder = write_run(runs, "copying", model, falls_to(loss, within=500), preset="demo", **options)
    record = load_record(folder)
    assert record is not None
    return record


def table(text: str) -> list[list[str]]:
    """Cells of the table's rows."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("model"))
    return [line.split("   ") for line in lines[start : lines.index("", start)]]


def cells(text: str) -> list[list[str]]:
    """Those of the table's cells that are not blank, without blanks around them."""
    return [[cell.strip() for cell in row if cell.strip()] for row in table(text)]


def test_the_table_has_the_baseline_and_each_model_s_loss_and_seconds(tmp_path: Path) -> None:
    losses: dict[ModelName, float] = {"lstm": 0.416, "ln": 0.312, "atn": 0.25}
    records = [recorded(tmp_path, model, loss, seconds=0.021) for model, loss in losses.items()]
    # 10 ln 8 / (30 + 20) = 0.41589
    assert cells(demonstrate(records, tmp_path)) == [
        ["model", "loss", "of baseline", "seconds"],
        ["baseline", "0.4159", "100%"],
        ["LSTM", "0.4160", "100%", "21"],
        ["LN", "0.3120", "75%", "21"],
        ["ATN", "0.2500", "60%", "21"],
    ]


def test_several_seeds_are_one_row_with_a_spread(tmp_path: Path) -> None:
    records = [recorded(tmp_path, "atn", loss, seed=seed) for seed, loss in enumerate((0.2, 0.3))]
    assert cells(demonstrate(records, tmp_path))[2:] == [["ATN", "0.2500 ± 0.07", "60%", "250"]]


def test_the_figure_is_drawn_from_the_runs_where_the_text_says(tmp_path: Path) -> None:
    pictures = []
    for runs, loss in ((tmp_path / "a", 0.3), (tmp_path / "b", 0.2)):
        text = demonstrate([recorded(runs, "lstm", 0.4), recorded(runs, "atn", loss)], runs)
        path = runs / "copying-demo-T30-lstm+atn-seed0.png"
        assert f"figure: {path}\n" in text
        pictures.append(path.read_bytes())
    assert [picture[:4] for picture in pictures] == [PNG, PNG]
    assert pictures[0] != pictures[1]


def test_the_figure_s_name_has_the_seeds_and_what_is_not_the_preset_s(tmp_path: Path) -> None:
    several = [recorded(tmp_path, "ln", 0.3, seed=seed, hidden=6) for seed in (3, 4)]
    assert figure_name(several[:1]) == "copying-demo-T30-ln-seed3-hidden=6.png"
    assert figure_name(several) == "copying-demo-T30-ln-2seeds-hidden=6.png"


def test_every_command_to_go_on_with_is_understood() -> None:
    commands = nox_commands(demonstration.NEXT)
    assert [command.session for command in commands] == ["experiments", "experiments", "verify"]
    assert commands[0].arguments == ("copying", "--preset", "demo", "--seeds", "1..2")
    assert [faults(command) for command in commands] == [[], [], []]


def test_the_command_ends_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["copying", "--preset", "demo", *TINY, "--runs", str(tmp_path)]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert [row[0] for row in cells(text)] == ["model", "baseline", "LSTM", "LN", "ATN"]
    assert "the last 12 training batches" in text
    assert text.endswith(f"{demonstration.NEXT}\n")
    (figure,) = tmp_path.glob("*.png")
    assert figure.read_bytes()[:4] == PNG
    figure.unlink()
    # The runs have ended; the command tells of them again.
    assert main(command) == 0
    assert capsys.readouterr().out == text
    assert figure.exists()


def test_a_loss_beyond_every_baseline_keeps_the_columns(tmp_path: Path) -> None:
    text = demonstrate([recorded(tmp_path, "ln", 1e33), recorded(tmp_path, "atn", 0.3)], tmp_path)
    (row,) = [line for line in text.splitlines() if line.startswith("LN ")]
    assert "over 1000%" in row


def test_other_presets_and_runs_without_an_end_end_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copying", "--preset", "smoke", *TINY, "--runs", str(tmp_path)]) == 0
    loss = Copying.loss

    def spoiled(self: Any, step: int) -> torch.Tensor:
        return loss(self, step) * (float("nan") if self.settings.seed == 1 else 1)

    monkeypatch.setattr(Copying, "loss", spoiled)
    assert main(["copying", "--preset", "demo", *TINY, "--seeds", "0..1", "--runs", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "figure" not in printed.out
    assert "experiments: " not in printed.err
    assert list(tmp_path.glob("*.png")) == []


def test_a_curve_of_another_run_is_refused(tmp_path: Path) -> None:
    record = recorded(tmp_path, "atn", 0.3)
    (tmp_path / record.name / CURVE).write_text("step\n")
    with pytest.raises(ExperimentError, match="is not the file that its record was written for"):
        demonstrate([record], tmp_path)


def test_a_figure_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    record = recorded(tmp_path, "atn", 0.3)
    (tmp_path / figure_name([record])).mkdir()
    with pytest.raises(ExperimentError, match=r"cannot write .*atn-seed0.png"):
        demonstrate([record], tmp_path)


def test_the_preset_trains_as_the_released_script_does() -> None:
    # A study of another system has one too, whose command ends like that of any other preset.
    having = ["copying", "one-example", "spectrum", "spectrum-ptb", "zero-share"]
    having += ["neuroview", "mptt", "mptt-seconds"]
    assert [name for name, task in TASKS.items() if "demo" in task.presets] == having
    changed = PRESETS["demo"].differences(PRESETS["released"])
    assert set(changed) == {"steps", "batch", "lr"}
    assert PRESETS["demo"].T == 30


def test_no_report_is_about_it() -> None:
    assert not [study.task for study in STUDIES for presets in study.presets if {"demo", "smoke"} & set(presets)]
