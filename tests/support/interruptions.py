"""Runs that are interrupted and taken up again, for tests of what a checkpoint has to hold."""

import signal
from pathlib import Path

import pytest
from torch import Tensor

from experiments.cli.main import main
from experiments.training.problem import Problem
from tests.experiments.test_resume import assert_same_run


def assert_interruption_changes_nothing(
    problem: type[Problem], arguments: list[str], step: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that gets Ctrl-C at this step and is begun again ends, to the bit, as one that was left alone."""
    # Asking git takes longer than such a run.
    monkeypatch.setattr("experiments.training.run.commit", lambda: "unknown")
    command = [*arguments, "--unverified", "--runs"]
    assert main([*command, str(folder / "whole")]) == 0
    loss = problem.loss

    def press(self: Problem, asked: int) -> Tensor:
        if asked == step:
            signal.raise_signal(signal.SIGINT)
        return loss(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(problem, "loss", press)
        assert main([*command, str(folder / "interrupted")]) == 130
    assert main([*command, str(folder / "interrupted")]) == 0
    assert_same_run(folder / "interrupted", folder / "whole")
