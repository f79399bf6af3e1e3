"""Layers and directions on top of each other, with dropout between the layers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atn.backend.cell import Cell, Layer
from atn.carried import Carried
from atn.layers.packing import Steps
from atn.norms.interface import RecurrentNorm


def run_stack(
    data: Tensor,
    steps: Steps,
    layers: Sequence[Sequence[Layer]],
    carried: Carried,
    *,
    norm: RecurrentNorm,
    cell: Cell,
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
    norm
        Norm of every layer, by which it runs.
    cell
        Cell of every layer.
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
            out = norm.run(cell, x, layer, states, carried.memory[index])
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
