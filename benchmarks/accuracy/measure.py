"""Relative L2 error of the output and of every gradient, by backend and dtype, in the format of FFTW's accuracy pages.

::

    python -m benchmarks.accuracy            # a quarter of an hour, one core
    python -m benchmarks.accuracy --quick    # few points, half a minute

One setting varies at a time: T, k, H (N for the norm alone), and a common offset of the norms' inputs. The inputs are
rounded to the tested dtype first, so that only the arithmetic differs. Small problems are held to 50 digits
(`high_precision.py`), larger ones to the oracle in longdouble, which is itself held to the 50 digits on the small ones.
Each point has several random problems; the worst and the median of their errors are written.
"""

import dataclasses
import datetime as dt
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

import atn
from benchmarks.accuracy import high_precision
from benchmarks.accuracy.high_precision import MP, Numbers, in_high_precision
from benchmarks.variants import BACKENDS
from experiments.common.environment import ROOT, describe, versions
from experiments.common.files import write_atomically
from tests.support.problems import Array, LSTMProblem, NormProblem, Problem, mapped
from tests.support.runners import Result, run_lstm_oracle, run_lstm_torch, run_norm_oracle, run_norm_torch

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"

DTYPES = ("float32", "float64")
ORACLE = "oracle"
"""Name that the longdouble oracle has among the backends."""

SMALL = 16 * 16
"""Up to this product of T and H, or N, the reference has 50 digits."""

LSTM = LSTMProblem(
    T=16, B=2, I=3, H=8, layers=1, directions=1, norm="atn", k=5, eps=1e-5, bias_placement="inside",
    bias=True, affine=True, initial_state=True, seed=0,
)  # fmt: skip
NORM = NormProblem(
    T=16, B=4, N=8, k=5, base="layer", affine=True, eps=1e-5, offset=0.0, constant_row=False, seed=0
)  # fmt: skip

SUBJECTS: dict[str, Problem] = {
    "ATNLSTM": LSTM,
    "assorted_time_norm, layer": NORM,
    "assorted_time_norm, batch": dataclasses.replace(NORM, base="batch"),
}
"""What is measured, each at the settings from which one varies."""

LONG = 256
"""T while k varies, so that the longest window is long."""

AXES: dict[str, tuple[float, ...]] = {
    "T": (4, 16, 64, 256, 512),
    "k": (1, 4, 16, 64, 256),
    "H": (4, 8, 16, 64, 256),
    "offset": (0, 1, 1e2, 1e4),
}
QUICK_AXES: dict[str, tuple[float, ...]] = {"T": (4, 64), "k": (1, 64), "H": (4, 64), "offset": (0, 1e4)}


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Measure the accuracy of every backend that can run here."""

    quick: bool = False
    """Few points and problems."""

    problems: int = 31
    """Random problems a point. Over 11 the ratio of two medians scatters beyond 2 now and then."""

    output: Path = RESULTS
    """Where the measurements go."""


class Point(NamedTuple):
    """One place on one axis."""

    subject: str
    axis: str
    value: float


class Row(NamedTuple):
    """Errors of one quantity at one point over its random problems."""

    subject: str
    backend: str
    dtype: str
    axis: str
    value: float
    quantity: str
    worst: float
    median: float
    reference: str


def points(axes: dict[str, tuple[float, ...]]) -> list[Point]:
    """Every point of every subject."""
    return [Point(subject, axis, value) for subject in SUBJECTS for axis, values in axes.items() for value in values]


def problem_at(point: Point, seed: int) -> Problem:
    """The random problem of this seed at a point."""
    base = dataclasses.replace(SUBJECTS[point.subject], seed=seed)
    match point.axis:
        case "T":
            return dataclasses.replace(base, T=int(point.value))
        case "k":
            return dataclasses.replace(base, T=LONG, k=int(point.value))
        case "H":
            return _with_features(base, int(point.value))
        case "offset":
            return _with_offset(base, point.value)
        case _:
            raise ValueError(f"axis: was {point.axis!r}, must be one of {', '.join(AXES)}")


def _with_features(problem: Problem, features: int) -> Problem:
    if isinstance(problem, LSTMProblem):
        return dataclasses.replace(problem, H=features)
    return dataclasses.replace(problem, N=features)


def _with_offset(problem: Problem, offset: float) -> Problem:
    """Give the input of the norms a common offset; in the LSTM by its biases, which stand inside them."""
    if isinstance(problem, NormProblem):
        return dataclasses.replace(problem, offset=offset)
    shifted = mapped(problem, lambda array: array)
    for directions in shifted.parameters:
        directions[:] = [
            p._replace(bias_ih=_shifted(p.bias_ih, offset), bias_hh=_shifted(p.bias_hh, offset)) for p in directions
        ]
    return shifted


def _shifted(bias: Array | None, offset: float) -> Array | None:
    return None if bias is None else bias + offset


def rounded(problem: Problem, dtype: str) -> Problem:
    """The problem with every array rounded to `dtype`, kept in float64."""

    def round_array(array: Array) -> Array:
        return array.astype(dtype).astype(np.float64)

    return mapped(problem, round_array)


def backends() -> list[str]:
    """Names of the backends that are measured on a CPU and can run here."""
    return [info.name for info in atn.backends() if info.available and info.name in BACKENDS["cpu"]]


def run_backend(problem: Problem, backend: str, dtype: str) -> Result:
    """Forward and backward by a backend of the library."""
    if isinstance(problem, LSTMProblem):
        return run_lstm_torch(problem, backend, dtype)
    return run_norm_torch(problem, backend=backend, dtype=dtype)


def run_longdouble(problem: Problem) -> Result:
    """Forward and backward by the oracle in longdouble."""
    wide = mapped(problem, lambda array: array.astype(np.longdouble))
    return run_lstm_oracle(wide) if isinstance(wide, LSTMProblem) else run_norm_oracle(wide)


def run_high_precision(problem: Problem) -> Result:
    """Forward and backward in 50 digits."""
    exact = in_high_precision(problem)
    return high_precision.run_lstm(exact) if isinstance(exact, LSTMProblem) else high_precision.run_norm(exact)


def is_small(problem: Problem) -> bool:
    """Whether 50 digits are affordable."""
    return problem.T * (problem.H if isinstance(problem, LSTMProblem) else problem.N) <= SMALL


def relative_l2(actual: Any, reference: NDArray[Any]) -> float:
    """||actual - reference|| / ||reference|| over all elements, in the arithmetic of `reference`."""
    values = actual.detach().numpy() if isinstance(actual, torch.Tensor) else actual
    if reference.dtype == object:
        numbers: Numbers = high_precision.high_precision(values)
        return float(high_precision.norm_of(numbers - reference) / high_precision.norm_of(reference))
    difference = values.astype(np.longdouble) - reference
    return float(np.sqrt(np.sum(difference * difference) / np.sum(reference * reference)))


def errors(actual: Result, reference: Result) -> dict[str, float]:
    """Relative L2 error of every output and every gradient by name; a gradient's name begins with d."""
    outputs = {name: relative_l2(actual.outputs[name], exact) for name, exact in reference.outputs.items()}
    gradients = {f"d {name}": relative_l2(actual.gradients[name], exact) for name, exact in reference.gradients.items()}
    return outputs | gradients


