"""The measurement of accuracy: its reference in 50 digits, its report, and the long random run."""

import contextlib
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import atn.functional as F
from atn.choices import BiasPlacement
from benchmarks.accuracy import high_precision
from benchmarks.accuracy import measure as accuracy
from benchmarks.accuracy.high_precision import MP, in_high_precision
from benchmarks.accuracy.measure import (
    LSTM,
    NORM,
    ORACLE,
    Point,
    Row,
    problem_at,
    relative_l2,
    rows_at,
    run_high_precision,
)
from benchmarks.accuracy.report import accuracy_section, ratios
from tests.support import runners
from tests.support.comparison import deviation
from tests.support.condition import assert_agrees, sensitivity
from tests.support.problems import Array, LSTMProblem, NormProblem, Problem, mapped
from tests.support.runners import Result, run_lstm_oracle, run_norm_oracle
from tests.support.tolerances import TOLERANCES
from tests.verification import soak
from tests.verification.error_log import ErrorKey, record_error

PLACEMENTS: tuple[BiasPlacement, ...] = ("inside", "outside")
SMALL_LSTM = dataclasses.replace(LSTM, T=5, H=4, k=3, eps=1e-2, seed=3)
SMALL_NORM = dataclasses.replace(NORM, T=6, B=3, N=5, k=3, seed=3)


def problems() -> list[Problem]:
    """Windows of one step, inside the sequence and beyond it; both bases and both places of the biases."""
    windows = (1, 3, 20)
    norms = [dataclasses.replace(SMALL_NORM, k=k, base="batch", affine=k != 3) for k in windows]
    norms += [dataclasses.replace(SMALL_NORM, k=k, constant_row=k == 3) for k in windows]
    return [
        *norms,
        *(dataclasses.replace(SMALL_LSTM, k=k, bias_placement=place) for k in windows for place in PLACEMENTS),
    ]


def oracle(problem: Problem) -> Result:
    """The oracle in the dtype of the problem."""
    return run_lstm_oracle(problem) if isinstance(problem, LSTMProblem) else run_norm_oracle(problem)


@pytest.mark.parametrize("dtype", ["float64", "longdouble"])
@pytest.mark.parametrize("problem", problems())
def test_oracle_agrees_with_50_digits(problem: Problem, dtype: str) -> None:
    exact = run_high_precision(problem)
    actual = oracle(mapped(problem, lambda array: array.astype(dtype)))
    assert (actual.outputs.keys(), actual.gradients.keys()) == (exact.outputs.keys(), exact.gradients.keys())
    worst = max(accuracy.errors(actual, exact).values())
    assert worst <= TOLERANCES[dtype, "reference"].relative


def dot(a: Any, b: Any) -> Any:
    """Sum of products, in 50 digits."""
    return np.sum(high_precision.high_precision(a) * high_precision.high_precision(b))


@pytest.mark.parametrize("problem", [SMALL_NORM, dataclasses.replace(SMALL_NORM, base="batch"), SMALL_LSTM])
def test_gradient_in_50_digits_is_the_slope_of_the_output(problem: Problem) -> None:
    """A central difference of 1e-12 along a random direction of all inputs at once is exact to about 1e-24."""
    upstream = {"y": "dy", "output": "dh", "h_n": "dh_n", "c_n": "dc_n"}
    exact = in_high_precision(problem)

    def loss(step: Any) -> Any:
        """Of the outputs after a step, with the upstream gradients of before."""
        rng = np.random.default_rng(5)
        moved = mapped(exact, lambda array: array + step * rng.standard_normal(array.shape))
        outputs = run_high_precision(moved).outputs
        return sum(dot(exact.arrays[upstream[name]], output) for name, output in outputs.items())

    rng = np.random.default_rng(5)
    move = mapped(problem, lambda array: rng.standard_normal(array.shape))
    directions: dict[str, Any] = dict(move.arrays)
    if isinstance(move, LSTMProblem):
        directions |= runners.named_parameters(move.parameters)
    slope = sum(dot(gradient, directions[name]) for name, gradient in run_high_precision(exact).gradients.items())
    step = MP.mpf("1e-12")
    assert abs((loss(step) - loss(-step)) / (2 * step) - slope) <= MP.mpf("1e-20") * abs(slope)


def test_reference_refuses_what_it_does_not_compute() -> None:
    with pytest.raises(ValueError, match="one ATN layer"):
        run_high_precision(dataclasses.replace(SMALL_LSTM, layers=2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "longdouble"])
