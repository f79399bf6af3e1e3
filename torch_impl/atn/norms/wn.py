"""Weight normalization (Salimans and Kingma 2016): a plain cell, with a gain for the length of each row of a weight."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from atn.backend.cell import Layer
from atn.initialization import start_anew
from atn.norms.gain_shift import Gain
from atn.norms.interface import NormArguments, RecurrentNorm
from atn.norms.rows import row_lengths, with_folded_rows
from atn.state import StreamOrigin


class RowGain(Gain):
    """Gains of the rows of a weight, which start at the lengths of the rows.

    The lengths are kept, so that starting the gains anew by themselves gives the same as starting them with their
    weight: code that starts every module of a tree does both, in either order.
    """

    lengths: Tensor | None = None

    def reset_parameters(self) -> None:
        """Set the gains to the lengths that the rows had when they were started; to 1 as long as they were not."""
        # Tensors that were sharded since have new lengths when their weight is started.
        if self.lengths is None or type(self.lengths) is not type(self.weight.detach()):
            super().reset_parameters()
        else:
            start_anew(self, "weight", partial(_copied, lengths=self.lengths))


def _copied(values: Tensor, lengths: Tensor) -> Tensor:
    return values.copy_(lengths)


@dataclass(frozen=True)
class WeightNormalization(RecurrentNorm):
    """No statistics and no time: the weights are computed once a sequence, the rest is the plain cell."""

    takes: ClassVar[frozenset[str]] = frozenset()
    by_direction: ClassVar[bool] = True

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """There is nothing to choose."""
        return cls(k=None, eps=arguments.eps, affine=True, bias_placement="outside", gamma=(1.0, 1.0, 1.0))

    def site(
        self, name: str, features: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> RowGain | None:
        """The lengths of the rows of a weight; nothing at the cell."""
        return None if name == "norm_c" else RowGain(features, 1.0, device, dtype)

    def start(self, site: nn.Module, weight: Tensor | None) -> None:
        """Start at the lengths that the rows have, so that the first weights are those of the plain cell."""
        assert weight is not None  # noqa: S101 - no site stands at the cell
        assert isinstance(site, RowGain)  # noqa: S101 - as `site` makes it
        site.lengths = None if weight.is_meta else row_lengths(weight.detach())
        site.reset_parameters()

    def gain_of(self, name: str, weight: Tensor) -> dict[str, Tensor]:
        """The lengths of the weight's rows, with which the cell computes what one without the norm does."""
        return {name: row_lengths(weight.detach()).to(weight.dtype)}

    def folded(self, layer: Layer) -> Layer:
        """The plain cell with its weights."""
        return layer._replace(weights=with_folded_rows(layer.weights))

    def origin(self) -> StreamOrigin:
        """The name alone."""
        return StreamOrigin("wn", None, None, None)
