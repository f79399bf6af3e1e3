"""A long random differential run: the oracle in float64 against every backend, in float64 and float32.

Of each layer its inference is compared, too, whole and in a stream, with what it computes while training.

::

    python -m tests.verification.soak --problems 20000 --seed 0

Problem number i of a seed is always the same one, whatever the number of processes. Every failure is printed with an
expression that computes it again; the run goes on, and its exit status is 1 if there was one.
"""

import dataclasses
import datetime as dt
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import tyro
from tqdm import tqdm

from experiments.common.environment import ROOT, describe, versions
from experiments.common.files import write_atomically
from experiments.stamp import source_digest
from tests.support import runners
from tests.support.condition import judgments
from tests.support.dispatch import backends_of, run_oracle, run_torch
from tests.support.inference import wrong_inferences
from tests.support.problems import AnyProblem, NormProblem, draw_hidden_problem, draw_lstm_problem, draw_norm_problem
from tests.support.tolerances import CONDITION_MULTIPLE
from tests.verification.error_log import ErrorKey, take_errors

S = TypeVar("S")

DTYPES = ("float64", "float32")

SHARE = 4
"""One problem in so many is of the norm alone, and one of an RNN or a GRU; the others are of the LSTM."""


@dataclasses.dataclass(frozen=True)
class Soak:
    """Compare every backend with the oracle on random problems."""

    problems: int = 20_000
    """How many."""

    seed: int = 0
    """Which."""

    processes: int = 2
    """Processes that share them; 1 is this one."""

    output: Path = ROOT / "benchmarks" / "results" / "soak.json"
    """Where the count and the largest errors go."""


class GeneratorDraw:
    """Draws settings by a generator of NumPy."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def integer(self, least: int, most: int) -> int:
        """An integer from `least` to `most`, both included."""
        return int(self._rng.integers(least, most, endpoint=True))

    def choice(self, options: Sequence[S]) -> S:
        """One of `options`."""
        return options[int(self._rng.integers(len(options)))]


def problem_number(index: int, seed: int) -> AnyProblem:
    """Problem number `index` of the run with this seed."""
    draw = GeneratorDraw(np.random.default_rng([seed, index]))
    kinds: dict[int, Callable[[GeneratorDraw], AnyProblem]] = {0: draw_norm_problem, 1: draw_hidden_problem}
    return kinds.get(index % SHARE, draw_lstm_problem)(draw)


@dataclasses.dataclass
class Findings:
    """What comparing one problem, or many, gave."""

    problems: int = 0
    comparisons: int = 0
    """Arrays held to the oracle's."""

    inferences: int = 0
    """Layers whose inference was compared with their training, to the bit."""

    beyond_plain: Counter[str] = dataclasses.field(default_factory=Counter)
    """By dtype, those beyond the plain bound, which the condition of the problem decided."""

    largest_multiple: float = 0.0
    """Largest error of these as a multiple of the condition times the unit round-off."""

    errors: dict[ErrorKey, float] = dataclasses.field(default_factory=dict)
    """Largest error by backend, dtype and quantity."""

    failures: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Take in those of other problems."""
        self.problems += other.problems
        self.comparisons += other.comparisons
        self.inferences += other.inferences
        self.beyond_plain += other.beyond_plain
        self.largest_multiple = max(self.largest_multiple, other.largest_multiple)
        for key, error in other.errors.items():
            self.errors[key] = max(error, self.errors.get(key, 0.0))
        self.failures += other.failures


def examine(problem: AnyProblem) -> Findings:
    """Hold every backend to the oracle on one problem."""
    findings = Findings(problems=1)
    take_errors()
    expected = run_oracle(problem)
    for backend in backends_of(problem):
        for dtype in DTYPES:
            try:
                judged = list(judgments(problem, run_oracle, expected, run_torch(problem, backend, dtype), backend))
            except Exception as error:  # noqa: BLE001 - whatever a backend raises is the failure of that backend
                findings.failures.append(_report(problem, f"{backend}, {dtype}: {type(error).__name__}: {error}"))
                continue
            findings.comparisons += len(judged)
            if not isinstance(problem, NormProblem):
                findings.inferences += 1
                for way in wrong_inferences(problem, backend, dtype):
                    findings.failures.append(_report(problem, f"{backend}, {dtype}: {way} infers something else"))
            for judgment in judged:
                if judgment.multiple is not None:
                    findings.beyond_plain[dtype] += 1
                    findings.largest_multiple = max(findings.largest_multiple, judgment.multiple)
                if judgment.fails:
                    findings.failures.append(_report(problem, str(judgment)))
    findings.errors = take_errors()
    return findings


def _report(problem: AnyProblem, fault: str) -> str:
    kind = type(problem).__name__
    imports = f"from tests.verification.soak import examine; from tests.support.problems import {kind}"
    return f"{fault}\n  {imports}; print(examine({problem!r}).failures)"


def _examine_number(index: int, seed: int) -> Findings:
    return examine(problem_number(index, seed))


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[[Callable[[int], Findings], range], Iterable[Findings]]]:
    """A map over problems, in this process or in several."""
    if processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_prepare) as pool:
        yield partial(pool.map, chunksize=8)


def _prepare() -> None:
    """Numerics as in the test suite: one thread, and fresh memory filled with NaN."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)


def soak(options: Soak) -> Findings:
    """Carry out the run, with progress; failures are printed as they come."""
    findings = Findings()
    # Where there is no terminal, a line now and then.
    interval = 0.2 if sys.stderr.isatty() else 30.0
    with (
        _mapping(options.processes) as mapping,
        tqdm(total=options.problems, unit="problem", mininterval=interval, dynamic_ncols=True) as bar,
    ):
        for found in mapping(partial(_examine_number, seed=options.seed), range(options.problems)):
            for failure in found.failures:
                bar.write(failure)
            findings.add(found)
            bar.update()
    return findings


def summary(options: Soak, findings: Findings, seconds: float, digest: str) -> dict[str, Any]:
    """Result of a run as it is written."""
    largest = sorted(findings.errors.items())
    return {
        "problems": findings.problems,
        "seed": options.seed,
        "comparisons": findings.comparisons,
        "inferences": findings.inferences,
        "failures": len(findings.failures),
        "backends": list(runners.BACKENDS),
        "dtypes": list(DTYPES),
        "beyond_plain_bound": dict(findings.beyond_plain),
        "largest_multiple_of_condition": findings.largest_multiple,
        "condition_multiple_allowed": CONDITION_MULTIPLE,
        "largest_errors": [{**key._asdict(), "error": error} for key, error in largest],
        "seconds": round(seconds, 1),
        "machine": describe(torch.device("cpu")),
        "versions": versions(),
        "digest": digest,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def main(arguments: Sequence[str]) -> int:
    """Command line; the exit status is 1 where a backend and the oracle disagree."""
    options = tyro.cli(Soak, prog="python -m tests.verification.soak", args=arguments)
    _prepare()
    digest = source_digest()  # of the sources as they are when the run begins
    began = time.monotonic()
    findings = soak(options)
    result = summary(options, findings, time.monotonic() - began, digest)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output, (json.dumps(result, indent=2) + "\n").encode())
    print(
        f"{findings.problems:,} problems, {findings.comparisons:,} comparisons, {len(findings.failures)} failures, "
        f"{findings.beyond_plain.total()} decided by the problem's condition; {options.output}"
    )
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
