"""The two ways to start the parameters of an `ATNLSTM`."""

import math

import torch
from torch import nn

from atn.backend.interface import LayerWeights
from atn.choices import Init
from atn.precision import compute_dtype


@torch.no_grad()
def initialize(weights: LayerWeights, init: Init) -> None:
    """Fill the parameters of one layer and direction in place; gains are 1 and shifts 0 either way."""
    _as_torch(weights) if init == "torch" else _as_paper(weights)
    for affine in (weights.norm_ih, weights.norm_hh, weights.norm_c):
        if affine is not None:
            affine.gamma.fill_(1)
            affine.beta.fill_(0)


def _as_torch(weights: LayerWeights) -> None:
    """All uniform in +-1/sqrt(H), drawn in the order of `torch.nn.LSTM`: one seed gives both the same numbers."""
    bound = 1 / math.sqrt(weights.weight_hh.shape[1])
    for parameter in (weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh):
        if parameter is not None:
            parameter.uniform_(-bound, bound)


def _as_paper(weights: LayerWeights) -> None:
    """W_ih orthogonal, W_hh four identity blocks, biases 0: the released code of the paper."""
    # The decomposition behind orthogonal_ has no half types.
    orthogonal = torch.empty_like(weights.weight_ih, dtype=compute_dtype([weights.weight_ih]))
    weights.weight_ih.copy_(nn.init.orthogonal_(orthogonal))
    weights.weight_hh.copy_(torch.eye(weights.weight_hh.shape[1]).repeat(4, 1))
    for bias in (weights.bias_ih, weights.bias_hh):
        if bias is not None:
            bias.fill_(0)
