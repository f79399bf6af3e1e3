"""The state of a stream, which the caller passes from one call to the next; a module never stores it.

The types are plain named tuples of tensors and numbers. `torch.save` and `torch.load` support them, also with torch's
default `weights_only=True`, once this module has been imported.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from atn.carried import Carried, checked_rows, map_memory, restarted, selected, without_batch
from atn.validation import (
    check_floating,
    check_indices,
    check_kind,
    check_lengths,
    check_mask,
    check_shape,
    check_steps,
)
from atn.window import StepStatistics


class NormOrigin(NamedTuple):
    """Settings of the `AssortedTimeNorm` that produced a memory."""

    base: str
    k: int
    num_features: int


class NormMemory(NamedTuple):
    """The state of `AssortedTimeNorm.stream`.

    Attributes
    ----------
    steps
        Mean and variance of the last steps: (M, B) for `base="layer"`, (M, N) for `base="batch"`, M <= k-1.
    position
        Number of steps processed so far.
    lengths
        For each case, the number of valid rows of its window, counted from the end; None if all rows are valid for
        every case.
    origin
        Settings of the module; a later call must be to a module with the same settings.
    """

    steps: StepStatistics
    position: int
    lengths: tuple[int, ...] | None
    origin: NormOrigin

    def detach(self) -> "NormMemory":
        """The same numbers, cut from the graph."""
        return self._mapped(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "NormMemory":
        """Every tensor through `torch.Tensor.to`."""
        return self._mapped(lambda statistic: statistic.to(*args, **kwargs))

    def reset(self, mask: Bool[Tensor, " B"]) -> "NormMemory":
        """Empty the windows of the cases where `mask` is true; the other cases are unchanged.

        Raises
        ------
        TypeError, ValueError
            `mask` is not a tensor of bools (B,), or `base="batch"`, whose windows pool all cases.
        """
        carried = self._carried("reset")
        check_mask("mask", mask, (self.steps.mean.shape[1],), "(B,)")
        return self._with(restarted(carried, mask))

    def select(self, indices: Int[Tensor, " A"]) -> "NormMemory":
        """Memory of the cases `indices`, in that order; an index may occur more than once.

        Raises
        ------
        TypeError, ValueError
            `indices` is not a vector of int32 or int64 from 0 to B-1, or `base="batch"`.
        """
        carried = self._carried("select")
        check_indices("indices", indices, self.steps.mean.shape[1])
        return self._with(selected(carried, indices))

    def _carried(self, method: str) -> Carried:
        """The windows of the cases, which `method` changes."""
        check_kind("memory.origin", self.origin, NormOrigin)
        check_kind("memory.steps", self.steps, StepStatistics)
        if self.origin.base != "layer":
            raise ValueError(
                f"{method} needs base='layer', got {self.origin.base!r}: the windows are of the whole batch"
            )
        for name, statistic in zip(("memory.steps.mean", "memory.steps.var"), self.steps, strict=True):
            check_floating(name, statistic)
            check_steps(name, statistic, "(M, B)", empty="MB")
        check_lengths("memory.lengths", self.lengths, self.steps.mean.shape[1], self.steps.mean.shape[0])
        return Carried((), ((self.steps,),), self.lengths)

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "NormMemory":
        """The memory with `function` applied to every tensor."""
        check_kind("memory.steps", self.steps, StepStatistics)
        for name, statistic in zip(("memory.steps.mean", "memory.steps.var"), self.steps, strict=True):
            check_floating(name, statistic)
        return self._replace(steps=StepStatistics(*map(function, self.steps)))

    def _with(self, carried: Carried) -> "NormMemory":
        ((steps,),) = carried.memory
        return self._replace(steps=steps, lengths=carried.lengths)


class LayerMemory(NamedTuple):
    """The windows of the three norms of an LSTM layer: for each, mean and variance of at most the last k-1 steps."""

    ih: StepStatistics
    hh: StepStatistics
    c: StepStatistics


class HiddenMemory(NamedTuple):
    """The windows of both norms of an RNN or GRU layer: for each, mean and variance of at most the last k-1 steps."""

    ih: StepStatistics
    hh: StepStatistics


class StreamOrigin(NamedTuple):
    """Settings of the module that produced a state; None for a setting that has no effect on the state."""

    norm: str
    k: int | None
    eps: float | None
    bias_placement: str | None
    mode: str = "LSTM"


class LSTMState(NamedTuple):
    """The state of `ATNLSTM.stream`.

    Attributes
    ----------
    h, c
        As h_n and c_n of `torch.nn.LSTM`: (num_layers, B, H), or (num_layers, H) for input without a batch. For the
        half types they stay in float32, so that a sequence run in chunks gives the same result as the whole sequence.
    memory
        The windows of the norms for each layer, pairs (mean, variance) of (M, B) with M <= k-1; None for a
        norm without windows: "prop", "wn" and "none".
    lengths
        For each case, the number of valid rows of its windows, counted from the end; None if all rows are valid for
        every case.
    origin
        Settings of the module; a later call must be to a module with the same settings.
    """

    h: Float[Tensor, "*L H"]
    c: Float[Tensor, "*L H"]
    memory: tuple[LayerMemory | None, ...]
    lengths: tuple[int, ...] | None
    origin: StreamOrigin

    def detach(self) -> "LSTMState":
        """The same numbers, cut from the graph: truncates backpropagation through time."""
        return _mapped(self, Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "LSTMState":
        """Every tensor through `torch.Tensor.to`."""
        return _mapped(self, lambda tensor: tensor.to(*args, **kwargs))

    def reset(self, mask: Bool[Tensor, " B"]) -> "LSTMState":
        """Start the cases anew where `mask` is true: states are 0 and windows empty; the others stay.

        `mask` has shape () for a state without a batch. Cases whose windows have different lengths are run apart, so
        the next calls to `stream` cost up to min(B, k) runs of smaller batches, until all windows are full.

        Raises
        ------
        TypeError, ValueError
            `mask` is no tensor of bools (B,).
        """
        return _reset(self, mask)

    def select(self, indices: Int[Tensor, " A"]) -> "LSTMState":
        """State of the cases `indices`, in that order; a case may come more than once, as in beam search.

        Raises
        ------
        TypeError, ValueError
            `indices` is no vector of int32 or int64 from 0 to B-1, or the state has no batch.
        """
        return _select(self, indices)


class HiddenState(NamedTuple):
    """The state of `ATNRNN.stream` and `ATNGRU.stream`, whose only hidden state is h.

    Attributes
    ----------
    h
        As h_n of `torch.nn.RNN` and `torch.nn.GRU`: (num_layers, B, H), or (num_layers, H) for input without a batch.
        For the half types it stays in float32, so that a sequence run in chunks gives the same result as the whole
        sequence.
    memory
        The windows of the norms for each layer, pairs (mean, variance) of (M, B) with M <= k-1; None for a
        norm without windows: "prop", "wn" and "none".
    lengths
        For each case, the number of valid rows of its windows, counted from the end; None if all rows are valid for
        every case.
    origin
        Settings of the module; a later call must be to a module with the same settings.
    """

    h: Float[Tensor, "*L H"]
    memory: tuple[HiddenMemory | None, ...]
    lengths: tuple[int, ...] | None
    origin: StreamOrigin

    def detach(self) -> "HiddenState":
        """The same numbers, cut from the graph: truncates backpropagation through time."""
        return _mapped(self, Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "HiddenState":
        """Every tensor through `torch.Tensor.to`."""
        return _mapped(self, lambda tensor: tensor.to(*args, **kwargs))

    def reset(self, mask: Bool[Tensor, " B"]) -> "HiddenState":
        """Start the cases anew where `mask` is true: states are 0 and windows empty; the others stay.

        `mask` has shape () for a state without a batch. Cases whose windows have different lengths are run apart, so
        the next calls to `stream` cost up to min(B, k) runs of smaller batches, until all windows are full.

        Raises
        ------
        TypeError, ValueError
            `mask` is no tensor of bools (B,).
        """
        return _reset(self, mask)

    def select(self, indices: Int[Tensor, " A"]) -> "HiddenState":
        """State of the cases `indices`, in that order; a case may come more than once, as in beam search.

        Raises
        ------
        TypeError, ValueError
            `indices` is no vector of int32 or int64 from 0 to B-1, or the state has no batch.
        """
        return _select(self, indices)


S = TypeVar("S", LSTMState, HiddenState)


def _states(state: LSTMState | HiddenState) -> tuple[Tensor, ...]:
    """The hidden states, h first; they are the fields in front of `memory`."""
    fields: tuple[Any, ...] = state
    states = fields[: state._fields.index("memory")]
    for name, tensor in zip(state._fields, states, strict=False):  # the states are the first fields
        check_floating(f"state.{name}", tensor)
        check_steps(f"state.{name}", tensor, "(L, H)" if tensor.ndim == 2 else "(L, B, H)", empty="B")
    if not isinstance(state.memory, tuple):
        raise TypeError(f"state.memory must be a tuple with an entry for each layer, got {type(state.memory).__name__}")
    kind = LayerMemory if isinstance(state, LSTMState) else HiddenMemory
    for index, layer in enumerate(state.memory):
        if layer is not None:
            _check_windows(f"state.memory[{index}]", layer, kind)
    return states


def _check_windows(name: str, layer: object, kind: type[LayerMemory | HiddenMemory]) -> None:
    """Check that the windows of a layer are those of a cell's norms, mean and variance of each."""
    check_kind(name, layer, kind)
    norms: tuple[Any, ...] = layer  # type: ignore[assignment]  # as checked
    for norm, steps in zip(kind._fields, norms, strict=True):
        check_kind(f"{name}.{norm}", steps, StepStatistics)
        for statistic, values in zip(steps._fields, steps, strict=True):
            check_floating(f"{name}.{norm}.{statistic}", values)


