"""Options of a run: several seeds, TensorBoard, precision, compilation; and the time left."""

import dataclasses
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.catalog.registry import TASKS
from experiments.cli.command import parse_task, plan_runs
from experiments.cli.main import main
from experiments.cli.seeds import parse_seeds
from experiments.cli.train import without_folders
from experiments.common.errors import UsageError
from experiments.tasks.copying import Copying
from experiments.training.progress import Progress
from experiments.training.records.metrics import METRICS, read_metrics
from experiments.training.records.record import RECORD, Record, load_record
from experiments.training.run import Run
from experiments.training.settings import ModelName
from experiments.training.tensorboard_log import BOARD
from tests.support.interruptions import Died, dying
from tests.support.tiny_run import STEPS, tiny_run


def only_folder(runs: Path) -> Path:
    """Folder of the one run there is."""
    (folder,) = runs.iterdir()
    return folder


def records(runs: Path) -> list[Record]:
    """Records of all runs, in the order of their names."""
    return [record for folder in sorted(runs.iterdir()) if (record := load_record(folder)) is not None]


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (3,)), ("0..4", (0, 1, 2, 3, 4)), ("5,0..2, 1", (5, 0, 1, 2)), ("7..7", (7,))]
)
def test_seeds_are_a_list_of_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4..0", "0-4", "-1", "1,", "0..", "0..2..4", "one", "1.5", "²"])
def test_what_is_no_list_of_seeds(text: str) -> None:
    with pytest.raises(UsageError, match=f"--seeds {re.escape(text)}: .* is neither a seed nor a range"):
        parse_seeds(text)


def test_each_seed_is_a_run_of_its_own(tmp_path: Path) -> None:
    assert main(tiny_run(tmp_path / "together", "--seeds", "0..1")) == 0
    assert [record.settings["seed"] for record in records(tmp_path / "together")] == [0, 1]
    for folder in sorted((tmp_path / "together").iterdir()):
        seed = folder.name.partition("seed")[2].partition("-")[0]
        assert main(tiny_run(tmp_path / seed, "--seed", seed)) == 0
        assert (only_folder(tmp_path / seed) / METRICS).read_bytes() == (folder / METRICS).read_bytes()


def test_a_loss_that_is_not_finite_does_not_stop_the_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Copying.loss

    def spoiled(self: Any, step: int) -> torch.Tensor:
        return loss(self, step) * (float("nan") if self.settings.seed == 1 else 1)

    monkeypatch.setattr(Copying, "loss", spoiled)
    assert main(tiny_run(tmp_path, "--seeds", "0..2")) == 1
    assert [record.status for record in records(tmp_path)] == ["finished", "nan", "finished"]


@pytest.mark.parametrize("seed", ["0", "5544"])
def test_one_seed_and_several_do_not_go_together(seed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tiny_run(tmp_path, "--seed", seed, "--seeds", "0..4")) == 2
    assert capsys.readouterr().err == "experiments: --seed and --seeds: give one of them\n"
    assert not list(tmp_path.iterdir())


def only_run(name: str, *arguments: str) -> Run:
    """The one run of a command."""
    (run,) = plan_runs(TASKS[name], parse_task(TASKS[name], arguments, "test"), "test")
    return run


def test_a_command_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Sequence[str]] = []
    original = tyro.cli

    def counting(*given: Any, args: Sequence[str], **named: Any) -> Any:
        read.append(args)
        return original(*given, args=args, **named)

    monkeypatch.setattr(tyro, "cli", counting)
    run = only_run("copying", "--T", "40", "--preset", "demo", "--model", "atn", "--lr=1e-3")
    assert read == [("--T", "40", "--preset", "demo", "--model", "atn", "--lr=1e-3")]
    assert (run.preset, run.model) == ("demo", "atn")
    assert run.settings == dataclasses.replace(TASKS["copying"].presets["demo"], T=40, lr=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments", "given"),
    [
        ("copying", ("--k", "None"), {"k": None}),
        ("copying", ("--compile",), {"compile": True}),
        ("denoise", ("--no-replace", "--clip", "1"), {"replace": False, "clip": 1.0}),
        ("denoise", ("--replace",), {}),
        ("char-ptb", ("--drops",), {"drops": ()}),
        ("char-ptb", ("--drops", "3", "5"), {"drops": (3, 5)}),
    ],
)
def test_a_flag_replaces_the_preset_s_value_and_nothing_else(
    name: str, arguments: tuple[str, ...], given: dict[str, Any]
) -> None:
    run = only_run(name, *arguments, "--model", "ln")
    assert run.settings == dataclasses.replace(TASKS[name].presets["paper"], **given)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("model", ["detached", "prop", "wn", "bn"])
