"""Layers and directions on top of each other, with dropout between the layers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from atn.carried import Carried
from atn.packing import Steps


class Weights(Protocol):
    """Parameters of one layer in one direction."""

    def named(self, suffix: str) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with the name that it has on the module, for the layer and direction `suffix`."""

    def to(self, dtype: torch.dtype) -> Self:
        """Every tensor in `dtype`."""


class Layer(NamedTuple):
    """One layer in one direction: its weights, and by name the modules at the sites of its norms."""

    weights: Any  # Any: `Weights` of a cell's own type
    sites: Mapping[str, nn.Module]


class CellOutput(NamedTuple):
    """The states, the output h first and of every step, and the windows for the next chunk (None without a norm)."""

    states: tuple[Float[Tensor, "#T B H"], ...]
    """Those beside h of every step, or of the last alone (1, B, H)."""
    memory: Any  # Any: a named tuple of the cell's own


CellFunction = Callable[[Float[Tensor, "T B I"], Any, tuple[Float[Tensor, "B H"], ...], Any], CellOutput]
"""Runs one layer in one direction: input, weights, states in front of the first step, windows (None is empty)."""

LayerRun = Callable[[Float[Tensor, "T B I"], Layer, tuple[Float[Tensor, "B H"], ...], Any], CellOutput]
"""The same for a layer and its norm."""


def run_stack(
    data: Tensor,
    steps: Steps,
    layers: Sequence[Sequence[Layer]],
    carried: Carried,
    *,
    run: LayerRun,
    dropout: float,
) -> tuple[Tensor, Carried]:
    """Run every layer in its one or two directions.

    Parameters
    ----------
    data
        Input, laid out as `steps` has it.
    layers
        By depth and direction.
    carried
        States and windows in front of the first step, by layer and direction in the order of h_n.
    dropout
        Probability to drop an output of a layer but the last, 0 in evaluation.

    Returns
    -------
    data, carried
        Output of the last layer, laid out as the input, and what to go on from.
    """
    states_n: list[tuple[Tensor, ...]] = []
    memory_n: list[Any] = []
    for depth, directions in enumerate(layers):
        if depth > 0:
            data = torch.nn.functional.dropout(data, dropout)
        outputs = []
        for reverse, layer in zip((False, True), directions, strict=False):
            index = len(states_n)
            x = steps.arrange(data, reverse=reverse)
            states = tuple(state[index] for state in carried.states)
            out = run(x, layer, states, carried.memory[index])
            outputs.append(steps.restore(out.states[0], reverse=reverse))
            states_n.append(tuple(map(steps.final, out.states)))
            memory_n.append(out.memory)
        data = _side_by_side(outputs)
    by_state = zip(*states_n, strict=True)
    return data, Carried(tuple(torch.stack(states) for states in by_state), tuple(memory_n), None)


def _side_by_side(outputs: list[Tensor]) -> Tensor:
    """The outputs of all directions, features after features.

    In training always a copy: a caller may change it in place, and the backward pass reads the original.
    """
    alone = len(outputs) == 1 and not outputs[0].requires_grad
    return outputs[0] if alone else torch.cat(outputs, dim=-1)
