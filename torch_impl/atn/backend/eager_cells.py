"""The cells whose only state is h, in plain PyTorch operations, on any device; autograd computes every derivative.

As in `atn.backend.eager`, the product with the input and its norm are computed for the whole sequence at once, and the
time loop computes the recurrent row only.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.eager import affine, eager_norm, normalize_next
from atn.backend.eager_sites import sites_of
from atn.backend.interface import (
    AdaSettings,
    BatchSettings,
    DetachedSettings,
    HiddenFunction,
    HiddenOutput,
    HiddenWeights,
    NormSettings,
    Settings,
    placed_biases,
    total,
)
from atn.state import HiddenMemory
from atn.window import StepStatistics, window_of_steps

Step = Callable[[Float[Tensor, "B GH"], Float[Tensor, "B GH"], Float[Tensor, "B H"]], Float[Tensor, "B H"]]
"""Computes the next h from both rows, which include norm, gain, shift and biases, and from the previous h."""


def eager_tanh_rnn(
    x: Float[Tensor, "T B I"],
    weights: HiddenWeights,
    h_0: Float[Tensor, "B H"],
    memory: HiddenMemory | None,
    norm: Settings | None,
) -> HiddenOutput:
    """Run an RNN with tanh, Eqs. (1) and (3); see `atn.backend.interface`."""
    return _layer(lambda a_ih, a_hh, _: (a_ih + a_hh).tanh(), x, weights, h_0, memory, norm)


def eager_relu_rnn(
    x: Float[Tensor, "T B I"],
    weights: HiddenWeights,
    h_0: Float[Tensor, "B H"],
    memory: HiddenMemory | None,
    norm: Settings | None,
) -> HiddenOutput:
    """Run an RNN with relu, Eqs. (1) and (3); see `atn.backend.interface`."""
    return _layer(lambda a_ih, a_hh, _: (a_ih + a_hh).relu(), x, weights, h_0, memory, norm)


def eager_gru(
    x: Float[Tensor, "T B I"],
    weights: HiddenWeights,
    h_0: Float[Tensor, "B H"],
    memory: HiddenMemory | None,
    norm: Settings | None,
) -> HiddenOutput:
    """Run a GRU, by the equations of `torch.nn.GRU`; see `atn.backend.interface`."""
    return _layer(gru_step, x, weights, h_0, memory, norm)


CELLS: dict[str, HiddenFunction] = {"RNN_TANH": eager_tanh_rnn, "RNN_RELU": eager_relu_rnn, "GRU": eager_gru}
"""The cells by their name in `torch.nn.RNNBase.mode`."""


def gru_step(
    a_ih: Float[Tensor, "B 3*H"], a_hh: Float[Tensor, "B 3*H"], h: Float[Tensor, "B H"]
) -> Float[Tensor, "B H"]:
    """The next h of a GRU; the reset gate multiplies the recurrent row of n after norm, gain, shift and bias."""
    H = h.shape[1]
    (gates_ih, n_ih), (gates_hh, n_hh) = (torch.split(a, [2 * H, H], dim=1) for a in (a_ih, a_hh))
    r, z = (gates_ih + gates_hh).sigmoid().chunk(2, dim=1)
    n = torch.addcmul(n_ih, r, n_hh).tanh()
    return torch.addcmul(n, z, h - n)


def _layer(
    step: Step, x: Tensor, weights: HiddenWeights, h: Tensor, memory: HiddenMemory | None, norm: Settings | None
) -> HiddenOutput:
    if norm is None:
        from_input = torch.nn.functional.linear(x, weights.weight_ih, weights.bias_ih)
        recurrent = _product(weights.weight_hh, weights.bias_hh)
        return HiddenOutput(_time_loop(step, from_input, recurrent, h), None)

    if not isinstance(norm, NormSettings):
        return _layer_of_sites(step, x, weights, h, memory, norm)
    memory = memory or HiddenMemory(*(StepStatistics.none(h.shape[0], h, h.dtype),) * 2)
    inside, outside = placed_biases(weights, norm.bias_placement)
    gamma_ih, beta_ih = weights.norm_ih or (None, None)
    gamma_hh, beta_hh = weights.norm_hh or (None, None)

    a = torch.nn.functional.linear(x, weights.weight_ih, inside[0])
    shift_ih, shift_hh = total(beta_ih, outside[0]), total(beta_hh, outside[1])
    from_input, steps_ih = eager_norm(a, gamma_ih, shift_ih, memory.ih, norm.k, norm.eps, "layer")

    product, window = _product(weights.weight_hh, inside[1]), window_of_steps(norm.k, memory.hh)

    def normalized(h: Tensor) -> Tensor:
        return affine(normalize_next(product(h), window, norm.eps), gamma_hh, shift_hh)

    h_all = _time_loop(step, from_input, normalized, h)
    return HiddenOutput(h_all, HiddenMemory(steps_ih.last(norm.k - 1), window.memory()))


def _layer_of_sites(
    step: Step,
    x: Tensor,
    weights: HiddenWeights,
    h: Tensor,
    memory: HiddenMemory | None,
    norm: DetachedSettings | AdaSettings | BatchSettings,
) -> HiddenOutput:
    ih, hh = sites_of(norm, memory, h, 2)
    inside, outside = placed_biases(weights, norm.bias_placement)
    gamma_ih, beta_ih = weights.norm_ih or (None, None)
    gamma_hh, beta_hh = weights.norm_hh or (None, None)
    shift_ih, shift_hh = total(beta_ih, outside[0]), total(beta_hh, outside[1])
    a = torch.nn.functional.linear(x, weights.weight_ih, inside[0])
    from_input = torch.stack([affine(ih.step(row), gamma_ih, shift_ih) for row in a.unbind()])
    product = _product(weights.weight_hh, inside[1])
    h_all = _time_loop(step, from_input, lambda h: affine(hh.step(product(h)), gamma_hh, shift_hh), h)
    return HiddenOutput(h_all, HiddenMemory(ih.memory(), hh.memory()))


def _product(weight_hh: Tensor, bias_hh: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda h: torch.nn.functional.linear(h, weight_hh, bias_hh)


def _time_loop(
    step: Step,
    from_input: Float[Tensor, "T B GH"],
    recurrent: Callable[[Float[Tensor, "B H"]], Float[Tensor, "B GH"]],
    h: Float[Tensor, "B H"],
) -> Float[Tensor, "T B H"]:
    # A copy, so that the first step of a chunk gives the same bits as inside the whole sequence; see `eager.time_loop`.
    h = h.clone()
    h_all = []
    for a in from_input.unbind():
        h = step(a, recurrent(h), h)
        h_all.append(h)
    return torch.stack(h_all)
