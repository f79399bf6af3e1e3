"""Relative L2 error of the output and of every gradient, by backend and dtype, in the format of FFTW's accuracy pages.

::

    python -m benchmarks.accuracy                  # half an hour, one core
    python -m benchmarks.accuracy --axes long_k    # one axis; the rows of the others stay
    python -m benchmarks.accuracy --quick          # few points, half a minute

One setting varies at a time: T, k, H (N for the norm alone), and a common offset of the norms' inputs. The norm alone
has windows of up to 30,000 steps besides, at a common offset of 1000, and the LSTM the sizes at which its speed is
measured, in float32. The inputs are rounded to the tested dtype first, so that only the arithmetic differs. Small
problems and long windows are held to 50 digits (`high_precision.py`), others to the oracle in longdouble, which is
itself held to the 50 digits on the small ones, and those of the speed to eager in float64, since the oracle, which
keeps every window, does not fit into memory there.
Each point has several random problems; the worst and the median of their errors are written.
"""

import dataclasses
import datetime as dt
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

import atn
from benchmarks.accuracy import high_precision
from benchmarks.accuracy.high_precision import MP, Numbers, in_high_precision
from benchmarks.sizes import NAMED, Size
from benchmarks.variants import BACKENDS
from experiments.common.environment import ROOT, describe, versions
from experiments.common.files import write_atomically
from tests.support.problems import Array, LSTMProblem, NormProblem, P, Problem, mapped
from tests.support.runners import Result, run_lstm_oracle, run_lstm_torch, run_norm_oracle, run_norm_torch

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.json"

DTYPES = ("float32", "float64")
ORACLE = "oracle"
"""Name that the longdouble oracle has among the backends."""

SMALL = 16 * 16
"""Up to this product of T and H, or N, the reference has 50 digits."""

LARGE = 1e5
"""From this product of T, B and H on an LSTM is measured in float32 only, and held to eager in float64."""

LONG_WINDOW = 257
"""From this k on the norm's reference has 50 digits too: its cost does not grow with k, that of the oracle does."""

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

Axis = Literal["T", "k", "H", "offset", "long_k", "speed"]
ALL_AXES: tuple[Axis, ...] = get_args(Axis)

LONG_AXIS: Axis = "long_k"
LONG_SUBJECT = "assorted_time_norm, layer"
"""The subject that has windows of tens of thousands of steps."""

LONG_OFFSET = 1e3
LONG_PROBLEMS = 5
"""Most random problems of a long window: each averages over tens of thousands of errors."""

SPEED_AXIS: Axis = "speed"
SPEED_SUBJECT = "ATNLSTM"
"""The subject that is measured at the sizes of the speed, where a sum has thousands of terms."""

SPEED_SIZES: dict[int, Size] = {size.H: size for size in NAMED["cpu"].values()}
"""The sizes at which the speed is measured, by H."""

OFFSET_TIMES = 5
"""How many times as many problems a point with an offset has. In float64 at an offset of 100 the medians of 31 problems
of the LSTM have ratios from 1.0 to 2.3, and those of 310 have 1.3: cancellation makes single errors differ widely."""

AXES: dict[Axis, tuple[float, ...]] = {
    "T": (4, 16, 64, 256, 512),
    "k": (1, 4, 16, 64, 256),
    "H": (4, 8, 16, 64, 256),
    "offset": (0, 1, 1e2, 1e4),
    "long_k": (300, 1_000, 3_000, 10_000, 30_000),
    "speed": tuple(sorted(SPEED_SIZES)),
}
QUICK_AXES: dict[Axis, tuple[float, ...]] = {
    "T": (4, 64),
    "k": (1, 64),
    "H": (4, 64),
    "offset": (0, 1e4),
    "long_k": (300,),
    "speed": (min(SPEED_SIZES),),
}


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Measure the accuracy of every backend that can run here."""

    quick: bool = False
    """Few points and problems."""

    axes: tuple[Axis, ...] = ALL_AXES
    """What to measure; the rows of other axes stay as they are in the file."""

    problems: int = 31
    """Random problems a point, five times as many at an offset, at most 5 at a long window. Over 11 the ratio of two
    medians scatters beyond 2 now and then."""

    output: Path = RESULTS
    """Where the measurements go."""


class Point(NamedTuple):
    """One place on one axis."""

    subject: str
    axis: Axis
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


def points(axes: Mapping[Axis, tuple[float, ...]]) -> list[Point]:
    """Every point of every subject; only one has long windows, and only one the sizes of the speed."""
    only: dict[Axis, str] = {LONG_AXIS: LONG_SUBJECT, SPEED_AXIS: SPEED_SUBJECT}
    every = [Point(subject, axis, value) for subject in SUBJECTS for axis, values in axes.items() for value in values]
    return [point for point in every if only.get(point.axis, point.subject) == point.subject]


def problems_at(point: Point, problems: int) -> int:
    """How many random problems a point has, where most have `problems`."""
    if point.axis == LONG_AXIS:
        return min(problems, LONG_PROBLEMS)
    return problems * OFFSET_TIMES if point.axis == "offset" and point.value else problems


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
        case "long_k":
            return long_window(int(point.value), seed)
        case "speed":
            size = SPEED_SIZES[int(point.value)]
            return dataclasses.replace(LSTM, T=size.T, B=size.B, I=size.I, H=size.H, k=size.k, seed=seed)


def long_window(k: int, seed: int) -> NormProblem:
    """A norm at a common offset of 1000, of 2 numbers a step, whose window slides along the sequence."""
    return dataclasses.replace(NORM, T=k + 1_000, B=1, N=2, k=k, offset=LONG_OFFSET, seed=seed)


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


def rounded(problem: P, dtype: str) -> P:
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


def has_long_window(problem: Problem) -> bool:
    """Whether the oracle's cost, which grows with k, is beyond that of 50 digits, which does not."""
    return isinstance(problem, NormProblem) and problem.k >= LONG_WINDOW


