"""A layer and a norm by the operators of a backend (`atn.operators`): which tensor is which argument.

Without a norm the biases are one vector. With one, every shift and bias that stands after the two norms of the gates is
one vector too.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from atn.layer import LayerOutput, LayerWeights, NormSettings, total
from atn.operators import Operators
from atn.state import LayerMemory
from atn.statistics import Base, StepStatistics


def run_layer(
    operators: Operators,
    x: Float[Tensor, "T B I"],
    weights: LayerWeights,
    h_0: Float[Tensor, "B H"],
    c_0: Float[Tensor, "B H"],
    memory: LayerMemory | None,
    norm: NormSettings | None,
) -> LayerOutput:
    """Run one layer in one direction; see `atn.layer`."""
    products = (x, weights.weight_ih, weights.weight_hh)
    no_memory = c_0.new_empty(3, 2, 0, x.shape[1])
    if norm is None:
        bias = total(weights.bias_ih, weights.bias_hh)
        h, c, *_ = operators.lstm_forward(
            *products, bias, None, None, None, None, None, None, h_0, c_0, no_memory, 0, 0.0
        )
        return LayerOutput(h, c, None)
    inside = norm.bias_placement == "inside"
    gain_ih, shift_ih = weights.norm_ih or (None, None)
    gain_hh, shift_hh = weights.norm_hh or (None, None)
    gain_c, shift_c = weights.norm_c or (None, None)
    outside = (None, None) if inside else (weights.bias_ih, weights.bias_hh)
    h, c, steps, *_ = operators.lstm_forward(
        *products,
        weights.bias_ih if inside else None,
        weights.bias_hh if inside else None,
        total(*outside, shift_ih, shift_hh),
        gain_ih,
        gain_hh,
        gain_c,
        shift_c,
        h_0,
        c_0,
        no_memory if memory is None else torch.stack([torch.stack(steps) for steps in memory]),
        norm.k,
        norm.eps,
    )
    return LayerOutput(h, c, LayerMemory(*(StepStatistics(mean, var).last(norm.k - 1) for mean, var in steps)))


def run_norm(
    operators: Operators,
    a: Float[Tensor, "T B N"],
    weight: Float[Tensor, " N"] | None,
    bias: Float[Tensor, " N"] | None,
    memory: StepStatistics,
    k: int,
    eps: float,
    base: Base,
) -> tuple[Float[Tensor, "T B N"], StepStatistics]:
    """ATN of a chunk; see `atn.layer`."""
    if base == "batch":
        # Features take the place of cases, so gain and shift belong to whole rows and are left to autograd.
        rows, steps, _ = operators.norm_forward(a.transpose(1, 2), None, None, torch.stack(memory), k, eps)
        y = rows.transpose(1, 2)
        y = y if weight is None else y * weight
        y = y if bias is None else y + bias
    else:
        y, steps, _ = operators.norm_forward(a, weight, bias, torch.stack(memory), k, eps)
    return y, StepStatistics(*steps)
