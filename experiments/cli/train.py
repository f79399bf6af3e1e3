"""``python -m experiments <task> ...``: the runs of a task's command are carried out, in turn."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.cli.command import PROG, named_device, parse_task, plan_runs, stamp
from experiments.cli.demonstration import DEMONSTRATIONS
from experiments.common.errors import INTERRUPTED, UsageError
from experiments.training import distributed
from experiments.training.records.record import Record
from experiments.training.run import Conditions, Run, carry_out
from experiments.training.task import Task
from experiments.training.tensorboard_log import require_tensorboard


def run_task(task: Task[Any], arguments: Sequence[str]) -> int:
    """Make the runs in turn; return the exit status, 1 if a loss was not finite, 130 after Ctrl-C.

    Raises
    ------
    ExperimentError
        As `carry_out`; also without a stamp, or without a package that an option needs.
    """
    prog = f"{PROG} {task.name}"
    options = parse_task(task, arguments, prog)
    runs = plan_runs(task, options, prog)
    if not runs:
        raise UsageError(f"--model {options.model}: {task.name} has no such run")
    if options.tensorboard:
        require_tensorboard()
    conditions = Conditions(
        runs=options.runs,
        device=distributed.own_device(_device(options.device)),
        checkpoint_seconds=options.checkpoint_seconds,
        stamp=stamp(unverified=options.unverified),
        command=shlex.join([*_program(), "-m", "experiments", task.name, *without_folders(arguments)]),
        tensorboard=options.tensorboard,
    )
    with distributed.joined(conditions.device):
        return _carry_out_all(runs, conditions)


def without_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command for its record: without the folders, which are those of one machine."""
    kept, words = [], iter(arguments)
    for word in words:
        option, equals, _ = word.partition("=")
        if option.replace("_", "-") not in {"--runs", "--data-dir"}:
            kept.append(word)
        elif not equals:
            next(words, None)
    return kept


def _program() -> list[str]:
    return ["python"] if distributed.count() == 1 else ["torchrun", "--nproc-per-node", str(distributed.count())]


def _device(name: str) -> torch.device:
    device = named_device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: PyTorch finds no CUDA device here")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: PyTorch finds {torch.cuda.device_count()} CUDA devices here")
    return device


def _carry_out_all(runs: Sequence[Run], conditions: Conditions) -> int:
    status = 0
    records = []
    for run in runs:
        record = carry_out(run, conditions)
        records.append(record)
        if distributed.is_main_process():
            print(_ending(record, conditions.runs), flush=True)
        if record.status == "interrupted":
            return INTERRUPTED
        if record.status == "nan":
            status = 1
    demonstrate = DEMONSTRATIONS.get((runs[0].task.name, runs[0].preset))
    if status == 0 and demonstrate is not None and distributed.is_main_process():
        print(demonstrate(records, conditions.runs), flush=True)
    return status


def _ending(record: Record, runs: Path) -> str:
    folder = runs / record.name
    if record.status == "nan":
        return f"{record.model}: the loss of step {record.step} is not finite, stopped; {folder}"
    if record.status == "interrupted":
        return f"{record.model}: stopped after step {record.step}, the same command goes on from there; {folder}"
    loss = "" if record.summary is None else f", training loss {record.summary.last:.4f}"
    return f"{record.model}: finished, {record.step} steps{loss}; {folder}"
