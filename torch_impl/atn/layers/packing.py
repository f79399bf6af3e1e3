"""The layout of a batch's steps in memory, and the order in which each direction reads them.

A layer runs on (T, B, F); each case starts at its own first step in the reading direction. `StepsTogether` is a batch
whose cases all have the same length, which already has this layout. `StepsPacked` is the data of a `PackedSequence`,
which has no padding.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from atn.validation import check_has_values


@runtime_checkable
class Steps(Protocol):
    """Converts the data between layers to (T, B, F) in reading order, and back."""

    ends_differ: ClassVar[bool]
    """Whether `final` may read a step other than the last one."""

    def arrange(self, data: Tensor, *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Arrange `data` as (T, B, F), with the steps in reading order."""

    def restore(self, steps: Float[Tensor, "T B F"], *, reverse: bool) -> Tensor:
        """Undo `arrange` and drop the padding."""

    def final(self, steps: Float[Tensor, "T B F"]) -> Float[Tensor, "B F"]:
        """The row of each case's last valid step in reading order."""


class StepsTogether:
    """Data (T, B, F) of cases that all have T steps."""

    ends_differ: ClassVar[bool] = False

    def arrange(self, data: Float[Tensor, "T B F"], *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Return `data` unchanged, or flipped in time for `reverse`."""
        return data.flip(0) if reverse else data

    def restore(self, steps: Float[Tensor, "T B F"], *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Return `steps` unchanged, or flipped in time for `reverse`."""
        return steps.flip(0) if reverse else steps

    def final(self, steps: Float[Tensor, "T B F"]) -> Float[Tensor, "B F"]:
        """The last row, which is the last step of every case."""
        return steps[-1]


class _Reading(NamedTuple):
    """Indices for one direction: the row of the data for each (t, b), and the place in (T, B) of each row."""

    rows: Int[Tensor, "T B"]
    places: Int[Tensor, " S"]


def cases_of(packed: PackedSequence) -> int:
    """The number of cases, B, from a shape where one has it: `torch.compile` breaks its graph at a tensor's number.

    Raises ValueError for a sequence that `torch.nn.utils.rnn.pack_sequence` cannot have made. What a compiler traces
    has no numbers to check.
    """
    order = packed.sorted_indices
    if not torch.compiler.is_compiling():
        _check_batch_sizes(packed.batch_sizes, packed.data.shape[0])
        _check_orders(packed, int(packed.batch_sizes[0]))
    return int(packed.batch_sizes[0]) if order is None else order.shape[0]


def _integers(name: str, values: object) -> Tensor:
    if not isinstance(values, Tensor) or values.dtype != torch.int64:
        got = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"{name} must be a tensor of int64, got {got}")
    if values.device.type == "cpu":
        check_has_values(name, values)
    return values


def _check_batch_sizes(batch_sizes: object, S: int) -> None:
    """Check the numbers of cases of each step: at least 1, never more than in the step before, S in all."""
    sizes = _integers("input.batch_sizes", batch_sizes)
    if sizes.device.type != "cpu":
        raise ValueError(f"input.batch_sizes must be on the CPU, got {sizes.device}")
    if sizes.ndim != 1 or sizes.shape[0] == 0 or sizes.min() < 1 or bool((sizes.diff() > 0).any()) or sizes.sum() != S:
        raise ValueError(
            f"input.batch_sizes must be numbers of at least 1 that never rise and add up to the {S} rows of "
            f"input.data, got {sizes.tolist()}"
        )


def _check_orders(packed: PackedSequence, B: int) -> None:
    """Check the indices that sort the cases and those that undo it, or that there are neither.

    Values on another device than the CPU are not waited for.
    """
    if packed.sorted_indices is None and packed.unsorted_indices is None:
        return
    there = _checked_order("input.sorted_indices", packed.sorted_indices, B)
    back = _checked_order("input.unsorted_indices", packed.unsorted_indices, B)
    if there.device.type == back.device.type == "cpu" and there[back].tolist() != list(range(B)):
        raise ValueError(f"input.unsorted_indices must undo input.sorted_indices {there.tolist()}, got {back.tolist()}")


def _checked_order(name: str, indices: object, B: int) -> Tensor:
    order = _integers(name, indices)
    if order.shape != (B,):
        raise ValueError(
            f"{name} must have one index for each of the input.batch_sizes[0] = {B} cases, got shape "
            f"{tuple(order.shape)}"
        )
    if order.device.type == "cpu" and order.sort().values.tolist() != list(range(B)):
        raise ValueError(f"{name} must have each index from 0 to {B - 1} once, got {order.tolist()}")
    return order


class StepsPacked:
    """Data (S, F) of a `PackedSequence`: S steps in all, ordered by time, of B cases sorted by decreasing length.

    A shorter case is padded with its own last row in reading order, never with a constant: what a cell with bounded
    states computes from the padding is then as finite as the case itself, so that its zero gradient stays zero. (A cell
    with unbounded ones runs as `atn.layers.valid_steps.CellOfValidSteps`.) Padding follows the valid steps and
    statistics are per case, so no valid step depends on it.

    Attributes
    ----------
    batch_sizes
        Number of cases that have each step, (T,).
    """

    ends_differ: ClassVar[bool] = True

    def __init__(self, packed: PackedSequence, B: int) -> None:
        batch_sizes, device = packed.batch_sizes, packed.data.device
        self.batch_sizes = batch_sizes
        T, S = batch_sizes.shape[0], packed.data.shape[0]
        # torch keeps batch sizes on the CPU, whatever default device the user has set.
        case, time, row = (torch.arange(count, device=batch_sizes.device) for count in (B, T, S))
        lengths = (batch_sizes.unsqueeze(1) > case).sum(0)
        first_row = batch_sizes.cumsum(0) - batch_sizes
        # Its size is that of another tensor, so that a compiler knows it. No batch sizes, checked or not, make it write
        # beyond its end, as repeat_interleave with an output size would.
        time_of_row = torch.searchsorted(batch_sizes.cumsum(0), row, right=True)
        case_of_row = row - first_row[time_of_row]
        self._last, self._case = (lengths - 1).to(device), case.to(device)

        def reading(step_of: Callable[[Tensor, Tensor], Tensor]) -> _Reading:
            """Of the direction whose step is `step_of` the time and the length of a case."""
            steps = step_of(time.unsqueeze(1), lengths).clamp(min=0)
            places = step_of(time_of_row, lengths[case_of_row]) * B + case_of_row
            return _Reading((first_row[steps] + case).to(device), places.to(device))

        self._readings = (
            reading(lambda time, length: torch.minimum(time, length - 1)),
            reading(lambda time, length: length - 1 - time),
        )

    def arrange(self, data: Float[Tensor, "S F"], *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Gather the rows of each case; for `reverse`, from its last valid step to its first."""
        return data[self._readings[reverse].rows]

    def restore(self, steps: Float[Tensor, "T B F"], *, reverse: bool) -> Float[Tensor, "S F"]:
        """Gather the valid steps in the order of the packed data."""
        return steps.flatten(0, 1)[self._readings[reverse].places]

    def final(self, steps: Float[Tensor, "T B F"]) -> Float[Tensor, "B F"]:
        """The row of each case's last valid step in reading order."""
        return steps[self._last, self._case]