def test_a_model_of_another_task_is_refused_by_name(name: str, model: ModelName) -> None:
    norms: tuple[ModelName, ...] = ("prop", "wn", "bn")
    more: dict[str, tuple[ModelName, ...]] = {"copying": ("detached",), "char-ptb": norms, "norm-variance": norms}
    having = more.get(name, ())
    if model in having:
        assert only_run(name, "--preset", "smoke", "--model", model).model == model
        return
    of_studies = {"one-example": ("shift", "cn"), "zero-share": ("equal", "unequal")}
    of_studies |= dict.fromkeys(("mptt", "mptt-seconds"), ("lstm", "atn"))
    standard = of_studies.get(name, ("lstm", "ln", "atn"))
    choices = re.escape(str((*standard, *having, "all")))
    with pytest.raises(UsageError, match=f"invalid choice '{model}' for argument '--model'. Expected one of {choices}"):
        only_run(name, "--preset", "smoke", "--model", model)


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        *((model, flags) for model in ("prop", "wn") for flags in (["--k", "7"], ["--eps", "0.1"])),
        ("prop", ["--bias-placement", "inside"]),
        ("bn", ["--k", "7"]),
    ],
)
def test_a_setting_that_the_one_model_lacks_is_refused_by_name(model: ModelName, flags: list[str]) -> None:
    with pytest.raises(UsageError, match=f"^{flags[0]}: the model {model} has no such setting"):
        only_run("char-ptb", "--preset", "normprop", "--model", model, *flags)


def test_a_setting_that_a_model_has_or_all_models_share_is_taken() -> None:
    assert only_run("char-ptb", "--preset", "normprop", "--model", "bn", "--eps", "0.1").settings.differences(
        TASKS["char-ptb"].presets["normprop"]
    ) == {"eps": [1e-5, 0.1]}
    assert only_run("char-ptb", "--preset", "normprop", "--model", "prop", "--k", "10").model == "prop"
    command = parse_task(TASKS["char-ptb"], ("--k", "25"), "test")
    assert [run.model for run in plan_runs(TASKS["char-ptb"], command, "test")] == ["lstm", "ln", "atn"]


def test_a_preset_of_another_task_is_refused_by_name() -> None:
    choices = re.escape("('paper', 'released', 'demo', 'smoke')")
    with pytest.raises(UsageError, match=f"invalid choice 'normprop' for argument '--preset'. .* one of {choices}"):
        only_run("copying", "--preset", "normprop", "--model", "atn")


def test_a_record_names_no_folder_of_the_machine() -> None:
    folders = ["--runs=/a", "--data_dir", "/c", "--data-dir=/c"]
    words = ["--T=100", "--runs", "/a", "--seed", "3", *folders, "--device", "cpu"]
    assert without_folders(words) == ["--T=100", "--seed", "3", "--device", "cpu"]
    assert without_folders(["--runs"]) == []


def test_a_task_without_the_papers_preset_takes_its_first() -> None:
    assert only_run("norm-variance", "--model", "prop").preset == "normprop"


