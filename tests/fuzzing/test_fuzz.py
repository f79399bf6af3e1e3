"""The run of the compiled operators under sanitizers: its problems, its comparisons, and a process that is ended."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, get_num_threads

from atn.backend.fused import build
from atn.backend.fused.backend import CompiledKernels
from tests.fuzzing import fuzz, worker
from tests.fuzzing.module_calls import CELLS, ModuleCall, run_module
from tests.fuzzing.operator_calls import JOINT, LONG, OperatorCall
from tests.fuzzing.worker import LAYOUTS, Call, Examined, PythonCall, differences, examine, problem_number
from tests.support.problems import HiddenProblem, LSTMProblem, NormProblem
from tests.support.runners import Result

DRAWN = [problem_number(index, seed=0) for index in range(3000)]
OPERATOR_CALLS = [call for call in DRAWN if isinstance(call, OperatorCall)]
PYTHON_CALLS = [call for call in DRAWN if isinstance(call, PythonCall)]
MODULE_CALLS = [call for call in DRAWN if isinstance(call, ModuleCall)]


def test_drawn_problems_are_the_same_again_and_of_every_kind() -> None:
    assert [problem_number(index, seed=0) for index in range(100)] == DRAWN[:100]
    assert {call.layout for call in PYTHON_CALLS} == set(LAYOUTS)
    assert {type(call.problem) for call in PYTHON_CALLS} == {NormProblem, LSTMProblem, HiddenProblem}
    for kind in ("norm", "lstm", "hidden"):
        calls = [call for call in OPERATOR_CALLS if call.kind == kind]
        assert {(call.dtype, call.threads) for call in calls} == {
            (dtype, threads) for dtype in ("float64", "float32") for threads in (1, 2, 3)
        }
        assert {0, 1} < {call.B for call in calls}
        assert {1, 2, LONG, LONG + 1, sys.maxsize} <= {call.k for call in calls}
        assert {call.k > call.T + call.M for call in calls} == {True, False}
        for lanes in (4, 8, 16):
            assert set(range(lanes)) == {call.N % lanes for call in calls}
        assert {call.k < call.M for call in calls} == {True, False}
    assert {(call.huge, call.dtype) for call in OPERATOR_CALLS} == {
        (huge, dtype) for huge in (True, False) for dtype in ("float64", "float32")
    }
    for cell in CELLS:
        modules = [call for call in MODULE_CALLS if call.cell == cell]
        assert {call.num_layers for call in modules} == {1, 2, 3}
        assert {call.norm for call in modules} == {"atn", "ln", "none"}
        assert {call.layout for call in modules} == set(LAYOUTS)
        assert {call.huge for call in modules} == {True, False}
        assert 1 in {call.T for call in modules}
    for mode, joint in JOINT.items():
        layers = [call for call in OPERATOR_CALLS if call.kind != "norm" and call.mode == mode]
        assert any(call.k == 0 for call in layers)
        assert any(joint < call.N for call in layers)
    absent = set().union(*(call.absent for call in OPERATOR_CALLS))
    assert absent >= {
        "gamma",
        "beta",
        "dsteps",
        "dh",
        "dc",
        "bias_ih",
        "bias_hh",
        "bias",
        "gamma_ih",
        "gamma_c",
        "beta_hh",
    }


class WrongOnThreads:
    """Kernels that change one number where there are several threads."""

    def __init__(self, kernels: Any, operator: str) -> None:
        self.kernels, self.operator = kernels, operator

    def __getattr__(self, name: str) -> Any:
        right = getattr(self.kernels, name)

        def wrong(given: Any) -> tuple[Tensor, ...]:
            results: tuple[Tensor, ...] = right(given)
            if name == self.operator and get_num_threads() > 1:
                for result in results:
                    result.view(-1)[-1:] += 1e-2
            return results

        return wrong


@pytest.fixture(name="kernels")
def _kernels() -> CompiledKernels:
    assert build.compiled().operators is not None, build.compiled().reason
    return CompiledKernels(build.compiled().operators)


def test_right_operators_have_no_failure(kernels: CompiledKernels) -> None:
    calls: list[Call] = [*OPERATOR_CALLS[:40], *PYTHON_CALLS[:6], *MODULE_CALLS[:12]]
    for call in calls:
        assert examine(call, kernels).failures == []


@pytest.mark.parametrize(
    "operator", [f"{kind}_{name}" for kind in ("norm", "lstm", "hidden") for name in ("forward", "backward")]
)
def test_a_number_that_depends_on_the_threads_is_a_failure(kernels: CompiledKernels, operator: str) -> None:
    call = next(
        call for call in OPERATOR_CALLS if operator.startswith(call.kind) and call.threads > 1 and call.B > 1 and call.k
    )
    found = examine(call, WrongOnThreads(kernels, operator))
    assert any(f"{operator}." in failure for failure in found.failures)


@pytest.mark.parametrize("way", ["training", "general", "short", "general stream", "short stream"])
def test_a_way_of_a_module_that_differs_is_a_failure(
    way: str, kernels: CompiledKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(call: ModuleCall, x: Tensor) -> dict[str, Result]:
        found = run_module(call, x)
        if get_num_threads() == call.threads:
            found[way].outputs["0"].view(-1)[-1:] += 1e-2
        return found

    monkeypatch.setattr(worker, "run_module", wrong)
    call = next(call for call in MODULE_CALLS if call.threads > 1 and not call.huge)
    assert examine(call, kernels).failures


def test_an_infinity_in_another_place_is_a_failure() -> None:
    right, wrong = (Result({"y": torch.tensor(values)}, {}) for values in ([1.0, torch.inf], [torch.inf, 1.0]))
    assert [deviated.exceeds for deviated in differences(right, right, outputs="exact")] == [False]
    with pytest.raises(AssertionError, match="y is not infinite where it must be"):
        list(differences(wrong, right, outputs="exact"))


def test_an_operator_that_raises_is_a_failure() -> None:
    (failure,) = examine(OPERATOR_CALLS[0], object()).failures
    assert "AttributeError" in failure


WORKER = """
import os, sys
for index in range(int(sys.argv[2]), int(sys.argv[3])):
    print(index, flush=True)
    if index == 3:
        print("heap-buffer-overflow", file=sys.stderr, flush=True)
        os.abort()
    print('{"comparisons": 7, "failures": []}', flush=True)
