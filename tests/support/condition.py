"""The condition of a problem: how much its exact result moves when its inputs are rounded, and who is held to it."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from tests.support.comparison import Deviation, deviation, gradient_deviations
from tests.support.problems import Array, P, mapped
from tests.support.runners import Arrays, Result, parameters_of
from tests.support.tolerances import CONDITION_MULTIPLE, EPSILON

DIRECTIONS = 4


def sensitivity(problem: P, oracle: Callable[[P], Result], expected: Result) -> dict[str, float]:
    """Largest elementwise change of every output and gradient per unit of relative change of all inputs.

    Every element of every input, parameters and upstream gradients included, is changed by one unit round-off of
    float32, up or down by chance, in `DIRECTIONS` ways. That is small beside the inputs and large beside the rounding
    of the float64 oracle, so that the change is nearly linear and the result serves every dtype.
    """
    rng = np.random.default_rng([problem.seed, 3])
    unit = EPSILON["float32"]

    def perturbed(array: Array) -> Array:
        changed: Array = array * (1.0 + unit * rng.choice((-1.0, 1.0), size=array.shape))
        return changed

    exact = _arrays(expected)
    changes = dict.fromkeys(exact, 0.0)
    for _ in range(DIRECTIONS):
        for name, array in _arrays(oracle(mapped(problem, perturbed))).items():
            changes[name] = max(changes[name], float(np.abs(array - exact[name]).max()) / unit)
    return changes


def _arrays(result: Result) -> Arrays:
    return result.outputs | result.gradients


class Judgment(NamedTuple):
    """One array held to the plain bound, and beyond it to the condition of its problem."""

    deviation: Deviation
    multiple: float | None
    """Error over what one unit round-off of every input does to the array; None within the plain bound."""

    @property
    def fails(self) -> bool:
        """Whether both bounds are exceeded."""
        return self.multiple is not None and not self.multiple <= CONDITION_MULTIPLE

    def __str__(self) -> str:
        return f"{self.deviation}, {self.multiple:.3g} times the condition"


def judgments(
    problem: P, oracle: Callable[[P], Result], expected: Result, actual: Result, backend: str
) -> Iterator[Judgment]:
    """Hold every output and gradient of a run to the oracle's; the condition is measured only where it is needed."""
    condition = cache(lambda: sensitivity(problem, oracle, expected))
    for found in _deviations(actual, expected, backend):
        yield Judgment(found, _multiple(found, condition()[found.what]) if found.exceeds else None)


def multiples(problem: P, oracle: Callable[[P], Result], actual: Result, backend: str) -> dict[str, float]:
    """Error of every output and gradient of a run as a multiple of its condition, within the plain bound or not.

    Left out is what no rounding of an input moves, as the gradient of a weight of which only the sign counts: it has no
    condition, and the plain bound holds it.
    """
    expected = oracle(problem)
    condition = sensitivity(problem, oracle, expected)
    return {
        found.what: _multiple(found, condition[found.what])
        for found in _deviations(actual, expected, backend)
        if condition[found.what] > 0
    }


def assert_agrees(problem: P, oracle: Callable[[P], Result], actual: Result, backend: str) -> None:
    """Assert that no output or gradient of a run on `problem` is beyond both bounds."""
    for judgment in judgments(problem, oracle, oracle(problem), actual, backend):
        assert not judgment.fails, str(judgment)


def _deviations(actual: Result, expected: Result, backend: str) -> Iterator[Deviation]:
    assert actual.outputs.keys() == expected.outputs.keys()
    for name, output in actual.outputs.items():
        yield deviation(
            output, expected.outputs[name], quantity="output", backend=backend, what=name, dtype=actual.dtype
        )
    yield from gradient_deviations(
        actual.gradients,
        expected.gradients,
        backend=backend,
        parameters=parameters_of(expected.gradients),
        cancelled=expected.cancelled,
        dtype=actual.dtype,
    )


def _multiple(found: Deviation, condition: float) -> float:
    if found.error == 0:
        return 0.0
    unavoidable = EPSILON[found.key.dtype] * condition
    return found.error * found.magnitude / unavoidable if unavoidable > 0 else float("inf")
