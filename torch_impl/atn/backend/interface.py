"""The interface of a backend: functions for a layer in one direction and for the norm alone, over a chunk of steps.

The LSTM's equations are (14)-(16). The gates are in the order i, f, g, o of `torch.nn.LSTM`, with one statistic over
all 4H preactivations:

    gates = ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh]
    c     = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h     = sigmoid(o) * tanh(ATN(c))

The biases are in the first brackets for `bias_placement="inside"`, in the last brackets for "outside". The carry c is
not normalized: its normalized value only enters h. Without a norm, ATN is the identity.

The other cells have h as their only state. With the same two rows, each with its norm, gain, shift and biases,

    a_ih = ATN(W_ih x [+ b_ih]) [+ b_ih]
    a_hh = ATN(W_hh h [+ b_hh]) [+ b_hh]

the simple RNN of Eqs. (1) and (3) is h = f(a_ih + a_hh) with f = tanh or relu, and the GRU, rows r, z, n of
`torch.nn.GRU` with one statistic over all 3H, is

    r, z = sigmoid(a_ih + a_hh)
    n    = tanh(a_ih + r * a_hh)
    h    = (1 - z) * n + z * h
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from atn.choices import Base, BiasPlacement, Statistic
from atn.state import HiddenMemory, LayerMemory
from atn.window import StepStatistics


class Affine(NamedTuple):
    """Gain gamma and shift beta of a norm; beta is None for a shift of 0."""

    gamma: Float[Tensor, " N"]
    beta: Float[Tensor, " N"] | None

    def to(self, dtype: torch.dtype) -> "Affine":
        """Gain and shift in `dtype`."""
        return Affine(self.gamma.to(dtype), None if self.beta is None else self.beta.to(dtype))


class LayerWeights(NamedTuple):
    """Parameters of one LSTM layer in one direction; None for an absent parameter.

    The GH rows are 4 blocks of H, in the order i, f, g, o.
    """

    weight_ih: Float[Tensor, "GH I"]
    weight_hh: Float[Tensor, "GH H"]
    bias_ih: Float[Tensor, " GH"] | None
    bias_hh: Float[Tensor, " GH"] | None
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
    """Parameters of one layer in one direction of a cell whose only state is h; None for an absent parameter.

    The GH rows are G blocks of H: G is 1 for the RNN, and 3 for the GRU, in the order r, z, n.
    """

    weight_ih: Float[Tensor, "GH I"]
    weight_hh: Float[Tensor, "GH H"]
    bias_ih: Float[Tensor, " GH"] | None
    bias_hh: Float[Tensor, " GH"] | None
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
    """Assorted-time normalization of a layer: window length (1: layer normalization), epsilon, and bias placement."""

    k: int
    eps: float
    bias_placement: BiasPlacement


class DetachedSettings(NamedTuple):
    """Assorted-time normalization whose chosen statistics are constants to the gradient."""

    k: int
    eps: float
    bias_placement: BiasPlacement
    detach: tuple[Statistic, ...]


class AdaSettings(NamedTuple):
    """Layer normalization times the factor scale * (1 - slope * xhat), which is a constant to the gradient."""

    scale: float
    slope: float
    eps: float
    bias_placement: BiasPlacement


class BatchSettings(NamedTuple):
    """Batch normalization: statistics over the cases and a window, or given statistics (T, N) for each norm of a layer.

    As the memory a backend returns the statistics (T, N) that it has used.
    """

    k: int
    eps: float
    bias_placement: BiasPlacement
    population: tuple[StepStatistics | None, ...]


Settings = NormSettings | DetachedSettings | AdaSettings | BatchSettings
"""Every backend computes `NormSettings`; `Backend.every_norm` says whether it computes the others."""


class LayerOutput(NamedTuple):
    """The states of a layer, and the windows for the next chunk (None without a norm)."""

    h: Float[Tensor, "T B H"]
    c: Float[Tensor, "#T B H"]
    """c after every step (T, B, H), or after the last step only (1, B, H)."""
    memory: LayerMemory | None


@runtime_checkable
class LayerFunction(Protocol):
    """Signature of a backend's LSTM. Tensors share one device and one dtype, float32 or float64, and are checked."""

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
        """Run the layer from the state (h_0, c_0, memory).

        `memory` None stands for empty windows, `norm` None for a plain LSTM. If `every_c` is false, a backend may
        return the last c only, as (1, B, H).
        """


class HiddenOutput(NamedTuple):
    """h after every step, and the windows for the next chunk (None without a norm)."""

    h: Float[Tensor, "T B H"]
    memory: HiddenMemory | None


@runtime_checkable
class HiddenFunction(Protocol):
    """Signature of a backend's cell whose only state is h. Tensors are as in `LayerFunction`."""

    def __call__(
        self,
        x: Float[Tensor, "T B I"],
        weights: HiddenWeights,
        h_0: Float[Tensor, "B H"],
        memory: HiddenMemory | None,
        norm: NormSettings | None,
    ) -> HiddenOutput:
        """Run the layer from the state (h_0, memory).

        `memory` None stands for empty windows, `norm` None for a cell without normalization.
        """


@runtime_checkable
class NormFunction(Protocol):
    """Signature of a backend's norm, Eqs. (7)-(9). Tensors are as in `LayerFunction`."""

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
        """Normalize `a`, which follows the steps in `memory`; return the output and the step statistics of both."""


class StackSettings(NamedTuple):
    """Hidden size, norm (k = 0: none) and parameters of the layers of a stack."""

    hidden_size: int
    k: int
    eps: float
    biased: bool
    """Whether there are bias_ih and bias_hh."""
    affine: bool
    """Whether each norm has a gain and a shift."""
    inside: bool
    """Whether the biases stand inside the norms."""


@runtime_checkable
class StackFunction(Protocol):
    """Signature of a backend's inference of all layers of a cell in one direction, without gradients."""

    def __call__(
        self,
        x: Float[Tensor, "T B I"],
        parameters: Sequence[Tensor],
        states: Sequence[Float[Tensor, "L B H"]],
        memory: Sequence[Float[Tensor, "M B"]],
        settings: StackSettings,
    ) -> tuple[Float[Tensor, "T B H"], tuple[Float[Tensor, "L B H"], ...], list[Float[Tensor, "M B"]]]:
        """Return the output of the last layer, the last states, and the windows for the next chunk.

        The parameters are those of each layer: weight_ih, weight_hh, bias_ih and bias_hh, then gain and shift of each
        norm, as far as there are any. No `states` stand for zeros, no `memory` for empty windows; else `memory` has
        mean and variance of each norm of each layer. A TypeError or ValueError says that an argument does not fit.
        """


class PlacedBiases(NamedTuple):
    """Two terms each, for W_ih x and for W_hh h: those added in front of the norms, and those added after them."""

    inside: tuple[Float[Tensor, " GH"] | None, Float[Tensor, " GH"] | None]
    outside: tuple[Float[Tensor, " GH"] | None, Float[Tensor, " GH"] | None]


def placed_biases(weights: LayerWeights | HiddenWeights, placement: BiasPlacement) -> PlacedBiases:
    """The biases of a layer where they are added."""
    biases, none = (weights.bias_ih, weights.bias_hh), (None, None)
    return PlacedBiases(biases, none) if placement == "inside" else PlacedBiases(none, biases)


def total(*terms: Tensor | None) -> Tensor | None:
    """Sum of the terms that are not None; None if there is no such term."""
    present = [term for term in terms if term is not None]
    return sum(present[1:], start=present[0]) if present else None
