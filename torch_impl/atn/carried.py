"""The state of a stream for any cell: hidden states and windows by case, and how cases are restarted and selected.

Once some cases have restarted, the windows of a batch may have different lengths. A backend takes one length for the
whole batch, so cases with windows of equal length are run together and the results are put back in order.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from atn.window import StepStatistics


class Carried(NamedTuple):
    """States, windows and their lengths.

    Attributes
    ----------
    states
        Every state of the cell, (L, B, H) each; (L, H) where a stream without a batch gives them out.
    memory
        For each layer and direction, a named tuple of the windows (M, B) of its norms, or None without a norm.
    lengths
        For each case, the number of valid rows of its windows, counted from the end; None if all M rows are valid for
        every case.
    """

    states: tuple[Float[Tensor, "L *B H"], ...]
    memory: tuple[Any, ...]  # Any: the named tuple is the cell's own type
    lengths: tuple[int, ...] | None


Run = Callable[[Tensor, Carried], tuple[Tensor, Carried]]
"""Runs a chunk (T, B, F) from a state whose windows have one length; returns the output and the next state."""


def without_batch(states: Sequence[Float[Tensor, "L B H"]], *, batched: bool) -> tuple[Tensor, ...]:
    """The states, without their batch axis if the input had none."""
    return tuple(state if batched else state.squeeze(1) for state in states)


def map_memory(memory: tuple[Any, ...], function: Callable[[Tensor], Tensor]) -> tuple[Any, ...]:
    """Apply `function` to every tensor of the windows."""
    return tuple(layer and _like(layer, [StepStatistics(*map(function, steps)) for steps in layer]) for layer in memory)


def restarted(carried: Carried, mask: Bool[Tensor, " B"]) -> Carried:
    """The state with zero hidden states and empty windows for the cases where `mask` is true."""
    states = tuple(state.masked_fill(mask.to(state.device).unsqueeze(1), 0) for state in carried.states)
    rows = _rows(carried.memory)
    before = carried.lengths or (rows,) * mask.shape[0]
    lengths = [0 if restarts else length for restarts, length in zip(mask.tolist(), before, strict=True)]
    return _tight(states, carried.memory, lengths)


def selected(carried: Carried, indices: Int[Tensor, " A"]) -> Carried:
    """The state of the cases `indices`, in that order."""

    def pick(tensor: Tensor) -> Tensor:
        return tensor.index_select(1, indices.to(tensor.device))

    states, memory = tuple(map(pick, carried.states)), map_memory(carried.memory, pick)
    if carried.lengths is None:
        return Carried(states, memory, None)
    return _tight(states, memory, [carried.lengths[case] for case in indices.tolist()])


def run_pieces(
    run: Run, data: Float[Tensor, "T B F"], carried: Carried, restarts: Bool[Tensor, "T B"] | None
) -> tuple[Tensor, Carried]:
    """Run a chunk in pieces that end where a case restarts: case b restarts before step t where `restarts[t, b]`."""
    if restarts is None:
        return _run_by_length(run, data, carried)
    T = data.shape[0]
    steps = [step for step, any_case in enumerate(restarts.any(1).tolist()) if any_case]
    outputs = []
    for start, end in zip([0, *steps], [*steps, T], strict=True):
        if start in steps:
            carried = restarted(carried, restarts[start])
        if end > start:
            output, carried = _run_by_length(run, data[start:end], carried)
            outputs.append(output)
    return torch.cat(outputs), carried


def _run_by_length(run: Run, data: Float[Tensor, "T B F"], carried: Carried) -> tuple[Tensor, Carried]:
    if carried.lengths is None or len(set(carried.lengths)) <= 1:  # one length for all, or no case at all
        return run(data, carried._replace(lengths=None))
    cases: list[int] = []
    outputs, parts = [], []
    for length in sorted(set(carried.lengths)):
        group = [case for case, other in enumerate(carried.lengths) if other == length]
        indices = torch.tensor(group, device=data.device)
        output, part = run(data.index_select(1, indices), selected(carried, indices))
        cases += group
        outputs.append(output)
        parts.append(part)
    order = torch.tensor(sorted(range(len(cases)), key=cases.__getitem__), device=data.device)
    return torch.cat(outputs, 1).index_select(1, order), selected(_joined(parts), order)


def _joined(parts: Sequence[Carried]) -> Carried:
    """The parts joined along the batch axis; shorter windows are padded in front with rows that are not read."""
    states = tuple(torch.cat(columns, 1) for columns in zip(*(part.states for part in parts), strict=True))
    rows = [_rows(part.memory) for part in parts]
    lengths = [length for part, length in zip(parts, rows, strict=True) for _ in range(_cases(part))]
    memory = []
    for layers in zip(*(part.memory for part in parts), strict=True):
        steps = [
            StepStatistics(*(_side_by_side(columns, max(rows)) for columns in zip(*norms, strict=True)))
            for norms in zip(*layers, strict=True)
        ]
        memory.append(_like(layers[0], steps))
    return _tight(states, tuple(memory), lengths)


def _side_by_side(columns: Sequence[Float[Tensor, "M B"]], rows: int) -> Tensor:
    padded = [torch.nn.functional.pad(column, (0, 0, rows - column.shape[0], 0)) for column in columns]
    return torch.cat(padded, 1)


def _tight(states: tuple[Tensor, ...], memory: tuple[Any, ...], lengths: Sequence[int]) -> Carried:
    """Drop rows that are valid for no case, and drop the lengths if all cases have the same one."""
    longest = max(lengths, default=0)
    rows = _rows(memory)
    if longest < rows:
        memory = map_memory(memory, lambda tensor: tensor[rows - longest :])
    return Carried(states, memory, None if len(set(lengths)) <= 1 else tuple(lengths))


def checked_rows(memory: tuple[Any, ...]) -> int:
    """Number of rows of the windows of a state, which all layers must share; 0 without windows."""
    rows = _rows(memory)
    for index, layer in enumerate(memory):
        if layer is not None and layer[0].mean.shape[0] != rows:
            raise ValueError(
                f"state.memory[{index}] must hold {rows} steps as the first windows do, got {layer[0].mean.shape[0]}"
            )
    return rows


def _rows(memory: tuple[Any, ...]) -> int:
    """Number of rows of the windows; 0 without windows."""
    return next((int(layer[0].mean.shape[0]) for layer in memory if layer is not None), 0)


def _cases(carried: Carried) -> int:
    """Number of cases in the batch."""
    return int(carried.memory[0][0].mean.shape[1])


def _like(layer: Any, steps: list[StepStatistics]) -> Any:
    """These windows as a named tuple of the type of `layer`, or as a plain tuple if `layer` is one."""
    return layer._make(steps) if hasattr(layer, "_make") else tuple(steps)
