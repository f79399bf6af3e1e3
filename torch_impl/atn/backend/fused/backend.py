"""The fused backend, on the CPU: one operator a layer and direction, with a backward pass written by hand.

The time loop, its statistics and its pointwise part run in compiled code (`csrc/`), or in plain torch calls where
nothing can be compiled (`fallback`); the gradients of the weights are one matrix product over the whole sequence. For
the backward pass it keeps c, h and the normalized preactivations from the state, 6 numbers a cell and step whatever k,
and 4 more for those from an input of many features; without a norm c, h and the gates, 6 numbers. What is not kept is
computed again: that costs less than to write and read it. Inference keeps nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from atn.backend.custom_ops.layer import run_layer, run_norm
from atn.backend.custom_ops.register import register
from atn.backend.custom_ops.signatures import KeptSteps, Kernels, LSTMForward
from atn.backend.fused import fallback
from atn.backend.fused.build import compiled
from atn.backend.fused.fallback import input_is_computed_again
from atn.backend.interface import LayerFunction, NormFunction


class CompiledKernels:
    """The compiled operators, which take their arguments by name, as kernels."""

    def __init__(self, operators: Any) -> None:
        self._operators = operators

    def __getattr__(self, name: str) -> Callable[[Any], tuple[Any, ...]]:
        operator = getattr(self._operators, name)
        return lambda given: operator(**given._asdict())


def kernels() -> Kernels:
    """The compiled ones, where they can be had."""
    operators = compiled().operators
    return cast("Kernels", fallback if operators is None else CompiledKernels(operators))


def kept_steps(given: LSTMForward) -> KeptSteps:
    """What `lstm_forward` keeps, compiled or not."""
    T = given.x.shape[0]
    if given.k == 0:
        return KeptSteps(0, 0, T)
    return KeptSteps(0 if input_is_computed_again(given.x) else T, T, 0)


# Looked up at each call: nothing is compiled before it is needed.
OPERATORS = register("fused", lambda: kernels(), ("cpu",), kept_steps)  # noqa: PLW0108 - so that a test may replace `kernels`

fused_layer: LayerFunction = partial(run_layer, OPERATORS)
fused_norm: NormFunction = partial(run_norm, OPERATORS)
