"""The gradients of the two products of a layer, once over the whole sequence, from those of the preactivations."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from atn.backend.custom_ops.signatures import HiddenForward, LSTMBackward
from atn.precision import full_precision

FEW_ROWS = 256
"""Rows up to which BLAS computes the gradient of a weight faster as it is than as a transposed product."""


class ProductGradients(NamedTuple):
    """Gradients of x and of the parameters of the two products; None where nobody asked or there is no parameter."""

    x: Tensor | None
    weight_ih: Tensor | None
    weight_hh: Tensor | None
    bias_ih: Tensor | None
    bias_hh: Tensor | None


def product_gradients(
    inputs: LSTMBackward | HiddenForward, h: Tensor, da_ih: Tensor, da_hh: Tensor, needed: tuple[bool, ...]
) -> ProductGradients:
    """Gradients of the two products of a layer.

    Parameters
    ----------
    inputs
        Arguments of the forward pass, or those of the backward pass, which has the same.
    h
        Output of the forward pass (T, B, H).
    da_ih, da_hh
        Gradients of the preactivations W_ih x + b_ih and W_hh h + b_hh, (T, B, G*H).
    needed
        Whether a gradient is asked for, for each of `inputs`.
    """
    x, rows_ih, rows_hh = inputs.x, da_ih.flatten(0, 1), da_hh.flatten(0, 1)
    needs_x, needs_ih, needs_hh, *_ = needed
    # The backward pass may run under the caller's autocast, which would round these products.
    with full_precision(x.device):
        return ProductGradients(
            x=input_gradient(rows_ih, inputs.weight_ih).view_as(x) if needs_x else None,
            weight_ih=weight_gradient(rows_ih, x.flatten(0, 1)) if needs_ih else None,
            weight_hh=recurrent_weight_gradient(da_hh, inputs.h_0, h) if needs_hh else None,
            bias_ih=None if inputs.bias_ih is None else rows_ih.sum(0),
            bias_hh=None if inputs.bias_hh is None else rows_hh.sum(0),
        )


def lstm_product_gradients(
    given: LSTMBackward, da_ih: Tensor, da_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Those of an LSTM, as `lstm_backward` returns them: empty, (0,), in the place of None.

    Parameters
    ----------
    given
        Arguments of `lstm_backward`.
    da_ih, da_hh
        As in `product_gradients`; without a norm they are the same.
    """
    needed = (given.needs_x, given.needs_weights, given.needs_weights)
    gradients = product_gradients(given, given.h, da_ih, da_hh, needed)
    x, weight_ih, weight_hh, bias_ih, bias_hh = (
        da_hh.new_empty(0) if gradient is None else gradient for gradient in gradients
    )
    return x, weight_ih, weight_hh, bias_ih, bias_hh


def input_gradient(rows: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the input (R, I) of a product with weight (G, I), from the gradient of its output, `rows` (R, G).

    For few columns I, as for one number per step, BLAS takes up to 3 times as long unless the columns of the weight are
    contiguous; for a single row it takes longer to lay them out so.
    """
    return rows @ weight if rows.shape[0] == 1 else functional.linear(rows, weight.t().contiguous())


def weight_gradient(rows: Tensor, x: Tensor) -> Tensor:
    """Gradient of the weight (G, I), from the gradient of the output, `rows` (R, G), and the input x (R, I).

    Of many rows it is computed as a transposed product, which in BLAS is up to 9 times as fast for few columns I.
    """
    return rows.t() @ x if rows.shape[0] < FEW_ROWS else (x.t() @ rows).t().contiguous()


def recurrent_weight_gradient(da_hh: Tensor, h_0: Tensor, h: Tensor) -> Tensor:
    """Gradient of W_hh (4H, H): one product over all steps after the first, and one product for the first step."""
    first = weight_gradient(da_hh[0], h_0)
    return first if da_hh.shape[0] == 1 else first + weight_gradient(da_hh[1:].flatten(0, 1), h[:-1].flatten(0, 1))
