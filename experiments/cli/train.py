"""``python -m experiments <task> ...``: the runs of a task's command, and the conditions of these runs."""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import torch
import tyro

from experiments.catalog.registry import TASKS
from experiments.cli.demonstration import demonstrate
from experiments.cli.flags import settings_flags
from experiments.cli.seeds import parse_seeds
from experiments.common.environment import ROOT
from experiments.common.errors import INTERRUPTED, UsageError
from experiments.common.parsing import FolderPath, check_folder, parse_command
from experiments.stamp import check_stamp
from experiments.tasks import copying
from experiments.training import distributed
from experiments.training.records.record import UNVERIFIED, Record
from experiments.training.run import Conditions, Run, carry_out
from experiments.training.settings import PresetName
from experiments.training.task import Task
from experiments.training.tensorboard_log import require_tensorboard

PROG = "python -m experiments"
HERE = ROOT / "experiments"
RUNS = HERE / "runs"


F = TypeVar("F", bound=Mapping[str, Any])
P = TypeVar("P", bound=PresetName)
M = TypeVar("M", bound=str)


@dataclasses.dataclass(frozen=True)
class TaskCommand(Generic[F, P, M]):
    """Train on a task. A run that was stopped goes on from its last checkpoint; one that has ended stays as it is.

    ``torchrun --nproc-per-node N -m experiments <task> ...`` trains each model with N processes that share its batches.
    """

    settings: tyro.conf.OmitArgPrefixes[F]
    """Settings of the preset. A flag overrides one, and the record says so."""

    preset: P = cast("P", "paper")  # noqa: RUF009 - a string
    """Where the settings come from. "paper" is the text of the paper, "released" the script that came with it, "demo"
    a size that ends in minutes, "smoke" one for trying out the code; language models also have reduced sizes."""

    model: M = cast("M", "all")  # noqa: RUF009 - a string
    """A model by name, or all in turn: plain LSTM, LN-LSTM and ATN-LSTM, or for a study of another system its own. Some
    tasks have more, which are run only by name."""

    seeds: str | None = None
    """Several seeds in turn, a run each, instead of --seed: 0..4 or 0,3,5."""

    device: str = "cpu"
    """cpu, cuda, or cuda and a number."""

    runs: FolderPath = RUNS
    """Folder of the runs' folders."""

    data_dir: FolderPath | None = None
    """Folder of the data sets, for the tasks that read any; else ATN_DATA_DIR names it, or else they are downloaded."""

    checkpoint_seconds: float = 30.0
    """Time between two checkpoints."""

    tensorboard: bool = False
    """Write the losses for TensorBoard too, into the run's folder."""

    unverified: bool = False
    """Run without a stamp; the record says so."""


Command: TypeAlias = TaskCommand[Any, Any, Any]
"""The command of any task."""


def parse_task(task: Task[Any], arguments: Sequence[str], prog: str) -> Command:
    """Read the arguments of a task's command, which takes the task's settings, presets and models alone.

    Raises
    ------
    UsageError
        If they cannot be understood, or an option has a wrong value.
    """
    presets, models = Literal[*task.presets], Literal[*task.models, "all"]
    kind: Any = TaskCommand[settings_flags(task), presets, models]  # type: ignore[misc] # a computed type
    if "paper" not in task.presets:
        own = ("preset", presets, task.standard_preset)
        doc = {"__doc__": TaskCommand.__doc__}
        kind = dataclasses.make_dataclass(TaskCommand.__name__, [own], bases=(kind,), namespace=doc, frozen=True)
    options: Command = parse_command(kind, arguments, prog)
    check_folder("--runs", options.runs)
    check_folder("--data-dir", options.data_dir)
    if not 0 <= options.checkpoint_seconds < math.inf:
        raise UsageError(f"--checkpoint-seconds is {options.checkpoint_seconds}; it must be a number of at least 0")
    return options


def plan_runs(task: Task[Any], options: Command, prog: str) -> list[Run]:
    """The runs of a command in their order, without the models that the task does not have.

    Raises
    ------
    UsageError
        If the task has no such preset, no such settings or no such model, or the model no such setting.
    """
    if options.preset not in task.presets:
        raise UsageError(f"--preset {options.preset}: {task.name} has {', '.join(task.presets)}")
    if "seed" in options.settings and options.seeds is not None:
        raise UsageError("--seed and --seeds: give one of them")
    try:
        chosen = dataclasses.replace(task.presets[options.preset], **options.settings)
    except ValueError as error:
        raise UsageError(f"Error parsing settings: {error} (see {prog} --help)") from None
    _check_used(task, options)
    seeds = (chosen.seed,) if options.seeds is None else parse_seeds(options.seeds)
    models = task.standard_models if options.model == "all" else (options.model,)
    parts = [
        part for seed in seeds for part in task.parts(options.preset, dataclasses.replace(chosen, seed=seed), models)
    ]
    tasks = {**TASKS, task.name: task}
    return [
        Run(tasks[name].reading(options.data_dir), options.preset, model, settings) for name, model, settings in parts
    ]


def _check_used(task: Task[Any], options: Command) -> None:
    """Check that a model beside the standard ones has the settings that are changed for it.

    The standard models share their settings, so that a command or a sweep of all of them can change what one has.

    Raises
    ------
    UsageError
        Naming the setting that the model does not have.
    """
    if options.model not in task.more_models:
        return
    preset = task.presets[options.preset]
    for name in preset.unused(options.model):
        if options.settings.get(name, getattr(preset, name)) != getattr(preset, name):
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag}: the model {options.model} has no such setting; leave --{flag} out")


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


def stamp(*, unverified: bool) -> str:
    """Stamp of the sources, or the value that replaces it in the record of an unverified run.

    Raises
    ------
    StampError
        If there is no stamp and `unverified` is false.
    """
    return UNVERIFIED if unverified else str(check_stamp())


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


def named_device(name: str) -> torch.device:
    """The device of a name, which this machine need not have.

    Raises
    ------
    UsageError
        If there is no such device, or no run can use it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: unknown device {name!r}; there are cpu and cuda") from None
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"--device {name}: there are cpu and cuda")
    return device


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
    shown = (runs[0].task.name, runs[0].preset) == (copying.NAME, "demo")
    if status == 0 and shown and distributed.is_main_process():
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
