"""Wrong commands, damaged files, full disks and losses that are not finite: one clear line, and nothing is lost."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import stamp as gate
from experiments.cli import command as task_command
from experiments.cli.main import main
from experiments.common.environment import ROOT, versions
from experiments.common.errors import ExperimentError
from experiments.tasks.copying import PRESETS, Copying
from experiments.training import checkpoint
from experiments.training.checkpoint import NEWEST, PREVIOUS, Checkpoint, Times, load_checkpoint, save_checkpoint
from experiments.training.problem import Problem
from experiments.training.records.curve import CURVE, MOST_ROWS_IF_SHORTENED, read_curve
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import RECORD, Record, load_record
from experiments.training.run import FRESH_MEMORY
from tests.support.interruptions import Died, dying
from tests.support.tiny_run import tiny_run

TIMES = Times(0.5, 0.25)


def command(runs: Path, *more: str, **changes: Any) -> list[str]:
    """A run that saves a checkpoint after every step."""
    return tiny_run(runs, *more, **{"model": "lstm", "checkpoint_seconds": 0, **changes})


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a run that died in step 9."""
    with monkeypatch.context() as patch:
        patch.setattr(Copying, "loss", dying(Copying, 9))
        with pytest.raises(Died):
            main(command(tmp_path / "half"))
    return folder_of(tmp_path / "half")


class Carrying(Problem):
    """Carries a tensor from step to step."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), momentum=0.9)
        self.h = torch.zeros(2)

    def loss(self, step: int) -> torch.Tensor:
        self.h = torch.full((2,), float(step))
        loss: torch.Tensor = self.model(self.h).sum()
        return loss

    def validation(self, step: int) -> dict[str, torch.Tensor]:
        return {VALIDATION: self.loss(step)}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"h": self.h}

    def load_state_dict(self, carried: Mapping[str, torch.Tensor]) -> None:
        self.h = carried["h"]

    def train(self, step: int) -> None:
        """Make a step."""
        torch.autograd.backward(self.loss(step))
        self.update(step)


def folder_of(runs: Path) -> Path:
    """Folder of the one run there is."""
    (folder,) = runs.iterdir()
    return folder


def record_of(folder: Path) -> Record:
    """Record of a run that has one."""
    record = load_record(folder)
    assert record is not None
    return record


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The error, which has to be one line on stderr, and the only one but for the lines that show progress."""
    lines = [line for line in capsys.readouterr().err.splitlines() if " steps/s" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("experiments: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no task; there are copying, "),
        (["coping"], "unknown task 'coping'; there are copying, "),
        (["copying", "--model", "gru"], "'gru'"),
        (["copying", "--preset", "papers"], "'papers'"),
        (["copying", "--preset"], "--preset"),
        (["copying", "--depth", "3"], "--depth"),
        (["copying", "--lr", "small"], "--lr"),
        (["copying", "--k=2", "--lr=1", "--k", "3"], "--k is there 2 times"),
        (["copying", "--validate-every=2", "--validate_every=2"], "--validate-every is there 2 times"),
        (["copying", "--compile", "--no-compile"], "--compile is there 2 times"),
        (["report", "--runs=a", "--runs", "b"], "--runs is there 2 times"),
        (["copying", "--T", "0"], "T is 0; it must be at least 1"),
        (["copying", "--k", "1.5"], "--k"),
        (["copying", "--steps", "-1"], "steps is -1"),
        (["copying", "--device", "abacus"], "--device abacus: unknown device"),
        (["copying", "--device", "meta"], "there are cpu and cuda"),
        (["copying", "extra"], "extra"),
        (["copying", "--seed", "99999999999999999999"], "seed is 99999999999999999999; it must be at most 92233720"),
        (["copying", "--seed", "-1"], "seed is -1; it must be at least 0"),
        (
            ["copying", "--seeds", "0,99999999999999999999"],
            "99999999999999999999 is too large; a seed is at most 92",
        ),
        (["copying", "--seeds", "0..99999999999"], "more than 10,000 seeds"),
        (
            ["copying", "--steps", "99999999999999999999"],
            "steps is 99999999999999999999; it must be at most 214748",
        ),
        (["copying", "--lr", "nan"], "lr is nan; it must be a finite number"),
        (["copying", "--lr", "inf"], "lr is inf; it must be a finite number"),
        (["copying", "--eps", "nan"], "eps is nan; it must be a finite number"),
        (["char-ptb", "--clip", "inf"], "clip is inf; it must be a finite number"),
        (["char-ptb", "--drops", "80", "99999999999"], "drops is 99999999999; it must be at most 2147483647"),
        (
            ["copying", "--checkpoint-seconds", "nan"],
            "--checkpoint-seconds is nan; it must be a number of",
        ),
        (
            ["copying", "--checkpoint-seconds", "inf"],
            "--checkpoint-seconds is inf; it must be a number of",
        ),
        (
            ["copying", "--checkpoint-seconds", "-1"],
            "--checkpoint-seconds is -1.0; it must be a number of",
        ),
        (["copying", "--runs", ""], "a path must not be empty"),
        (["copying", "--runs="], "a path must not be empty"),
        (["copying", "--data-dir", ""], "--data-dir"),
        (["copying", "--runs", __file__], "it is not a folder"),
        (["copying", "--data-dir", __file__], "it is not a folder"),
        (["report", "--model", "atn"], "--model"),
        (["report", "--runs", ""], "a path must not be empty"),
        (["report", "--output", ""], "a path must not be empty"),
        (["report", "--runs", __file__], "it is not a folder"),
        (["report", "--output", __file__], "it is not a folder"),
    ],
)
@pytest.mark.parametrize("columns", ["30", "200"])
def test_a_command_that_cannot_be_understood(
    arguments: list[str],
    message: str,
    columns: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(arguments) == 2
    assert message in one_line(capsys)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["copying", "--device", "cuda"]) == 2
    assert "no CUDA device" in one_line(capsys)


