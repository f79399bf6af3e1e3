"""LN-LSTM and ATN-LSTM with a step compiled by `torch.compile`, in a Python loop: Eqs. (14)-(16).

W_ih x is one product before the loop. All shapes of a step are fixed, so that it is compiled once for each pass: the
window is a ring with mean and variance of each of the last k steps, from which Eq. (9) follows because all steps have
as many features.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.plain import GainShift, NormedWeights

EPS = 1e-5


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step compiled as one graph for the shapes of its call; no other layer's calls count as its recompilations."""
    compiled: Callable[..., Any] = torch.compile(  # type: ignore[call-overload] # torch's overloads lack the last one
        step, fullgraph=True, dynamic=False, isolate_recompiles=True
    )
    return compiled


class CompiledLayerNormLoop(NormedWeights):
    """LN-LSTM as a Python loop over a compiled step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self._compiled_step = _compiled(self._step)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        outputs = []
        for of_input in (x @ self.weight_ih.t()).unbind():
            h, c = self._compiled_step(of_input, h, c)
            outputs.append(h)
        return torch.stack(outputs)

    def _step(self, of_input: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        preactivations = _layer_norm(self.norm_ih, of_input) + _layer_norm(self.norm_hh, h @ self.weight_hh.t())
        i, f, g, o = (preactivations + self.bias_ih + self.bias_hh).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(_layer_norm(self.norm_c, c)), c


def _layer_norm(norm: GainShift, a: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    return F.layer_norm(a, a.shape[1:], norm.weight, norm.bias, EPS)


class Ring(NamedTuple):
    """Mean and variance of each of the last k steps of every case, the latest step in the last row."""

    mean: Float[Tensor, "k B"]
    var: Float[Tensor, "k B"]


class CompiledATNLoop(NormedWeights):
    """ATN-LSTM as a Python loop over a compiled step."""

    def __init__(self, input_size: int, hidden_size: int, k: int) -> None:
        super().__init__(input_size, hidden_size)
        self.k = k
        self._compiled_step = _compiled(self._step)

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        rings = tuple(Ring(*x.new_zeros(2, self.k, x.shape[1])) for _ in range(3))
        outputs = []
        for share, of_input in zip(self._shares(x), (x @ self.weight_ih.t()).unbind(), strict=True):
            h, c, rings = self._compiled_step(share, of_input, h, c, rings)
            outputs.append(h)
        return torch.stack(outputs)

    def _shares(self, x: Tensor) -> list[Tensor]:
        """Weight (k,) of each row of a ring in the mean over the window, for every step; 0 for a row not filled yet."""
        rows = torch.arange(self.k, device=x.device)
        lengths = torch.arange(1, len(x) + 1, device=x.device).clamp(max=self.k)[:, None]
        filled = (rows >= self.k - lengths).to(x.dtype)
        return list((filled / lengths).unbind())

    def _step(
        self, share: Tensor, of_input: Tensor, h: Tensor, c: Tensor, rings: tuple[Ring, Ring, Ring]
    ) -> tuple[Tensor, Tensor, tuple[Ring, Ring, Ring]]:
        from_input, ring_ih = _assorted_time_norm(self.norm_ih, share, of_input, rings[0])
        from_h, ring_hh = _assorted_time_norm(self.norm_hh, share, h @ self.weight_hh.t(), rings[1])
        i, f, g, o = (from_input + from_h + self.bias_ih + self.bias_hh).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        normalized_c, ring_c = _assorted_time_norm(self.norm_c, share, c, rings[2])
        return torch.sigmoid(o) * torch.tanh(normalized_c), c, (ring_ih, ring_hh, ring_c)


def _assorted_time_norm(
    norm: GainShift, share: Tensor, a: Float[Tensor, "B N"], ring: Ring
) -> tuple[Float[Tensor, "B N"], Ring]:
    """Eq. (9) of one step, and the ring with its statistics; `share` (k,) weighs the ring's rows."""
    var_of_step, mean_of_step = torch.var_mean(a, dim=1, correction=0)
    ring = Ring(torch.cat([ring.mean[1:], mean_of_step[None]]), torch.cat([ring.var[1:], var_of_step[None]]))
    mean = share @ ring.mean
    # Of values in groups of one size: the mean of the groups' variances plus the variance of their means.
    var = share @ (ring.var + (ring.mean - mean) ** 2)
    normalized = (a - mean[:, None]) * torch.rsqrt(var + EPS)[:, None]
    return norm.weight * normalized + norm.bias, ring
