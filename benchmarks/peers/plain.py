"""Plain implementations of the alternatives to `atn.ATNLSTM`, x (T, B, I) -> output (T, B, H).

Parameters have the names and the order of gates (i, f, g, o) of `torch.nn.LSTM`; all states start at zero.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class OutputOnly(nn.Module):
    """Returns only the output of a module such as `torch.nn.LSTM`, without the states."""

    def __init__(self, lstm: nn.Module) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Output of the last layer."""
        output: Tensor = self.lstm(x)[0]
        return output


class CellLoop(nn.Module):
    """A Python loop over `torch.nn.LSTMCell`, the usual starting point for changing the cell."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        h = c = x.new_zeros(x.shape[1], self.cell.hidden_size)
        outputs = []
        for x_t in x:
            h, c = self.cell(x_t, (h, c))
            outputs.append(h)
        return torch.stack(outputs)


class LayerNormCalls(nn.Module):
    """`torch.nn.LSTM`, and three calls of layer normalization a step that do not change its output.

    This is not a network, but a lower bound for an LN-LSTM in which each norm is a separate call. PyTorch compares
    LN-LSTMs with the same bound (`cudnn_layernorm` in its benchmarks/fastrnns). The calls are chained, so that each
    computes all of its gradients, and enter the output with the factor 0.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size)
        self.norm_ih = nn.LayerNorm(4 * hidden_size)
        self.norm_hh = nn.LayerNorm(4 * hidden_size)
        self.norm_c = nn.LayerNorm(hidden_size)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Output of the `torch.nn.LSTM`."""
        output, (_, c_n) = self.lstm(x)
        a = b = c_n[0].repeat(1, 4)
        c = c_n[0]
        for _ in range(len(x)):
            a, b, c = self.norm_ih(a), self.norm_hh(b), self.norm_c(c)
        unchanged: Tensor = output + 0 * (a[:, : c.shape[1]] + b[:, : c.shape[1]] + c)
        return unchanged


class Weights(nn.Module):
    """The weights and biases of one LSTM layer, initialized as in `torch.nn.LSTM`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))


class GainShift(nn.Module):
    """Gain and shift of a norm, named as in `torch.nn.LayerNorm`."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))


class NormedWeights(Weights):
    """Weights and biases of one LSTM layer, and gain and shift of its three norms."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm_ih = GainShift(4 * hidden_size)
        self.norm_hh = GainShift(4 * hidden_size)
        self.norm_c = GainShift(hidden_size)


class LayerNormLoop(Weights):
    """LN-LSTM as a Python loop: Eqs. (14)-(16) with layer normalization at each step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm_ih = nn.LayerNorm(4 * hidden_size)
        self.norm_hh = nn.LayerNorm(4 * hidden_size)
        self.norm_c = nn.LayerNorm(hidden_size)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        outputs = []
        for x_t in x:
            from_input = self.norm_ih(x_t @ self.weight_ih.t())
            from_h = self.norm_hh(h @ self.weight_hh.t())
            i, f, g, o = (from_input + from_h + self.bias_ih + self.bias_hh).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(self.norm_c(c))
            outputs.append(h)
        return torch.stack(outputs)


class ObviousATN(GainShift):
    """Eq. (9) literally: mean and variance of the last k preactivations, kept as a list and stacked at each step."""

    def __init__(self, num_features: int, k: int, eps: float = 1e-5) -> None:
        super().__init__(num_features)
        self.k = k
        self.eps = eps

    def forward(self, a: Float[Tensor, "B N"], window: list[Tensor]) -> Float[Tensor, "B N"]:
        """Normalize the next step, and add it to `window`, the steps so far."""
        window.append(a)
        rows = torch.stack(window[-self.k :])
        mean = rows.mean(dim=(0, 2)).unsqueeze(1)
        var = rows.var(dim=(0, 2), correction=0).unsqueeze(1)
        return self.weight * (a - mean) / torch.sqrt(var + self.eps) + self.bias


class ObviousATNLoop(Weights):
    """ATN-LSTM as a Python loop over `ObviousATN`: Eqs. (14)-(16) literally."""

    def __init__(self, input_size: int, hidden_size: int, k: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm_ih = ObviousATN(4 * hidden_size, k)
        self.norm_hh = ObviousATN(4 * hidden_size, k)
        self.norm_c = ObviousATN(hidden_size, k)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        window_ih: list[Tensor] = []
        window_hh: list[Tensor] = []
        window_c: list[Tensor] = []
        outputs = []
        for x_t in x:
            from_input = self.norm_ih(x_t @ self.weight_ih.t(), window_ih)
            from_h = self.norm_hh(h @ self.weight_hh.t(), window_hh)
            i, f, g, o = (from_input + from_h + self.bias_ih + self.bias_hh).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(self.norm_c(c, window_c))
            outputs.append(h)
        return torch.stack(outputs)
