"""The model of the synthetic tasks and of pixel MNIST: one recurrent layer, and a linear layer at every step."""

from torch import Tensor, nn

from experiments.models.recurrent_layer import Recurrence


class SequenceModel(nn.Module):
    """``logits[t] = W h[t] + b`` over the hidden states h of an LSTM, an LN-LSTM or an ATN-LSTM.

    W is initialized by He's normal rule and b with 0, as in the released scripts.

    Parameters
    ----------
    recurrence : Recurrence
        Norm and initialization of the recurrent layer.
    input_size, hidden_size, output_size : int
        Number of features of the input, of the hidden state and of the logits at each step.
    """

    def __init__(self, recurrence: Recurrence, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.lstm = recurrence.layer(input_size, hidden_size)
        self.head = nn.Linear(hidden_size, output_size)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (T, B, output_size) at every step of x (T, B, input_size)."""
        h, _ = self.lstm(x)
        logits: Tensor = self.head(h)
        return logits
