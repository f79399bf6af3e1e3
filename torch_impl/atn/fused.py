"""The fused backend, on the CPU: one operator a layer and direction, with a backward pass written by hand.

The time loop, its statistics and its pointwise part run in compiled code (`csrc/`), or in plain torch calls where
nothing can be compiled (`fused_plain`); the products with the input and the gradients of the weights are one matrix
product over the whole sequence. It keeps 14 numbers a cell and step for the backward pass (4 gates, 8 normalised
preactivations, c and h), whatever k; 6 without a norm.
"""

from functools import partial
from typing import cast

from atn import fused_plain
from atn.by_operators import run_layer, run_norm
from atn.compiled import compiled
from atn.layer import LayerFunction, NormFunction
from atn.operators import Kernels, register


def kernels() -> Kernels:
    """The compiled ones, where they can be had."""
    return cast("Kernels", compiled().operators or fused_plain)


# Looked up at each call: nothing is compiled before it is needed.
OPERATORS = register("fused", lambda: kernels(), ("cpu",))  # noqa: PLW0108 - so that a test may replace `kernels`

fused_layer: LayerFunction = partial(run_layer, OPERATORS)
fused_norm: NormFunction = partial(run_norm, OPERATORS)
