"""``python -m experiments <task> ...`` and ``python -m experiments report``."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from experiments.environment import ROOT
from experiments.errors import INTERRUPTED, ExperimentError, UsageError
from experiments.gate import check_stamp
from experiments.metrics import read_metrics
from experiments.parsing import parse_command, parse_known
from experiments.record import METRICS, UNVERIFIED, Record
from experiments.report import write_report
from experiments.run import Conditions, Run, carry_out
from experiments.settings import MODELS, PresetName, Settings
from experiments.tasks import TASKS, Task

PROG = "python -m experiments"
HERE = ROOT / "experiments"
RUNS = HERE / "runs"


@dataclasses.dataclass(frozen=True)
class TaskCommand:
    """Train on a task. A run that was stopped goes on from its last checkpoint; one that has ended stays as it is."""

    settings: tyro.conf.OmitArgPrefixes[Settings]
    """Settings of the preset. A flag overrides one, and the record says so."""

    preset: PresetName = "paper"
    """Where the settings come from: the paper's text, the released script, or a size for trying out the code."""

    model: Literal["lstm", "ln", "atn", "all"] = "all"
    """Plain LSTM, LN-LSTM, ATN-LSTM, or all three in turn."""

    device: str = "cpu"
    """cpu, cuda, or cuda and a number."""

    runs: Path = RUNS
    """Folder of the runs' folders."""

    checkpoint_seconds: float = 30.0
    """Time between two checkpoints."""

    unverified: bool = False
    """Run without a stamp; the record says so."""


@dataclasses.dataclass(frozen=True)
class PresetCommand:
    """The part of a task's command that decides its other defaults."""

    preset: PresetName = "paper"
    """As in `TaskCommand`."""


@dataclasses.dataclass(frozen=True)
class ReportCommand:
    """Write the report and its figures from the records alone."""

    runs: Path = RUNS
    """Folder of the runs' folders."""

    output: Path = HERE
    """Folder for README.md and figures/."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; return its exit status.

    0 done; 1 an error that the user has to know; 2 a command that cannot be understood; 3 no stamp; 130 Ctrl-C.
    """
    try:
        match list(arguments):
            case ["report", *rest]:
                return _report(rest)
            case [name, *rest] if name in TASKS:
                return _run_task(TASKS[name], rest)
            case ["-h" | "--help"]:
                print(
                    f"usage: {PROG} {{{','.join([*TASKS, 'report'])}}} [options]\n       {PROG} <one of these> --help"
                )
                return 0
            case _:
                asked = f"unknown task {arguments[0]!r}" if arguments else "no task"
                raise UsageError(f"{asked}; there are {', '.join([*TASKS, 'report'])}")
    except ExperimentError as error:
        print(f"experiments: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED


def _report(arguments: list[str]) -> int:
    asked = parse_command(ReportCommand, arguments, f"{PROG} report")
    try:
        said = write_report(asked.runs, asked.output)
    except OSError as error:
        raise ExperimentError(f"cannot write {error.filename or asked.output}: {error.strerror}") from None
    print("\n".join(said))
    return 0


def _run_task(task: Task[Any], arguments: list[str]) -> int:
    prog = f"{PROG} {task.name}"
    preset = parse_known(PresetCommand, arguments, prog).preset
    asked = parse_command(TaskCommand, arguments, prog, TaskCommand(settings=task.presets[preset], preset=preset))
    conditions = Conditions(
        runs=asked.runs,
        device=_device(asked.device),
        checkpoint_seconds=asked.checkpoint_seconds,
        stamp=UNVERIFIED if asked.unverified else str(check_stamp()),
        command=shlex.join(["python", "-m", "experiments", task.name, *arguments]),
    )
    status = 0
    for model in MODELS if asked.model == "all" else (asked.model,):
        record = carry_out(Run(task, asked.preset, model, asked.settings), conditions)
        print(_ending(record, asked.runs), flush=True)
        if record.status == "interrupted":
            return INTERRUPTED
        if record.status == "nan":
            status = 1
    return status


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}") from None
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"--device {name}: there are cpu and cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: PyTorch finds no CUDA device here")
    return device


def _ending(record: Record, runs: Path) -> str:
    folder = runs / record.name
    if record.status == "nan":
        return f"{record.model}: the loss of step {record.step} is not finite, stopped; {folder}"
    if record.status == "interrupted":
        return f"{record.model}: stopped after step {record.step}, the same command goes on from there; {folder}"
    last = read_metrics(folder / METRICS, record.step)[-1]
    return f"{record.model}: finished, {record.step} steps, training loss {last.train:.4f}; {folder}"
