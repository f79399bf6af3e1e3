"""Whole problems: settings plus every array that a comparison needs, made from a seed.

The arrays come from NumPy's generator rather than from hypothesis: what matters to an example is its shape and its
settings, and those are what shrinks. All arrays are float64; a runner casts them to the dtype it runs in.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from atn_reference import Affine, LSTMParameters

Array = np.ndarray[Any, np.dtype[np.float64]]
Base = Literal["layer", "batch"]
NormName = Literal["atn", "ln", "none"]
BiasPlacement = Literal["outside", "inside"]


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
class LSTMProblem:
    """One forward and backward pass of a stack of LSTM layers: x (T, B, I), upstream gradients on every output."""

    T: int
    B: int
    I: int
    H: int
    layers: int
    directions: int
    norm: NormName
    k: int
    eps: float
    bias_placement: BiasPlacement
    bias: bool
    affine: bool
    initial_state: bool
    seed: int

    @cached_property
    def parameters(self) -> list[list[LSTMParameters]]:
        """Parameters by layer and direction."""
        rng = np.random.default_rng([self.seed, 1])
        return [
            [self._layer(rng, self.I if layer == 0 else self.H * self.directions) for _ in range(self.directions)]
            for layer in range(self.layers)
        ]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Input `x`, upstream gradients `dh`, `dh_n`, `dc_n`, and, where there is one, the state `h_0`, `c_0`."""
        rng = np.random.default_rng([self.seed, 2])
        state = (self.layers * self.directions, self.B, self.H)
        arrays = {
            "x": rng.standard_normal((self.T, self.B, self.I)),
            "dh": rng.standard_normal((self.T, self.B, self.H * self.directions)),
            "dh_n": rng.standard_normal(state),
            "dc_n": rng.standard_normal(state),
        }
        if self.initial_state:
            arrays |= {"h_0": rng.uniform(-0.9, 0.9, state), "c_0": rng.standard_normal(state)}
        return arrays

    def _layer(self, rng: np.random.Generator, inputs: int) -> LSTMParameters:
        gates = 4 * self.H
        return LSTMParameters(
            weight_ih=rng.standard_normal((gates, inputs)) / np.sqrt(inputs),
            weight_hh=rng.standard_normal((gates, self.H)) / np.sqrt(self.H),
            bias_ih=0.3 * rng.standard_normal(gates) if self.bias else None,
            bias_hh=0.3 * rng.standard_normal(gates) if self.bias else None,
            norm_ih=self._affine(rng, gates),
            norm_hh=self._affine(rng, gates),
            norm_c=self._affine(rng, self.H),
        )

    def _affine(self, rng: np.random.Generator, features: int) -> Affine | None:
        if self.norm == "none" or not self.affine:
            return None
        return Affine(weight=rng.uniform(0.5, 1.5, features), bias=0.3 * rng.standard_normal(features))
