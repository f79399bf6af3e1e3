"""``python -m experiments sweep``: many runs, one job for each; runs that have finished are not repeated."""

import dataclasses
import itertools
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from tqdm import tqdm

from experiments.catalog.registry import TASKS
from experiments.catalog.sensitivity import find_grids
from experiments.cli.command import PRESETS, PROG, RUNS, Command, named_device, plan_runs, preset_help, stamp
from experiments.cli.flags import settings_flags
from experiments.cli.jobs import ExecutorName, Resources, check_executor, make_executor, run_jobs
from experiments.cli.seeds import parse_seeds
from experiments.common.errors import ExperimentError, UsageError
from experiments.common.parsing import FolderPath, check_folder, parse_command
from experiments.training.records.record import Record, load_record, load_records
from experiments.training.settings import ModelName, PresetName
from experiments.training.task import Task
from experiments.training.tensorboard_log import require_tensorboard

FINISHED = "finished"
"""State of a job whose runs all have finished."""

_FOLDER = ".sweep-"
"""Beginning of the name of the folder for scripts and logs, among the runs' folders."""


_BOUNDS = {"jobs": (1, 10_000), "minutes": (1, 366 * 24 * 60), "cpus": (1, 4096), "gpus": (0, 4096)}


@dataclasses.dataclass(frozen=True)
class SweepCommand:
    """Run every combination of tasks, presets, seeds, models and settings that has not finished yet.

    Exit status 1 if one of them did not finish; the command that runs it again is listed.
    """

    tasks: tyro.conf.Positional[tuple[str, ...]]
    """Names of tasks."""

    presets: Annotated[
        tuple[PresetName, ...],
        tyro.conf.arg(
            help=preset_help(PRESETS), help_behavior_hint="(default: paper, or the first preset of a task without it)"
        ),
    ] = ()

    models: Annotated[
        tuple[ModelName, ...],
        tyro.conf.arg(
            help="Models by name, which every task must have. Without it the models that each task's command runs: "
            "plain LSTM, LN-LSTM and ATN-LSTM, or for a study of another system its own.",
            help_behavior_hint="(default: the standard models of each task)",
        ),
    ] = ()

    seeds: str | None = None
    """0..4 or 0,3,5; without it the preset's seed."""

    grid: tuple[str, ...] = ()
    """Names of declared grids of the sensitivity study, in the place of tasks, presets, seeds and settings."""

    set: Annotated[
        tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="[NAME=VALUE,... ...]"), tyro.conf.UseAppendAction
    ] = ()
    """Settings, each once with the values to combine: T=100,200 lr=1e-3."""

    executor: ExecutorName = "auto"
    """Where the jobs run: a SLURM cluster, this machine, or (auto) the cluster if there is one, else this machine."""

    jobs: int = 1
    """Jobs at once. A cluster queues jobs itself: choose a large number there."""

    minutes: int = 1440
    """Time limit of a job. A job that needs more time continues when the same sweep is started again."""

    cpus: int = 1
    """Cores of a job, and threads of PyTorch."""

    gpus: int = 0
    """GPUs of a job."""

    partition: str | None = None
    """SLURM's partition."""

    device: str = "cpu"
    """cpu, cuda, or cuda and a number."""

    runs: FolderPath = RUNS
    """Folder of the runs' folders; on a cluster all its machines have to see it."""

    data_dir: FolderPath | None = None
    """Folder of the data sets, for the tasks that read any; else ATN_DATA_DIR names it, or else they are downloaded."""

    tensorboard: bool = False
    """Write the losses for TensorBoard too, into each run's folder."""

    unverified: bool = False
    """Run without a stamp; the records say so."""

    dry_run: bool = False
    """List what would run, and run nothing."""


class Entry(NamedTuple):
    """One job of a sweep: the folders of its runs, mostly one, and the arguments that make them."""

    folders: tuple[Path, ...]
    arguments: list[str]

    @property
    def name(self) -> str:
        """Names of the runs."""
        return " + ".join(folder.name for folder in self.folders)

    @property
    def state(self) -> str:
        """The state of the runs in words, from their records; "finished" if all have finished."""
        states = dict.fromkeys(_state(load_record(folder)) for folder in self.folders)
        return "; ".join(state for state in states if state != FINISHED) or FINISHED

    @property
    def ended(self) -> list[Path]:
        """Folders of the runs that have ended, finished or not, and would not continue."""
        return [folder for folder in self.folders if _has_ended(load_record(folder))]

    @property
    def command(self) -> str:
        """The command that runs it again; it first removes the folders of runs that ended without finishing."""
        command = shlex.join(["python", "-m", "experiments", *self.arguments])
        spoiled = [str(folder) for folder in self.ended if _state(load_record(folder)) != FINISHED]
        return f"rm -r {shlex.join(spoiled)} && {command}" if spoiled else command


