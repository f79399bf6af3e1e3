"""A run that was killed, crashed or interrupted ends with the numbers, to the bit, of one that was not.

As a program, ``python -m tests.experiments.training.test_resume RUNS SEED``, this module makes a run whose processes
it kills.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.cli.main import main
from experiments.common import files
from experiments.tasks import copying
from experiments.training.checkpoint import NEWEST, PREVIOUS
from experiments.training.records.curve import CURVE
from experiments.training.records.metrics import METRICS
from experiments.training.records.record import load_record
from experiments.training.trainer import Trainer
from tests.support.interruptions import assert_same_run, only_folder
from tests.support.tiny_run import tiny_run

STEPS = 16


def command(runs: Path, model: str, steps: int = STEPS, checkpoint_seconds: int = 0) -> list[str]:
    """A run that saves a checkpoint after every step, or after more seconds."""
    return tiny_run(runs, model=model, steps=steps, checkpoint_seconds=checkpoint_seconds)


@pytest.fixture
def reference(tmp_path: Path) -> Callable[[str], Path]:
    """Runs folder of an uninterrupted run."""

    def make(model: str, steps: int = STEPS) -> Path:
        assert main(command(tmp_path / "reference", model, steps)) == 0
        return tmp_path / "reference"

    return make


def start(arguments: list[str]) -> int:
    """Begin a run in a process of its own; return its id."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = main(arguments)
        finally:
            os._exit(status)
    return child


def rows(runs: Path) -> int:
    """Steps whose losses are saved."""
    return sum(path.read_bytes().count(b"\n") for path in runs.glob(f"*/{METRICS}"))


def kill_again_and_again(runs: Path, seed: int) -> int:
    """Begin the run and kill it at a random moment after it has saved something, again and again; then let it end."""
    torch.set_num_threads(1)
    # The first optimizer of a process makes PyTorch import its compiler, which takes longer than the whole run.
    torch.optim.RMSprop([torch.zeros(1)])
    moments = random.Random(seed)  # noqa: S311 - any moments will do
    while (before := rows(runs)) < STEPS - 1:
        child = start(command(runs, "atn"))
        while rows(runs) <= before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    _, status = os.waitpid(start(command(runs, "atn")), 0)
    return os.waitstatus_to_exitcode(status)


def test_a_run_killed_at_random_moments(tmp_path: Path, reference: Callable[[str], Path]) -> None:
    runs = tmp_path / "killed"
    runs.mkdir()
    seed = random.SystemRandom().randrange(2**32)
    program = [sys.executable, "-m", "tests.experiments.training.test_resume", str(runs), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(  # noqa: S603 - this very module
        program, cwd=Path(__file__).parents[3], env=environment, check=False, capture_output=True, timeout=300
    )
    assert ended.returncode == 0, (seed, ended.stderr.decode())
    record = load_record(only_folder(runs))
    assert record is not None
    starts = [session.after_step for session in record.sessions]
    assert any(0 < step < STEPS for step in starts), (seed, starts)
    assert_same_run(runs, reference("atn"))


class Crash(BaseException):
    """Like a kill: nothing handles it."""


def crash_at(call: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the n-th of all calls of os.fsync, os.replace and os.ftruncate crash; the list has the calls made."""
    made: list[str] = []

    def crashing(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def function(*arguments: Any) -> Any:
            made.append(name)
            if len(made) == call:
                raise Crash
            return original(*arguments)

        return function

    for name in ("fsync", "replace", "ftruncate"):
        monkeypatch.setattr(os, name, crashing(name, getattr(os, name)))
    return made


def test_a_run_that_crashes_at_any_write(
    tmp_path: Path, reference: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asking git takes longer than such a run.
    monkeypatch.setattr("experiments.training.run.commit", lambda: "unknown")
    expected = reference("lstm", 3)
    call, crashed = 0, True
    while crashed:
        call += 1
        runs = tmp_path / f"crashed-{call}"
        with monkeypatch.context() as patch:
            made = crash_at(call, patch)
            try:
                crashed = main(command(runs, "lstm", 3)) != 0
            except Crash:
                crashed = True
        assert main(command(runs, "lstm", 3)) == 0
        assert_same_run(runs, expected)
    # Losses, the file aside, its place, the folder: each of the three steps passes through all of them.
    assert made.count("fsync") >= 9
    assert made.count("replace") >= 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_same_command_goes_on(
    number: signal.Signals,
    tmp_path: Path,
    reference: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "interrupted"
    loss = copying.Copying.loss

    def press(self: copying.Copying, step: int) -> torch.Tensor:
        if step == 7:
            signal.raise_signal(number)
        return loss(self, step)

    arguments = command(runs, "lstm", checkpoint_seconds=1000)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(copying.Copying, "loss", press)
        assert main(arguments) == 130
    assert signal.getsignal(number) is before
    assert "stopped after step 7" in capsys.readouterr().out
    record = load_record(only_folder(runs))
    assert record is not None
    assert (record.status, record.step) == ("interrupted", 7)
    assert main(arguments) == 0
    record = load_record(only_folder(runs))
    assert record is not None
    assert [session.after_step for session in record.sessions] == [0, 7]
    assert_same_run(runs, reference("lstm"))


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_twice(*_: object) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one was not heard")

    monkeypatch.setattr(copying.Copying, "loss", press_twice)
    assert main(command(tmp_path, "lstm")) == 130
    assert not (only_folder(tmp_path) / NEWEST).exists()


def test_ctrl_c_ends_all_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "_make", press)
    monkeypatch.setattr("experiments.training.records.metrics.MetricsLog.read", lambda _: None)
    assert main(command(tmp_path, "all")) == 130
    assert only_folder(tmp_path).name.startswith("copying-smoke-T2-lstm-")


def test_a_finished_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path, "lstm", 3)) == 0
    folder = only_folder(tmp_path)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    capsys.readouterr()
    assert main(command(tmp_path, "lstm", 3)) == 0
    printed = capsys.readouterr()
    assert "ended before" in printed.err
    assert "finished, 3 steps" in printed.out
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before
    assert set(before) == {"record.json", CURVE, METRICS, NEWEST, PREVIOUS}


def test_an_append_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.append_durably(path, b"one\n")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.append_durably(path, b"two\n")
    assert path.read_bytes() == b"one\n"


if __name__ == "__main__":
    sys.exit(kill_again_and_again(Path(sys.argv[1]), int(sys.argv[2])))
