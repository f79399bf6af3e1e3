"""A cell that leaves no trace of the padding of packed input."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from atn.backend.cell import Cell, CellOutput
from atn.backend.custom_ops.differentiable import transform_is_active
from atn.backend.custom_ops.plain import PLAIN
from atn.backend.interface import Settings
from atn.carried import map_memory


class CellOfValidSteps:
    """A cell whose only state is h, and whose h may not stay finite.

    From padding such a cell might compute an infinite h or NaN, and the zero gradient of that step times it is NaN.
    Where what the whole batch computes is finite, there is none. Otherwise, and where that cannot be looked at, the
    steps are cut where cases end, each case runs to its own last step and not beyond, and the output beyond is 0.
    `torch.compile` breaks its graph at the look.

    Parameters
    ----------
    cell
        The cell.
    batch_sizes
        Number of cases that have each step, not ascending: the first cases are the longest ones.
    """

    def __init__(self, cell: Cell, batch_sizes: Int[Tensor, " T"]) -> None:
        self._cell = cell
        self._batch_sizes = batch_sizes

    def run(
        self,
        x: Float[Tensor, "T B I"],
        weights: Any,  # Any: as of `Cell`
        states: tuple[Float[Tensor, "B H"], ...],
        memory: Any,  # Any: as of `Cell`
        settings: Settings | None,
    ) -> CellOutput:
        """Run one layer in one direction; see `atn.backend.cell.Cell`."""
        if _has_values(x):
            padded = self._cell.run(x, weights, states, memory, settings)
            if padded.states[0].isfinite().all():
                return padded
        (h,) = states
        B, start, outputs = x.shape[1], 0, []
        sizes, counts = torch.unique_consecutive(self._batch_sizes, return_counts=True)
        for steps, cases in zip(counts.tolist(), sizes.tolist(), strict=True):
            piece = x[start : start + steps, :cases]
            windows = map_memory((memory,), partial(_first, cases))[0]
            (output,), memory = self._cell.run(piece, weights, (h[:cases],), windows, settings)
            outputs.append(torch.nn.functional.pad(output, (0, 0, 0, B - cases)))
            start, h = start + steps, output[-1]
        return CellOutput((torch.cat(outputs),), None)


def _first(cases: int, window: Tensor) -> Tensor:
    return window[:, :cases]


def _has_values(x: Tensor) -> bool:
    """Whether a call may depend on the numbers that it computes: not on the device meta, nor inside a transform."""
    return type(x) in PLAIN and x.device.type != "meta" and not transform_is_active()