def test_a_model_beside_the_paper_s_is_run_when_it_is_named() -> None:
    assert only_run("copying", "--preset", "released", "--model", "detached").name == (
        "copying-released-T100-detached-seed5544"
    )
    command = parse_task(TASKS["copying"], ("--preset", "released"), "test")
    assert [run.model for run in plan_runs(TASKS["copying"], command, "test")] == ["lstm", "ln", "atn"]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values that TensorBoard shows."""
    events = EventAccumulator(str(folder / BOARD), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_has_each_step_once_however_often_the_run_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rows of the first 10 steps are read, and written for TensorBoard, but no checkpoint is.
    with monkeypatch.context() as patch:
        patch.setattr(Copying, "loss", dying(Copying, 12))
        with pytest.raises(Died):
            main(tiny_run(tmp_path / "board", "--tensorboard"))
    assert len(curves(only_folder(tmp_path / "board"))["train"]) == 10
    assert main(tiny_run(tmp_path / "board", "--tensorboard")) == 0
    folder = only_folder(tmp_path / "board")
    rows = read_metrics(folder / METRICS, STEPS)
    shown = curves(folder)
    assert [step for step, _ in shown["train"]] == [row.step for row in rows]
    # Event files hold float32, as the losses are.
    assert [value for _, value in shown["train"]] == [row.train for row in rows]
    assert [step for step, _ in shown["validation"]] == [5, 10]
    assert main(tiny_run(tmp_path / "plain")) == 0
    assert (only_folder(tmp_path / "plain") / METRICS).read_bytes() == (folder / METRICS).read_bytes()
    assert not (only_folder(tmp_path / "plain") / BOARD).exists()


def test_tensorboard_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    assert main(tiny_run(tmp_path, "--tensorboard")) == 1
    assert "pip install tensorboard" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bfloat16_is_another_run_with_other_numbers(tmp_path: Path) -> None:
    assert main(tiny_run(tmp_path)) == 0
    assert main(tiny_run(tmp_path, "--dtype", "bfloat16")) == 0
    plain, half = sorted(tmp_path.iterdir(), key=lambda folder: len(folder.name))
    assert half.name.replace("-dtype=bfloat16", "") == plain.name != half.name
    record = load_record(half)
    assert record is not None
    assert (record.settings["dtype"], record.differences["dtype"]) == ("bfloat16", ["float32", "bfloat16"])
    full, rounded = (read_metrics(folder / METRICS, STEPS) for folder in (plain, half))
    for row, other in zip(full, rounded, strict=True):
        # bfloat16 has 8 bits, which leave 3 digits of a sum of many products.
        assert 0 < abs(row.train - other.train) < 0.02 * row.train
        assert row.measured.keys() == other.measured.keys()


def test_a_resumed_run_stays_at_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = ["--dtype", "bfloat16", "--checkpoint-seconds", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(Copying, "loss", dying(Copying, 7))
        with pytest.raises(Died):
            main(tiny_run(tmp_path / "died", *half))
    folder = only_folder(tmp_path / "died")
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(text.replace('"dtype": "bfloat16"', '"dtype": "float32"'))
    assert main(tiny_run(tmp_path / "died", *half)) == 1
    assert "dtype float32 there, bfloat16 here" in capsys.readouterr().err
    (folder / RECORD).write_text(text)
    assert main(tiny_run(tmp_path / "died", *half)) == 0
    assert main(tiny_run(tmp_path / "at once", *half)) == 0
    assert (folder / METRICS).read_bytes() == (only_folder(tmp_path / "at once") / METRICS).read_bytes()


def test_a_compiled_run_is_another_run_of_the_same_mathematics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    original = torch.nn.Module.compile

    def compile_without_code(self: torch.nn.Module) -> None:
        compiled.append(type(self).__name__)
        # Traced as always, then run operation by operation: writing and building code would take half a minute.
        original(self, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_without_code)
    assert main(tiny_run(tmp_path)) == 0
    assert compiled == []
    assert main(tiny_run(tmp_path, "--compile")) == 0
    assert compiled == ["SequenceModel"]
    plain, other = sorted(tmp_path.iterdir(), key=lambda folder: len(folder.name))
    assert other.name.replace("-compile=True", "") == plain.name != other.name
    assert (plain / METRICS).read_bytes() == (other / METRICS).read_bytes()


def test_a_record_from_before_an_option_was_there_is_of_the_same_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_run(tmp_path)) == 0
    path = only_folder(tmp_path) / RECORD
    record = json.loads(path.read_text())
    del record["settings"]["dtype"], record["settings"]["compile"], record["sessions"][0]["processes"]
    path.write_text(json.dumps(record))
    assert main(tiny_run(tmp_path)) == 0
    assert "ended before" in capsys.readouterr().err
    assert main(tiny_run(tmp_path, "--dtype", "bfloat16")) == 0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("done", "step", "steps", "seconds", "line"),
    [
        (100, 600, 1100, 50.0, "atn: step 600/1100, loss 0.2500, 10.0 steps/s, 00:50 left"),
        (0, 10, 100, 250.0, "atn: step 10/100, loss 0.2500, 25.0 s/step, 37:30 left"),
    ],
)
def test_a_line_of_progress_has_the_speed_and_the_time_left(
    done: int,
    step: int,
    steps: int,
    seconds: float,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moment = iter([100.0, 100.0 + seconds])
    monkeypatch.setattr("experiments.training.progress.time.monotonic", lambda: next(moment))
    progress = Progress("atn", done=done, steps=steps)
    progress.update(step, 0.25)
    progress.close()
    assert capsys.readouterr().err == f"{line}\n"


def test_a_slow_run_prints_a_line_every_three_minutes_beside_its_ten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = iter([0.0, 100.0, 180.0, 359.0, 361.0, 400.0, 560.0])
    monkeypatch.setattr("experiments.training.progress.time.monotonic", lambda: next(moment))
    progress = Progress("atn", done=0, steps=1000)
    for step in (10, 20, 30, 40, 100, 110):
        progress.update(step, 0.25)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("/")[0] for line in lines] == [f"atn: step {step}" for step in (20, 40, 100)]
