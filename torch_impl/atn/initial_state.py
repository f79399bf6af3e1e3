"""The states that a call starts from, checked and with a batch axis."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from atn.precision import compute_dtype
from atn.stack import Memories
from atn.state import LayerMemory, LSTMState
from atn.validation import check_floating, check_matches, check_shape

States = tuple[Tensor, Tensor]
"""h and c by layer and direction, (L*D, B, H) each, or (L*D, H) without a batch."""

Shape = tuple[int, int, int]
"""The sizes L*D, B, H."""


def initial_states(hx: Any, data: Tensor, shape: Shape, *, batched: bool) -> States:
    """`hx` as h_0 and c_0 of this shape, like `data` in dtype and device; zeros where it is None."""
    if hx is None:
        zeros = data.new_zeros(shape)
        return zeros, zeros
    if isinstance(hx, LSTMState) or not isinstance(hx, tuple | list) or len(hx) != 2:
        hint = "; an LSTMState goes to stream" if isinstance(hx, LSTMState) else ""
        raise TypeError(f"hx must be a pair (h_0, c_0) of tensors, got {type(hx).__name__}{hint}")
    for name, states in zip(("h_0", "c_0"), hx, strict=True):
        _check_states(name, states, "x", data, shape, batched=batched)
    h_0, c_0 = hx if batched else (states.unsqueeze(1) for states in hx)
    return h_0, c_0


def streamed_states(
    state: Any, data: Float[Tensor, "T B I"], shape: Shape, k: int | None, *, batched: bool
) -> tuple[Tensor, Tensor, Memories]:
    """h, c and windows of an `LSTMState` of this shape; `k` is the window of the norm, None without a norm."""
    if not isinstance(state, LSTMState):
        raise TypeError(f"state must be the LSTMState of the call before, got {type(state).__name__}")
    computed = data.to(compute_dtype([data]))
    for name, states in (("state.h", state.h), ("state.c", state.c)):
        _check_states(name, states, "the computation", computed, shape, batched=batched)
    layers, B, _ = shape
    if len(state.memory) != layers:
        raise ValueError(f"state.memory must have num_layers = {layers} entries, got {len(state.memory)}")
    for layer, memory in enumerate(state.memory):
        _check_memory(f"state.memory[{layer}]", memory, B, k, computed)
    h_0, c_0 = (state.h, state.c) if batched else (state.h.unsqueeze(1), state.c.unsqueeze(1))
    return h_0, c_0, state.memory


def _check_states(name: str, states: Any, like_name: str, like: Tensor, shape: Shape, *, batched: bool) -> None:
    check_floating(name, states)
    check_matches(name, states, like_name, like)
    rows, B, H = shape
    if batched:
        check_shape(name, states, (rows, B, H), "(num_layers * D, B, H)")
    else:
        check_shape(name, states, (rows, H), "(num_layers * D, H)")


def _check_memory(name: str, memory: LayerMemory | None, B: int, k: int | None, computed: Tensor) -> None:
    if k is None:
        if memory is not None:
            raise ValueError(f"{name} must be None for norm='none', got the windows of a norm")
        return
    if not isinstance(memory, LayerMemory):
        raise TypeError(f"{name} must be the LayerMemory of a norm, got {type(memory).__name__}")
    rows = len(memory.ih.mean)
    if rows > k - 1:
        raise ValueError(f"{name} must hold at most k-1 = {k - 1} steps, got {rows}")
    for field, steps in zip(memory._fields, memory, strict=True):
        for statistic, values in zip(steps._fields, steps, strict=True):
            check_shape(f"{name}.{field}.{statistic}", values, (rows, B), "(M, B)")
            check_matches(f"{name}.{field}.{statistic}", values, "the computation", computed)
