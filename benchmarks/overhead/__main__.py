"""``python -m benchmarks.overhead``: measure in a process for each number of threads and kind of heap."""

import dataclasses
import datetime as dt
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import tyro

from benchmarks.overhead.record import Process, Record, process_from, save_record
from benchmarks.overhead.rows import HEAPS, THREADS
from benchmarks.results import Conditions
from experiments.common.environment import ROOT, commit, describe, versions

RESULT = ROOT / "benchmarks" / "results" / "overhead.json"


@dataclasses.dataclass(frozen=True)
class Overhead:
    """Measure ATNLSTM over nn.LSTM in training, inference and single steps. Wants a quiet machine."""

    seconds: float = 120.0
    """Time for the rounds of one process; there are four. The largest rows take a minute of each, whatever this is."""

    rows: tuple[int, ...] = ()
    """Numbers of the rows to measure, counted from 0; none for all of them."""

    output: Path = RESULT
    """Where the record goes."""


def main(arguments: Sequence[str]) -> int:
    """Measure and write the record; `python -m benchmarks report` makes the page of it."""
    options = tyro.cli(Overhead, prog="python -m benchmarks.overhead", args=arguments)
    if not options.seconds > 0:
        sys.exit(f"--seconds is {options.seconds}; it must be above 0")
    conditions = Conditions(
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        device=describe(torch.device("cpu")),
        cores=os.cpu_count() or 1,
        threads=max(THREADS),
        commit=commit(),
        versions=versions(),
        command=shlex.join(["python", "-m", "benchmarks.overhead", *arguments]),
    )
    processes = [_measured(options, threads, heap) for threads in THREADS for heap in HEAPS]
    save_record(options.output, Record(conditions, processes))
    print(options.output)
    return 0


def _measured(options: Overhead, threads: int, heap: str) -> Process:
    program = [sys.executable, "-m", "benchmarks.overhead.measure", "--threads", str(threads), "--heap", heap]
    program += ["--seconds", str(options.seconds)]
    if options.rows:
        program += ["--rows", *map(str, options.rows)]
    if (threads, heap) == (THREADS[0], HEAPS[0]):
        program.append("--memory")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run(program, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    return process_from(json.loads(ended.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
