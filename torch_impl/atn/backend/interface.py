"""What a backend is: functions for a layer in one direction, and one for the norm alone, over a chunk of steps.

The LSTM's equations are (14)-(16); gates in the order i, f, g, o of `torch.nn.LSTM`, one statistic over all 4H
preactivations:

    gates = ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh]
    c     = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h     = sigmoid(o) * tanh(ATN(c))

with the biases in the first brackets for `bias_placement="inside"`, in the last for "outside". The carry c is the raw
one: its normalized value only feeds h. Without a norm, ATN is the identity.

The other cells have h for their only state. With the same two rows, each with its norm, gain, shift and biases,

    a_ih = ATN(W_ih x [+ b_ih]) [+ b_ih]
    a_hh = ATN(W_hh h [+ b_hh]) [+ b_hh]

the simple RNN of Eqs. (1) and (3) is h = f(a_ih + a_hh) with f = tanh or relu, and the GRU, rows r, z, n of
`torch.nn.GRU` with one statistic over all 3H, is

    r, z = sigmoid(a_ih + a_hh)
    n    = tanh(a_ih + r * a_hh)
    h    = (1 - z) * n + z * h
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from atn.choices import Base, BiasPlacement, Statistic
from atn.state import HiddenMemory, LayerMemory
from atn.window import StepStatistics


class Affine(NamedTuple):
    """Gain and shift of a norm; None for a shift of 0."""

    gamma: Float[Tensor, " N"]
    beta: Float[Tensor, " N"] | None

    def to(self, dtype: torch.dtype) -> "Affine":
        """Both in `dtype`."""
        return Affine(self.gamma.to(dtype), None if self.beta is None else self.beta.to(dtype))


class LayerWeights(NamedTuple):
    """Parameters of one layer in one direction, with rows in the order i, f, g, o; None where there is none."""

    weight_ih: Float[Tensor, "4*H I"]
    weight_hh: Float[Tensor, "4*H H"]
    bias_ih: Float[Tensor, " 4*H"] | None
    bias_hh: Float[Tensor, " 4*H"] | None
    norm_ih: Affine | None
    norm_hh: Affine | None
    norm_c: Affine | None

    def named(self, suffix: str) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with the name that it has on the module, for the layer and direction `suffix`."""
        return _named(self._asdict(), suffix)

    def to(self, dtype: torch.dtype) -> "LayerWeights":
        """Every tensor in `dtype`."""
        return LayerWeights._make(_in_dtype(self, dtype))


class HiddenWeights(NamedTuple):
    """Parameters of one layer in one direction of a cell with G blocks of rows and no state but h, as `LayerWeights`.

    G is 1 for the RNN and 3, rows r, z, n, for the GRU.
    """

    weight_ih: Float[Tensor, "G*H I"]
    weight_hh: Float[Tensor, "G*H H"]
    bias_ih: Float[Tensor, " G*H"] | None
    bias_hh: Float[Tensor, " G*H"] | None
    norm_ih: Affine | None
    norm_hh: Affine | None

    def named(self, suffix: str) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with the name that it has on the module, for the layer and direction `suffix`."""
        return _named(self._asdict(), suffix)

    def to(self, dtype: torch.dtype) -> "HiddenWeights":
        """Every tensor in `dtype`."""
        return HiddenWeights._make(_in_dtype(self, dtype))


def _named(weights: Mapping[str, Tensor | Affine | None], suffix: str) -> Iterator[tuple[str, Tensor]]:
    for field, value in weights.items():
        if isinstance(value, Affine):
            yield f"{field}_{suffix}.weight", value.gamma
            if value.beta is not None:
                yield f"{field}_{suffix}.bias", value.beta
        elif value is not None:
            yield f"{field}_{suffix}", value


def _in_dtype(weights: Iterable[Tensor | Affine | None], dtype: torch.dtype) -> Iterator[Tensor | Affine | None]:
    return (None if value is None else value.to(dtype) for value in weights)


class NormSettings(NamedTuple):
    """The norm of a layer: window length (1 is layer normalization), epsilon, and where the biases stand."""

    k: int
    eps: float
    bias_placement: BiasPlacement


class DetachedSettings(NamedTuple):
    """The same with statistics that are constants to the gradient."""

    k: int
    eps: float
    bias_placement: BiasPlacement
    detach: tuple[Statistic, ...]


class AdaSettings(NamedTuple):
    """Layer normalization times scale * (1 - slope * xhat), which is a constant to the gradient."""

    scale: float
    slope: float
    eps: float
    bias_placement: BiasPlacement


class BatchSettings(NamedTuple):
    """Statistics over the cases and a window, or given ones for every step (T, N), for each norm of the layer.

    What a backend returns for the memory are the statistics (T, N) that it has used.
    """

    k: int
    eps: float
    bias_placement: BiasPlacement
    population: tuple[StepStatistics | None, ...]


Settings = NormSettings | DetachedSettings | AdaSettings | BatchSettings
"""Every backend computes the first; see `Backend.every_norm` for the others."""


class LayerOutput(NamedTuple):
    """The states, and the windows for the next chunk (None without a norm)."""

    h: Float[Tensor, "T B H"]
    c: Float[Tensor, "#T B H"]
    """After every step, or after the last alone (1, B, H)."""
    memory: LayerMemory | None


class LayerFunction(Protocol):
    """Signature of a backend. Tensors share one device and one dtype, float32 or float64; arguments are checked."""

    def __call__(
        self,
        x: Float[Tensor, "T B I"],
        weights: LayerWeights,
        h_0: Float[Tensor, "B H"],
        c_0: Float[Tensor, "B H"],
        memory: LayerMemory | None,
        norm: NormSettings | None,
        *,
        every_c: bool,
    ) -> LayerOutput:
        """Run the layer from the state (h_0, c_0, memory); memory None is an empty one, norm None a plain LSTM.

        Where only the last c is wanted (`every_c` is false), a backend may return it alone, as (1, B, H).
        """


class HiddenOutput(NamedTuple):
    """h after every step, and the windows for the next chunk (None without a norm)."""

    h: Float[Tensor, "T B H"]
    memory: HiddenMemory | None


class HiddenFunction(Protocol):
    """Signature of a cell whose only state is h, as that of `LayerFunction`."""

    def __call__(
        self,
        x: Float[Tensor, "T B I"],
        weights: HiddenWeights,
        h_0: Float[Tensor, "B H"],
        memory: HiddenMemory | None,
        norm: NormSettings | None,
    ) -> HiddenOutput:
        """Run the layer from the state (h_0, memory); memory None is an empty one, norm None a plain cell."""


class NormFunction(Protocol):
    """Signature of a backend's norm, Eqs. (7)-(9). Tensors as for `LayerFunction`."""

    def __call__(
        self,
        a: Float[Tensor, "T B N"],
        weight: Float[Tensor, " N"] | None,
        bias: Float[Tensor, " N"] | None,
        memory: StepStatistics,
        k: int,
        eps: float,
        base: Base,
    ) -> tuple[Float[Tensor, "T B N"], StepStatistics]:
        """Normalize a after the steps in `memory`; the output, and the statistics of memory and a by step."""


def total(*terms: Tensor | None) -> Tensor | None:
    """Sum of the terms that there are, None where there is none."""
    present = [term for term in terms if term is not None]
    return sum(present[1:], start=present[0]) if present else None
