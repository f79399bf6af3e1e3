"""The training loop, the same for every task."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from experiments.training import distributed
from experiments.training.active_clock import ActiveClock
from experiments.training.checkpoint import Times, capture, save_checkpoint
from experiments.training.data_parallel import shared_loss
from experiments.training.problem import Problem
from experiments.training.progress import Progress
from experiments.training.records.metrics import METRICS, MetricsLog, Row
from experiments.training.settings import Settings

READ_EVERY = 10
"""Steps between two readings of the losses, each of which waits for the device."""


class Outcome(NamedTuple):
    """How training ended, after which step, and the time spent on all steps so far."""

    status: Literal["finished", "interrupted", "nan"]
    step: int
    times: Times


class Trainer:
    """Trains a problem inside a run's folder, from a step on, alone or together with other processes.

    Parameters
    ----------
    problem : Problem
        In the state after step `done`.
    settings : Settings
        Number of steps, how often to validate, and the precision.
    folder : Path
        The run's folder; its name is the run's name, which its checkpoints carry.
    checkpoint_seconds : float
        Time between two checkpoints.
    watchers : sequence of callables
        Called with each row of the losses, when it is read.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        folder: Path,
        checkpoint_seconds: float,
        watchers: Sequence[Callable[[Row], None]] = (),
    ) -> None:
        self.problem = problem
        self.settings = settings
        self.folder = folder
        self.checkpoint_seconds = checkpoint_seconds
        self.log = MetricsLog(folder / METRICS, watchers)
        self._loss = shared_loss(problem)
        self._clock = ActiveClock()
        self._validation_seconds = 0.0

    def train(self, done: int, times: Times, progress: Progress) -> Outcome:
        """Make the steps after step `done`; the steps before took `times`.

        Ctrl-C or SIGTERM in any process ends the training of all processes after the current step, with a checkpoint. A
        loss that is not finite ends it without a checkpoint.

        Raises
        ------
        OSError
            If losses or a checkpoint cannot be written; the checkpoint before is kept.
        """
        self._clock = ActiveClock(times.all)
        self._validation_seconds = times.validation
        saved = time.monotonic()
        with self._clock.running(), _signals_noted() as signals:
            for step in range(done + 1, self.settings.steps + 1):
                self._make(step)
                last = step == self.settings.steps
                late = time.monotonic() - saved >= self.checkpoint_seconds
                stop, due = distributed.any_of(bool(signals), bool(signals) or late or last)
                if not due and step % READ_EVERY != 0:
                    continue
                spoiled = self.log.read()
                if spoiled is not None:
                    self.log.write()
                    return Outcome("nan", spoiled.step, self._times())
                progress.update(step, self.log.latest)
                if due:
                    self._save(step)
                    saved = time.monotonic()
                if stop and not last:
                    return Outcome("interrupted", step, self._times())
            return Outcome("finished", self.settings.steps, self._times())

    def _times(self) -> Times:
        return Times(self._clock.seconds(), self._validation_seconds)

    def _make(self, step: int) -> None:
        with self._precision():
            loss = self._loss(step)
        self.problem.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.problem.update(step)
        validation = self._validate(step) if step % self.settings.validate_every == 0 else {}
        self.log.add(step, loss.detach(), validation)

    @torch.no_grad()
    def _validate(self, step: int) -> Mapping[str, Tensor]:
        self.problem.wait_for_device()
        began = self._clock.seconds()
        self.problem.model.eval()
        with self._precision():
            measured = self.problem.validation(step)
        self.problem.model.train()
        self.problem.wait_for_device()
        self._validation_seconds += self._clock.seconds() - began
        return measured

    def _precision(self) -> torch.autocast:
        enabled = self.settings.dtype == "bfloat16"
        return torch.autocast(self.problem.device.type, torch.bfloat16, enabled=enabled)

    def _save(self, step: int) -> None:
        """Write the losses, then the checkpoint, so that the file never lacks a step before the checkpoint."""
        self.log.write()
        state = capture(step, self._times(), self.problem)
        if distributed.is_main_process():
            save_checkpoint(self.folder, self.folder.name, state)


@contextlib.contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or SIGTERM, so that the current step is completed; a second one interrupts at once."""
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