"""


def run(program: str, problems: int = 10) -> Examined:
    """A run of another program in the place of the worker."""
    options = fuzz.Fuzz(problems=problems, processes=2)
    return fuzz.fuzz(options, os.environ, (sys.executable, "-c", program))


def test_a_process_that_is_ended_is_one_failure_and_the_run_goes_on() -> None:
    found = run(WORKER)
    assert (found.problems, found.comparisons) == (10, 63)
    (failure,) = found.failures
    assert failure == "problem 3 of seed 0 ended its process\nheap-buffer-overflow\n"


def test_a_process_that_begins_nothing_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="no problem was begun\nnothing compiled"):
        run("import sys; sys.exit('nothing compiled')")


def test_the_record_counts_what_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the usual build in the place of the one with sanitizers, which takes minutes."""
    monkeypatch.setattr(fuzz, "environment", lambda _: dict(os.environ))
    output = tmp_path / "sanitize.json"
    status = fuzz.main(["--problems", "12", "--processes", "1", "--no-tests", "--output", str(output)])
    result = json.loads(output.read_text("utf-8"))
    assert (status, result["problems"], result["failures"], result["tests"]) == (0, 12, 0, None)
    assert result["comparisons"] > 12 * 5
    assert result["compiler"].startswith("g++")


def test_a_build_with_sanitizers_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build._digest("AVX2")
    monkeypatch.setenv("ATN_SANITIZE", fuzz.SANITIZERS)
    assert build._digest("AVX2") != plain


def test_what_is_preloaded_is_not_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    path = os.environ["PATH"]
    with build._environment_of_a_build():
        assert "LD_PRELOAD" not in os.environ
        assert os.environ["PATH"].endswith(f"{os.pathsep}{path}")
    assert (os.environ["LD_PRELOAD"], os.environ["PATH"]) == ("", path)
