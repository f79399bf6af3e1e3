"""The functions of the operators in differentiable operations, for every derivative that the kernels do not compute.

The kernels compute values and one reverse pass. For every other derivative, these functions compute the same values
with the operations of the eager backend, which torch differentiates in every mode: a transform of `torch.func`,
forward mode, a backward pass that is itself differentiated (`create_graph=True`) or takes a batch of gradients
(`is_grads_batched=True`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from atn.backend.custom_ops.signatures import HiddenForward, LSTMForward, NormForward
from atn.backend.eager import eager_layer, eager_norm
from atn.backend.eager_cells import CELLS
from atn.backend.interface import Affine, HiddenWeights, LayerWeights, NormSettings
from atn.precision import full_precision, state_dtype
from atn.state import HiddenMemory, LayerMemory
from atn.window import StepStatistics


def transform_is_active() -> bool:
    """Whether the call runs inside a transform of `torch.func` or a level of forward mode.

    Every plain step pays for this check, so it is two attribute reads, in a form that torch.compile evaluates as it
    traces.
    """
    interpreter = torch._C._functorch.peek_interpreter_stack()  # noqa: SLF001 - torch has no public function for this
    return forward_ad._current_level >= 0 or isinstance(interpreter, torch._C._functorch.CInterpreter)  # noqa: SLF001 - as above


def backward_needs_operations(upstream: Iterable[Tensor | None]) -> bool:
    """Whether this backward pass is recorded, transformed, or run on a batch of upstream gradients."""
    return torch.is_grad_enabled() or transform_is_active() or any(map(_is_batched, upstream))


def _is_batched(tensor: Tensor | None) -> bool:
    """Whether the gradient is a batch from `is_grads_batched=True`, whose mechanism is older than `torch.func`."""
    return tensor is not None and torch._C._functorch.is_legacy_batchedtensor(tensor)  # noqa: SLF001 - as above


def norm_forward(given: NormForward) -> tuple[Tensor, Tensor]:
    """The norm's output (T, B, N), and its statistics by step (2, M + T, B)."""
    dtype = state_dtype(given.a.dtype)
    gamma, beta = (None if tensor is None else tensor.to(dtype) for tensor in (given.gamma, given.beta))
    memory = StepStatistics(*given.memory.unbind())
    y, steps = eager_norm(given.a.to(dtype), gamma, beta, memory, given.k, given.eps, "layer")
    return y.to(given.a.dtype), torch.stack(steps)


def lstm_forward(given: LSTMForward) -> tuple[Tensor, Tensor, Tensor]:
    """The layer's h and c (T, B, H), and the statistics (3, 2, M, B) of at most the last k-1 steps."""
    dtype = state_dtype(given.x.dtype)
    norm = NormSettings(given.k, given.eps, "inside") if given.k > 0 else None
    memory = LayerMemory(*_last_steps(given.memory, given.k)) if norm else None
    x, weights, h_0 = given.x.to(dtype), _weights(given).to(dtype), given.h_0.to(dtype)
    out = eager_layer(x, weights, h_0, given.c_0, memory, norm, every_c=True)
    steps = given.memory if out.memory is None else torch.stack([*map(torch.stack, out.memory)])
    return out.h.to(given.x.dtype), out.c, steps


def hidden_forward(given: HiddenForward) -> tuple[Tensor, Tensor]:
    """The h (T, B, H) of a layer, and the statistics (2, 2, M, B) of at most the last k-1 steps."""
    dtype = state_dtype(given.x.dtype)
    norm = NormSettings(given.k, given.eps, "inside") if given.k > 0 else None
    memory = HiddenMemory(*_last_steps(given.memory, given.k)) if norm else None
    weights = HiddenWeights(
        weight_ih=given.weight_ih,
        weight_hh=given.weight_hh,
        bias_ih=given.bias_ih,
        bias_hh=given.bias_hh,
        norm_ih=_affine(given.gamma_ih, given.beta_ih),
        norm_hh=_affine(given.gamma_hh, given.beta_hh),
    )
    out = CELLS[given.mode](given.x.to(dtype), weights.to(dtype), given.h_0.to(dtype), memory, norm)
    steps = given.memory if out.memory is None else torch.stack([*map(torch.stack, out.memory)])
    return out.h.to(given.x.dtype), steps


def _last_steps(memory: Tensor, k: int) -> Iterator[StepStatistics]:
    """For each norm of the memory (norms, 2, M, B) at most the last k-1 steps, which are all that a window reads."""
    return (StepStatistics(*steps.unbind()).last(k - 1) for steps in memory.unbind())


def _affine(gamma: Tensor | None, beta: Tensor | None) -> Affine | None:
    """Gain and shift of a norm, where there is either."""
    if gamma is None:
        return None if beta is None else Affine(torch.ones_like(beta), beta)
    return Affine(gamma, beta)


def _weights(given: LSTMForward) -> LayerWeights:
    """The arguments as the parameters of a layer; the sum added after the norms becomes the shift of the first norm."""
    norm_ih = norm_hh = norm_c = None
    if given.gamma_ih is not None or given.bias is not None:
        gamma_ih = torch.ones_like(given.weight_ih[:, 0]) if given.gamma_ih is None else given.gamma_ih
        norm_ih = Affine(gamma_ih, given.bias)
    if given.gamma_hh is not None:
        norm_hh = Affine(given.gamma_hh, None)
    if given.gamma_c is not None:
        norm_c = Affine(given.gamma_c, given.beta_c)
    return LayerWeights(
        weight_ih=given.weight_ih,
        weight_hh=given.weight_hh,
        bias_ih=given.bias_ih,
        bias_hh=given.bias_hh,
        norm_ih=norm_ih,
        norm_hh=norm_hh,
        norm_c=norm_c,
    )


def _place(value: Tensor) -> Tensor:
    """The argument as one to differentiate in.

    A view, since the same tensor may be two arguments, and an argument may be computed from another. A leaf that was
    frozen after the forward pass is in no graph: a new leaf stands for it.
    """
    return value.view_as(value) if value.requires_grad else value.detach().requires_grad_()


def gradients(
    forward: Callable[[Sequence[Any]], Sequence[Tensor]],
    given: Sequence[Any],
    upstream: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of the arguments that need one, from the gradients of the outputs, in differentiable operations.

    `forward` is run again on `given`, in full precision as the forward pass was, whatever autocast the backward pass is
    called in; each of `upstream` has the shape of the output of `forward` in its place, or is None. The gradient of an
    argument that needs none is None.
    """
    recorded = torch.is_grad_enabled()
    device = next(value.device for value in given if isinstance(value, Tensor))
    with torch.enable_grad(), full_precision(device):
        places = [_place(value) if need else value for value, need in zip(given, needed, strict=True)]
        outputs = forward(places)
        pairs = [
            (output, gradient)
            for output, gradient in zip(outputs, upstream, strict=True)
            if gradient is not None and output.requires_grad
        ]
        wanted = [place for place, need in zip(places, needed, strict=True) if need]
        found: Iterable[Tensor | None] = [None] * len(wanted)
        if pairs and wanted:
            found = torch.autograd.grad(
                [output for output, _ in pairs],
                wanted,
                [gradient for _, gradient in pairs],
                create_graph=recorded,
                allow_unused=True,
            )
    left = iter(found)
    return tuple(next(left) if need else None for need in needed)
