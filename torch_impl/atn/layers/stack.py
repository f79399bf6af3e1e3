"""Layers and directions on top of each other, with dropout between the layers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from atn.layers.carried import Carried
from atn.layers.packing import Steps


@runtime_checkable
class Weights(Protocol):
    """Parameters of one layer in one direction."""

    def named(self, suffix: str) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its parameter name on the module, for the layer and direction `suffix`."""

    def to(self, dtype: torch.dtype) -> Self:
        """Every tensor in `dtype`."""


class Layer(NamedTuple):
    """One layer in one direction: its weights, and the modules of its norms by the name of their site."""

    weights: Any  # Any: each cell has its own type of `Weights`
    sites: Mapping[str, nn.Module]


class CellOutput(NamedTuple):
    """The states, of which the first is h at every step, and the windows for the next chunk (None without a norm)."""

    states: tuple[Float[Tensor, "#T B H"], ...]
    """h is (T, B, H); any other state is (T, B, H), or (1, B, H) with the last step only."""
    memory: Any  # Any: each cell has its own named tuple


CellFunction = Callable[[Float[Tensor, "T B I"], Any, tuple[Float[Tensor, "B H"], ...], Any], CellOutput]
"""Runs one layer in one direction on its input, weights, states before the first step, and windows (None: empty)."""

LayerRun = Callable[[Float[Tensor, "T B I"], Layer, tuple[Float[Tensor, "B H"], ...], Any], CellOutput]
"""Runs one layer in one direction, as `CellFunction` does, with the norms of the layer."""


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
        Input, in the layout of `steps`.
    layers
        The layers by depth and direction.
    carried
        States and windows before the first step, by layer and direction in the order of h_n.
    dropout
        Probability of dropping an output of any layer but the last; 0 in evaluation.

    Returns
    -------
    data, carried
        Output of the last layer in the layout of the input, and the state after the last step.
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
    """The outputs of all directions, concatenated along the features.

    In training this is always a copy: a caller may change it in place, and the backward pass reads the original.
    """
    alone = len(outputs) == 1 and not outputs[0].requires_grad
    return outputs[0] if alone else torch.cat(outputs, dim=-1)
