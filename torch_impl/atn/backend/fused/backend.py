"""The fused backend, on the CPU: one operator a layer and direction, with a backward pass written by hand.

The time loop, its statistics and its pointwise part run in compiled code (`csrc/`), or in plain torch calls where
nothing can be compiled (`fused_plain`); the products with the input and the gradients of the weights are one matrix
product over the whole sequence. It keeps 14 numbers a cell and step for the backward pass (4 gates, 8 normalized
preactivations, c and h), whatever k; 6 without a norm.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from atn.backend.custom_ops.layer import run_layer, run_norm
from atn.backend.custom_ops.register import register
from atn.backend.custom_ops.signatures import Kernels
from atn.backend.fused import fallback
from atn.backend.fused.build import compiled
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


# Looked up at each call: nothing is compiled before it is needed.
OPERATORS = register("fused", lambda: kernels(), ("cpu",))  # noqa: PLW0108 - so that a test may replace `kernels`

fused_layer: LayerFunction = partial(run_layer, OPERATORS)
fused_norm: NormFunction = partial(run_norm, OPERATORS)
