"""Linear convolutional networks of one channel and several depths, trained beside each other on one example.

A layer is a circular convolution, then channel normalization and a shift, or a shift alone. The last layer is a weight,
a bias and a sigmoid. Networks share nothing; they are computed together because each alone is too small to occupy a
processor.

All but the sigmoid is linear in each frequency, so a layer is computed in frequencies: a convolution is a product, the
mean of a signal is its frequency 0, and its variance a sum of squares over the others.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

InitName = Literal["default", "preserving"]

EPS = 1e-5
"""Added to the unbiased variance of a channel, as in the released code."""


class Networks(nn.Module):
    """One network for each depth.

    Parameters
    ----------
    depths : sequence of int
        Numbers of convolutions, ascending.
    taps : int
        Length of a filter.
    norm : bool
        Whether a layer has channel normalization.
    init : {"default", "preserving"}
        Filters and last weight uniform with variance 1/(3 taps), PyTorch's default, or 1/taps, which preserves the
        variance of white noise.
    generator : torch.Generator
        The draws of the parameters. Networks of the same generator have the same filters but for their scale.

    Attributes
    ----------
    filters, shifts : (layers of all networks, taps), (layers of all networks, 1)
        The first layer of every network in the order of the depths, the second of those that have one, and so on.
    weight, bias : (depths, 1)
    """

    def __init__(
        self, depths: Sequence[int], taps: int, *, norm: bool, init: InitName, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.norm = norm
        self.counts = [sum(depth > place for depth in depths) for place in range(max(depths))]
        """Number of networks that have a first, a second, ... layer: the last ones."""
        scale = math.sqrt(3) if init == "preserving" else 1.0

        def uniform(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound)

        self.filters = uniform(scale / math.sqrt(taps), sum(self.counts), taps)
        self.shifts = nn.Parameter(torch.zeros(sum(self.counts), 1))
        self.weight = uniform(scale, len(depths), 1)
        # The bias has PyTorch's default in both.
        self.bias = uniform(1.0, len(depths), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Output of each network for the input x (N,), shape (depths, N)."""
        filters = torch.fft.rfft(self.filters, n=len(x))
        shifts = torch.split(self.shifts, self.counts)
        last = self._normed(x, filters, shifts) if self.norm else self._shifted(x, filters, shifts)
        return torch.sigmoid(self.weight * last + self.bias)

    def _normed(self, x: Tensor, filters: Tensor, shifts: Sequence[Tensor]) -> Tensor:
        """The last convolution's output after norm and shift, shape (depths, N).

        The spectrum is carried with factors that make its sum of squares the unbiased variance. Frequency 0, the mean,
        has the factor 0: a norm takes off the shift of the layer before it.
        """
        N = len(x)
        factors = torch.sqrt(frequency_weights(N).to(x) / (N * (N - 1)))
        root_eps = torch.full((), math.sqrt(EPS)).to(x)
        h = (torch.fft.rfft(x) * factors).expand(len(self.depths), -1)
        ended, shifted = [], []
        for place, w in enumerate(torch.split(filters, self.counts), start=1):
            h = h[-len(w) :] * w
            h = h / torch.hypot(torch.linalg.vector_norm(h, dim=1, keepdim=True), root_eps)
            if place in self.depths:
                ended.append(h[:1])
                shifted.append(shifts[place - 1][:1])
        inverse = torch.where(factors > 0, 1 / factors, 0.0)
        last: Tensor = torch.fft.irfft(torch.cat(ended) * inverse, n=N)
        return last + torch.cat(shifted)

    def _shifted(self, x: Tensor, filters: Tensor, shifts: Sequence[Tensor]) -> Tensor:
        """The last convolution's output after the shift, shape (depths, N)."""
        N = len(x)
        constant = N * (frequency_weights(N) == 0).to(x)
        h = torch.fft.rfft(x).expand(len(self.depths), -1)
        ended = []
        for place, (w, shift) in enumerate(zip(torch.split(filters, self.counts), shifts, strict=True), start=1):
            h = h[-len(w) :] * w + shift * constant
            if place in self.depths:
                ended.append(h[:1])
        last: Tensor = torch.fft.irfft(torch.cat(ended), n=N)
        return last

    def gradient_norms(self) -> list[tuple[Tensor, Tensor]]:
        """For each depth the smallest and the largest norm of a filter's gradient over the layers.

        Raises
        ------
        ValueError
            Before a backward pass.
        """
        if self.filters.grad is None:
            raise ValueError("gradient_norms: there are no gradients, must come after a backward pass")
        norms = torch.split(torch.linalg.vector_norm(self.filters.grad, dim=1), self.counts)
        of_depth = [
            torch.stack([layer[index - len(self.depths)] for layer in norms[:depth]])
            for index, depth in enumerate(self.depths)
        ]
        return [(each.min(), each.max()) for each in of_depth]


def frequency_weights(N: int) -> Tensor:
    """How often each frequency of a real signal's half spectrum stands in the whole one, and 0 for frequency 0."""
    weights = torch.full((N // 2 + 1,), 2.0)
    weights[0] = 0.0
    if N % 2 == 0:
        weights[-1] = 1.0
    return weights
