"""Problems of the fuzz, one after the other: ``python -m tests.fuzzing.worker SEED START STOP``.

Before each problem its number is printed, and after it what came of it as JSON, so that whoever reads the lines knows
at which problem a process ended that a sanitizer stopped.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from atn.backend.fused.backend import CompiledKernels
from atn.backend.fused.build import compiled
from tests.fuzzing.module_calls import ModuleCall, draw_module_call, run_module
from tests.fuzzing.operator_calls import OperatorCall, draw_operator_call, run_operators
from tests.support.comparison import Deviation, deviation, gradient_deviations
from tests.support.dispatch import run_torch
from tests.support.problems import AnyProblem, Draw, draw_hidden_problem, draw_lstm_problem, draw_norm_problem
from tests.support.runners import Result, parameters_of
from tests.verification.soak import GeneratorDraw

KINDS = (*["norm operators"] * 3, *["lstm operators"] * 4, *["hidden operators"] * 4, "layer and norm", "module")
"""What problem i is of, by i modulo their number. Those of Python take the most time and have the least to show."""

R = TypeVar("R")

THREADS = (1, 2, 3)

PROBLEMS: tuple[Callable[[Draw], AnyProblem], ...] = (draw_norm_problem, draw_lstm_problem, draw_hidden_problem)


def transposed(tensor: Tensor) -> Tensor:
    """The same numbers, the first axis innermost."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def strided(tensor: Tensor) -> Tensor:
    """The same numbers with others between them."""
    return torch.stack((tensor, tensor.detach() + 1), -1)[..., 0]


def sliced(tensor: Tensor) -> Tensor:
    """The same numbers inside a larger array."""
    return torch.nn.functional.pad(tensor, (1, 1))[..., 1:-1]


def expanded(tensor: Tensor) -> Tensor:
    """The first row of the first axis, in place of every one."""
    return tensor[:1].expand_as(tensor)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": transposed,
    "strided": strided,
    "sliced": sliced,
    "expanded": expanded,
}


@dataclass(frozen=True)
class PythonCall:
    """A layer or a norm of the library, called with tensors that are not contiguous."""

    problem: AnyProblem
    layout: str
    dtype: str
    threads: int


@dataclass
class Examined:
    """What became of one problem, or of many."""

    problems: int = 0
    comparisons: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Examined") -> None:
        """Take in another."""
        self.problems += other.problems
        self.comparisons += other.comparisons
        self.failures += other.failures


Call = OperatorCall | PythonCall | ModuleCall


def problem_number(index: int, seed: int) -> Call:
    """Problem number `index` of the run with this seed."""
    draw = GeneratorDraw(np.random.default_rng([seed, index]))
    threads = draw.choice(THREADS)
    match KINDS[index % len(KINDS)]:
        case "norm operators":
            return draw_operator_call(draw, "norm", threads)
        case "lstm operators":
            return draw_operator_call(draw, "lstm", threads)
        case "hidden operators":
            return draw_operator_call(draw, "hidden", threads)
        case "module":
            return draw_module_call(draw, threads, tuple(LAYOUTS))
        case _:
            problem = draw.choice(PROBLEMS)(draw)
            return PythonCall(problem, draw.choice(tuple(LAYOUTS)), draw.choice(("float64", "float32")), threads)


def examine(call: Call, kernels: Any) -> Examined:
    """Compare one thread with several, every memory layout with the contiguous one, and the ways of a module."""
    found = Examined(problems=1)
    before = torch.get_num_threads()
    try:
        for deviated in _deviations(call, kernels):
            found.comparisons += 1
            if deviated.exceeds:
                found.failures.append(f"{call}: {deviated}")
    except Exception as error:  # noqa: BLE001 - whatever an operator raises on right arguments is a failure
        found.failures.append(f"{call}: {type(error).__name__}: {error}")
    finally:
        torch.set_num_threads(before)
    return found


def _deviations(call: Call, kernels: Any) -> Iterator[Deviation]:
    if isinstance(call, OperatorCall):
        single, many = (_on_threads(count, lambda: run_operators(call, kernels)) for count in (1, call.threads))
        yield from differences(many, single, outputs="exact")
        if call.kind != "norm":
            yield from _inference_differences(call, many.outputs)
        return
    if isinstance(call, ModuleCall):
        yield from _module_differences(call)
        return
    layout = LAYOUTS[call.layout]
    single = _on_threads(1, lambda: _run(call, lambda tensor: layout(tensor).contiguous()))
    many = _on_threads(call.threads, lambda: _run(call, layout))
    yield from differences(many, single, outputs="exact" if call.threads == 1 else "output")