def test_help_has_the_value_of_every_preset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["--help"]) == 0
    with pytest.raises(SystemExit) as stop:
        main(["copying", "--preset", "released", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "Learning rate of RMSProp." in text
    assert "(default: paper 0.0001, released 0.0002, demo 0.0005, smoke 0.001)" in text
    assert "(default: 0.99)" in text
    with pytest.raises(SystemExit):
        main(["char-ptb", "--help"])
    on_one_line = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: paper 80 90, released (), normprop (), budget 80 90, smoke 2)" in on_one_line


def test_no_stamp_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(task_command, "check_stamp", lambda: gate.check_stamp(tmp_path))
    arguments = [word for word in command(tmp_path / "runs") if word != "--unverified"]
    assert main(arguments) == 3
    assert "nox -s verify" in one_line(capsys)
    assert not (tmp_path / "runs").exists()
    stamp = gate.write_stamp("gate", tests=1, claims=1, root=tmp_path)
    assert main(arguments) == 0
    record = record_of(folder_of(tmp_path / "runs"))
    assert [session.stamp for session in record.sessions] == [f"gate {stamp.digest}"]
    assert not record.unverified


def test_the_curve_of_a_shortened_run_has_few_rows(tmp_path: Path) -> None:
    whole = PRESETS["smoke"].steps
    for seed, steps in ((0, whole), (1, whole - 1)):
        assert main(command(tmp_path, steps=steps, seed=seed)) == 0
    records = {folder: record_of(folder) for folder in tmp_path.iterdir()}
    rows = {record.step: len(read_curve(folder / CURVE, record.curve_digest)) for folder, record in records.items()}
    assert rows[whole] == whole > MOST_ROWS_IF_SHORTENED >= rows[whole - 1] > MOST_ROWS_IF_SHORTENED / 2


def test_the_record_says_what_the_run_was(tmp_path: Path) -> None:
    assert main(command(tmp_path, "--seed", "3")) == 0
    folder = folder_of(tmp_path)
    record = record_of(folder)
    assert record.name == folder.name
    assert (record.task, record.model, record.preset, record.status) == ("copying", "lstm", "smoke", "finished")
    assert record.settings["hidden"] == 6
    assert record.differences["hidden"] == [24, 6]
    assert record.differences.keys() == {"steps", "validate_every", "batch", "hidden", "k"}
    assert record.shortened
    assert record.unverified
    assert (record.step, len(read_metrics(folder / METRICS, 12))) == (12, 12)
    assert record.seconds > 0
    (session,) = record.sessions
    assert session.versions["torch"] == metadata.version("torch")
    assert session.threads == torch.get_num_threads()
    assert session.device.startswith("cpu: ")
    assert "--seed 3" in session.command
    rows = read_metrics(folder / METRICS, 12)
    assert [row.step for row in rows if VALIDATION in row.measured] == [5, 10]


def test_a_run_without_its_data_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_data(*_: object) -> None:
        raise ExperimentError("no data")

    monkeypatch.setattr(Copying, "__init__", without_data)
    assert main(command(tmp_path)) == 1
    assert one_line(capsys) == "experiments: no data"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [MemoryError, RuntimeError])
