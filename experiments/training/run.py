"""One run, from the state in its folder to its end."""

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.common.environment import commit, describe, versions
from experiments.common.errors import ExperimentError
from experiments.training import distributed
from experiments.training.checkpoint import NO_TIME, Checkpoint, Times, load_checkpoint, restore
from experiments.training.problem import Problem
from experiments.training.progress import Progress
from experiments.training.records.conclusion import conclude, with_comparisons
from experiments.training.records.metrics import METRICS, cut_metrics
from experiments.training.records.record import Record, Session, load_record, save_record
from experiments.training.settings import ModelName, PresetName, Settings, run_name
from experiments.training.task import Task
from experiments.training.tensorboard_log import board
from experiments.training.trainer import Outcome, Trainer

FRESH_MEMORY: Any = torch.utils.deterministic
"""The module with the setting `fill_uninitialized_memory`, which torch declares to no type checker."""


class Conditions(NamedTuple):
    """The conditions of a run that do not affect its numbers."""

    runs: Path
    """Folder of the runs' folders."""
    device: torch.device
    checkpoint_seconds: float
    """Time between two checkpoints."""
    stamp: str
    """Scope and digest of the stamp, or "unverified"."""
    command: str
    """The command line."""
    tensorboard: bool = False
    """Whether to write the losses for TensorBoard too."""


