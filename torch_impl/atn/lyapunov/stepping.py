"""The Jacobians of the steps of every layer, from the backward pass of whichever backend computes the layer.

A sequence is run once, step by step, and the state before each step is kept. A step is then run again for many copies
of its state at once; copy d is asked for the coordinate d of the next state, whose gradient is row d of the Jacobian.
That is exact, since no statistic of these norms couples the cases of a batch.

With layers on top of each other the Jacobian of the whole is block lower triangular: a change of one layer's state
reaches no layer below it. The exponents are those of the blocks on its diagonal, which are computed here, each of a
layer that is driven by those below.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from atn.layers.initial_state import Chunk
from atn.layers.recurrent import RecurrentLayers
from atn.lyapunov.state_vector import dimension, joined, kept_pairs, pack, unpack

LARGEST = 2**21
"""Numbers in the largest tensors of one call: what bounds the memory, for any number of steps, cases and units."""


@contextmanager
def _own_attributes(model: nn.Module) -> Iterator[None]:
    """Give back the tensors that hooks set, as those of pruning and weight normalization do, when the call is over."""
    kept = [
        (part, {name: value for name, value in vars(part).items() if isinstance(value, Tensor)})
        for part in model.modules()
    ]
    try:
        yield
    finally:
        for part, values in kept:
            vars(part).update(values)


class Stepper:
    """A recurrent module in float64, one step after the other.

    Parameters
    ----------
    model
        Module; its parameters and buffers are read once.
    minimal
        Whether the coordinates are the minimal ones.
    """

    def __init__(self, model: RecurrentLayers, *, minimal: bool) -> None:
        self._model = model
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._tensors = {
            name: tensor.detach().clone().double() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
        self._kept = kept_pairs(model.k if model.norm == "atn" and model.k else 1, minimal=minimal)

    def run(self, x: Float[Tensor, "T B I"], state: Any) -> Any:
        """State after the steps `x`, from `state` or, if it is None, from the start."""
        data = x.transpose(0, 1) if self._model.batch_first else x
        with _own_attributes(self._model):
            _, after = functional_call(self._model, self._tensors, (data, Chunk(state, None)))
        return after

    def jacobians(self, x: Float[Tensor, "T B I"], state: Any) -> Iterator[tuple[Float[Tensor, "t B D D"], ...]]:
        """Jacobians of successive steps by layer, a few steps at a time; `state` is the state before the first."""
        B = x.shape[1]
        D = dimension(state, self._kept)
        cases = max(1, LARGEST // (self._model.gates * self._model.hidden_size + D))
        steps = max(1, cases // (B * D))
        for chunk in torch.split(x, steps):
            before = []
            for step in torch.split(chunk, 1):
                before.append(state)
                with torch.no_grad():
                    state = self.run(step, state)
            together = joined(before)
            yield tuple(
                self._rows(chunk.flatten(0, 1), together, layer, cases).reshape(len(chunk), B, D, D)
                for layer in range(self._model.num_layers)
            )

    def _rows(self, x: Float[Tensor, "N I"], state: Any, layer: int, cases: int) -> Float[Tensor, "N*D D"]:
        """Every row of the Jacobians of N states, each at its own input."""
        D = dimension(state, self._kept)
        places = torch.arange(len(x) * D, device=x.device)
        return torch.cat([self._some_rows(x, state, layer, some) for some in torch.split(places, cases)])

    def _some_rows(
        self, x: Float[Tensor, "N I"], state: Any, layer: int, places: Int[Tensor, " P"]
    ) -> Float[Tensor, "P D"]:
        D = dimension(state, self._kept)
        which, row = places // D, places % D
        copies = state.select(which)
        vector = pack(copies, layer, self._kept).requires_grad_()
        after = self.run(x[which].unsqueeze(0), unpack(vector, copies, layer, self._kept))
        asked = pack(after, layer, self._kept).gather(1, row.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(asked, vector)
        return gradient
