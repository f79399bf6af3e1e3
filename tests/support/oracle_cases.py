"""Small recurrent problems for the oracle's own tests: every norm, and inputs as trees for `complex_step`."""

from typing import Any

import numpy as np

from atn_reference import (
    Affine,
    GRUMemory,
    GRUNorm,
    GRUParameters,
    GRUPopulationNorm,
    GRUState,
    LSTMMemory,
    LSTMParameters,
    LSTMState,
    Norm,
    NormPropLSTMParameters,
    PopulationNorm,
    PopulationStatistics,
    RNNMemory,
    RNNNorm,
    RNNParameters,
    RNNPopulationNorm,
    RNNState,
    WeightNormLSTMParameters,
    WindowNorm,
)

T, B, I, H, O = 6, 3, 2, 3, 4

WINDOW_NORMS: dict[str, WindowNorm] = {
    "ln": WindowNorm("layer", 1, 1e-2),
    "atn-ln": WindowNorm("layer", 3, 1e-2),
    "bn": WindowNorm("batch", 1, 1e-2),
    "atn-bn": WindowNorm("batch", 3, 1e-2),
    "atn-ln-long": WindowNorm("layer", T + 4, 1e-2),
}

Array = np.ndarray[Any, Any]


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape)


def _affine(rng: np.random.Generator, N: int, *, affine: bool) -> Affine | None:
    return Affine(rng.uniform(0.5, 1.5, N), _normal(rng, N)) if affine else None


def _population(rng: np.random.Generator, N: int) -> PopulationStatistics:
    S = T - 2  # shorter than the sequence: the last steps reuse the last statistics
    return PopulationStatistics(_normal(rng, S, N), rng.uniform(0.5, 2.0, (S, N)), np.ones(S, dtype=np.int64))


def lstm_norm(name: str) -> Norm:
    """Norm of an LSTM by name: one of `WINDOW_NORMS`, "population" or "none"."""
    rng = np.random.default_rng(11)
    if name == "population":
        return PopulationNorm(_population(rng, 4 * H), _population(rng, 4 * H), _population(rng, H), 1e-2)
    return None if name == "none" else WINDOW_NORMS[name]


def rnn_norm(name: str) -> RNNNorm:
    """Norm of a simple network by name, as `lstm_norm`."""
    rng = np.random.default_rng(12)
    if name == "population":
        return RNNPopulationNorm(_population(rng, H), _population(rng, H), _population(rng, O), 1e-2)
    return None if name == "none" else WINDOW_NORMS[name]


def gru_norm(name: str) -> GRUNorm:
    """Norm of a GRU by name, as `lstm_norm`."""
    rng = np.random.default_rng(13)
    if name == "population":
        return GRUPopulationNorm(_population(rng, 3 * H), _population(rng, 3 * H), 1e-2)
    return None if name == "none" else WINDOW_NORMS[name]


def lstm_parameters(*, affine: bool, bias: bool = True, inputs: int = I, seed: int = 0) -> LSTMParameters:
    """Parameters of one layer."""
    rng = np.random.default_rng([seed, 3])
    return LSTMParameters(
        weight_ih=_normal(rng, 4 * H, inputs),
        weight_hh=_normal(rng, 4 * H, H),
        bias_ih=_normal(rng, 4 * H) if bias else None,
        bias_hh=_normal(rng, 4 * H) if bias else None,
        norm_ih=_affine(rng, 4 * H, affine=affine),
        norm_hh=_affine(rng, 4 * H, affine=affine),
        norm_c=_affine(rng, H, affine=affine),
    )


def rnn_parameters(*, affine: bool, bias: bool = True) -> RNNParameters:
    """Parameters of one simple network."""
    rng = np.random.default_rng(4)
    return RNNParameters(
        weight_ih=_normal(rng, H, I),
        weight_hh=_normal(rng, H, H),
        weight_y=_normal(rng, O, H),
        bias_ih=_normal(rng, H) if bias else None,
        bias_hh=_normal(rng, H) if bias else None,
        bias_y=_normal(rng, O) if bias else None,
        norm_ih=_affine(rng, H, affine=affine),
        norm_hh=_affine(rng, H, affine=affine),
        norm_y=_affine(rng, O, affine=affine),
    )


def gru_parameters(*, affine: bool, bias: bool = True) -> GRUParameters:
    """Parameters of one GRU."""
    rng = np.random.default_rng(14)
    return GRUParameters(
        weight_ih=_normal(rng, 3 * H, I),
        weight_hh=_normal(rng, 3 * H, H),
        bias_ih=_normal(rng, 3 * H) if bias else None,
        bias_hh=_normal(rng, 3 * H) if bias else None,
        norm_ih=_affine(rng, 3 * H, affine=affine),
        norm_hh=_affine(rng, 3 * H, affine=affine),
    )


def weight_norm_parameters(*, bias: bool = True, gamma_c: bool = False) -> WeightNormLSTMParameters:
    """Parameters of one LSTM with weight normalization."""
    rng, plain = np.random.default_rng(16), lstm_parameters(affine=False, bias=bias)
    return WeightNormLSTMParameters(
        weight_ih=plain.weight_ih,
        weight_hh=plain.weight_hh,
        gamma_ih=rng.uniform(0.5, 1.5, 4 * H),
        gamma_hh=rng.uniform(0.5, 1.5, 4 * H),
        bias_ih=plain.bias_ih,
        bias_hh=plain.bias_hh,
        gamma_c=rng.uniform(0.5, 1.5, H) if gamma_c else None,
    )


def norm_prop_parameters(*, bias: bool = True) -> NormPropLSTMParameters:
    """Parameters of one Norm-Prop LSTM."""
    p = weight_norm_parameters(bias=bias)
    gamma_c = np.random.default_rng(17).uniform(0.5, 1.5, H)
    return NormPropLSTMParameters(p.weight_ih, p.weight_hh, p.gamma_ih, p.gamma_hh, gamma_c, p.bias_ih, p.bias_hh)


def lstm_state(M: int | None) -> LSTMState:
    """State in the middle of a sequence, with M rows of memory or none at all."""
    rng = np.random.default_rng(5)
    memory = None
    if M is not None:
        memory = LSTMMemory(_normal(rng, M, B, 4 * H), _normal(rng, M, B, 4 * H), _normal(rng, M, B, H))
    return LSTMState(_normal(rng, B, H), _normal(rng, B, H), memory, 1)


def rnn_state(M: int | None) -> RNNState:
    """State in the middle of a sequence, with M rows of memory or none at all."""
    rng = np.random.default_rng(6)
    memory = None if M is None else RNNMemory(_normal(rng, M, B, H), _normal(rng, M, B, H), _normal(rng, M, B, O))
    return RNNState(_normal(rng, B, H), memory, 1)


def gru_state(M: int | None) -> GRUState:
    """State in the middle of a sequence, with M rows of memory or none at all."""
    rng = np.random.default_rng(15)
    memory = None if M is None else GRUMemory(_normal(rng, M, B, 3 * H), _normal(rng, M, B, 3 * H))
    return GRUState(_normal(rng, B, H), memory, 1)


def sequence(steps: int = T, inputs: int = I) -> Array:
    """Input x (T, B, I)."""
    return np.random.default_rng(7).standard_normal((steps, B, inputs))
