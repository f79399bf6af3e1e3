"""What a stream carries from one call to the next: passed in and out, never kept on a module.

The types are plain named tuples of tensors and numbers. `torch.save` and `torch.load` take them as they are, with
torch's default `weights_only=True` included, once this module has been imported.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from atn.carried import Carried, map_memory, restarted, selected, without_batch
from atn.validation import check_indices, check_mask
from atn.window import StepStatistics


class NormOrigin(NamedTuple):
    """Settings of the `AssortedTimeNorm` that a memory is of."""

    base: str
    k: int


class NormMemory(NamedTuple):
    """What `AssortedTimeNorm.stream` carries.

    Attributes
    ----------
    steps
        Mean and variance of the last steps: (M, B) for `base="layer"`, (M, N) for `base="batch"`, M <= k-1.
    position
        Number of steps seen.
    lengths
        Number of rows, from the end, that each case's window has; None where every case has all.
    origin
        Settings of the module, which a later call must share.
    """

    steps: StepStatistics
    position: int
    lengths: tuple[int, ...] | None
    origin: NormOrigin

    def detach(self) -> "NormMemory":
        """The same numbers, cut from the graph."""
        return self._replace(steps=StepStatistics(self.steps.mean.detach(), self.steps.var.detach()))

    def reset(self, mask: Bool[Tensor, " B"]) -> "NormMemory":
        """Empty the windows of the cases where `mask` is true; the others stay as they are.

        Raises
        ------
        TypeError, ValueError
            `mask` is no tensor of bools (B,), or `base="batch"`, whose windows belong to no single case.
        """
        self._needs_cases("reset")
        check_mask("mask", mask, (self.steps.mean.shape[1],), "(B,)")
        return self._with(restarted(self._carried(), mask))

    def select(self, indices: Int[Tensor, " A"]) -> "NormMemory":
        """Memory of the cases `indices`, in that order; a case may come more than once.

        Raises
        ------
        TypeError, ValueError
            `indices` is no vector of int32 or int64 from 0 to B-1, or `base="batch"`.
        """
        self._needs_cases("select")
        check_indices("indices", indices, self.steps.mean.shape[1])
        return self._with(selected(self._carried(), indices))

    def _carried(self) -> Carried:
        return Carried((), ((self.steps,),), self.lengths)

    def _with(self, carried: Carried) -> "NormMemory":
        ((steps,),) = carried.memory
        return self._replace(steps=steps, lengths=carried.lengths)

    def _needs_cases(self, method: str) -> None:
        if self.origin.base != "layer":
            raise ValueError(
                f"{method} needs base='layer', got {self.origin.base!r}: the windows are of the whole batch"
            )


class LayerMemory(NamedTuple):
    """Mean and variance of the last steps, at most k-1, in front of each of the three norms of an LSTM layer."""

    ih: StepStatistics
    hh: StepStatistics
    c: StepStatistics


class StreamOrigin(NamedTuple):
    """Settings of the module that a state is of; None where a setting has no effect on it."""

    norm: str
    k: int | None
    eps: float | None
    bias_placement: str | None


class LSTMState(NamedTuple):
    """What `ATNLSTM.stream` carries.

    Attributes
    ----------
    h, c
        As h_n and c_n of `torch.nn.LSTM`: (num_layers, B, H), or (num_layers, H) for input without a batch. For the
        half types they stay in float32, so that a stream equals the whole.
    memory
        One entry a layer: the windows of its norms, pairs (M, B) of numbers, M <= k-1; None for `norm="none"`.
    lengths
        Number of rows of the memory, from the end, that each case's windows have; None where every case has all.
    origin
        Settings of the module, which a later call must share.
    """

    h: Float[Tensor, "*L H"]
    c: Float[Tensor, "*L H"]
    memory: tuple[LayerMemory | None, ...]
    lengths: tuple[int, ...] | None
    origin: StreamOrigin

    def detach(self) -> "LSTMState":
        """The same numbers, cut from the graph: truncates backpropagation through time."""
        return self._map(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "LSTMState":
        """Every tensor through `torch.Tensor.to`."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def reset(self, mask: Bool[Tensor, " B"]) -> "LSTMState":
        """Start the cases anew where `mask` is true: h and c are 0 and the windows empty; the others stay.

        `mask` has shape () for a state without a batch. Cases whose windows have different lengths are run apart, so
        the next calls to `stream` cost up to min(B, k) runs of smaller batches, until all windows are full.

        Raises
        ------
        TypeError, ValueError
            `mask` is no tensor of bools (B,).
        """
        check_mask("mask", mask, tuple(self.h.shape[1:-1]), "(B,)")
        return self._with(restarted(self._carried(), mask.reshape(-1)))

    def select(self, indices: Int[Tensor, " A"]) -> "LSTMState":
        """State of the cases `indices`, in that order; a case may come more than once, as in beam search.

        Raises
        ------
        TypeError, ValueError
            `indices` is no vector of int32 or int64 from 0 to B-1, or the state has no batch.
        """
        if self.h.ndim == 2:
            raise ValueError("select needs a state with a batch, got one of input without a batch")
        check_indices("indices", indices, self.h.shape[1])
        return self._with(selected(self._carried(), indices))

    def _carried(self) -> Carried:
        h, c = (states if states.ndim == 3 else states.unsqueeze(1) for states in (self.h, self.c))
        return Carried((h, c), self.memory, self.lengths)

    def _with(self, carried: Carried) -> "LSTMState":
        h, c = without_batch(carried.states, batched=self.h.ndim == 3)
        return LSTMState(h, c, carried.memory, carried.lengths, self.origin)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "LSTMState":
        return self._replace(h=function(self.h), c=function(self.c), memory=map_memory(self.memory, function))


torch.serialization.add_safe_globals([StepStatistics, NormOrigin, NormMemory, LayerMemory, StreamOrigin, LSTMState])
