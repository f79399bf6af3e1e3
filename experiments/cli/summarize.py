"""``python -m experiments.cli.summarize RUNS``: curves and summaries of finished runs from their single-step losses.

For runs of an earlier version, whose records have no summary, and for runs of several machines that were brought
together and are to be compared step by step. Runs without single-step losses are left as they are.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.catalog.registry import TASKS
from experiments.common.errors import ExperimentError, UsageError
from experiments.training.records.conclusion import conclude, with_comparisons
from experiments.training.records.metrics import METRICS, metrics_digest
from experiments.training.records.record import RECORD, Record, load_record, save_record
from experiments.training.settings import Settings


def summarize_runs(runs: Path) -> int:
    """Write curve and record of every finished run in the folder `runs` again; return how many there are.

    Raises
    ------
    ExperimentError
        If a record is damaged, or single-step losses are not those of their record.
    """
    found = [(path.parent, record) for path in sorted(runs.glob(f"*/{RECORD}")) if (record := load_record(path.parent))]
    finished = [each for each in found if each[1].status == "finished" and (each[0] / METRICS).exists()]
    for folder, record in finished:
        if metrics_digest(folder / METRICS) != record.metrics_digest:
            raise ExperimentError(f"{folder / METRICS} is not the file that its record was written for")
        save_record(folder, conclude(folder, record, _settings(record)))
    for folder, _ in finished:
        if (record := load_record(folder)) is not None:
            save_record(folder, with_comparisons(folder, record))
    return len(finished)


def _settings(record: Record) -> Settings:
    if record.task not in TASKS or record.preset not in TASKS[record.task].presets:
        raise ExperimentError(f"{record.name}: there is no task {record.task} with a preset {record.preset}")
    # A record has lists where settings have tuples.
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.settings.items()}
    settings: Settings = dataclasses.replace(TASKS[record.task].presets[record.preset], **values)
    return settings


def main(arguments: Sequence[str]) -> int:
    """Carry out the command; return its exit status."""
    try:
        if len(arguments) != 1 or not Path(arguments[0]).is_dir():
            raise UsageError("give one folder of runs")
        print(f"{summarize_runs(Path(arguments[0]))} runs summarized")
    except ExperimentError as error:
        print(f"experiments.cli.summarize: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
