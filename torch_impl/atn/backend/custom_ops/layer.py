"""Calls of a backend's operators (`atn.backend.custom_ops.register`) for a layer and for a norm.

Without a norm, the biases are added up to one vector. With a norm, all shifts and biases that are added after the two
norms of the gates are added up to one vector.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.custom_ops import differentiable
from atn.backend.custom_ops.differentiable import transform_is_active
from atn.backend.custom_ops.plain import gradient_is_wanted
from atn.backend.custom_ops.register import Operators
from atn.backend.custom_ops.signatures import LSTMForward, NormForward
from atn.backend.interface import LayerOutput, LayerWeights, NormSettings, placed_biases, total
from atn.choices import Base
from atn.state import LayerMemory
from atn.window import StepStatistics


def run_layer(
    operators: Operators,
    x: Float[Tensor, "T B I"],
    weights: LayerWeights,
    h_0: Float[Tensor, "B H"],
    c_0: Float[Tensor, "B H"],
    memory: LayerMemory | None,
    norm: NormSettings | None,
    *,
    every_c: bool,
) -> LayerOutput:
    """Run one layer in one direction; see `atn.backend.interface`."""
    gamma_ih, beta_ih = weights.norm_ih or (None, None)
    gamma_hh, beta_hh = weights.norm_hh or (None, None)
    gamma_c, beta_c = weights.norm_c or (None, None)
    bias_ih, bias_hh, bias = _biases(weights, norm, beta_ih, beta_hh)
    given = LSTMForward(
        x=x,
        weight_ih=weights.weight_ih,
        weight_hh=weights.weight_hh,
        bias_ih=bias_ih,
        bias_hh=bias_hh,
        bias=bias,
        gamma_ih=gamma_ih,
        gamma_hh=gamma_hh,
        gamma_c=gamma_c,
        beta_c=beta_c,
        h_0=h_0,
        c_0=c_0,
        memory=c_0.new_empty(3, 2, 0, x.shape[1]) if memory is None else _packed(memory),
        k=norm.k if norm else 0,
        eps=norm.eps if norm else 0.0,
    )
    if transform_is_active():
        h, c, steps = differentiable.lstm_forward(given)
    elif every_c or gradient_is_wanted(given):
        h, c, steps, *_ = operators.lstm_forward(*given)
    else:
        h, c_n, steps = operators.lstm_inference(*given)
        c = c_n.unsqueeze(0)
    if norm is None:
        return LayerOutput(h, c, None)
    return LayerOutput(h, c, _unpacked(steps, norm.k - 1))


def _packed(memory: LayerMemory) -> Float[Tensor, "3 2 M B"]:
    """Means and variances of the norms ih, hh and c in one tensor."""
    one_by_one = torch.stack([statistic for steps in memory for statistic in steps])
    return one_by_one.view(3, 2, *one_by_one.shape[1:])


def _unpacked(steps: Float[Tensor, "3 2 S B"], count: int) -> LayerMemory:
    """The last `count` steps of each norm, or all steps if there are fewer."""
    ih_mean, ih_var, hh_mean, hh_var, c_mean, c_var = steps.flatten(0, 1).unbind()
    every = (StepStatistics(ih_mean, ih_var), StepStatistics(hh_mean, hh_var), StepStatistics(c_mean, c_var))
    return LayerMemory(*(statistics.last(count) for statistics in every))


def _biases(
    weights: LayerWeights, norm: NormSettings | None, *shifts: Float[Tensor, " GH"] | None
) -> tuple[Float[Tensor, " GH"] | None, Float[Tensor, " GH"] | None, Float[Tensor, " GH"] | None]:
    """The sums of biases and shifts that are added to W_ih x, to W_hh h, and to the gates after the norms."""
    if norm is None:
        return total(weights.bias_ih, weights.bias_hh), None, None
    inside, outside = placed_biases(weights, norm.bias_placement)
    return *inside, total(*outside, *shifts)


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
    """ATN of a chunk; see `atn.backend.interface`."""
    if base == "batch":
        # Features take the place of cases, so gain and shift scale whole rows; autograd differentiates them.
        rows, steps = _norm_of_rows(operators, NormForward(a.transpose(1, 2), None, None, torch.stack(memory), k, eps))
        y = rows.transpose(1, 2)
        y = y if weight is None else y * weight
        y = y if bias is None else y + bias
    else:
        y, steps = _norm_of_rows(operators, NormForward(a, weight, bias, torch.stack(memory), k, eps))
    return y, StepStatistics(*steps)


def _norm_of_rows(operators: Operators, given: NormForward) -> tuple[Tensor, Tensor]:
    """Output and statistics by step, by the kernels unless a transform needs differentiable operations."""
    if transform_is_active():
        return differentiable.norm_forward(given)
    y, steps, _ = operators.norm_forward(*given)
    return y, steps