def _with(state: S, states: tuple[Tensor, ...], memory: tuple[Any, ...], lengths: tuple[int, ...] | None) -> S:
    changes: dict[str, Any] = dict(zip(state._fields, states, strict=False))  # the states are the first fields
    return state._replace(**changes, memory=memory, lengths=lengths)


def _carried(state: LSTMState | HiddenState) -> Carried:
    states = tuple(tensor if tensor.ndim == 3 else tensor.unsqueeze(1) for tensor in _states(state))
    for name, tensor in zip(state._fields, states, strict=False):  # the states are the first fields
        check_shape(f"state.{name}", tensor, tuple(states[0].shape), "as state.h")
    B = states[0].shape[1]
    for index, layer in enumerate(state.memory):
        if layer is not None:
            _check_rows(f"state.memory[{index}]", layer, B)
    check_lengths("state.lengths", state.lengths, B, checked_rows(state.memory))
    return Carried(states, state.memory, state.lengths)


def _check_rows(name: str, layer: LayerMemory | HiddenMemory, B: int) -> None:
    """Check that the windows of a layer are all (M, B)."""
    for norm, steps in zip(layer._fields, layer, strict=True):
        for statistic, values in zip(steps._fields, steps, strict=True):
            check_steps(f"{name}.{norm}.{statistic}", values, "(M, B)", empty="MB")
            check_shape(f"{name}.{norm}.{statistic}", values, (len(layer[0].mean), B), "(M, B)")


def _from_carried(state: S, carried: Carried) -> S:
    states = without_batch(carried.states, batched=state.h.ndim == 3)
    return _with(state, states, carried.memory, carried.lengths)


def _mapped(state: S, function: Callable[[Tensor], Tensor]) -> S:
    """The state with `function` applied to every tensor."""
    states = tuple(function(tensor) for tensor in _states(state))
    return _with(state, states, map_memory(state.memory, function), state.lengths)


def _reset(state: S, mask: Bool[Tensor, " B"]) -> S:
    carried = _carried(state)
    check_mask("mask", mask, tuple(state.h.shape[1:-1]), "(B,)")
    return _from_carried(state, restarted(carried, mask.reshape(-1)))


def _select(state: S, indices: Int[Tensor, " A"]) -> S:
    carried = _carried(state)
    if state.h.ndim == 2:
        raise ValueError("select needs a state with a batch, got one of input without a batch")
    check_indices("indices", indices, state.h.shape[1])
    return _from_carried(state, selected(carried, indices))


torch.serialization.add_safe_globals(
    [StepStatistics, NormOrigin, NormMemory, LayerMemory, HiddenMemory, StreamOrigin, LSTMState, HiddenState]
)