class Run(NamedTuple):
    """The identity of a run: its task, preset, model and settings."""

    task: Task[Any]
    preset: PresetName
    model: ModelName
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the run and of its folder."""
        return run_name(self.task.name, self.preset, self.model, self.settings, self.task.presets[self.preset])


def carry_out(run: Run, conditions: Conditions) -> Record:
    """Begin the run, continue it from its last good checkpoint, or do nothing if it has ended.

    If several processes train one model, all of them call it. Only the main process writes the folder; all read it.

    Returns
    -------
    Record
        The record of the run; its status is "finished", "interrupted" or "nan".

    Raises
    ------
    ExperimentError
        Damaged record, losses or checkpoints; a folder that holds other settings, that another process is working in,
        or that cannot be written; too little memory. Nothing that was there is lost.
    """
    run = run._replace(settings=run.settings.completed())
    folder = conditions.runs / run.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder), _no_empty_folder_left(folder), _deterministic(conditions.device):
            return _carry_out(run, conditions, folder)
    except OSError as error:
        message = f"cannot write {error.filename or folder}: {error.strerror}; what was saved before is kept"
        raise ExperimentError(message) from None
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        first_line = str(error).partition("\n")[0]
        raise ExperimentError(f"{run.name} needs more memory than there is: {first_line}") from None


def _is_lack_of_memory(error: Exception) -> bool:
    # PyTorch's allocator of the CPU raises a bare RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _carry_out(run: Run, conditions: Conditions, folder: Path) -> Record:
    with distributed.main_process_first():
        record = load_record(folder)
        if record is not None:
            _check_same_run(record, run, folder)
            if record.status in {"finished", "nan"}:
                distributed.log(f"{run.name} has ended before: nothing to do")
                return record
        checkpoint = _last_checkpoint(folder)
    problem = _problem(run, conditions.device, checkpoint)
    done, times = (checkpoint.step, checkpoint.times) if checkpoint else (0, NO_TIME)
    sessions = [*(record.sessions if record else []), _session(conditions, done)]
    _remark_changes(sessions)
    record = _new_record(run, sessions, done, times)
    outcome = _train(problem, run, folder, conditions, record, times)
    record = _with_outcome(record, outcome)
    if distributed.is_main_process():
        if record.status == "finished":
            record = conclude(folder, record, run.settings)
        save_record(folder, record)
        # Of two runs that end at the same time, at least the one whose record is saved last sees the other's.
        compared = with_comparisons(folder, record)
        if compared != record:
            record = compared
            save_record(folder, record)
    return record


def _with_outcome(record: Record, outcome: Outcome) -> Record:
    return dataclasses.replace(
        record,
        status=outcome.status,
        step=outcome.step,
        seconds=outcome.times.all,
        validation_seconds=outcome.times.validation,
    )


def _check_same_run(record: Record, run: Run, folder: Path) -> None:
    # The settings in the form of a record, in which tuples are lists.
    planned = json.loads(json.dumps(dataclasses.asdict(run.settings)))
    recorded = run.settings.with_defaults(record.settings)
    if record.name != run.name or recorded != planned:
        pairs = {name: (recorded.get(name), planned.get(name)) for name in {**recorded, **planned}}
        differing = [f"{name} {old} there, {new} here" for name, (old, new) in pairs.items() if old != new]
        raise ExperimentError(
            f"{folder} holds another run ({'; '.join(differing) or record.name}); move it away or choose other --runs"
        )


def _last_checkpoint(folder: Path) -> Checkpoint | None:
    """Last good checkpoint, with the logged losses cut at its step; None if there is none yet."""
    checkpoint, remarks = load_checkpoint(folder, folder.name)
    for remark in remarks:
        distributed.log(remark)
    cut_metrics(folder / METRICS, 0 if checkpoint is None else checkpoint.step)
    return checkpoint


def _problem(run: Run, device: torch.device, checkpoint: Checkpoint | None) -> Problem:
    """Make the problem, in the state of the checkpoint if there is one."""
    problem: Problem = run.task.problem(run.settings, run.model, device)
    distributed.scatter_randomness(run.settings.seed)
    if checkpoint is not None:
        restore(checkpoint, problem)
    if run.settings.compile:
        problem.model.compile()
    return problem


def _session(conditions: Conditions, done: int) -> Session:
    devices = Counter(distributed.texts(describe(conditions.device)))
    return Session(
        started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        after_step=done,
        command=conditions.command,
        commit=commit(),
        versions=versions(),
        device="; ".join(f"{number} x {name}" if number > 1 else name for name, number in devices.items()),
        threads=torch.get_num_threads(),
        stamp=conditions.stamp,
        processes=distributed.count(),
    )


def _remark_changes(sessions: list[Session]) -> None:
    """Log the changes that may make the resumed run differ in the last bits from one that was never stopped."""
    first, now = sessions[0], sessions[-1]
    before, after = (
        {"processes": session.processes, "device": session.device, "threads": session.threads, **session.versions}
        for session in (first, now)
    )
    for name, value in after.items():
        if before.get(name) != value:
            distributed.log(f"the run began with {name} {before.get(name)} and goes on with {value}")


def _new_record(run: Run, sessions: list[Session], done: int, times: Times) -> Record:
    preset = run.task.presets[run.preset]
    return Record(
        name=run.name,
        task=run.task.name,
        model=run.model,
        preset=run.preset,
        settings=dataclasses.asdict(run.settings),
        differences=run.settings.differences(preset),
        shortened=run.settings.steps < preset.steps,
        status="running",
        step=done,
        seconds=times.all,
        validation_seconds=times.validation,
        metrics_digest="",
        sessions=sessions,
    )


def _train(problem: Problem, run: Run, folder: Path, conditions: Conditions, record: Record, times: Times) -> Outcome:
    """Write the record, then train from the record's step on."""
    with contextlib.ExitStack() as stack:
        watchers = []
        if distributed.is_main_process():
            save_record(folder, record)
            if conditions.tensorboard:
                watchers.append(stack.enter_context(board(folder, record.step)))
        title = f"{run.model}, seed {run.settings.seed}"
        progress = stack.enter_context(contextlib.closing(Progress(title, record.step, run.settings.steps)))
        trainer = Trainer(problem, run.settings, folder, conditions.checkpoint_seconds, watchers)
        return trainer.train(record.step, times, progress)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock in the main process; the system releases it however the process ends."""
    if not distributed.is_main_process():
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ExperimentError(f"another process is working in {folder}") from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _no_empty_folder_left(folder: Path) -> Iterator[None]:
    """Remove the folder of a run that is refused before anything is in it, as for want of its data."""
    try:
        yield
    except ExperimentError:
        if distributed.is_main_process() and not any(folder.iterdir()):
            folder.rmdir()
        raise


@contextlib.contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Allow only deterministic algorithms on the CPU; on a GPU some operations have no deterministic algorithm."""
    before, filled = torch.are_deterministic_algorithms_enabled(), FRESH_MEMORY.fill_uninitialized_memory
    torch.use_deterministic_algorithms(before or device.type == "cpu")
    # The mode also fills fresh memory, which takes a third of a step. No number depends on it: where the caller has the
    # mode on, as the test suite does, fresh memory is not a number.
    FRESH_MEMORY.fill_uninitialized_memory = filled and before
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        FRESH_MEMORY.fill_uninitialized_memory = filled