class Measurement(NamedTuple):
    """Errors of one run of one problem."""

    backend: str
    dtype: str
    reference: str
    errors: dict[str, float]


def measure(problem: Problem, dtype: str) -> Iterator[Measurement]:
    """Errors of every backend on a problem rounded to `dtype`, and of the longdouble oracle on a small one."""
    same = rounded(problem, dtype)
    reference, name = run_longdouble(same), "longdouble oracle"
    if is_small(problem):
        exact = run_high_precision(same)
        yield Measurement(ORACLE, "longdouble", "50 digits", errors(reference, exact))
        reference, name = exact, "50 digits"
    for backend in backends():
        yield Measurement(backend, dtype, name, errors(run_backend(same, backend, dtype), reference))


def rows_at(point: Point, seeds: int) -> list[Row]:
    """Measure a point."""
    found: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for seed in range(seeds):
        for dtype in DTYPES:
            for run in measure(problem_at(point, seed), dtype):
                for quantity, error in run.errors.items():
                    found[run.backend, run.dtype, quantity, run.reference].append(error)
    return [
        Row(
            point.subject,
            backend,
            dtype,
            point.axis,
            point.value,
            quantity,
            max(values),
            statistics.median(values),
            reference,
        )
        for (backend, dtype, quantity, reference), values in found.items()
    ]


def accuracy(options: Accuracy) -> dict[str, Any]:
    """Measure every point, with progress; the result as it is written."""
    if np.finfo(np.longdouble).eps > np.finfo(np.float64).eps / 1000:
        raise SystemExit("benchmarks.accuracy: NumPy's longdouble is no wider than float64 here, so nothing to hold to")
    torch.set_num_threads(1)
    seeds = 2 if options.quick else options.problems
    every = points(QUICK_AXES if options.quick else AXES)
    # Where there is no terminal, a line now and then.
    interval = 0.2 if sys.stderr.isatty() else 30.0
    rows: list[Row] = []
    for point in (bar := tqdm(every, unit="point", mininterval=interval, dynamic_ncols=True)):
        bar.set_postfix_str(f"{point.subject}, {point.axis} = {point.value:g}", refresh=False)
        rows += rows_at(point, seeds)
    return {
        "quick": options.quick,
        "problems_a_point": seeds,
        "digits": MP.dps,
        "settings": {subject: dataclasses.asdict(problem) for subject, problem in SUBJECTS.items()},
        "T_while_k_varies": LONG,
        "machine": describe(torch.device("cpu")),
        "versions": versions(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "rows": [row._asdict() for row in rows],
    }


def main(arguments: Sequence[str]) -> int:
    """Command line."""
    options = tyro.cli(Accuracy, prog="python -m benchmarks.accuracy", args=arguments)
    result = accuracy(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output, (json.dumps(result, indent=1) + "\n").encode())
    print(f"{len(result['rows'])} rows; {options.output}")
    return 0
