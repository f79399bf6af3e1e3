"""How the steps of a batch lie in memory, and how each direction reads them.

A layer runs on (T, B, F), each case from its own first step in the direction it is read. `StepsTogether` is a batch of
one length, which lies like that already; `StepsPacked` is the data of a `PackedSequence`, which has no padding.
"""

from typing import ClassVar, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Steps(Protocol):
    """From data as it lies between layers to (T, B, F) in reading order, and back."""

    ends_differ: ClassVar[bool]
    """Whether `final` reads other steps than the last."""

    def arrange(self, data: Tensor, *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Lay `data` out step by step in the direction it is read."""

    def restore(self, steps: Float[Tensor, "T B F"], *, reverse: bool) -> Tensor:
        """Undo `arrange`, leaving padding behind."""

    def final(self, steps: Float[Tensor, "T B F"]) -> Float[Tensor, "B F"]:
        """Row of each case's own last step in reading order."""


class StepsTogether:
    """Data (T, B, F) of cases that all have T steps."""

    ends_differ: ClassVar[bool] = False

    def arrange(self, data: Float[Tensor, "T B F"], *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Forwards as it is, backwards flipped in time."""
        return data.flip(0) if reverse else data

    def restore(self, steps: Float[Tensor, "T B F"], *, reverse: bool) -> Float[Tensor, "T B F"]:
        """Flip back."""
        return steps.flip(0) if reverse else steps

    def final(self, steps: Float[Tensor, "T B F"]) -> Float[Tensor, "B F"]:
        """The last step."""
        return steps[-1]


class _Reading(NamedTuple):
    """One direction: the rows of the data that (T, B) is made of, and the places in (T, B) that the data came from."""

    rows: Int[Tensor, "T B"]
    places: Int[Tensor, " S"]


class StepsPacked:
    """Data (S, F) of a `PackedSequence`: the steps of cases of decreasing length, S in all, one time after the other.

    A shorter case is padded with its own last row (in reading order), never with a constant: what is computed there is
    as finite as the case itself, so that the zero gradient of the padding stays zero. No valid step sees padding, since
    it comes after them, and statistics are per case.
    """

    ends_differ: ClassVar[bool] = True

    def __init__(self, batch_sizes: Int[Tensor, " T"], device: torch.device) -> None:
        B, T = int(batch_sizes[0]), batch_sizes.shape[0]
        # A default device may be set that is not the one of the batch sizes, which torch keeps on the CPU.
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
        """Gather each case's rows, backwards from its own end."""
        return data[self._readings[reverse].rows]

    def restore(self, steps: Float[Tensor, "T B F"], *, reverse: bool) -> Float[Tensor, "S F"]:
        """Gather the valid steps in the order of the data."""
        return steps.flatten(0, 1)[self._readings[reverse].places]

    def final(self, steps: Float[Tensor, "T B F"]) -> Float[Tensor, "B F"]:
        """The last step of each case's own length."""
        return steps[self._last, self._case]