def test_conversion_to_50_digits_is_exact(dtype: str) -> None:
    third = (np.ones(1) / 3).astype(dtype) if dtype != "longdouble" else np.ones(1, np.longdouble) / 3
    (number,) = high_precision.high_precision(third)
    digits = {"float32": 24, "float64": 53, "longdouble": 64}[dtype]
    assert 0 < abs(3 * number - 1) <= MP.mpf(2) ** -digits


def test_relative_l2() -> None:
    reference = np.array([3.0, 4.0], np.longdouble)
    assert relative_l2(np.array([3.0, 4.5]), reference) == pytest.approx(0.1)
    assert relative_l2(torch.tensor([3.0, 4.5]), high_precision.high_precision(reference)) == pytest.approx(0.1)


@pytest.mark.parametrize("problem", [SMALL_NORM, SMALL_LSTM])
def test_inputs_are_rounded_to_the_tested_dtype(problem: Problem) -> None:
    """What the dtype of the run cannot hold is no error of the run."""
    changed = accuracy.rounded(problem, "float32")
    for name, array in changed.arrays.items():
        assert np.array_equal(array, array.astype(np.float32))
        assert not np.array_equal(array, problem.arrays[name])


def test_a_point_has_every_backend_and_the_oracle() -> None:
    rows = rows_at(Point("assorted_time_norm, layer", "T", 3), seeds=2)
    assert {(row.backend, row.dtype) for row in rows} == {
        (ORACLE, "longdouble"),
        *((backend, dtype) for backend in accuracy.backends() for dtype in ("float32", "float64")),
    }
    assert {row.quantity for row in rows} == {"y", "d a", "d gamma", "d beta"}
    assert all(0 <= row.median <= row.worst <= TOLERANCES["float32", "output"].relative for row in rows)
    by_dtype = {dtype: max(row.worst for row in rows if row.dtype == dtype) for dtype in ("float32", "longdouble")}
    assert by_dtype["longdouble"] < 1e-9 * by_dtype["float32"]


def test_axes_change_what_they_name() -> None:
    changed = {axis: problem_at(Point("ATNLSTM", axis, 32), seed=1) for axis in accuracy.AXES if axis != "speed"}
    base = dataclasses.replace(LSTM, seed=1)
    assert changed["T"] == dataclasses.replace(base, T=32)
    assert changed["k"] == dataclasses.replace(base, T=accuracy.LONG, k=32)
    assert changed["H"] == dataclasses.replace(base, H=32)
    assert isinstance(changed["offset"], LSTMProblem)
    shifted, plain = (runners.named_parameters(problem.parameters) for problem in (changed["offset"], base))
    differences = {name: set(np.round(shifted[name] - plain[name], 10).flat) for name in plain}
    assert {name: found for name, found in differences.items() if found != {0}} == {
        "bias_ih_l0": {32},
        "bias_hh_l0": {32},
    }
    norm = problem_at(Point("assorted_time_norm, batch", "offset", 32), seed=1)
    assert norm == dataclasses.replace(NORM, base="batch", seed=1, offset=32)


def test_points_with_an_offset_have_more_problems_and_long_windows_fewer() -> None:
    points = [
        Point("ATNLSTM", "offset", 100),
        Point("ATNLSTM", "offset", 0),
        Point("ATNLSTM", "speed", 60),
        Point("assorted_time_norm, layer", "long_k", 300),
    ]
    assert [accuracy.problems_at(point, 31) for point in points] == [155, 31, 31, 5]
    assert accuracy.problems_at(points[-1], 2) == 2


def test_long_windows_are_held_to_50_digits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norm's windows of up to 30,000 steps, where the oracle would take minutes."""
    long = [point for point in accuracy.points(accuracy.AXES) if point.axis == "long_k"]
    assert {point.subject for point in long} == {"assorted_time_norm, layer"}
    assert max(point.value for point in long) == 30_000
    point = Point("assorted_time_norm, layer", "long_k", 300)
    problem = problem_at(point, seed=1)
    assert isinstance(problem, NormProblem)
    assert (problem.k, problem.offset) == (300, 1000)
    assert problem.k < problem.T
    monkeypatch.setattr(accuracy, "long_window", lambda k, seed: dataclasses.replace(problem, T=k + 20, seed=seed))
    rows = rows_at(point, seeds=1)
    assert {(row.backend, row.reference) for row in rows} == {(name, "50 digits") for name in accuracy.backends()}
    assert all(0 < row.worst <= TOLERANCES["float32", "long window"].relative for row in rows if row.quantity == "y")


