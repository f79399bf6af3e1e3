"""The command of a task: its options, how they are read, and the runs that they ask for."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar, cast

import torch
import tyro

from experiments.catalog.registry import TASKS
from experiments.cli.flags import settings_flags
from experiments.cli.seeds import parse_seeds
from experiments.common.environment import ROOT
from experiments.common.errors import UsageError
from experiments.common.parsing import FolderPath, check_folder, parse_command
from experiments.stamp import check_stamp
from experiments.training.records.record import UNVERIFIED
from experiments.training.run import Run
from experiments.training.settings import PresetName
from experiments.training.task import Task

PROG = "python -m experiments"
HERE = ROOT / "experiments"
RUNS = HERE / "runs"

PRESETS: Mapping[PresetName, str] = {
    "paper": "the text of the paper",
    "released": "the script that came with it",
    "normprop": "the paper on Normalization Propagation",
    "budget": "the text of the paper at a reduced size",
    "demo": "ends in minutes",
    "smoke": "tries out the code, and its losses mean nothing",
}
"""What the settings of each preset are."""

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
    """Name of the settings."""

    # Help of more than a line is no docstring, whose lines tyro would not join.
    model: Annotated[
        M,
        tyro.conf.arg(
            help="A model by name, or all in turn: plain LSTM, LN-LSTM and ATN-LSTM, or for a study of another system "
            "its own. Some tasks have more, which are run only by name."
        ),
    ] = cast("M", "all")  # noqa: RUF009 - a string

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


def preset_help(presets: Iterable[PresetName]) -> str:
    """Help on some of the presets."""
    return "Named settings. " + "; ".join(f'"{name}": {PRESETS[name]}' for name in presets) + "."


def parse_task(task: Task[Any], arguments: Sequence[str], prog: str) -> Command:
    """Read the arguments of a task's command, which takes the task's settings, presets and models alone.

    Raises
    ------
    UsageError
        If they cannot be understood, or an option has a wrong value.
    """
    presets, models = Literal[*task.presets], Literal[*task.models, "all"]
    kind: Any = TaskCommand[settings_flags(task), presets, models]  # type: ignore[misc] # a computed type
    own = ("preset", Annotated[presets, tyro.conf.arg(help=preset_help(task.presets))], task.standard_preset)
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


def stamp(*, unverified: bool) -> str:
    """Stamp of the sources, or the value that replaces it in the record of an unverified run.

    Raises
    ------
    StampError
        If there is no stamp and `unverified` is false.
    """
    return UNVERIFIED if unverified else str(check_stamp())
