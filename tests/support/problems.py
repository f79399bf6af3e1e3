"""Whole problems: settings plus every array that a comparison needs, made from a seed.

`draw_norm_problem`, `draw_lstm_problem` and `draw_hidden_problem` are the one place where settings are drawn, by
hypothesis or by a plain generator; a new feature extends them. Lengths 1, windows of one step and windows longer than
the sequence are drawn often; what no test goes without stands in `edges.py`.

The arrays come from NumPy's generator rather than from hypothesis: what matters to an example is its shape and its
settings, and those are what shrinks. All arrays are float64; a runner casts them to the dtype it runs in.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from atn.choices import Base, BiasPlacement, Norm, Statistic
from atn_reference import (
    Affine,
    GRUParameters,
    LSTMParameters,
    NormPropLSTMParameters,
    RNNParameters,
    WeightNormLSTMParameters,
)

Array = np.ndarray[Any, np.dtype[np.float64]]

LARGEST_SEED = 2**32 - 1

S = TypeVar("S")


@dataclass(frozen=True)
class NormProblem:
    """One call of assorted-time normalization: a (T, B, N), gain and shift (N,), upstream gradient (T, B, N)."""

    T: int
    B: int
    N: int
    k: int
    base: Base
    affine: bool
    eps: float
    offset: float
    constant_row: bool
    seed: int

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Input `a`, upstream gradient `dy` and, where affine, `gamma` and `beta`."""
        rng = np.random.default_rng(self.seed)
        a = rng.standard_normal((self.T, self.B, self.N)) * rng.uniform(0.5, 2, size=(self.T, 1, 1)) + self.offset
        if self.constant_row:
            a[self.T // 2] = 0.25 + self.offset
        arrays = {"a": a, "dy": rng.standard_normal(a.shape)}
        if self.affine:
            arrays |= {"gamma": rng.uniform(0.5, 1.5, self.N), "beta": rng.standard_normal(self.N)}
        return arrays


@dataclass(frozen=True)
class RecurrentProblem:
    """One forward and backward pass of a stack of layers: x (T, B, I), upstream gradients on every output."""

    T: int
    B: int
    I: int
    H: int
    layers: int
    directions: int
    norm: Norm
    k: int
    eps: float
    bias_placement: BiasPlacement
    bias: bool
    affine: bool
    initial_state: bool
    seed: int
    detach: tuple[Statistic, ...] = field(default=(), kw_only=True)
    base: Base = field(default="layer", kw_only=True)
    constant_row: bool = field(default=False, kw_only=True)
    """Whether x is 0 at the step in the middle, so that W_ih x is 0 for every feature there."""

    def sequence(self, rng: np.random.Generator) -> Array:
        """Input x (T, B, I)."""
        x = rng.standard_normal((self.T, self.B, self.I))
        if self.constant_row:
            x[self.T // 2] = 0.0
        return x

    @property
    def inputs(self) -> list[list[int]]:
        """Number of input features by layer and direction."""
        of_layers = [self.I] + [self.H * self.directions] * (self.layers - 1)
        return [[inputs] * self.directions for inputs in of_layers]

    def affine_of(self, rng: np.random.Generator, features: int) -> Affine | None:
        """Gain and shift of a norm, where it has such."""
        if self.norm in {"none", "ada"} or not self.affine:
            return None
        return Affine(gamma=rng.uniform(0.5, 1.5, features), beta=0.3 * rng.standard_normal(features))


@dataclass(frozen=True)
class LSTMProblem(RecurrentProblem):
    """A problem of the LSTM."""

    @cached_property
    def parameters(self) -> list[list[Any]]:
        """Parameters by layer and direction, of the oracle's type for the norm."""
        rng = np.random.default_rng([self.seed, 1])
        return [[self._layer(rng, inputs) for inputs in directions] for directions in self.inputs]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Input `x`, upstream gradients `dh`, `dh_n`, `dc_n`, and, where there is one, the state `h_0`, `c_0`."""
        rng = np.random.default_rng([self.seed, 2])
        state = (self.layers * self.directions, self.B, self.H)
        arrays = {
            "x": self.sequence(rng),
            "dh": rng.standard_normal((self.T, self.B, self.H * self.directions)),
            "dh_n": rng.standard_normal(state),
            "dc_n": rng.standard_normal(state),
        }
        if self.initial_state:
            arrays |= {"h_0": rng.uniform(-0.9, 0.9, state), "c_0": rng.standard_normal(state)}
        return arrays

    def _layer(self, rng: np.random.Generator, inputs: int) -> Any:
        gates = 4 * self.H
        plain = LSTMParameters(
            weight_ih=rng.standard_normal((gates, inputs)) / np.sqrt(inputs),
            weight_hh=rng.standard_normal((gates, self.H)) / np.sqrt(self.H),
            bias_ih=0.3 * rng.standard_normal(gates) if self.bias else None,
            bias_hh=0.3 * rng.standard_normal(gates) if self.bias else None,
        )
        if self.norm in {"prop", "wn"}:
            return self._by_rows(rng, plain)
        return plain._replace(
            norm_ih=self.affine_of(rng, gates),
            norm_hh=self.affine_of(rng, gates),
            norm_c=self.affine_of(rng, self.H),
        )

    def _by_rows(self, rng: np.random.Generator, plain: LSTMParameters) -> Any:
        """The same weights and biases, and gains for the rows; near 1 they saturate no gate."""
        gamma_ih, gamma_hh = rng.uniform(0.5, 1.5, (2, 4 * self.H))
        rows = WeightNormLSTMParameters(
            plain.weight_ih, plain.weight_hh, gamma_ih, gamma_hh, plain.bias_ih, plain.bias_hh
        )
        if self.norm == "wn":
            return rows
        return NormPropLSTMParameters(
            rows.weight_ih,
            rows.weight_hh,
            gamma_ih,
            gamma_hh,
            rng.uniform(0.5, 1.5, self.H),
            rows.bias_ih,
            rows.bias_hh,
        )


HiddenCell = Literal["RNN_TANH", "GRU"]
"""The cells whose only state is h and which the oracle has, by the name in `torch.nn.RNNBase.mode`."""


@dataclass(frozen=True)
class HiddenProblem(RecurrentProblem):
    """A problem of an RNN or a GRU."""

    cell: HiddenCell

    @cached_property
    def parameters(self) -> list[list[RNNParameters | GRUParameters]]:
        """Parameters by layer and direction; the oracle's RNN has an output too, which nothing here depends on."""
        rng = np.random.default_rng([self.seed, 1])
        if self.cell == "GRU":
            return [[GRUParameters(**self._layer(rng, inputs)) for inputs in layer] for layer in self.inputs]
        output = rng.standard_normal((2, self.H))
        return [
            [RNNParameters(weight_y=output, **self._layer(rng, inputs)) for inputs in layer] for layer in self.inputs
        ]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Input `x`, upstream gradients `dh`, `dh_n`, and, where there is one, the state `h_0`."""
        rng = np.random.default_rng([self.seed, 2])
        state = (self.layers * self.directions, self.B, self.H)
        arrays = {
            "x": self.sequence(rng),
            "dh": rng.standard_normal((self.T, self.B, self.H * self.directions)),
            "dh_n": rng.standard_normal(state),
        }
        if self.initial_state:
            arrays["h_0"] = rng.uniform(-0.9, 0.9, state)
        return arrays

    def _layer(self, rng: np.random.Generator, inputs: int) -> dict[str, Any]:
        rows = (3 if self.cell == "GRU" else 1) * self.H
        return {
            "weight_ih": rng.standard_normal((rows, inputs)) / np.sqrt(inputs),
            "weight_hh": rng.standard_normal((rows, self.H)) / np.sqrt(self.H),
            "bias_ih": 0.3 * rng.standard_normal(rows) if self.bias else None,
            "bias_hh": 0.3 * rng.standard_normal(rows) if self.bias else None,
            "norm_ih": self.affine_of(rng, rows),
            "norm_hh": self.affine_of(rng, rows),
        }


Problem = NormProblem | LSTMProblem
AnyProblem = Problem | HiddenProblem

P = TypeVar("P", bound=AnyProblem)


def mapped(problem: P, change: Callable[[Array], Any]) -> P:
    """Copy of a problem with every array passed through `change`: rounded, perturbed, or in another dtype."""
    copy = dataclasses.replace(problem)
    # What a cached property keeps stands in the instance's dictionary.
    vars(copy)["arrays"] = {name: change(array) for name, array in problem.arrays.items()}
    if isinstance(problem, LSTMProblem | HiddenProblem):
        vars(copy)["parameters"] = _mapped(problem.parameters, change)
    return copy


def _mapped(values: Any, change: Callable[[Array], Any]) -> Any:
    if values is None:
        return None
    if isinstance(values, list):
        return [_mapped(value, change) for value in values]
    if isinstance(values, tuple):
        return type(values)(*(_mapped(value, change) for value in values))
    return change(values)


class Draw(Protocol):
    """What draws settings: hypothesis in `strategies.py`, a generator in `soak.py`."""

    def integer(self, least: int, most: int) -> int:
        """An integer from `least` to `most`, both included."""

    def choice(self, options: Sequence[S]) -> S:
        """One of `options`."""


def _draw_window(draw: Draw, T: int) -> int:
    """Window length k: 1 (no memory), inside the sequence, or at least as long as the sequence."""
    return draw.integer(*draw.choice(((1, 1), (1, T), (T, 2 * T + 1))))


def draw_norm_problem(draw: Draw, *, offset: float = 0.0) -> NormProblem:
    """Draw one call of assorted-time normalization, base layer or batch.

    Rows that are constant over the features are drawn for base layer, with eps large enough that 1/sqrt(var + eps)
    stays below 30: dividing by a smaller root amplifies rounding without bound, which is the problem's condition and
    not the implementation's error.
    """
    T = draw.integer(1, 12)
    constant_row = draw.choice((False, True))
    base: Base = draw.choice(("layer", "batch"))
    return NormProblem(
        T=T,
        B=draw.integer(1 if base == "layer" else 2, 5),
        N=draw.integer(2 if base == "layer" else 1, 9),
        k=_draw_window(draw, T),
        base=base,
        affine=draw.choice((False, True)),
        eps=1e-2 if constant_row else draw.choice((1e-5, 1e-3, 1.0)),
        offset=offset,
        constant_row=constant_row,
        seed=draw.integer(0, LARGEST_SEED),
    )


def draw_lstm_problem(draw: Draw) -> LSTMProblem:
    """Draw one forward and backward pass of an LSTM, normalized or plain.

    eps keeps 1/sqrt(var + eps) at 10 or below and H keeps more than two cells in a pool: each norm of each layer and
    step passes a rounding on times its root, and what is tested is the arithmetic, not the problem's condition.
    """
    return LSTMProblem(**_draw_layers(draw, ("atn", "atn", "ln", "none", "prop", "wn")))


def draw_hidden_problem(draw: Draw) -> HiddenProblem:
    """Draw one forward and backward pass of an RNN or a GRU, normalized or plain, as `draw_lstm_problem`."""
    cell: HiddenCell = draw.choice(("GRU", "RNN_TANH"))
    return HiddenProblem(cell=cell, **_draw_layers(draw, ("atn", "atn", "ln", "none")))


def draw_eager_lstm_problem(draw: Draw) -> LSTMProblem:
    """Draw a problem of an LSTM whose norm the eager backend alone computes, as `draw_lstm_problem`."""
    return LSTMProblem(**_draw_eager_layers(draw))


def draw_eager_hidden_problem(draw: Draw) -> HiddenProblem:
    """Draw a problem of an RNN or a GRU with one of these norms."""
    cell: HiddenCell = draw.choice(("GRU", "RNN_TANH"))
    return HiddenProblem(cell=cell, **_draw_eager_layers(draw))


def _draw_eager_layers(draw: Draw) -> dict[str, Any]:
    """Fields of a `RecurrentProblem` with batch statistics, detached statistics or AdaNorm.

    Batches of two cases are left out: each of their normalized values is 1 or -1 nearly, whatever the data.
    """
    kind = draw.choice(("bn", "atn-bn", "detached atn", "detached ln", "ada"))
    norms: dict[str, Norm] = {"bn": "bn", "ada": "ada", "detached ln": "ln"}
    fields = _draw_layers(draw, (norms.get(kind, "atn"),))
    if kind.endswith("bn"):
        return fields | {"B": draw.integer(3, 6), "base": "batch" if kind == "atn-bn" else "layer"}
    if kind == "ada":
        return fields
    detached: tuple[tuple[Statistic, ...], ...] = (("mean",), ("var",), ("mean", "var"))
    return fields | {"detach": draw.choice(detached)}


def _draw_layers(draw: Draw, norms: Sequence[Norm]) -> dict[str, Any]:
    """Fields of a `RecurrentProblem` with one of these norms."""
    T = draw.integer(1, 9)
    return {
        "T": T,
        "B": draw.integer(1, 4),
        "I": draw.integer(1, 5),
        "H": draw.integer(3, 6),
        "layers": draw.integer(1, 3),
        "directions": draw.integer(1, 2),
        "norm": draw.choice(norms),
        "k": _draw_window(draw, T),
        "eps": draw.choice((1e-2, 1e-1, 1.0)),
        "bias_placement": draw.choice(("outside", "inside")),
        "bias": draw.choice((False, True)),
        "affine": draw.choice((False, True)),
        "initial_state": draw.choice((False, True)),
        "seed": draw.integer(0, LARGEST_SEED),
        "constant_row": draw.choice((False, True)),
    }
