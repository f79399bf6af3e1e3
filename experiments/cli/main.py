"""``python -m experiments <task> ...``, ``python -m experiments sweep ...`` and ``python -m experiments report``."""

import dataclasses
import sys
from collections.abc import Sequence

from experiments.catalog.registry import TASKS
from experiments.cli.command import HERE, PROG, RUNS
from experiments.cli.sweep import run_sweep
from experiments.cli.train import run_task
from experiments.common.errors import INTERRUPTED, ExperimentError, UsageError
from experiments.common.parsing import FolderPath, check_folder, parse_command
from experiments.report.page import write_report
from experiments.training import distributed


@dataclasses.dataclass(frozen=True)
class ReportCommand:
    """Write the report and its figures from the records alone."""

    runs: FolderPath = RUNS
    """Folder of the runs' folders."""

    output: FolderPath = HERE
    """Folder for README.md and figures/."""


def main(arguments: Sequence[str]) -> int:
    """Run a command line; return its exit status.

    The status is 0 for success, 1 for an error or a run that did not finish, 2 for an invalid command, 3 for a missing
    stamp, and 130 after Ctrl-C.
    """
    commands = [*TASKS, "sweep", "report"]
    try:
        match list(arguments):
            case ["report", *rest]:
                return _report(rest)
            case ["sweep", *rest]:
                return run_sweep(rest)
            case [name, *rest] if name in TASKS:
                return run_task(TASKS[name], rest)
            case ["-h" | "--help"]:
                print(f"usage: {PROG} {{{','.join(commands)}}} [options]\n       {PROG} <one of these> --help")
                return 0
            case _:
                problem = f"unknown task {arguments[0]!r}" if arguments else "no task"
                raise UsageError(f"{problem}; there are {', '.join(commands)}")
    except ExperimentError as error:
        # All processes of a run have read the same command.
        if distributed.is_main_process() or not isinstance(error, UsageError):
            print(f"experiments: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED


def _report(arguments: list[str]) -> int:
    options = parse_command(ReportCommand, arguments, f"{PROG} report")
    check_folder("--runs", options.runs)
    if not options.runs.is_dir():
        raise ExperimentError(f"there is no folder {options.runs}: the report would lose every run")
    check_folder("--output", options.output)
    try:
        lines = write_report(options.runs, options.output)
    except OSError as error:
        raise ExperimentError(f"cannot write {error.filename or options.output}: {error.strerror}") from None
    print("\n".join(lines))
    return 0
