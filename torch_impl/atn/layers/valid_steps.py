"""A cell that computes nothing from the padding of packed input."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from atn.backend.cell import Cell, CellOutput
from atn.backend.interface import Settings


class CellOfValidSteps:
    """A cell whose only state is h, without windows, which runs each case to its own last step and not beyond.

    It serves a cell whose h may grow without bound. From padding such a cell might compute an infinite h, and the zero
    gradient of that step times it is NaN. The steps are cut where cases end; the output beyond is 0.

    Parameters
    ----------
    cell
        The cell.
    batch_sizes
        Number of cases that have each step, not ascending: the first cases are the longest ones.
    """

    def __init__(self, cell: Cell, batch_sizes: Int[Tensor, " T"]) -> None:
        self._cell = cell
        sizes, counts = torch.unique_consecutive(batch_sizes, return_counts=True)
        self._pieces = list(zip(counts.tolist(), sizes.tolist(), strict=True))

    def run(
        self,
        x: Float[Tensor, "T B I"],
        weights: Any,  # Any: as of `Cell`
        states: tuple[Float[Tensor, "B H"], ...],
        memory: Any,  # Any: as of `Cell`
        settings: Settings | None,
    ) -> CellOutput:
        """Run one layer in one direction; see `atn.backend.cell.Cell`."""
        (h,) = states
        B, start, outputs = x.shape[1], 0, []
        for steps, cases in self._pieces:
            piece = x[start : start + steps, :cases]
            (output,), _ = self._cell.run(piece, weights, (h[:cases],), memory, settings)
            outputs.append(torch.nn.functional.pad(output, (0, 0, 0, B - cases)))
            start, h = start + steps, output[-1]
        return CellOutput((torch.cat(outputs),), None)
