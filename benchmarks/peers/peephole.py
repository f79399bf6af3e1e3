"""The LSTM of the package torchrecurrent.

It has neither a norm nor torch.nn.LSTM's cell. The nearest is its peephole LSTM, which is that cell where the weights
of the peepholes are 0.
"""

import torch
import torchrecurrent
from jaxtyping import Float
from torch import Tensor, nn


class PeepholeLSTM(nn.Module):
    """`torchrecurrent.PeepholeLSTM` with the constant 0 for the weights of its peepholes: a plain LSTM."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = torchrecurrent.PeepholeLSTM(input_size, hidden_size)
        (cell,) = self.lstm.cells
        peepholes = torch.zeros_like(cell.weight_ph)
        del cell.weight_ph
        cell.register_buffer("weight_ph", peepholes)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        output: Tensor = self.lstm(x)[0]
        return output