def test_sizes_of_the_speed_are_held_to_eager_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the oracle, which keeps every window, does not fit into memory."""
    at_speed = [point for point in accuracy.points(accuracy.AXES) if point.axis == "speed"]
    assert {point.subject for point in at_speed} == {"ATNLSTM"}
    problems = [problem_at(point, seed=1) for point in at_speed]
    assert all(isinstance(problem, LSTMProblem) and accuracy.is_large(problem) for problem in problems)
    assert {
        (problem.T, problem.B, problem.I, problem.H, problem.k)
        for problem in problems
        if isinstance(problem, LSTMProblem)
    } == {(120, 128, 10, 68, 45), (100, 50, 2, 60, 25), (220, 32, 200, 1000, 10), (784, 128, 1, 128, 10)}
    monkeypatch.setattr(accuracy, "run_longdouble", None)
    rows = rows_at(Point("ATNLSTM", "speed", 60), seeds=1)
    assert {(row.backend, row.dtype, row.reference) for row in rows} == {
        (name, "float32", "eager in float64") for name in accuracy.backends()
    }
    assert all(1e-9 < row.median <= 1e-5 for row in rows)


def test_long_windows_have_a_figure_of_their_own(tmp_path: Path) -> None:
    """With the one subject that was measured; no place among the errors without an offset, none among the ratios."""
    rows = synthetic_rows(1.0)
    long = [row._replace(axis="long_k", value=300 * row.value, worst=1.0) for row in rows if "layer" in row.subject]
    long = [row._replace(median=9 * row.median) if row.backend == "fused" else row for row in long]
    section = accuracy_section(write_measurement(tmp_path, [*rows, *long]))
    assert "against the window k at a common offset of 1000](figures/accuracy_long_k.png)" in section
    assert (tmp_path / "figures" / "accuracy_long_k.png").read_bytes().startswith(b"\x89PNG")
    lines = [line.split("|") for line in section.splitlines() if line.startswith("| assorted_time_norm, layer")]
    assert lines
    assert "median error is at most 1.00 times" in section
    for *_, output, gradients, output_at_1000, gradients_at_1000, _ in lines:
        assert "1.0e+00" not in output + gradients
        assert "1.0e+00" in output_at_1000
        assert "1.0e+00" in gradients_at_1000


def test_an_axis_is_measured_apart_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads(write_measurement(tmp_path, synthetic_rows(1.0)).read_text())
    path = tmp_path / "results" / "accuracy.json"
    arguments = ["--axes", "k", "--output", str(path)]
    monkeypatch.setattr(accuracy, "points", None)  # refused before anything is measured
    with pytest.raises(SystemExit, match="the file has problems_a_point 5, not 1"):
        accuracy.main([*arguments, "--problems", "1"])
    assert json.loads(path.read_text()) == before
    monkeypatch.setattr(accuracy, "points", lambda axes: [Point("assorted_time_norm, layer", axis, 2) for axis in axes])
    for _ in range(2):  # the second time its own rows are replaced
        assert accuracy.main([*arguments, "--problems", "5"]) == 0
        result = json.loads(path.read_text())
        assert [row for row in result["rows"] if row["axis"] == "T"] == before["rows"]
        assert {row["value"] for row in result["rows"] if row["axis"] != "T"} == {2}
        assert len(result["rows"]) == len(before["rows"]) + len(rows_at(Point("assorted_time_norm, layer", "k", 2), 1))
        assert result["measured"]["T"] == before["measured"]["T"] != result["measured"]["k"]


def synthetic_rows(ratio: float) -> list[Row]:
    """A measurement in which "fused" is `ratio` times less accurate than "eager" at one place."""

    def row(backend: str, dtype: str, quantity: str, value: float) -> Row:
        error = {"float32": 1e-7, "float64": 1e-16, "longdouble": 1e-19}[dtype] * value
        if (backend, quantity) == ("fused", "d x"):
            error *= ratio
        return Row("ATNLSTM", backend, dtype, "T", value, quantity, error, error / 2, "50 digits")

    tested = [
        row(backend, dtype, quantity, value)
        for backend in ("eager", "fused")
        for dtype in ("float32", "float64")
        for quantity in ("output", "d x")
        for value in (4, 16)
    ]
    others = [tested_row._replace(subject=subject) for subject in accuracy.SUBJECTS for tested_row in tested]
    return [*dict.fromkeys(tested + others), row(ORACLE, "longdouble", "output", 4)]


def write_measurement(folder: Path, rows: list[Row]) -> Path:
    """Write rows as `python -m benchmarks.accuracy` does."""
    path = folder / "results" / "accuracy.json"
    path.parent.mkdir(exist_ok=True)
    result = {
        "quick": False,
        "problems_a_point": 5,
        "digits": 50,
        "settings": {"ATNLSTM": dataclasses.asdict(LSTM)},
        "T_while_k_varies": 256,
        "measured": {
            axis: {"date": f"2026-01-0{day}T03:04:05+00:00", "machine": "cpu: a machine", "versions": {"torch": "2.13"}}
            for axis, day in (("T", 2), ("k", 2), ("long_k", 3))
        },
        "rows": [row._asdict() for row in rows],
    }
    path.write_text(json.dumps(result))
    return path


@pytest.mark.parametrize(("ratio", "verdict"), [(1.5, "within"), (3.0, "**beyond**")])
def test_section_compares_each_backend_with_eager(tmp_path: Path, ratio: float, verdict: str) -> None:
    rows = synthetic_rows(ratio)
    found = ratios(rows)["fused"]
    for largest, where in (found.median, found.worst):
        assert largest == pytest.approx(ratio)
        assert where.quantity == "d x"
    assert found.inverse == 1
    section = accuracy_section(write_measurement(tmp_path, rows))
    assert f"median error is at most {ratio:.2f} times" in section
    assert f"{verdict} the 2 times allowed" in section
    assert "| `d x` |" in section
    assert "within\n4.0e-19 without an offset" in section
    assert "No random differential run is recorded" in section
    assert "- `T`, `k`: 2026-01-02 on cpu: a machine; torch 2.13\n- `long_k`: 2026-01-03 on" in section
    (name,) = {line.partition("(")[2].strip(")") for line in section.splitlines() if line.startswith("![")}
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_section_of_eager_alone_and_of_nothing(tmp_path: Path) -> None:
    alone = [row for row in synthetic_rows(1.0) if row.backend == "eager"]
    section = accuracy_section(write_measurement(tmp_path, alone))
    assert "no other backend" in section
    assert "Not measured yet" in accuracy_section(tmp_path / "results" / "nothing.json")


def test_section_cites_the_soak(tmp_path: Path) -> None:
    path = write_measurement(tmp_path, synthetic_rows(1.0))
    errors = {ErrorKey("eager", "float32", "output"): 1e-6}
    findings = soak.Findings(1234, 5678, beyond_plain=Counter(float32=7), largest_multiple=3.25, errors=errors)
    summary = soak.summary(soak.Soak(), findings, 9.0, "0123456789abcdef")
    path.with_name("soak.json").write_text(json.dumps(summary))
    assert "**1,234 problems, 5,678 comparisons, 0 failures**" in accuracy_section(path)
    assert "7 arrays the condition of their problem decided: the error was up to\n3.2 times" in accuracy_section(path)


def test_section_cites_the_run_under_sanitizers(tmp_path: Path) -> None:
    path = write_measurement(tmp_path, synthetic_rows(1.0))
    assert "No run of the compiled operators under sanitizers is recorded" in accuracy_section(path)
    record = {
        "problems": 1234, "seed": 5, "failures": 6, "tests": {"passed": 78, "failed": 9}, "digest": "0123456789abcdef",
        "sanitizers": "address,undefined", "compiler": "g++ 12", "date": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    path.with_name("sanitize.json").write_text(json.dumps(record))
    section = accuracy_section(path)
    assert "under the address and undefined sanitizers" in section
    assert "**1,234 problems, 78 tests, 9 of them failed,\n6 failures**" in section


def test_drawn_problems_are_the_same_again_and_of_every_kind() -> None:
    drawn = [soak.problem_number(index, seed=0) for index in range(300)]
    assert drawn == [soak.problem_number(index, seed=0) for index in range(300)]
    lstms = [problem for problem in drawn if isinstance(problem, LSTMProblem)]
    norms = [problem for problem in drawn if isinstance(problem, NormProblem)]
    assert {problem.norm for problem in lstms} == {"atn", "ln", "none", "prop", "wn"}
    assert {problem.base for problem in norms} == {"layer", "batch"}
    assert {problem.layers for problem in lstms} == {1, 2, 3}
    assert any(problem.k == 1 < problem.T for problem in drawn)
    assert any(1 < problem.k < problem.T for problem in drawn)
    assert any(problem.k > problem.T == 1 for problem in drawn)


def test_sensitivity_is_the_change_by_one_unit_of_every_input() -> None:
    """Of the function a -> 3 a every element changes by three times itself."""

    def triple(problem: NormProblem) -> Result:
        return Result({"y": 3 * problem.arrays["a"]}, {})

    largest: Array = np.abs(SMALL_NORM.arrays["a"])
    assert sensitivity(SMALL_NORM, triple, triple(SMALL_NORM)) == {"y": pytest.approx(3 * largest.max(), rel=1e-6)}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.1])
def test_a_value_that_is_not_finite_is_infinitely_wrong(value: float) -> None:
    found = deviation(np.array([1.0, value]), np.ones(2), quantity="output", what="y")
    assert found.exceeds
    assert found.error == (pytest.approx(0.1) if value == 1.1 else np.inf)
    assert "y (oracle, float64, output)" in str(found)


def test_findings_are_of_their_own_problem() -> None:
    record_error(ErrorKey("another", "float32", "output"), 1.0)
    assert {key.backend for key in soak.examine(SMALL_NORM).errors} == set(runners.BACKENDS)


ILL_CONDITIONED = LSTMProblem(
    T=9, B=4, I=5, H=5, layers=3, directions=2, norm="atn", k=1, eps=0.01, bias_placement="outside",
    bias=False, affine=True, initial_state=True, seed=55,
)  # fmt: skip


def test_condition_decides_where_the_plain_bound_cannot() -> None:
    """Three layers that magnify a rounding: float32 is twice beyond the plain bound, and as good as it can be."""
    actual = runners.run_lstm_torch(ILL_CONDITIONED, "eager", "float32")
    findings = soak.examine(ILL_CONDITIONED)
    assert findings.beyond_plain["float32"] > 0
    assert findings.largest_multiple < 2
    assert_agrees(ILL_CONDITIONED, run_lstm_oracle, actual, "eager")
    wrong = actual._replace(gradients=actual.gradients | {"x": 1.05 * actual.gradients["x"]})
    with pytest.raises(AssertionError, match=r"x \(eager, float32, gradient\).* times the condition"):
        assert_agrees(ILL_CONDITIONED, run_lstm_oracle, wrong, "eager")


def run_soak(folder: Path, problems: int) -> tuple[int, str, dict[str, Any]]:
    """Exit status, what was printed, and the result of a run in this process."""
    output = folder / "soak.json"
    printed = io.StringIO()
    arguments = ["--problems", str(problems), "--processes", "1", "--output", str(output)]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        status = soak.main(arguments)
    return status, printed.getvalue(), json.loads(output.read_text())


def test_soak_of_a_right_library(tmp_path: Path) -> None:
    status, printed, result = run_soak(tmp_path, problems=6)
    assert (status, result["problems"], result["failures"]) == (0, 6, 0)
    assert "6 problems" in printed
    assert {(found["backend"], found["dtype"]) for found in result["largest_errors"]} == {
        (backend, dtype) for backend in runners.BACKENDS for dtype in ("float64", "float32")
    }


NormFunction = Callable[..., torch.Tensor]


def slightly_wrong(right: NormFunction) -> NormFunction:
    """Scale the output, and with it the gradients, by a thousandth."""
    return lambda *arguments: 1.001 * right(*arguments)


def not_finite(right: NormFunction) -> NormFunction:
    """Lose one element."""
    return lambda *arguments: right(*arguments).index_fill(0, torch.tensor([0]), torch.nan)


def raising(_: NormFunction) -> NormFunction:
    """Fail."""

    def norm(*_: object) -> torch.Tensor:
        raise RuntimeError("planted")

    return norm


@pytest.mark.parametrize("fault", [slightly_wrong, not_finite, raising])
def test_soak_reports_a_planted_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[NormFunction], NormFunction]
) -> None:
    """It goes on to the end, and prints an expression that shows the failure as long as the fault is there."""
    with monkeypatch.context() as planted:
        planted.setattr(F, "assorted_time_norm", fault(F.assorted_time_norm))
        status, printed, result = run_soak(tmp_path, problems=5)
        assert (status, result["problems"]) == (1, 5)
        assert result["failures"] >= 2 * len(soak.DTYPES)
        expression = next(line for line in printed.splitlines() if "examine(NormProblem(" in line).strip()
        assert "error" in evaluate(expression).lower()
    assert evaluate(expression) == "[]"


def evaluate(expression: str) -> str:
    """What a line of Python prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(expression, {})  # noqa: S102 - the line that the run printed is what is tested
    return printed.getvalue().strip()
