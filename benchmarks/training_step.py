"""Cost of a training step over its model's forward pass, backward pass and optimizer; it must be at most 1.15.

::

    python -m benchmarks.training_step                          # copying at T = 100, all models, a minute each
    python -m benchmarks.training_step --task adding --T 200 --models atn

It prints the median time of a step in the trainer's loop over that of the bare step on a fixed batch, both measured in
turns. The trainer's loop draws the batch, moves it to the device and reads the losses from time to time. The cost of
one checkpoint in every `checkpoint_seconds` of a run is added.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro

from benchmarks.timing import clock_of, interleaved
from experiments.catalog.registry import TASKS
from experiments.cli.command import TaskCommand
from experiments.common.allocator import keep_freed_memory
from experiments.tasks.synthetic import SyntheticProblem
from experiments.training.checkpoint import NO_TIME, capture, save_checkpoint
from experiments.training.progress import Progress
from experiments.training.settings import MODELS, ModelName
from experiments.training.trainer import READ_EVERY, Trainer

STEPS = 2 * READ_EVERY
"""Steps that are timed together, so that the losses are read as often as in a run."""


SYNTHETIC = ("copying", "adding", "denoise")
"""Tasks whose batches can be drawn before."""


@dataclasses.dataclass(frozen=True)
class Command:
    """Measure the trainer's share of a step."""

    task: str = "copying"
    """One of `SYNTHETIC`, at the sizes of its preset `paper`."""

    T: int = 100
    """Length, as the task has it."""

    models: tuple[ModelName, ...] = MODELS
    """Models, in turn."""

    device: str = "cpu"
    """cpu or cuda."""

    seconds: float = 60.0
    """Time for each model."""


class Cost(NamedTuple):
    """Seconds of a step, and of a checkpoint."""

    bare: float
    whole: float
    checkpoint: float

    @property
    def ratio(self) -> float:
        """Cost of a step of a run, checkpoints included, over the bare step's."""
        return self.whole / self.bare + self.checkpoint / TaskCommand.checkpoint_seconds


class _EnoughError(Exception):
    """The steps to be timed are made."""


class _Stretch(Progress):
    """Ends the training after `STEPS` steps, without the checkpoint that the end of a run has."""

    def update(self, step: int, loss: float) -> None:
        super().update(step, loss)
        if step >= STEPS:
            raise _EnoughError


def whole_call(trainer: Trainer) -> Callable[[], None]:
    """So many steps in the trainer's loop."""

    def call() -> None:
        try:
            trainer.train(0, NO_TIME, _Stretch("", 0, 10**9))
        except _EnoughError:
            return

    return call


def bare_call(problem: SyntheticProblem[Any]) -> Callable[[], None]:
    """As many forward and backward passes and updates on one batch."""
    x, y = (tensor.to(problem.device) for tensor in problem.batch("train", 1))

    def call() -> None:
        for step in range(STEPS):
            loss = problem.cost(x, y)
            problem.optimizer.zero_grad()
            torch.autograd.backward(loss)
            problem.update(step)

    return call


def measure(options: Command, model: ModelName, folder: Path) -> Cost:
    """Time both kinds of step of one model in turns, and a checkpoint."""
    task = TASKS[options.task]
    settings = dataclasses.replace(task.presets["paper"], T=options.T, steps=10**9, validate_every=10**9).completed()
    problem: Any = task.problem(settings, model, torch.device(options.device))
    trainer = Trainer(problem, settings, folder, checkpoint_seconds=10**9)
    bare, whole = interleaved([bare_call(problem), whole_call(trainer)], clock_of(problem.device), options.seconds)
    start = time.perf_counter()
    save_checkpoint(folder, folder.name, capture(1, NO_TIME, problem))
    return Cost(bare.median / STEPS, whole.median / STEPS, time.perf_counter() - start)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; exit status 1 if a step of the trainer costs more than 1.15 of the bare one."""
    options = tyro.cli(Command, prog="python -m benchmarks.training_step", args=arguments)
    if options.task not in SYNTHETIC:
        sys.exit(f"--task is {options.task!r}; there are {', '.join(SYNTHETIC)}")
    keep_freed_memory()
    worst = 0.0
    print("model  bare ms  in the trainer ms  checkpoint ms  ratio")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            cost = measure(options, model, Path(folder))
        worst = max(worst, cost.ratio)
        times = f"{cost.bare * 1e3:7.2f}  {cost.whole * 1e3:17.2f}  {cost.checkpoint * 1e3:13.2f}"
        print(f"{model:5}  {times}  {cost.ratio:5.3f}", flush=True)
    return 1 if worst > 1.15 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
