"""Wrong calls of the RNN, of the GRU, and of what stands on top of a layer."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from atn import ATNRNN
from tests.support.wrong_calls import META, WINDOW, A, Case, gru, linear, lstm, pair, per_step, rnn, state, wrong_calls

CASES: list[Case] = [
    (
        "nonlinearity unknown",
        lambda: rnn(nonlinearity="sigmoid"),
        ValueError,
        "nonlinearity must be one of 'tanh', 'relu', got 'sigmoid'",
    ),
    (
        "nonlinearity, bias in its place",
        lambda: ATNRNN(3, 5, 1, cast("Any", True), k=2),  # noqa: FBT003 - the slip
        ValueError,
        "nonlinearity must be one of 'tanh', 'relu', got True",
    ),
    ("rnn, k missing", lambda: rnn(k=None), ValueError, rf"k {WINDOW} for norm='atn', got None"),
    ("gru, k for none", lambda: gru(norm="none"), ValueError, "k must be left out for norm='none', .* got 2"),
    ("gru, hidden_size", lambda: gru(hidden_size=0), ValueError, rf"hidden_size {WINDOW}, got 0"),
    ("gru, bias", lambda: gru(bias=1), TypeError, "bias must be True or False, got 1 of type int"),
    (
        "rnn, backend without the cell",
        lambda: rnn(backend="triton"),
        ValueError,
        "backend must be 'auto' or one of 'eager', 'fused' for the cell RNN_TANH, got 'triton'",
    ),
    (
        "gru, backend without the cell",
        lambda: gru(backend="triton"),
        ValueError,
        "backend must be 'auto' or one of 'eager', 'fused' for the cell GRU, got 'triton'",
    ),
    (
        "gru, Norm-Prop",
        lambda: gru(k=None, norm="prop"),
        ValueError,
        "norm must be one of .* got 'prop'",
    ),
    (
        "rnn, three gains",
        lambda: rnn(gamma=(1.0, 1.0, 1.0)),
        TypeError,
        r"gamma must be a number or one for each of norm_ih, norm_hh, got \(1.0, 1.0, 1.0\)",
    ),
    ("gru, proj_size", lambda: gru(proj_size=2), ValueError, "proj_size must be 0, projections are not"),
    ("gru, forget_bias", lambda: gru(forget_bias=1.0), TypeError, "forget_bias is no argument of ATNGRU"),
    ("gru, hx a pair", lambda: gru()(A, pair(1, 2, 5)), TypeError, "h_0 must be a tensor, got tuple"),
    (
        "rnn, h_0 of another batch",
        lambda: rnn()(A, torch.zeros(1, 4, 5)),
        ValueError,
        r"h_0 must have shape .* = \(1, 2, 5\), got \(1, 4, 5\)",
    ),
    (
        "gru, hx of a stream",
        lambda: gru()(A, gru().stream(A)[1]),
        TypeError,
        "hx must be a tensor h_0, got HiddenState, which goes to stream",
    ),
    (
        "gru, state of an RNN",
        lambda: gru().stream(A, rnn().stream(A)[1]),
        ValueError,
        "state must be of a module with mode='GRU', got one of mode='RNN_TANH'",
    ),
    (
        "rnn, state of another nonlinearity",
        lambda: rnn().stream(A, rnn(nonlinearity="relu").stream(A)[1]),
        ValueError,
        "state must be of a module with mode='RNN_TANH', got one of mode='RNN_RELU'",
    ),
    (
        "gru, state of an LSTM",
        lambda: gru().stream(A, state()),
        TypeError,
        "state must be the HiddenState of the call before, got LSTMState",
    ),
    (
        "lstm, state of a GRU",
        lambda: lstm().stream(A, gru().stream(A)[1]),
        TypeError,
        "state must be the LSTMState of the call before, got HiddenState",
    ),
    (
        "gru, stream in both directions",
        lambda: gru(bidirectional=True).stream(A),
        ValueError,
        "stream needs bidirectional=False, got True",
    ),
    ("linear, k zero", lambda: linear(k=0), ValueError, rf"k {WINDOW}, got 0"),
    ("linear, no outputs", lambda: linear(out_features=0), ValueError, rf"out_features {WINDOW}, got 0"),
    ("linear, bias", lambda: linear(bias="no"), TypeError, "bias must be True or False, got 'no'"),
    (
        "linear, bias_placement",
        lambda: linear(bias_placement="both"),
        ValueError,
        "bias_placement must be one of 'outside', 'inside', got 'both'",
    ),
    ("linear, features", lambda: linear()(A[..., :2]), ValueError, "input must have 3 features along its last axis"),
    ("linear, rank", lambda: linear()(A[0]), ValueError, r"input must have 3 axes \(T, B, H\), got shape \(2, 3\)"),
    ("linear, dtype", lambda: linear()(A.double()), TypeError, "input must have weight's dtype torch.float32"),
    (
        "linear, memory of a state",
        lambda: linear().stream(A, state()),
        TypeError,
        "memory must be the NormMemory .* got LSTMState",
    ),
    ("per step, no steps", lambda: per_step(steps=0), ValueError, rf"steps {WINDOW}, got 0"),
    ("per step, no features", lambda: per_step(hidden_size=0), ValueError, rf"hidden_size {WINDOW}, got 0"),
    ("per step, half a class", lambda: per_step(classes=0.5), TypeError, rf"classes {WINDOW}, got 0\.5"),
    ("per step, bias", lambda: per_step(bias="no"), TypeError, "bias must be True or False, got 'no'"),
    ("per step, layout", lambda: per_step(batch_first=1), TypeError, "batch_first must be True or False, got 1"),
    (
        "per step, other steps",
        lambda: per_step()(A[:3]),
        ValueError,
        r"h must have shape \(T, B, H\) with T = 4 and H = 3, got \(3, 2, 3\)",
    ),
    (
        "per step, time second",
        lambda: per_step(batch_first=True)(A),
        ValueError,
        r"h must have shape \(B, T, H\) with T = 4 and H = 3, got \(4, 2, 3\)",
    ),
    (
        "per step, features of one sequence",
        lambda: per_step().contributions(A[:, 0, :2]),
        ValueError,
        r"h must have shape \(T, H\) with T = 4 and H = 3, got \(4, 2\)",
    ),
    (
        "per step, rank",
        lambda: per_step()(A[0, 0]),
        ValueError,
        r"h must have shape \(T, B, H\) or \(T, H\), got \(3,\)",
    ),
    ("per step, dtype", lambda: per_step()(A.double()), TypeError, "h must have weight's dtype torch.float32"),
    ("per step, integers", lambda: per_step()(A.long()), TypeError, "h must be a floating-point tensor"),
    ("per step, device", lambda: per_step()(META), ValueError, "h must be on weight's device cpu, got meta"),
    (
        "per step, packed",
        lambda: per_step()(torch.nn.utils.rnn.pack_padded_sequence(A, torch.tensor([4, 2]))),
        TypeError,
        "h must be a tensor, got PackedSequence",
    ),
]


@wrong_calls(CASES)
def test_wrong_call(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
