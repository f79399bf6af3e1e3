"""The model that the synthetic tasks train: one recurrent layer and a linear read-out at every step."""

from typing import Literal

from torch import Tensor, nn

from atn import ATNLSTM
from experiments.settings import ModelName

BiasPlacement = Literal["inside", "outside"]
Initialisation = Literal["paper", "torch"]
Norm = Literal["ln", "atn"]


def recurrent_layer(
    model: ModelName,
    input_size: int,
    hidden_size: int,
    *,
    k: int,
    eps: float,
    bias_placement: BiasPlacement,
    init: Initialisation,
    affine: bool = True,
) -> ATNLSTM:
    """Recurrent layer of a model; its parameters are explained at `SequenceModel`."""
    if model == "lstm":
        return ATNLSTM(input_size, hidden_size, norm="none", init=init)
    norm: Norm = "ln" if model == "ln" else "atn"
    window = None if model == "ln" else k
    return ATNLSTM(
        input_size,
        hidden_size,
        k=window,
        norm=norm,
        eps=eps,
        affine=affine,
        bias_placement=bias_placement,
        init=init,
    )


class SequenceModel(nn.Module):
    """``logits[t] = W h[t] + b`` over the hidden states h of an LSTM, an LN-LSTM or an ATN-LSTM.

    The read-out's weights are drawn by He's normal rule and its bias is 0, as in the released scripts.

    Parameters
    ----------
    model : {"lstm", "ln", "atn"}
        The recurrent layer. LN is the layer of ATN with k = 1.
    input_size, hidden_size, output_size : int
        Features at each step of the input, of the hidden state and of the logits.
    k : int
        Window length of ATN; the other two models have none.
    eps : float
        Added to the variance under the root in each norm.
    bias_placement : {"inside", "outside"}
        Whether the biases are added before or after the norms; the plain LSTM does not know the difference.
    init : {"paper", "torch"}
        Initialisation of the recurrent layer.
    affine : bool
        Whether the norms have gains and shifts.
    """

    def __init__(
        self,
        model: ModelName,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        k: int,
        eps: float,
        bias_placement: BiasPlacement,
        init: Initialisation,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.lstm = recurrent_layer(
            model, input_size, hidden_size, k=k, eps=eps, bias_placement=bias_placement, init=init, affine=affine
        )
        self.head = nn.Linear(hidden_size, output_size)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (T, B, output_size) at every step of x (T, B, input_size)."""
        h, _ = self.lstm(x)
        logits: Tensor = self.head(h)
        return logits