def is_small(problem: Problem) -> bool:
    """Whether both 50 digits and the oracle are affordable."""
    return problem.T * (problem.H if isinstance(problem, LSTMProblem) else problem.N) <= SMALL


def is_large(problem: Problem) -> bool:
    """Whether the oracle, which keeps every window, needs more memory than there may be."""
    return isinstance(problem, LSTMProblem) and problem.T * problem.B * problem.H >= LARGE


def relative_l2(actual: Any, reference: Any) -> float:
    """||actual - reference|| / ||reference|| over all elements, in longdouble or in the 50 digits of `reference`."""
    values, reference = _array(actual), _array(reference)
    if reference.dtype == object:
        numbers: Numbers = high_precision.high_precision(values)
        return float(high_precision.norm_of(numbers - reference) / high_precision.norm_of(reference))
    difference = values.astype(np.longdouble) - reference
    return float(np.sqrt(np.sum(difference * difference) / np.sum(reference * reference)))


def _array(values: Any) -> NDArray[Any]:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else values


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
    if is_large(problem):
        reference, name = run_backend(same, "eager", "float64"), "eager in float64"
    elif has_long_window(problem):
        reference, name = run_high_precision(same), "50 digits"
    elif is_small(problem):
        reference, name = run_high_precision(same), "50 digits"
        yield Measurement(ORACLE, "longdouble", name, errors(run_longdouble(same), reference))
    else:
        reference, name = run_longdouble(same), "longdouble oracle"
    for backend in backends():
        yield Measurement(backend, dtype, name, errors(run_backend(same, backend, dtype), reference))


def rows_at(point: Point, seeds: int) -> list[Row]:
    """Measure a point."""
    found: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for seed in range(seeds):
        problem = problem_at(point, seed)
        for dtype in DTYPES[:1] if is_large(problem) else DTYPES:
            for run in measure(problem, dtype):
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
    """Measure every point of the chosen axes, with progress; the result as it is written."""
    if np.finfo(np.longdouble).eps > np.finfo(np.float64).eps / 1000:
        raise SystemExit("benchmarks.accuracy: NumPy's longdouble is no wider than float64 here, so nothing to hold to")
    torch.set_num_threads(1)
    common = conditions_of(options)
    seeds = common["problems_a_point"]
    axes = {axis: values for axis, values in (QUICK_AXES if options.quick else AXES).items() if axis in options.axes}
    # Where there is no terminal, a line now and then.
    interval = 0.2 if sys.stderr.isatty() else 30.0
    rows: list[Row] = []
    for point in (bar := tqdm(points(axes), unit="point", mininterval=interval, dynamic_ncols=True)):
        bar.set_postfix_str(f"{point.subject}, {point.axis} = {point.value:g}", refresh=False)
        rows += rows_at(point, problems_at(point, seeds))
    conditions = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": describe(torch.device("cpu")),
        "versions": versions(),
    }
    return {
        **common,
        "settings": {subject: dataclasses.asdict(problem) for subject, problem in SUBJECTS.items()},
        "T_while_k_varies": LONG,
        "measured": dict.fromkeys(axes, conditions),
        "rows": [row._asdict() for row in rows],
    }


def conditions_of(options: Accuracy) -> dict[str, Any]:
    """What all rows of a file have in common."""
    return {"quick": options.quick, "problems_a_point": 2 if options.quick else options.problems, "digits": MP.dps}


def earlier(options: Accuracy) -> dict[str, Any] | None:
    """What the file has already, if it keeps any of its rows.

    Raises
    ------
    SystemExit
        It was measured with other points or numbers of problems.
    """
    if set(options.axes) == set(ALL_AXES) or not options.output.exists():
        return None
    before: dict[str, Any] = json.loads(options.output.read_text("utf-8"))
    for name, value in conditions_of(options).items():
        if before[name] != value:
            difference = f"{name} {before[name]}, not {value}"
            raise SystemExit(f"benchmarks.accuracy: the file has {difference}; choose another by --output")
    return before


def joined(before: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """`result`, and of an earlier one the axes that `result` has not measured."""
    kept = {axis: conditions for axis, conditions in before["measured"].items() if axis not in result["measured"]}
    rows = [row for row in before["rows"] if row["axis"] in kept]
    return {**result, "measured": {**kept, **result["measured"]}, "rows": [*rows, *result["rows"]]}


def main(arguments: Sequence[str]) -> int:
    """Command line."""
    options = tyro.cli(Accuracy, prog="python -m benchmarks.accuracy", args=arguments)
    before = earlier(options)
    result = accuracy(options)
    if before is not None:
        result = joined(before, result)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output, (json.dumps(result) + "\n").encode())
    print(f"{len(result['rows'])} rows; {options.output}")
    return 0
