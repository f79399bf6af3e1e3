"""The fused backend, on the CPU: one operator per layer and direction, with a hand-written backward pass.

The time loop, its statistics and its pointwise operations run in compiled code (`csrc/`), or in plain torch calls where
the code cannot be compiled (`fallback`). The gradients of the two products of a small LSTM are taken step by step,
while what they are made of is in cache; those of a large one and of other cells are products over the whole sequence.
For the backward pass the backend keeps c, h and the normalized preactivations from the state, which are 6 numbers per
unit and step for any k, and 4 more for the preactivations from an input of many features. Without a norm it keeps c, h
and the gates, also 6 numbers. The other values are computed again, which costs less than writing and reading them.
Inference keeps nothing.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor

from atn.backend.custom_ops.hidden import KEPT_BLOCKS, register_hidden, run_hidden
from atn.backend.custom_ops.layer import run_layer, run_norm
from atn.backend.custom_ops.register import register
from atn.backend.custom_ops.signatures import (
    HiddenBackward,
    HiddenForward,
    HiddenKernels,
    KeptSteps,
    Kernels,
    LSTMBackward,
    LSTMForward,
    NormBackward,
    NormForward,
)
from atn.backend.fused import fallback
from atn.backend.fused.build import compiled
from atn.backend.fused.fallback_norm import input_is_computed_again
from atn.backend.interface import HiddenFunction, LayerFunction, NormFunction, StackFunction, StackSettings


class CompiledKernels:
    """The operators of `csrc/ops.cpp` with the interface of `AllKernels`; they take their arguments by name."""

    def __init__(self, operators: Any) -> None:
        self._operators = operators

    def norm_forward(self, given: NormForward) -> tuple[Tensor, ...]:
        """Normalize a sequence."""
        return self._call(self._operators.norm_forward, given)

    def norm_backward(self, given: NormBackward) -> tuple[Tensor, ...]:
        """Compute the gradients of `norm_forward`."""
        return self._call(self._operators.norm_backward, given)

    def lstm_forward(self, given: LSTMForward) -> tuple[Tensor, ...]:
        """Run a layer of the LSTM, and keep what its backward pass reads."""
        return self._call(self._operators.lstm_forward, given)

    def lstm_inference(self, given: LSTMForward) -> tuple[Tensor, ...]:
        """Run a layer of the LSTM, and keep nothing."""
        return self._call(self._operators.lstm_inference, given)

    def lstm_backward(self, given: LSTMBackward) -> tuple[Tensor, ...]:
        """Compute the gradients of `lstm_forward`."""
        return self._call(self._operators.lstm_backward, given)

    def hidden_forward(self, given: HiddenForward) -> tuple[Tensor, ...]:
        """Run a layer of another cell, and keep what its backward pass reads."""
        return self._call(self._operators.hidden_forward, given)

    def hidden_inference(self, given: HiddenForward) -> tuple[Tensor, ...]:
        """Run a layer of another cell, and keep nothing."""
        return self._call(self._operators.hidden_inference, given)

    def hidden_backward(self, given: HiddenBackward) -> tuple[Tensor, ...]:
        """Compute the gradients of `hidden_forward`."""
        return self._call(self._operators.hidden_backward, given)

    def _call(self, operator: Any, given: Any) -> tuple[Tensor, ...]:
        computed: tuple[Tensor, ...] = operator(**given._asdict())
        return computed

    def lstm_stack_inference(
        self,
        x: Tensor,
        parameters: Sequence[Tensor],
        states: Sequence[Tensor],
        memory: Sequence[Tensor],
        settings: StackSettings,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], list[Tensor]]:
        """Run all layers; see `atn.backend.interface.StackFunction`."""
        h_0, c_0 = states or (None, None)
        run = self._operators.lstm_stack_inference.default
        output, h_n, c_n, left = run(x, parameters, h_0, c_0, memory, *settings)
        return output, (h_n, c_n), left


@runtime_checkable
class AllKernels(Kernels, HiddenKernels, Protocol):
    """The kernels of every cell."""


def kernels() -> AllKernels:
    """The compiled kernels, or the plain torch calls of `fallback` if they cannot be compiled."""
    operators = compiled().operators
    return cast("AllKernels", fallback if operators is None else CompiledKernels(operators))


def fused_stack(mode: str) -> StackFunction | None:
    """Inference of all layers of a cell in one call; None without compiled kernels, and for a cell but the LSTM."""
    running = kernels()
    return running.lstm_stack_inference if mode == "LSTM" and isinstance(running, CompiledKernels) else None


def kept_steps(given: LSTMForward | HiddenForward) -> KeptSteps:
    """Number of steps whose rows a forward pass keeps, compiled or not."""
    T = given.x.shape[0]
    if given.k == 0:
        return KeptSteps(0, 0, T)
    return KeptSteps(0 if input_is_computed_again(given.x) else T, T, 0)


# `kernels` is called at each call of an operator, so that nothing is compiled before it is needed.
OPERATORS = register("fused", lambda: kernels(), ("cpu",), kept_steps)  # noqa: PLW0108 - so that a test may replace `kernels`
HIDDEN_OPERATORS = register_hidden("fused", lambda: kernels(), ("cpu",), kept_steps)  # noqa: PLW0108 - as above

fused_layer: LayerFunction = partial(run_layer, OPERATORS)
fused_norm: NormFunction = partial(run_norm, OPERATORS)
fused_cells: dict[str, HiddenFunction] = {mode: partial(run_hidden, HIDDEN_OPERATORS, mode) for mode in KEPT_BLOCKS}
