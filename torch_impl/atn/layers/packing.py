"""The layout of a batch's steps in memory, and the order in which each direction reads them.

A layer runs on (T, B, F); each case starts at its own first step in the reading direction. `StepsTogether` is a batch
whose cases all have the same length, which already has this layout. `StepsPacked` is the data of a `PackedSequence`,
which has no padding.
"""

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


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


class StepsPacked:
    """Data (S, F) of a `PackedSequence`: S steps in all, ordered by time, of cases sorted by decreasing length.

    A shorter case is padded with its own last row in reading order, never with a constant. The values computed from the
    padding are then as finite as the case itself, so that its zero gradient stays zero. Padding follows the valid steps
    and statistics are per case, so no valid step depends on it.
    """

    ends_differ: ClassVar[bool] = True

    def __init__(self, batch_sizes: Int[Tensor, " T"], device: torch.device) -> None:
        B, T = int(batch_sizes[0]), batch_sizes.shape[0]
        # torch keeps batch sizes on the CPU, whatever default device the user has set.
        case, time = (torch.arange(count, device=batch_sizes.device) for count in (B, T))
        time = time.unsqueeze(1)
        lengths = (batch_sizes.unsqueeze(1) > case).sum(0)
        first_row = batch_sizes.cumsum(0) - batch_sizes
        mirrored = lengths - 1 - time
        valid = mirrored >= 0
        self._last, self._case = (lengths - 1).to(device), case.to(device)
        self._readings = tuple(
            _Reading((first_row[steps] + case).to(device), (steps * B + case)[valid].to(device))
            for steps in (torch.minimum(time, lengths - 1), mirrored.clamp(min=0))
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
