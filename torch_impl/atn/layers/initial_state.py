"""Checks of the initial states of a call, which are returned with a batch axis."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from atn.carried import Carried, checked_rows
from atn.precision import compute_dtype
from atn.state import StreamOrigin
from atn.validation import check_floating, check_kind, check_lengths, check_mask, check_matches, check_shape
from atn.window import StepStatistics

Shape = tuple[int, int, int]
"""The sizes L*D, B, H."""


class Chunk(NamedTuple):
    """A call of `stream` on its way through `__call__`, as `hx` of a layer: continue from `state`, restart by `reset`.

    None is the start, and restarts nothing.
    """

    state: Any
    reset: Any


def check_chunk(chunk: object, kept: str) -> None:
    """Check what comes beside a whole sequence to a norm: nothing, or a `Chunk`; `kept` names a stream's memory."""
    if chunk is not None and not isinstance(chunk, Chunk):
        hint = f"; the {kept} of a stream goes to stream" if type(chunk).__name__ == kept else ""
        raise TypeError(f"forward takes one tensor, got {type(chunk).__name__} beside it{hint}")


class StateKind(NamedTuple):
    """The states of a module: the names of the tensors, and what its stream's state must be."""

    names: tuple[str, ...]
    state_type: type[tuple[Any, ...]]
    memory_type: type[tuple[Any, ...]]
    """Of the windows of a layer."""
    origin: StreamOrigin


def initial_states(hx: Any, data: Tensor, shape: Shape, kind: StateKind, *, batched: bool) -> tuple[Tensor, ...]:
    """`hx` as states of this shape, with the dtype and device of `data`; zeros if `hx` is None."""
    if hx is None:
        return (data.new_zeros(shape),) * len(kind.names)
    names = [f"{name}_0" for name in kind.names]
    states: Any = hx if len(names) > 1 else [hx]
    if isinstance(hx, kind.state_type) or not isinstance(states, tuple | list) or len(states) != len(names):
        hint = ", which goes to stream" if isinstance(hx, kind.state_type) else ""
        must = f"a pair ({', '.join(names)}) of tensors" if len(names) > 1 else f"a tensor {names[0]}"
        raise TypeError(f"hx must be {must}, got {type(hx).__name__}{hint}")
    for name, state in zip(names, states, strict=True):
        _check_states(name, state, "input", data, shape, batched=batched)
    return tuple(state if batched else state.unsqueeze(1) for state in states)


def streamed_states(
    state: Any, data: Float[Tensor, "T B I"], shape: Shape, kind: StateKind, window: int | None, *, batched: bool
) -> Carried:
    """Hidden states and windows of the state of a stream; `window` is the norm's k, None without a norm."""
    if not isinstance(state, kind.state_type):
        raise TypeError(f"state must be the {kind.state_type.__name__} of the call before, got {type(state).__name__}")
    fields: Any = state
    check_origin(fields.origin, kind.origin)
    computed = data.to(compute_dtype([data]))
    states = tuple(getattr(state, name) for name in kind.names)
    for name, tensor in zip(kind.names, states, strict=True):
        _check_states(f"state.{name}", tensor, "the computation", computed, shape, batched=batched)
    layers, B, _ = shape
    if not isinstance(fields.memory, tuple):
        raise TypeError(
            f"state.memory must be a tuple with an entry for each layer, got {type(fields.memory).__name__}"
        )
    if len(fields.memory) != layers:
        raise ValueError(f"state.memory must have num_layers = {layers} entries, got {len(fields.memory)}")
    for layer, memory in enumerate(fields.memory):
        _check_memory(f"state.memory[{layer}]", memory, kind, B, window, computed)
    rows = checked_rows(fields.memory)
    check_lengths("state.lengths", fields.lengths, B, rows)
    return Carried(
        tuple(tensor if batched else tensor.unsqueeze(1) for tensor in states), fields.memory, fields.lengths
    )


def check_origin(origin: tuple[Any, ...], expected: tuple[Any, ...], name: str = "state") -> None:
    """Check that a state or memory was produced by a module with the settings `expected`, a named tuple."""
    if type(origin) is not type(expected):
        raise TypeError(f"{name}.origin must be a {type(expected).__name__}, got {type(origin).__name__}")
    fields: Any = expected
    for field, was, must in zip(fields._fields, origin, expected, strict=True):
        if was != must:
            raise ValueError(f"{name} must be of a module with {field}={must!r}, got one of {field}={was!r}")


def check_reset(reset: Any, T: int, B: int, *, batched: bool, batch_first: bool) -> Bool[Tensor, "T B"] | None:
    """The checked mask of the steps before which cases restart, with the time axis first; None for no restart."""
    if reset is None:
        return None
    if not batched:
        check_mask("reset", reset, (T,), "(T,)")
        column: Tensor = reset.unsqueeze(1)
        return column
    shape, letters = ((B, T), "(B, T)") if batch_first else ((T, B), "(T, B)")
    check_mask("reset", reset, shape, letters)
    time_major: Tensor = reset.transpose(0, 1) if batch_first else reset
    return time_major


def _check_states(name: str, states: Any, like_name: str, like: Tensor, shape: Shape, *, batched: bool) -> None:
    check_floating(name, states)
    check_matches(name, states, like_name, like)
    rows, B, H = shape
    if batched:
        check_shape(name, states, (rows, B, H), "(num_layers * D, B, H)")
    else:
        check_shape(name, states, (rows, H), "(num_layers * D, H)")


def _check_memory(name: str, memory: Any, kind: StateKind, B: int, k: int | None, computed: Tensor) -> None:
    if k is None:
        if memory is not None:
            raise ValueError(f"{name} must be None for norm={kind.origin.norm!r}, got {type(memory).__name__}")
        return
    if not isinstance(memory, kind.memory_type):
        must = kind.memory_type.__name__
        raise TypeError(f"{name} must be the windows of a norm, a {must}, got {type(memory).__name__}")
    fields: Any = memory
    for field, steps in zip(fields._fields, memory, strict=True):
        check_kind(f"{name}.{field}", steps, StepStatistics)
        for statistic, values in zip(steps._fields, steps, strict=True):
            check_floating(f"{name}.{field}.{statistic}", values)
    mean: Tensor = fields[0].mean
    rows = len(mean) if mean.ndim else 0
    if rows > k - 1:
        raise ValueError(f"{name} must hold at most k-1 = {k - 1} steps, got {rows}")
    for field, steps in zip(fields._fields, memory, strict=True):
        for statistic, values in zip(steps._fields, steps, strict=True):
            check_shape(f"{name}.{field}.{statistic}", values, (rows, B), "(M, B)")
            check_matches(f"{name}.{field}.{statistic}", values, "the computation", computed)
