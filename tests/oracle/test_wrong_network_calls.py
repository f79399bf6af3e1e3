"""Every wrong call of a network of the oracle raises one error that names the argument."""

from typing import Any

import numpy as np
import pytest

import atn_reference
from atn_reference import Affine, LSTMMemory, LSTMState, RNNMemory, RNNState
from tests.support.oracle_calls import WrongCall, assert_refused
from tests.support.oracle_cases import (
    B,
    H,
    gru_parameters,
    gru_state,
    lstm_norm,
    lstm_parameters,
    lstm_state,
    norm_prop_parameters,
    rnn_norm,
    rnn_parameters,
    rnn_state,
    sequence,
    weight_norm_parameters,
)

# Untyped, for the calls below are wrong on purpose.
oracle: Any = atn_reference

X = sequence()
PLAIN = lstm_parameters(affine=False)
AFFINE = lstm_parameters(affine=True)
RNN = rnn_parameters(affine=False)
GRU = gru_parameters(affine=False)
ATN = oracle.WindowNorm("layer", 3)
STATE: Any = lstm_state(2)
EVALUATION: Any = lstm_norm("population")
RNN_EVALUATION: Any = rnn_norm("population")
OUTPUT, LSTM_CACHE = oracle.lstm_forward(X, PLAIN, ATN)
RNN_OUTPUT, RNN_CACHE = oracle.rnn_forward(X, RNN, ATN)
GRU_OUTPUT, GRU_CACHE = oracle.gru_forward(X, GRU, ATN)
WN = weight_norm_parameters()
PROP = norm_prop_parameters()
NORM_PROP = oracle.NormProp(0.5, 0.2)
PROP_CACHE = oracle.norm_prop_lstm_forward(X, PROP, NORM_PROP)[1]
PLAIN_CACHE = oracle.lstm_forward(X, PLAIN, None)[1]
STACK_CACHE = oracle.stacked_lstm_forward(X, [[PLAIN]], None)[1]

lstm = oracle.lstm_forward
rnn = oracle.rnn_forward
gru = oracle.gru_forward
stack = oracle.stacked_lstm_forward