def _state(record: Record | None) -> str:
    if record is None:
        return "not begun"
    if record.status == "nan":
        return f"the loss of step {record.step} is not finite"
    return FINISHED if record.status == "finished" else f"{record.status}, not finished"


def _has_ended(record: Record | None) -> bool:
    return record is not None and record.status in {"finished", "nan"}


def run_sweep(arguments: Sequence[str]) -> int:
    """Run a sweep; return its exit status.

    Raises
    ------
    ExperimentError
        For unknown tasks, presets or settings, a missing stamp, missing SLURM, or a damaged record.
    """
    options = parse_sweep(arguments)
    entries = plan_sweep(options)
    waiting = [entry for entry in entries if len(entry.ended) < len(entry.folders)]
    if options.dry_run:
        for entry in waiting:
            print(entry.command)
        if not waiting:
            print(f"0 of {len(entries)} jobs to do")
        return 0
    stamp(unverified=options.unverified)
    check_executor(options.executor)
    if options.tensorboard:
        require_tensorboard()
    print(f"{len(entries)} jobs, {len(waiting)} of them to do", flush=True)
    if waiting:
        _carry_out(waiting, options)
    return _summary(entries)


def parse_sweep(arguments: Sequence[str]) -> SweepCommand:
    """Read the arguments of a sweep.

    Raises
    ------
    UsageError
        If they cannot be understood, or an option has a wrong value.
    """
    options = parse_command(SweepCommand, arguments, f"{PROG} sweep", repeatable=["--set"])
    for name, (least, most) in _BOUNDS.items():
        value = getattr(options, name)
        if value < least:
            raise UsageError(f"--{name} is {value}; it must be at least {least}")
        if value > most:
            raise UsageError(f"--{name} is {value}; it must be at most {most:,}")
    named_device(options.device)
    check_folder("--runs", options.runs)
    check_folder("--data-dir", options.data_dir)
    return options


def plan_sweep(options: SweepCommand) -> list[Entry]:
    """The jobs of a sweep in the order in which they are begun. No run is of two jobs.

    Raises
    ------
    UsageError
        For an argument that a task's command does not accept, or a task that has no run of a model.
    """
    entries: dict[frozenset[Path], Entry] = {}
    numbers: Counter[tuple[str, ModelName]] = Counter()
    for task, command, arguments in _combinations(options):
        runs = plan_runs(task, command, f"{PROG} {task.name}")
        numbers[task.name, command.model] += len(runs)
        # A run is named by its completed settings.
        names = [run._replace(settings=run.settings.completed()).name for run in runs]
        folders = tuple(options.runs.resolve() / name for name in names)
        if folders:
            entries.setdefault(frozenset(folders), Entry(folders, [task.name, *arguments]))
    for (name, model), number in numbers.items():
        if number == 0 and (options.models or not entries):
            raise UsageError(f"--models {model}: {name} has no such run")
    return _without_parts(entries)


def _without_parts(entries: Mapping[frozenset[Path], Entry]) -> list[Entry]:
    """The jobs without those whose runs another one makes too, as a study makes runs of the task that it extends.

    Two jobs have no run in common, or one has all runs of the other.
    """
    largest: dict[Path, frozenset[Path]] = {}
    for folders in sorted(entries, key=len):
        largest.update(dict.fromkeys(folders, folders))
    kept = set(largest.values())
    return [entry for folders, entry in entries.items() if folders in kept]


def _combinations(options: SweepCommand) -> Iterator[tuple[Task[Any], Command, list[str]]]:
    """Each task's command, and the arguments from which a job, a separate process, reads the same command."""
    if options.grid:
        yield from _of_grids(options)
        return
    if not options.tasks:
        raise UsageError(f"no task; there are {', '.join(TASKS)}")
    for name in options.tasks:
        _check_task(name, options)
    seeds = [None] if options.seeds is None else parse_seeds(options.seeds)
    values = _values(options)
    # Seeds vary slowest, so that the first results are of every model and setting.
    for seed, task in itertools.product(seeds, [TASKS[name] for name in options.tasks]):
        presets = options.presets or (task.standard_preset,)
        for preset, chosen in itertools.product(presets, itertools.product(*values)):
            settings = parse_command(settings_flags(task), chosen, f"{PROG} {task.name}")
            if seed is not None and "seed" in settings:
                raise UsageError("--set seed and --seeds: give one of them")
            seeding = {} if seed is None else {"seed": seed}
            flags = [*(_flag(key, value) for key, value in seeding.items()), *chosen, *_common(options)]
            for model in options.models or task.standard_models:
                command = Command(settings | seeding, preset, model, data_dir=options.data_dir)
                yield task, command, ["--preset", preset, "--model", model, *flags]