def test_too_little_memory(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def allocate(*_: object) -> torch.Tensor:
        raise kind("DefaultCPUAllocator: can't allocate memory\nmore")

    monkeypatch.setattr(Copying, "loss", allocate)
    assert main(command(tmp_path)) == 1
    assert one_line(capsys).endswith("needs more memory than there is: DefaultCPUAllocator: can't allocate memory")


def test_another_error_of_the_model_is_not_taken_for_one_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise RuntimeError("a slip in the code")

    monkeypatch.setattr(Copying, "loss", fail)
    with pytest.raises(RuntimeError, match="a slip in the code"):
        main(command(tmp_path))


def test_a_terminal_without_umlauts(tmp_path: Path) -> None:
    """What cannot be shown is shown as its code, and every model runs."""
    runs = tmp_path / "Läufe"
    arguments = command(runs, model="all", steps=2)
    ended = subprocess.run(  # noqa: S603 - this very package
        [sys.executable, "-m", "experiments", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    assert ended.stdout.count("finished, 2 steps") == 3
    assert "L\\xe4ufe" in ended.stdout
    assert [record_of(folder).status for folder in runs.iterdir()] == ["finished"] * 3


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)  # as `head` does
    command = [sys.executable, "-m", "experiments", "copying", "--help"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, text=True)  # noqa: S603 - ours
    os.close(write)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(command(tmp_path / "file/below")) == 1
    assert "cannot write" in one_line(capsys)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_read_only_folder(half: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(half)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert main(command(half.parent)) == 1
    assert "Read-only file system" in one_line(capsys)
    assert contents(half) == before


@pytest.mark.parametrize("size", [0, 300, 3000])
def test_a_disk_that_fills_up(half: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A file-size limit stops writes as a full disk does: in the middle."""
    before = contents(half)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        status = main(command(half.parent))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    assert "cannot write" in one_line(capsys)
    after = contents(half)
    assert {NEWEST, PREVIOUS, METRICS, RECORD} == set(after)
    assert {name: after[name] for name in (NEWEST, PREVIOUS)} == {name: before[name] for name in (NEWEST, PREVIOUS)}
    assert main(command(half.parent)) == 0
    assert record_of(half).status == "finished"


@pytest.mark.parametrize("call", range(1, 7))
def test_no_space_left_at_any_write(
    half: Path, call: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fsync, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(command(half.parent)) == 1
    assert "No space left on device" in one_line(capsys)
    assert not list(half.glob("*.tmp"))
    good, remarks = load_checkpoint(half, half.name)
    assert good is not None
    assert (good.step >= 8, remarks) == (True, [])
    assert main(command(half.parent)) == 0


def cut(content: bytes) -> bytes:
    """The first half."""
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit of the last tensor differs."""
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def flip_step(content: bytes) -> bytes:
    """Another step in the notes."""
    return content.replace(b'"step":"8"', b'"step":"7"')


def nothing(_: bytes) -> bytes:
    """An empty file."""
    return b""


DAMAGES = [cut, flip, flip_step, nothing]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(
    half: Path, damage: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = damage((half / NEWEST).read_bytes())
    assert damaged != (half / NEWEST).read_bytes()
    (half / NEWEST).write_bytes(damaged)
    assert main(command(half.parent)) == 0
    message = capsys.readouterr().err
    assert "checkpoint.safetensors is damaged" in message
    assert "going on from the previous checkpoint, of step 7" in message
    assert (half / "checkpoint-damaged-1.safetensors").read_bytes() == damaged
    assert [session.after_step for session in record_of(half).sessions] == [0, 7]
    assert main(command(tmp_path / "reference")) == 0
    assert (half / METRICS).read_bytes() == (folder_of(tmp_path / "reference") / METRICS).read_bytes()


def test_a_checkpoint_of_another_run(half: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path / "other", seed=1)) == 0
    shutil.copy(folder_of(tmp_path / "other") / NEWEST, half / NEWEST)
    capsys.readouterr()
    assert main(command(half.parent)) == 0
    assert "belongs to the run copying-smoke-T2-lstm-seed1" in capsys.readouterr().err


def test_no_good_checkpoint(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (NEWEST, PREVIOUS):
        (half / name).write_bytes(b"damaged")
    before = contents(half)
    assert main(command(half.parent)) == 1
    assert "no good checkpoint" in one_line(capsys)
    assert contents(half) == before


def test_a_kill_between_two_renames_leaves_the_previous_checkpoint(
    half: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (half / NEWEST).replace(half / PREVIOUS)
    assert main(command(half.parent)) == 0
    assert "going on from the previous checkpoint, of step 8" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_fit_the_model(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, _ = load_checkpoint(half, half.name)
    assert good is not None
    tensors = {name: value for name, value in good.tensors.items() if name != "model.head.bias"}
    save_checkpoint(half, half.name, Checkpoint(good.step, good.times, tensors))
    before = contents(half)
    assert main(command(half.parent)) == 1
    assert "does not fit the model" in capsys.readouterr().err
    assert contents(half) == before


def drop_key(text: str) -> str:
    """A record without one of its fields."""
    data = json.loads(text)
    del data["seconds"]
    return json.dumps(data)


def wrong_type(text: str) -> str:
    """A record with a word for a number."""
    return json.dumps({**json.loads(text), "step": "eight"})


def wrong_status(text: str) -> str:
    """A record with a status there is not."""
    return json.dumps({**json.loads(text), "status": "done"})


def new_key(text: str) -> str:
    """A record with a field there is not."""
    return json.dumps({**json.loads(text), "color": "blue"})


def truncated(text: str) -> str:
    """Half a record."""
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    "damage", [drop_key, wrong_type, wrong_status, new_key, truncated, lambda _: "", lambda _: "[]"]
)
def test_a_damaged_record(half: Path, damage: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    (half / RECORD).write_text(damage((half / RECORD).read_text()))
    before = contents(half)
    assert main(command(half.parent)) == 1
    assert "record.json is damaged" in one_line(capsys)
    assert contents(half) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[1:],
        lambda lines: [*lines[:3], "{}", *lines[4:]],
        lambda lines: [*lines[:3], lines[3][:9], *lines[4:]],
        lambda lines: [*lines[:3], '{"step": 4, "train": "low"}', *lines[4:]],
        lambda lines: [*lines[:3], lines[2], *lines[4:]],
        lambda lines: [*lines[:3], "\udcff", *lines[4:]],
        lambda lines: lines[:4],
    ],
)
def test_damaged_losses(
    half: Path, damage: Callable[[list[str]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (half / METRICS).read_text().splitlines()
    (half / METRICS).write_bytes("\n".join([*damage(lines), ""]).encode(errors="surrogateescape"))
    before = contents(half)
    assert main(command(half.parent)) == 1
    assert "metrics.jsonl is damaged" in one_line(capsys)
    assert contents(half) == before


def test_losses_beyond_the_checkpoint_are_dropped_even_if_cut_short(half: Path, tmp_path: Path) -> None:
    with (half / METRICS).open("a") as file:
        file.write('{"step": 9, "train": 123.0}\n{"step": 10, "tr')
    assert main(command(half.parent)) == 0
    assert main(command(tmp_path / "reference")) == 0
    assert (half / METRICS).read_bytes() == (folder_of(tmp_path / "reference") / METRICS).read_bytes()


def test_a_folder_with_other_settings(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((half / RECORD).read_text())
    data["settings"]["lr"] = 0.5
    (half / RECORD).write_text(json.dumps(data))
    before = contents(half)
    assert main(command(half.parent)) == 1
    assert "lr 0.5 there, 0.001 here" in one_line(capsys)
    assert contents(half) == before


def test_two_processes_in_one_folder(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    descriptor = os.open(half, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    before = contents(half)
    assert main(command(half.parent)) == 1
    os.close(descriptor)
    assert "another process" in one_line(capsys)
    assert contents(half) == before
    assert main(command(half.parent)) == 0


def test_other_versions_and_threads_are_remarked(
    half: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = versions()
    monkeypatch.setattr("experiments.training.run.versions", lambda: {**installed, "torch": "9.9"})
    assert main(command(half.parent)) == 0
    assert f"began with torch {metadata.version('torch')} and goes on with 9.9" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(tmp_path, "--lr", "1e38", model="all")
    assert main(arguments) == 1
    assert capsys.readouterr().out.count("is not finite") == 3
    for folder in tmp_path.iterdir():
        record = record_of(folder)
        assert record.status == "nan"
        assert len(read_metrics(folder / METRICS, record.step - 1)) == record.step - 1
    assert main(arguments) == 1


def test_a_validation_loss_that_is_not_finite_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = Copying.validation

    def broken(self: Any, step: int) -> dict[str, torch.Tensor]:
        return {name: value * float("inf") for name, value in validation(self, step).items()}

    monkeypatch.setattr(Copying, "validation", broken)
    assert main(command(tmp_path)) == 1
    assert (record_of(folder_of(tmp_path)).status, record_of(folder_of(tmp_path)).step) == ("nan", 5)


def test_training_uses_deterministic_algorithms_and_gives_the_setting_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    loss = Copying.loss

    def look(self: Any, step: int) -> torch.Tensor:
        seen.append((torch.are_deterministic_algorithms_enabled(), FRESH_MEMORY.fill_uninitialized_memory))
        return loss(self, step)

    monkeypatch.setattr(Copying, "loss", look)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=False)
    try:
        assert main(command(tmp_path)) == 0
        assert not torch.are_deterministic_algorithms_enabled()
        assert FRESH_MEMORY.fill_uninitialized_memory
        torch.use_deterministic_algorithms(mode=True)
        assert main(command(tmp_path, seed=1)) == 0
    finally:
        torch.use_deterministic_algorithms(before)
    # Fresh memory is filled for a caller who has the mode on already, as tests have.
    assert set(seen) == {(True, False), (True, True)}


def test_validation_is_without_training_mode_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    loss, validation = Copying.loss, Copying.validation

    def look(self: Copying, step: int) -> torch.Tensor:
        seen.append(("train", self.model.training, torch.is_grad_enabled()))
        return loss(self, step)

    def look_too(self: Copying, step: int) -> dict[str, torch.Tensor]:
        seen.append(("validation", self.model.training, torch.is_grad_enabled()))
        return validation(self, step)

    monkeypatch.setattr(Copying, "loss", look)
    monkeypatch.setattr(Copying, "validation", look_too)
    assert main(command(tmp_path)) == 0
    assert seen.count(("train", True, True)) == 12
    assert seen.count(("validation", False, False)) == 2
    assert len(seen) == 14


def test_a_checkpoint_holds_every_state_to_the_bit(tmp_path: Path) -> None:
    problem = Carrying()
    problem.train(1)
    before = checkpoint.capture(1, TIMES, problem)
    kept = Checkpoint(1, TIMES, {name: value.clone() for name, value in before.tensors.items()})
    assert sum("momentum_buffer" in name for name in kept.tensors) == 2
    assert torch.equal(kept.tensors["carried.h"], torch.ones(2))
    save_checkpoint(tmp_path, "name", kept)
    problem.train(2)
    torch.rand(1)
    loaded, _ = load_checkpoint(tmp_path, "name")
    assert loaded is not None
    checkpoint.restore(loaded, problem)
    after = checkpoint.capture(1, TIMES, problem)
    assert all(torch.equal(after.tensors[name], value) for name, value in kept.tensors.items())
    with pytest.raises(ExperimentError, match="no good checkpoint"):
        load_checkpoint(tmp_path, "another name")
