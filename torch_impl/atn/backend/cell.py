"""One layer in one direction: its parameters, what it computes, and the cell that computes it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from atn.backend.interface import Settings


@runtime_checkable
class Weights(Protocol):
    """Parameters of one layer in one direction."""

    def named(self, suffix: str) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its parameter name on the module, for the layer and direction `suffix`."""

    def to(self, dtype: torch.dtype) -> Self:
        """Every tensor in `dtype`."""


class Layer(NamedTuple):
    """One layer in one direction."""

    weights: Any  # Any: each cell has its own type of `Weights`
    sites: Mapping[str, nn.Module]
    """The modules of its norms, by the name of their site."""
    suffix: str
    """Of the names of its parameters and norms on the module, as "l0_reverse"."""


class CellOutput(NamedTuple):
    """The states, of which the first is h at every step, and the windows for the next chunk (None without a norm)."""

    states: tuple[Float[Tensor, "#T B H"], ...]
    """h is (T, B, H); any other state is (T, B, H), or (1, B, H) with the last step only."""
    memory: Any  # Any: each cell has its own named tuple


@runtime_checkable
class Cell(Protocol):
    """A cell on a backend: `LSTMCell` of `atn.cells.lstm`, `HiddenCell` of `atn.cells.hidden`."""

    def run(
        self,
        x: Float[Tensor, "T B I"],
        weights: Any,  # Any: each cell has its own named tuple
        states: tuple[Float[Tensor, "B H"], ...],
        memory: Any,  # Any: as the weights
        settings: Settings | None,
    ) -> CellOutput:
        """Run one layer in one direction from the states before its first step and the windows (None: empty).

        `settings` are those of the norm, None for a plain layer.
        """
