"""Runs that are interrupted and taken up again, for tests of what a checkpoint has to hold."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from experiments.cli.main import main
from experiments.training.checkpoint import NEWEST
from experiments.training.problem import Problem
from experiments.training.records.curve import CURVE
from experiments.training.records.metrics import METRICS
from experiments.training.records.record import load_record


def only_folder(runs: Path) -> Path:
    """Folder of the one run there is."""
    (folder,) = runs.iterdir()
    return folder


def assert_same_run(runs: Path, reference: Path) -> None:
    """Losses, parameters, optimizer and random state are equal to the bit; only times may differ."""
    ours, theirs = only_folder(runs), only_folder(reference)
    for name in (METRICS, CURVE):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    left, right = load_file(ours / NEWEST), load_file(theirs / NEWEST)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(_bytes(left[name]), _bytes(right[name]))] == []
    records = load_record(ours), load_record(theirs)
    assert [record.status if record else None for record in records] == ["finished", "finished"]
    assert len({(record.metrics_digest, record.curve_digest, str(record.summary)) for record in records if record}) == 1


def _bytes(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, in which NaN equals NaN: rows that a window does not have yet are NaN."""
    return tensor.flatten().view(torch.uint8)


class Died(BaseException):
    """Like a kill: nothing handles it."""


def dying(problem: type[Problem], at: int) -> Callable[[Any, int], Tensor]:
    """A loss that ends the process at a step."""
    loss = problem.loss

    def function(self: Any, step: int) -> Tensor:
        if step == at:
            raise Died
        return loss(self, step)

    return function


def assert_kill_changes_nothing(
    problem: type[Problem], arguments: list[str], step: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed at this step and begun again goes on after the step before, and ends with the same bits."""
    command = [*arguments, "--unverified", "--checkpoint-seconds", "0", "--runs"]
    assert main([*command, str(folder / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(problem, "loss", dying(problem, step))
        with pytest.raises(Died):
            main([*command, str(folder / "killed")])
    assert main([*command, str(folder / "killed")]) == 0
    record = load_record(only_folder(folder / "killed"))
    assert record is not None
    assert [session.after_step for session in record.sessions] == [0, step - 1]
    assert_same_run(folder / "killed", folder / "whole")


def assert_interruption_changes_nothing(
    problem: type[Problem], arguments: list[str], step: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that gets Ctrl-C at this step and is begun again ends, to the bit, as one that was left alone."""
    # Asking git takes longer than such a run.
    monkeypatch.setattr("experiments.training.run.commit", lambda: "unknown")
    command = [*arguments, "--unverified", "--runs"]
    assert main([*command, str(folder / "whole")]) == 0
    loss = problem.loss

    def press(self: Problem, current: int) -> Tensor:
        if current == step:
            signal.raise_signal(signal.SIGINT)
        return loss(self, current)

    with monkeypatch.context() as patch:
        patch.setattr(problem, "loss", press)
        assert main([*command, str(folder / "interrupted")]) == 130
    assert main([*command, str(folder / "interrupted")]) == 0
    assert_same_run(folder / "interrupted", folder / "whole")