WRONG_CALLS: dict[str, WrongCall] = {
    # window length
    "k of a norm": (lambda: lstm(X, PLAIN, oracle.WindowNorm("layer", 0)), ValueError, "k: was 0"),
    # epsilon
    "eps of a norm": (lambda: lstm(X, PLAIN, oracle.WindowNorm("layer", 3, -1.0)), ValueError, "eps: was -1.0"),
    "eps of an LSTM's evaluation": (lambda: lstm(X, PLAIN, EVALUATION._replace(eps=-1.0)), ValueError, "eps: was -1.0"),
    # names
    "base of a norm": (
        lambda: lstm(X, PLAIN, oracle.WindowNorm("time", 3)),
        ValueError,
        "norm.base: was 'time', must be one of 'layer', 'batch'",
    ),
    "bias placement": (
        lambda: lstm(X, PLAIN, ATN, "left"),
        ValueError,
        "bias_placement: was 'left', must be one of 'outside', 'inside'",
    ),
    "bias placement of the RNN": (
        lambda: rnn(X, RNN, ATN, "left"),
        ValueError,
        "bias_placement: was 'left', must be one of 'outside', 'inside'",
    ),
    # type and dtype
    "mixed in the LSTM": (
        lambda: lstm(X.astype(np.float32), PLAIN, ATN),
        TypeError,
        "parameters.weight_ih: dtype was float64, must be float32, the dtype of x",
    ),
    # rank and sizes
    "features of x": (
        lambda: lstm(sequence(inputs=5), PLAIN, ATN),
        ValueError,
        "parameters.weight_ih: shape was (12, 2), must be (4H, I) with I = 5",
    ),
    "gates": (
        lambda: lstm(X, PLAIN._replace(weight_ih=np.ones((7, 2))), ATN),
        ValueError,
        "parameters.weight_ih: shape was (7, 2), must be (4H, I) with I = 2",
    ),
    "recurrent weight": (
        lambda: lstm(X, PLAIN._replace(weight_hh=np.ones((12, 4))), ATN),
        ValueError,
        "parameters.weight_hh: shape was (12, 4), must be (4H, H) with H = 3",
    ),
    "bias": (
        lambda: lstm(X, PLAIN._replace(bias_hh=np.ones(3)), ATN),
        ValueError,
        "parameters.bias_hh: shape was (3,), must be (4H,) with H = 3",
    ),
    "gain": (
        lambda: lstm(X, PLAIN._replace(norm_c=Affine(np.ones(12), np.ones(3))), ATN),
        ValueError,
        "parameters.norm_c.gamma: shape was (12,), must be (H,) with H = 3",
    ),
    "RNN's recurrent weight": (
        lambda: rnn(X, RNN._replace(weight_hh=np.ones((3, 4))), ATN),
        ValueError,
        "parameters.weight_hh: shape was (3, 4), must be (H, H) with H = 3",
    ),
    # state
    "state tuple": (
        lambda: lstm(X, PLAIN, ATN, state=(STATE.h, STATE.c)),
        TypeError,
        "state: was tuple, must be LSTMState or None",
    ),
    "state of another batch": (
        lambda: lstm(X, PLAIN, ATN, state=LSTMState(np.zeros((2, H)), np.zeros((2, H)))),
        ValueError,
        "state.h: shape was (2, 3), must be (B, H) with B = 3, H = 3",
    ),
    "cell": (
        lambda: lstm(X, PLAIN, ATN, state=LSTMState(STATE.h, np.zeros((B, 4)))),
        ValueError,
        "state.c: shape was (3, 4), must be (B, H) with B = 3, H = 3",
    ),
    "memory of different lengths": (
        lambda: lstm(X, PLAIN, ATN, state=STATE._replace(memory=STATE.memory._replace(c=np.zeros((1, B, H))))),
        ValueError,
        "state.memory.c: shape was (1, 3, 3), must be (M, B, H) with B = 3, H = 3, M = 2",
    ),
    "memory longer than the window": (
        lambda: lstm(X, PLAIN, oracle.WindowNorm("layer", 2), state=STATE),
        ValueError,
        "state.memory: had 2 rows, must have at most k - 1 = 1",
    ),
    "memory without a window": (
        lambda: lstm(X, PLAIN, None, state=STATE),
        ValueError,
        "state.memory: was LSTMMemory, must be None: only a WindowNorm reads a window",
    ),
    "memory in evaluation": (
        lambda: lstm(X, PLAIN, EVALUATION, state=STATE),
        ValueError,
        "state.memory: was LSTMMemory",
    ),
    "negative step": (lambda: lstm(X, PLAIN, ATN, state=STATE._replace(step=-1)), ValueError, "state.step: was -1"),
    "RNN's state": (
        lambda: rnn(X, RNN, ATN, state=RNNState(np.zeros((B, 4)))),
        ValueError,
        "state.h: shape was (3, 4), must be (B, H) with B = 3, H = 3",
    ),
    "RNN's memory without a window": (
        lambda: rnn(X, RNN, None, state=rnn_state(2)),
        ValueError,
        "state.memory: was RNNMemory, must be None: only a WindowNorm reads a window",
    ),
    # norm and parameters
    "norm": (
        lambda: lstm(X, PLAIN, "atn"),
        TypeError,
        "norm: was str, must be WindowNorm or AdaNorm or PopulationNorm or None",
    ),
    "gain without a norm": (lambda: lstm(X, AFFINE, None), ValueError, "parameters.norm_ih: was Affine, must be None"),
    "RNN's gain without a norm": (
        lambda: rnn(X, rnn_parameters(affine=True), None),
        ValueError,
        "parameters.norm_ih: was Affine, must be None: a gain and shift belong to a norm, and norm is None",
    ),
    "parameters": (
        lambda: lstm(X, RNN, ATN),
        TypeError,
        "parameters: was RNNParameters, must be LSTMParameters",
    ),
    "population of a site": (
        lambda: lstm(X, PLAIN, EVALUATION._replace(c=EVALUATION.ih)),
        ValueError,
        "norm.c.mean: shape was (4, 12), must be (S, H) with H = 3, S = 4",
    ),
    "statistics of no window": (
        lambda: oracle.lstm_statistics(PLAIN_CACHE),
        TypeError,
        "norm: was not a WindowNorm, must be one",
    ),
    # population
    "negative var of a site": (
        lambda: lstm(X, PLAIN, EVALUATION._replace(c=EVALUATION.c._replace(var=-EVALUATION.c.var))),
        ValueError,
        "norm.c.var: had -",
    ),
    "negative var of the RNN": (
        lambda: rnn(X, RNN, RNN_EVALUATION._replace(y=RNN_EVALUATION.y._replace(var=-RNN_EVALUATION.y.var))),
        ValueError,
        "norm.y.var: had -",
    ),
    # stack
    "no layers": (lambda: stack(X, [], ATN), ValueError, "layers: numbers of directions were [], must be"),
    "uneven directions": (lambda: stack(X, [[PLAIN], [PLAIN] * 2], ATN), ValueError, "directions were [1, 2], must be"),
    "second layer": (
        lambda: stack(X, [[PLAIN], [PLAIN]], ATN),
        ValueError,
        "layers[1][0].weight_ih: shape was (12, 2), must be (4H, H) with H = 3",
    ),
    "stack's state": (
        lambda: stack(X, [[PLAIN]], ATN, state=(STATE.h, STATE.c)),
        ValueError,
        "h_0: shape was (3, 3), must be (1, 3, 3)",
    ),
    "stack's state list": (
        lambda: stack(X, [[PLAIN]], ATN, state=[STATE.h]),
        TypeError,
        "state: was list, must be the tuple (h_0, c_0) or None",
    ),
    "stack's cell": (
        lambda: stack(X, [[PLAIN]], ATN, state=(STATE.h[None], STATE.c)),
        ValueError,
        "c_0: shape was (3, 3), must be (1, 3, 3)",
    ),
    "stack in evaluation": (
        lambda: stack(X, [[PLAIN]], EVALUATION),
        TypeError,
        "norm: was PopulationNorm, must be WindowNorm or None",
    ),
    # upstream gradients
    "dh": (
        lambda: oracle.lstm_backward(OUTPUT.h[1:], LSTM_CACHE),
        ValueError,
        "dh: shape was (5, 3, 3), must be (6, 3, 3)",
    ),
    "dh_n": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, OUTPUT.h),
        ValueError,
        "dh_n: shape was (6, 3, 3), must be",
    ),
    "dc_n": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, None, OUTPUT.c),
        ValueError,
        "dc_n: shape was (6, 3, 3), must be (3, 3), the shape of its output",
    ),
    "dc_n of another dtype": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, None, OUTPUT.state.c.astype(np.float32)),
        TypeError,
        "dc_n: dtype was float32, must be float64, the dtype of the forward pass",
    ),
    "dc": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, dc=OUTPUT.c[1:]),
        ValueError,
        "dc: shape was (5, 3, 3), must be (6, 3, 3), the shape of its output",
    ),
    "RNN's dh": (
        lambda: oracle.rnn_backward(RNN_OUTPUT.h[1:], RNN_OUTPUT.y, RNN_CACHE),
        ValueError,
        "dh: shape was (5, 3, 3), must be (6, 3, 3), the shape of its output",
    ),
    "RNN's dy": (
        lambda: oracle.rnn_backward(RNN_OUTPUT.h, RNN_OUTPUT.h, RNN_CACHE),
        ValueError,
        "dy: shape was (6, 3, 3), must be (6, 3, 4), the shape of its output",
    ),
    "RNN's dy of another dtype": (
        lambda: oracle.rnn_backward(RNN_OUTPUT.h, RNN_OUTPUT.y.astype(np.float32), RNN_CACHE),
        TypeError,
        "dy: dtype was float32, must be float64, the dtype of the forward pass",
    ),
    "RNN's dh_n": (
        lambda: oracle.rnn_backward(RNN_OUTPUT.h, RNN_OUTPUT.y, RNN_CACHE, RNN_OUTPUT.h),
        ValueError,
        "dh_n: shape was (6, 3, 3), must be (3, 3), the shape of its output",
    ),
    "dmemory_n tuple": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, dmemory_n=tuple(OUTPUT.state.memory)),
        TypeError,
        "dmemory_n: was tuple, must be LSTMMemory or None",
    ),
    "stack's dh_n": (
        lambda: oracle.stacked_lstm_backward(OUTPUT.h, STATE.h, None, STACK_CACHE),
        ValueError,
        "dh_n: shape was (3, 3), must be (1, 3, 3), the shape of its output",
    ),
    "stack's dc_n": (
        lambda: oracle.stacked_lstm_backward(OUTPUT.h, None, STATE.c, STACK_CACHE),
        ValueError,
        "dc_n: shape was (3, 3), must be (1, 3, 3), the shape of its output",
    ),
    "dmemory_n": (
        lambda: oracle.lstm_backward(OUTPUT.h, LSTM_CACHE, dmemory_n=LSTMMemory(OUTPUT.h, OUTPUT.h, OUTPUT.h)),
        ValueError,
        "dmemory_n.ih: shape was (6, 3, 3), must be (2, 3, 12), the shape of its output",
    ),
    "dmemory_n without memory": (
        lambda: oracle.lstm_backward(OUTPUT.h, PLAIN_CACHE, dmemory_n=STATE.memory),
        ValueError,
        "dmemory_n: was LSTMMemory, must be None: the forward pass handed on no memory",
    ),
    "RNN's dmemory_n": (
        lambda: oracle.rnn_backward(RNN_OUTPUT.h, RNN_OUTPUT.y, RNN_CACHE, dmemory_n=RNNMemory(X, X, X)),
        ValueError,
        "dmemory_n.ih: shape was (6, 3, 2), must be (2, 3, 3), the shape of its output",
    ),
    "doutput": (lambda: oracle.stacked_lstm_backward(X, None, None, STACK_CACHE), ValueError, "doutput: shape was"),
    # GRU, AdaNorm, detached statistics, readout
    "GRU's parameters": (
        lambda: gru(X, PLAIN, ATN),
        TypeError,
        "parameters: was LSTMParameters, must be GRUParameters",
    ),
    "GRU's norm": (
        lambda: gru(X, GRU, EVALUATION),
        TypeError,
        "norm: was PopulationNorm, must be WindowNorm or AdaNorm or GRUPopulationNorm or None",
    ),
    "GRU's gates": (
        lambda: gru(X, GRU._replace(weight_ih=np.ones((8, 2))), ATN),
        ValueError,
        "parameters.weight_ih: shape was (8, 2), must be (3H, I) with I = 2",
    ),
    "GRU's recurrent weight": (
        lambda: gru(X, GRU._replace(weight_hh=np.ones((9, 4))), ATN),
        ValueError,
        "parameters.weight_hh: shape was (9, 4), must be (3H, H) with H = 3",
    ),
    "GRU's state": (
        lambda: gru(X, GRU, ATN, state=STATE),
        TypeError,
        "state: was LSTMState, must be GRUState or None",
    ),
    "GRU's memory without a window": (
        lambda: gru(X, GRU, None, state=gru_state(2)),
        ValueError,
        "state.memory: was GRUMemory, must be None: only a WindowNorm reads a window",
    ),
    "GRU's gain without a norm": (
        lambda: gru(X, gru_parameters(affine=True), None),
        ValueError,
        "parameters.norm_ih: was Affine, must be None: a gain and shift belong to a norm, and norm is None",
    ),
    "gain beside AdaNorm": (
        lambda: lstm(X, AFFINE, oracle.AdaNorm()),
        ValueError,
        "parameters.norm_ih: was Affine, must be None: AdaNorm has a factor of its own in place of gain and shift",
    ),
    "memory beside AdaNorm": (
        lambda: lstm(X, PLAIN, oracle.AdaNorm(), state=STATE),
        ValueError,
        "state.memory: was LSTMMemory, must be None: only a WindowNorm reads a window",
    ),
    "slope of AdaNorm": (
        lambda: lstm(X, PLAIN, oracle.AdaNorm(1.0, -0.1)),
        ValueError,
        "norm.slope: was -0.1, must be a finite real number >= 0",
    ),
    "detach of something else": (
        lambda: lstm(X, PLAIN, ATN._replace(detach=("std",))),
        ValueError,
        "norm.detach: was ('std',), must be a tuple of 'mean' and 'var', each once",
    ),
    "gamma_c beside a norm": (
        lambda: lstm(X, PLAIN._replace(gamma_c=np.ones(H)), ATN),
        ValueError,
        "parameters.gamma_c: was ndarray, must be None: the gain of the cell's norm is parameters.norm_c",
    ),
    "gamma_c": (
        lambda: lstm(X, PLAIN._replace(gamma_c=np.ones(4)), None),
        ValueError,
        "parameters.gamma_c: shape was (4,), must be (H,) with H = 3",
    ),
    "GRU's dh": (
        lambda: oracle.gru_backward(GRU_OUTPUT.h[1:], GRU_CACHE),
        ValueError,
        "dh: shape was (5, 3, 3), must be (6, 3, 3)",
    ),
    "GRU's dmemory_n": (
        lambda: oracle.gru_backward(GRU_OUTPUT.h, GRU_CACHE, dmemory_n=oracle.GRUMemory(X, X)),
        ValueError,
        "dmemory_n.ih: shape was (6, 3, 2), must be (2, 3, 9), the shape of its output",
    ),
    # weight normalization and Norm-Prop
    "parameters of weight normalization": (
        lambda: oracle.weight_norm_lstm_forward(X, PLAIN),
        TypeError,
        "parameters: was LSTMParameters, must be WeightNormLSTMParameters",
    ),
    "gain of weight normalization": (
        lambda: oracle.weight_norm_lstm_forward(X, WN._replace(gamma_ih=np.ones(3))),
        ValueError,
        "parameters.gamma_ih: shape was (3,), must be (4H,) with",
    ),
    "start of weight normalization": (
        lambda: oracle.weight_norm_lstm_parameters(WN),
        TypeError,
        "parameters: was WeightNormLSTMParameters, must be LSTMParameters",
    ),
    "memory beside weight normalization": (
        lambda: oracle.weight_norm_lstm_forward(X, WN, STATE),
        ValueError,
        "state.memory: was LSTMMemory, must be None: only a WindowNorm reads a window",
    ),
    "dh of weight normalization": (
        lambda: oracle.weight_norm_lstm_backward(X, oracle.weight_norm_lstm_forward(X, WN)[1]),
        ValueError,
        "dh: shape was (6, 3, 2), must be (6, 3, 3)",
    ),
    "parameters of Norm-Prop": (
        lambda: oracle.norm_prop_lstm_forward(X, WN, NORM_PROP),
        TypeError,
        "parameters: was WeightNormLSTMParameters, must be NormPropLSTMParameters",
    ),
    "constants of Norm-Prop": (
        lambda: oracle.norm_prop_lstm_forward(X, PROP, ATN),
        TypeError,
        "norm: was WindowNorm, must be NormProp",
    ),
    "variance of Norm-Prop": (
        lambda: oracle.norm_prop_lstm_forward(X, PROP, NORM_PROP._replace(var_h=0.0)),
        ValueError,
        "norm.var_h: was 0.0, must be a finite real number > 0",
    ),
    "gain of Norm-Prop's cell": (
        lambda: oracle.norm_prop_lstm_forward(X, PROP._replace(gamma_c=np.ones(4)), NORM_PROP),
        ValueError,
        "parameters.gamma_c: shape was (4,), must be (H,) with H = 3",
    ),
    "memory beside Norm-Prop": (
        lambda: oracle.norm_prop_lstm_forward(X, PROP, NORM_PROP, STATE),
        ValueError,
        "state.memory: was LSTMMemory, must be None: only a WindowNorm reads a window",
    ),
    "dc of Norm-Prop": (
        lambda: oracle.norm_prop_lstm_backward(OUTPUT.h, PROP_CACHE, dc=X),
        ValueError,
        "dc: shape was (6, 3, 2), must be (6, 3, 3)",
    ),
    "dh of Norm-Prop as a list": (
        lambda: oracle.norm_prop_lstm_backward([1.0], PROP_CACHE),
        TypeError,
        "dh: was list, must be a NumPy array",
    ),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_call(call: str) -> None:
    assert_refused(WRONG_CALLS[call])