def _check_task(name: str, options: SweepCommand) -> None:
    """Check that there is the task, with the presets and the models of the sweep.

    Raises
    ------
    UsageError
        Naming what there is not.
    """
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    _check_among("--presets", options.presets, name, tuple(TASKS[name].presets))
    _check_among("--models", options.models, name, TASKS[name].models)


def _check_among(option: str, values: Sequence[str], name: str, choices: Sequence[str]) -> None:
    for value in values:
        if value not in choices:
            raise UsageError(f"{option} {value}: {name} has {', '.join(choices)}")


def _of_grids(options: SweepCommand) -> Iterator[tuple[Task[Any], Command, list[str]]]:
    """The runs of declared grids, seeds varying slowest within each."""
    if options.tasks or options.seeds is not None or options.set or options.presets:
        raise UsageError("--grid has its own tasks, presets, seeds and settings: give none of them beside it")
    records = list(load_records(options.runs).values())
    grids = [grid for name in options.grid for grid in find_grids(name, records)]
    models = list(dict.fromkeys(model for grid in grids for model in grid.models))
    _check_among("--models", options.models, f"--grid {' '.join(options.grid)}", models)
    for grid in grids:
        task = TASKS[grid.task]
        for seed, cell, model in itertools.product(grid.seeds, grid.cells, grid.models):
            if model not in (options.models or models):
                continue
            settings = {**grid.fixed, **cell, "seed": seed}
            flags = [_flag(name, value) for name, value in settings.items()]
            command = Command(settings, grid.preset, model, data_dir=options.data_dir)
            yield task, command, ["--preset", grid.preset, "--model", model, *flags, *_common(options)]


def _values(options: SweepCommand) -> list[list[str]]:
    """Flags of each setting: ``--T=100`` and ``--T=200`` of ``T=100,200``, ``--compile`` of ``compile=True``."""
    flags: dict[str, list[str]] = {}
    for assignment in itertools.chain.from_iterable(options.set):
        name, equals, values = assignment.partition("=")
        if not (name and equals and values):
            raise UsageError(f"--set {assignment}: a setting and its values look like T=100,200")
        if (key := name.replace("_", "-")) in flags:
            raise UsageError(f"--set {assignment}: {name} is there twice; give all of its values at once, as T=100,200")
        flags[key] = [_flag(name, value) for value in values.split(",")]
    return list(flags.values())


def _flag(name: str, value: Any) -> str:
    """``--T=100``; ``--compile`` and ``--no-compile`` for True and False."""
    switches = {"True": f"--{name}", "False": f"--no-{name}"}
    return switches.get(str(value), f"--{name}={value}")


def _common(options: SweepCommand) -> list[str]:
    flags = ["--device", options.device, "--runs", str(options.runs.resolve())]
    if options.data_dir is not None:
        flags += ["--data-dir", str(options.data_dir.resolve())]
    return [*flags, *(f"--{name}" for name in ("tensorboard", "unverified") if getattr(options, name))]


def _carry_out(entries: Sequence[Entry], options: SweepCommand) -> None:
    """Run the entries, and show the end of each; scripts and logs stay where one did not finish."""
    folder = _own_folder(options.runs)
    resources = Resources(options.minutes, options.cpus, options.gpus, options.partition)
    executor = make_executor(options.executor, folder, resources)
    by_name = {entry.name: entry for entry in entries}
    commands = {name: [sys.executable, "-m", "experiments", *entry.arguments] for name, entry in by_name.items()}
    with tqdm(total=len(entries), unit="job", disable=None, dynamic_ncols=True) as bar:
        for job in run_jobs(executor, commands, options.cpus, options.jobs):
            bar.update()
            state = by_name[job.name].state
            bar.write(f"{job.name}: {state}" + ("" if state == FINISHED else f"; {job.log}"))
    if all(entry.state == FINISHED for entry in entries):
        shutil.rmtree(folder)


def _own_folder(runs: Path) -> Path:
    """A new folder that only this user may write to, since submitit loads files from it."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_FOLDER, dir=runs.resolve()))
    except OSError as error:
        raise ExperimentError(f"cannot write {error.filename or runs}: {error.strerror}") from None


def _summary(entries: Sequence[Entry]) -> int:
    unfinished = [entry for entry in entries if entry.state != FINISHED]
    print(f"{len(entries) - len(unfinished)} of {len(entries)} jobs have finished")
    for entry in unfinished:
        print(f"{entry.name}: {entry.state}; to run it again:\n    {entry.command}")
    return 1 if unfinished else 0