def _inference_differences(call: OperatorCall, outputs: dict[str, Any]) -> Iterator[Deviation]:
    """What inference gives is what the forward pass gives, bit for bit."""
    steps = outputs[f"{call.kind}_forward.steps"]
    expected = {
        "h": outputs[f"{call.kind}_forward.h"],
        "memory": steps[:, :, max(0, steps.shape[2] - max(0, call.k - 1)) :],
    }
    if call.kind == "lstm":
        expected["c_n"] = outputs["lstm_forward.c"][-1]
    names = {f"{call.kind}_inference.{name}": array for name, array in expected.items()}
    actual = Result({name: outputs[name] for name in names}, {}, dtype=call.dtype)
    yield from differences(actual, Result(names, {}), outputs="exact")


def _module_differences(call: ModuleCall) -> Iterator[Deviation]:
    """Each way on several threads is the general one on a single thread, bit for bit; so is a stream's output."""
    x = LAYOUTS[call.layout](call.input())
    expected = _on_threads(1, lambda: run_module(call, x.contiguous()))
    found = _on_threads(call.threads, lambda: run_module(call, x))
    for way in ("training", "general", "short"):
        yield from differences(found[way], expected["general"], outputs="exact")
    for way in ("general stream", "short stream"):
        yield from differences(found[way], expected["general stream"], outputs="exact")
        output = Result({"0": found[way].outputs["0"]}, {}, dtype=call.dtype)
        yield from differences(output, Result({"0": expected["general"].outputs["0"]}, {}), outputs="exact")


def _on_threads(count: int, run: Callable[[], R]) -> R:
    torch.set_num_threads(count)
    return run()


def _run(call: PythonCall, arrange: Callable[[Tensor], Tensor]) -> Result:
    return run_torch(call.problem, "fused", call.dtype, arrange=arrange)


def differences(actual: Result, expected: Result, outputs: str) -> Iterator[Deviation]:
    """How far two results of one call are from each other; an array without numbers must have its shape alone."""
    shapes = [{name: tuple(array.shape) for name, array in _arrays(result).items()} for result in (actual, expected)]
    if shapes[0] != shapes[1]:
        raise AssertionError(f"shapes {shapes[0]} are not {shapes[1]}")
    for name, array in expected.outputs.items():
        if array.numel():
            found, wanted = _without_infinities(actual.outputs[name], array, name)
            yield deviation(found, wanted, quantity=outputs, backend="fused", what=name)
    gradients = {name: array for name, array in expected.gradients.items() if array.numel()}
    if gradients:
        pairs = {name: _where_finite(actual.gradients[name], array, name) for name, array in gradients.items()}
        finite, wanted_finite = ({name: pair[side] for name, pair in pairs.items()} for side in (0, 1))
        yield from gradient_deviations(finite, wanted_finite, backend="fused", parameters=parameters_of(gradients))


def _without_infinities(actual: Any, expected: Any, name: str) -> tuple[Tensor, Tensor]:
    """Zeros in the place of the infinite variances of steps that overflow, which must be the same."""
    tensors = [torch.as_tensor(array) for array in (actual, expected)]
    infinite = [torch.where(tensor.isinf(), tensor.sign(), 0) for tensor in tensors]
    if not torch.equal(*infinite):
        raise AssertionError(f"{name} is not infinite where it must be, or elsewhere")
    found, wanted = (torch.where(tensor.isinf(), 0, tensor) for tensor in tensors)
    return found, wanted


def _where_finite(actual: Any, expected: Any, name: str) -> tuple[Tensor, Tensor]:
    """Zeros in the place of sums that overflow, in the same places: infinite or not a number, as their terms come."""
    tensors = [torch.as_tensor(array) for array in (actual, expected)]
    if not torch.equal(*(tensor.isfinite() for tensor in tensors)):
        raise AssertionError(f"{name} is not finite where it must be, or elsewhere")
    found, wanted = (torch.where(tensor.isfinite(), tensor, 0) for tensor in tensors)
    return found, wanted


def _arrays(result: Result) -> dict[str, Any]:
    return result.outputs | result.gradients


def main(seed: int, numbers: range) -> None:
    """Examine these problems."""
    operators = compiled().operators
    if operators is None:
        raise SystemExit(f"tests.fuzzing.worker: {compiled().reason}")
    torch.use_deterministic_algorithms(mode=True)  # fresh memory is filled with NaN
    for index in numbers:
        print(index, flush=True)
        found = examine(problem_number(index, seed), CompiledKernels(operators))
        print(json.dumps({"comparisons": found.comparisons, "failures": found.failures}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))
