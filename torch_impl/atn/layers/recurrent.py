"""How every recurrent module of the library runs: layouts, packed input, whole sequences, streams."""

from abc import abstractmethod
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from atn.backend.cell import Cell
from atn.backend.registry import Backend, backend_for
from atn.carried import Carried, map_memory, run_pieces, without_batch
from atn.layers.initial_state import Chunk, Shape, StateKind, check_reset, initial_states, streamed_states
from atn.layers.packing import Steps, StepsPacked, StepsTogether, cases_of
from atn.layers.parameters import LayerParameters
from atn.layers.stack import run_stack
from atn.layers.valid_steps import CellOfValidSteps
from atn.precision import autocast_is_on, compute_dtype, data_dtype, full_precision, state_dtype
from atn.validation import check_floating, check_steps


class RecurrentLayers(LayerParameters):
    """Layers of one cell; the arguments, shapes and errors are documented by the modules themselves.

    A cell is a subclass with the attributes of `LayerParameters`, a `_cell`, and a documented `forward` and `stream`.
    """

    @abstractmethod
    def _cell(self, backend: Backend, *, every_state: bool) -> Cell:
        """The cell on a backend.

        Where `every_state` is false, it may return the states beside h after the last step alone.
        """

    @property
    def _is_bounded(self) -> bool:
        """Whether h stays finite however long a sequence is.

        An RNN with relu may grow without a norm; and with eps = 0, a norm divides 0 by 0 where all its units are off.
        """
        settings = self._norm.settings()
        return self.mode != "RNN_RELU" or (settings is not None and settings.eps > 0)

    def _state(self, carried: Carried) -> tuple[Any, ...]:
        """What a stream carries, from parts without a batch where the input had none."""
        make: Any = self.state_type
        state: tuple[Any, ...] = make(*carried.states, carried.memory, carried.lengths, self.stream_origin)
        return state

    def _kind(self) -> StateKind:
        return StateKind(self.state_names, self.state_type, self.memory_type, self.stream_origin)

    def _state_shape(self, B: int) -> Shape:
        return self.num_layers * self._directions, B, self.hidden_size

    def _start(self, hx: Any, data: Tensor, B: int, *, batched: bool) -> Carried:
        """States `hx` or zeros, and no window yet."""
        states = initial_states(hx, data, self._state_shape(B), self._kind(), batched=batched)
        return Carried(states, (None,) * (self.num_layers * self._directions), None)

    def _forward(self, x: Tensor | PackedSequence, hx: Any) -> tuple[Tensor | PackedSequence, Any]:
        """Run whole sequences; or the next chunk of a stream, which comes this way so that hooks run."""
        if isinstance(hx, Chunk):
            return (self._direct_inference and self._direct_inference.stream(self, x, hx)) or self._next(x, hx)
        if self._direct_inference and (inferred := self._direct_inference.forward(self, x, hx)):
            return inferred
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, hx)
        data, batched = self._time_major(x)
        out, carried = self._run(data, self._start(hx, data, data.shape[1], batched=batched), StepsTogether())
        states = tuple(state.to(x.dtype) for state in without_batch(carried.states, batched=batched))
        return self._laid_out(out, batched=batched).to(x.dtype), states if len(states) > 1 else states[0]

    def _forward_packed(self, x: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        if self._norm.couples_cases:
            raise ValueError(
                f"input must be no PackedSequence for {self._norm.eager_only}, whose statistics are of all cases of a "
                "step: cases of other lengths would leave them, got PackedSequence"
            )
        check_floating("input.data", x.data)
        check_steps("input.data", x.data, "(S, I)", self.input_size)
        B = cases_of(x)
        steps = StepsPacked(x, B)
        start = self._start(hx, x.data, B, batched=True)
        if x.sorted_indices is not None:
            start = start._replace(states=tuple(state[:, x.sorted_indices] for state in start.states))
        out, carried = self._run(x.data, start, steps)
        states = tuple(state.to(x.data.dtype) for state in carried.states)
        if x.unsorted_indices is not None:
            states = tuple(state[:, x.unsorted_indices] for state in states)
        packed = PackedSequence(out.to(x.data.dtype), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        return packed, states if len(states) > 1 else states[0]

    def _next(self, x: Any, chunk: Chunk) -> tuple[Tensor, tuple[Any, ...]]:
        if self._norm.couples_cases:
            raise ValueError(
                f"stream must not be called for {self._norm.eager_only}, whose population statistics are by time step "
                "from the first on: no state of a case holds them"
            )
        if self.bidirectional:
            raise ValueError("stream needs bidirectional=False, got True: the reverse direction starts from the end")
        data, batched = self._time_major(x)
        T, B, _ = data.shape
        if chunk.state is None:
            carried = self._start(None, data, B, batched=batched)
        else:
            carried = streamed_states(
                chunk.state, data, self._state_shape(B), self._kind(), self._norm.window, batched=batched
            )
        restarts = check_reset(chunk.reset, T, B, batched=batched, batch_first=self.batch_first)
        out, carried = run_pieces(partial(self._run, steps=StepsTogether()), data, carried, restarts)
        # A backend that takes 16-bit data as it is gives h in 16 bits; a state has one dtype.
        states = tuple(state.to(state_dtype(out.dtype)) for state in carried.states)
        # The windows are the last rows of what was computed: copies hold no more than they show.
        memory = map_memory(carried.memory, torch.clone)
        after = Carried(without_batch(states, batched=batched), memory, carried.lengths)
        return self._laid_out(out, batched=batched).to(x.dtype), self._state(after)

    def _run(self, data: Tensor, carried: Carried, steps: Steps) -> tuple[Tensor, Carried]:
        """Run all layers in the dtype that is computed in, which is the dtype of the result."""
        layers, parameters = self._checked_layers(data)
        # Kernels need not know a batch without cases, whose gradients are zeros.
        backend = backend_for(
            "eager" if data.numel() == 0 else self.backend, data.device, self.mode, self._norm.eager_only
        )
        tensors = [data, *parameters]
        dtype = data_dtype(tensors, data.device) if backend.half else compute_dtype(tensors)
        self._norm.check_range_in(dtype)  # again: the module may have been cast
        output, *others = carried.states
        states = (output.to(dtype), *(state.to(state_dtype(dtype)) for state in others))
        # Under autocast, a chunk of another dtype may be computed in another one than the chunk before.
        memory = carried.memory
        if autocast_is_on(data.device):
            memory = map_memory(memory, partial(Tensor.to, dtype=state_dtype(dtype)))
        D = self._directions
        cell = self._cell(backend, every_state=steps.ends_differ)
        if isinstance(steps, StepsPacked) and not self._is_bounded:
            cell = CellOfValidSteps(cell, steps.batch_sizes)
        with full_precision(data.device):
            folded = [self._norm.folded(layer) for layer in layers]
            as_they_are = all(result is layer for result, layer in zip(folded, layers, strict=True))
            if not as_they_are or any(parameter.dtype != dtype for parameter in parameters):
                folded = [layer._replace(weights=layer.weights.to(dtype)) for layer in folded]
            return run_stack(
                data.to(dtype),
                steps,
                [folded[first : first + D] for first in range(0, len(folded), D)],
                carried._replace(states=states, memory=memory),
                norm=self._norm,
                cell=cell,
                dropout=self.dropout if self.training else 0.0,
            )

    def _time_major(self, x: Any) -> tuple[Float[Tensor, "T B I"], bool]:
        """Checked input as (T, B, I), and whether it had a batch."""
        check_floating("input", x)
        batched = x.ndim != 2
        letters = ("(B, T, I)" if self.batch_first else "(T, B, I)") if batched else "(T, I)"
        check_steps("input", x, letters, self.input_size, empty="B")
        if not batched:
            return x.unsqueeze(1), batched
        return x.transpose(0, 1) if self.batch_first else x, batched

    def _laid_out(self, output: Float[Tensor, "T B F"], *, batched: bool) -> Tensor:
        """Output in the layout of the input."""
        if not batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output
