"""Layers and directions on top of each other, with dropout between the layers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.interface import LayerFunction, LayerWeights, NormSettings
from atn.packing import Steps
from atn.state import LayerMemory

Memories = tuple[LayerMemory | None, ...]
"""One entry for each layer and direction, in the order of h_n; None is an empty one."""


class StackOutput(NamedTuple):
    """Output of the last layer, laid out as the input; final states and windows by layer and direction."""

    data: Tensor
    h_n: Float[Tensor, "L*D B H"]
    c_n: Float[Tensor, "L*D B H"]
    memory: Memories


def run_stack(
    data: Tensor,
    steps: Steps,
    layers: Sequence[Sequence[LayerWeights]],
    h_0: Float[Tensor, "L*D B H"],
    c_0: Float[Tensor, "L*D B H"],
    memory: Memories,
    *,
    norm: NormSettings | None,
    layer_function: LayerFunction,
    dropout: float,
) -> StackOutput:
    """Run every layer in its one or two directions; `dropout` is the probability to drop, 0 in evaluation."""
    h_n: list[Tensor] = []
    c_n: list[Tensor] = []
    memory_n: list[LayerMemory | None] = []
    for depth, directions in enumerate(layers):
        if depth > 0:
            data = torch.nn.functional.dropout(data, dropout)
        outputs = []
        for reverse, weights in zip((False, True), directions, strict=False):
            index = len(h_n)
            x = steps.arrange(data, reverse=reverse)
            out = layer_function(x, weights, h_0[index], c_0[index], memory[index], norm)
            outputs.append(steps.restore(out.h, reverse=reverse))
            h_n.append(steps.final(out.h))
            c_n.append(steps.final(out.c))
            memory_n.append(out.memory)
        data = torch.cat(outputs, dim=-1)
    return StackOutput(data, torch.stack(h_n), torch.stack(c_n), tuple(memory_n))
