"""The compiled operators under GCC's address and undefined-behavior sanitizers: their tests, and a long random run.

::

    python -m tests.fuzzing.fuzz --problems 10000 --seed 0

The operators are built once more, with checks of every memory access, into a folder of their own. A problem is a
forward and a backward pass: the operators called directly, with sizes about multiples of a vector's, windows from one
step to `sys.maxsize`, memories, missing tensors, empty batches and steps that overflow; a layer or norm with tensors
that are not contiguous; or a module of up to three layers in training, in inference by one call for all layers and by
the general way, and as a stream. One thread is compared with up to three, each memory layout with the contiguous one,
and each of these ways with the others. A process that a sanitizer ends is a failure of the problem it was at; the run
goes on behind it.

No tool that looks for races is among them. GCC's thread sanitizer, and valgrind's helgrind and drd, do not see how
libgomp synchronizes: it waits by futexes and atomic variables, and is not built with the sanitizer. Of a program that
is right, two threads that write their halves of a vector and a sum of it behind the region, three times over, the
thread sanitizer reports 2 races, helgrind 65 errors and drd 20 (GCC 12.2). Among such reports a race of the operators
could not be told. What stands for them is that the results of a case are the same bit for bit on any number of threads,
here and in `tests/library/backends/test_threads.py`.
"""

import dataclasses
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import tyro
from tqdm import tqdm

from experiments.common.environment import ROOT, commit, describe, versions
from experiments.common.files import write_atomically
from experiments.stamp import source_digest
from tests.fuzzing.worker import Examined

SANITIZERS = "address,undefined"

LONGEST_REPORT = 4000
"""Characters of what an ended process said that are shown."""

TESTS = (
    "tests/library/backends/test_native.py",
    "tests/library/backends/test_threads.py",
    "tests/library/backends/test_direct_inference.py",
)


@dataclasses.dataclass(frozen=True)
class Fuzz:
    """Run the compiled operators under sanitizers."""

    problems: int = 10_000
    """How many."""

    seed: int = 0
    """Which."""

    processes: int = 2
    """Processes that share them."""

    tests: bool = True
    """Run the operators' tests too."""

    cache: Path = ROOT / ".nox" / "sanitized"
    """Where the build with sanitizers is kept, which takes some minutes once."""

    output: Path = ROOT / "benchmarks" / "results" / "sanitize.json"
    """Where the counts go."""


def ask_compiler(*arguments: str) -> str:
    """What GCC answers."""
    return subprocess.run(["g++", *arguments], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607 - a fixed question to the compiler that torch takes too


def environment(cache: Path) -> dict[str, str]:
    """Environment of a process that loads operators with sanitizers."""
    # The runtime must be there before the library; behind it libstdc++, whose throw it wants to find at once.
    runtimes = [ask_compiler(f"-print-file-name={name}") for name in ("libasan.so", "libstdc++.so.6")]
    return {
        **os.environ,
        "ATN_SANITIZE": SANITIZERS,
        "TORCH_EXTENSIONS_DIR": str(cache),
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own memory is never given back
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def run_tests(settings: Mapping[str, str]) -> dict[str, int]:
    """Counts of the operators' tests by outcome."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "tests.json")
        command = [sys.executable, "-m", "pytest", "-q", *TESTS, "--verification", str(found)]
        status = subprocess.run(command, env=settings, cwd=ROOT, check=False).returncode  # noqa: S603 - our own tests
        if not found.exists():  # ended by a sanitizer
            return {"passed": 0, "failed": 1}
        counts: dict[str, int] = json.loads(found.read_text("utf-8"))["counts"]
        return {"passed": counts["passed"], "failed": max(counts["failed"], int(status != 0))}


def examined(seed: int, numbers: range, settings: Mapping[str, str], program: Sequence[str]) -> Iterator[Examined]:
    """Problems of a range one by one, in a process that is started again behind a problem that ended it."""
    start = numbers.start
    while start < numbers.stop:
        command = [*program, str(seed), str(start), str(numbers.stop)]
        begun = False
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
            subprocess.Popen(  # noqa: S603 - our own program
                command, env=settings, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            for line in process.stdout or ():
                if begun:
                    yield Examined(problems=1, **json.loads(line))
                    start += 1
                begun = not begun
            errors.seek(0)
            report = errors.read(LONGEST_REPORT)  # the place of the fault stands first
        if begun:
            yield Examined(problems=1, failures=[f"problem {start} of seed {seed} ended its process\n{report}"])
            start += 1
        elif start < numbers.stop:
            raise SystemExit(f"tests.fuzzing.fuzz: no problem was begun\n{report}")


WORKER = (sys.executable, "-m", "tests.fuzzing.worker")


def fuzz(options: Fuzz, settings: Mapping[str, str], program: Sequence[str] = WORKER) -> Examined:
    """Carry out the run, with progress; failures are printed as they come."""
    total = Examined()
    share = -(-options.problems // options.processes)
    ranges = [range(i, min(i + share, options.problems)) for i in range(0, options.problems, share)]
    interval = 0.2 if sys.stderr.isatty() else 30.0  # where there is no terminal, a line now and then
    with (
        ThreadPoolExecutor(options.processes) as pool,
        tqdm(total=options.problems, unit="problem", mininterval=interval, dynamic_ncols=True) as bar,
    ):

        def run(numbers: range) -> Examined:
            part = Examined()
            for found in examined(options.seed, numbers, settings, program):
                for failure in found.failures:
                    bar.write(failure)
                part.add(found)
                bar.update()
            return part

        for part in pool.map(run, ranges):
            total.add(part)
    return total


def main(arguments: Sequence[str]) -> int:
    """Command line; the exit status is 1 where a test or a problem failed."""
    options = tyro.cli(Fuzz, prog="python -m tests.fuzzing.fuzz", args=arguments)
    digest, began = source_digest(), time.monotonic()  # of the sources as they are when the run begins
    sources = commit()
    settings = environment(options.cache)
    tests = run_tests(settings) if options.tests else None
    found = fuzz(options, settings)
    result: dict[str, Any] = {
        "problems": found.problems,
        "seed": options.seed,
        "comparisons": found.comparisons,
        "failures": len(found.failures),
        "tests": tests,
        "sanitizers": SANITIZERS,
        "compiler": ask_compiler("--version").splitlines()[0],
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe(torch.device("cpu")),
        "versions": versions(),
        "digest": digest,
        "commit": sources,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output, (json.dumps(result, indent=2) + "\n").encode())
    outcome = "not run" if tests is None else f"{tests['passed']} passed, {tests['failed']} failed"
    print(f"tests: {outcome}; {found.problems:,} problems, {len(found.failures)} failures; {options.output}")
    return 1 if found.failures or (tests is not None and tests["failed"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
