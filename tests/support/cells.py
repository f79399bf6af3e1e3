"""The RNN and the GRU with the cells of torch that they stand for."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from atn import ATNGRU, ATNRNN, HiddenState
from tests.support.lstms import DOUBLE


class Cell(NamedTuple):
    """One cell: ours, torch's, and the arguments that choose it."""

    ours: type[ATNRNN] | type[ATNGRU]
    torchs: type[nn.RNN] | type[nn.GRU]
    arguments: dict[str, Any]

    def module(self, input_size: int, hidden_size: int, num_layers: int = 1, **settings: Any) -> ATNRNN | ATNGRU:
        """A module of ours, in float64 unless `settings` say otherwise."""
        return self.ours(input_size, hidden_size, num_layers, **{**self.arguments, **DOUBLE, **settings})

    def pair(
        self, input_size: int, hidden_size: int, num_layers: int = 1, **settings: Any
    ) -> tuple[ATNRNN | ATNGRU, nn.RNNBase]:
        """Plain cells of ours and of torch with the same weights."""
        theirs = self.torchs(input_size, hidden_size, num_layers, **{**self.arguments, **DOUBLE, **settings})
        ours = self.module(input_size, hidden_size, num_layers, norm="none", **settings)
        ours.load_state_dict(theirs.state_dict(), strict=True)
        return ours, theirs


CELLS: dict[str, Cell] = {
    "RNN_TANH": Cell(ATNRNN, nn.RNN, {}),
    "RNN_RELU": Cell(ATNRNN, nn.RNN, {"nonlinearity": "relu"}),
    "GRU": Cell(ATNGRU, nn.GRU, {}),
}
"""By the name in `torch.nn.RNNBase.mode`."""


def hidden_in_chunks(module: ATNRNN | ATNGRU, x: Tensor, lengths: list[int]) -> tuple[list[Tensor], HiddenState]:
    """Outputs of a stream of `x` (T, B, I) in chunks of these lengths, the rest at the end, and the last state."""
    outputs, state = [], None
    chunks = [chunk for chunk in x.tensor_split(_ends(lengths, len(x))) if len(chunk)]
    for chunk in chunks:
        output, state = module.stream(chunk, state)
        outputs.append(output)
    assert state is not None
    return outputs, state


def _ends(lengths: list[int], T: int) -> list[int]:
    """Step after each chunk."""
    return [min(T, sum(lengths[: number + 1])) for number in range(len(lengths))]
