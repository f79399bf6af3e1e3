"""Wrong calls of the library: each gets an error that names the argument, what it was and what it must be."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils.rnn import pack_sequence

import atn.functional as F
from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm, LSTMState, NormalizedLinear, NormMemory, backends
from atn.carried import map_memory

A = torch.zeros(4, 2, 3)
META = A.to("meta")


def norm(**changes: Any) -> Tensor:
    """Call of the function with one argument changed."""
    return F.assorted_time_norm(**{"a": A, "k": 2, **changes})


def lstm(**changes: Any) -> Any:  # Any: wrong calls are not for the type checker
    """`ATNLSTM` of 3 features and 5 hidden, with settings changed."""
    return ATNLSTM(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes})


def rnn(**changes: Any) -> Any:  # Any: the same
    """`ATNRNN` of 3 features and 5 hidden, with settings changed."""
    return ATNRNN(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes})


def gru(**changes: Any) -> Any:  # Any: the same
    """`ATNGRU` of 3 features and 5 hidden, with settings changed."""
    return ATNGRU(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes})


def linear(**changes: Any) -> Any:  # Any: the same
    """`NormalizedLinear` of 3 features and 5 outputs, with settings changed."""
    return NormalizedLinear(**{"in_features": 3, "out_features": 5, "k": 2, **changes})


def module(**changes: Any) -> Any:
    """`AssortedTimeNorm` of 3 features, with settings changed."""
    return AssortedTimeNorm(**{"num_features": 3, "k": 2, **changes})


def state(T: int = 3, B: int = 2, **changes: Any) -> LSTMState:
    """State after T steps of B cases."""
    _, after = ATNLSTM(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes}).stream(torch.zeros(T, B, 3))
    return after


def memory() -> NormMemory:
    """Memory after 4 steps with k = 3."""
    return AssortedTimeNorm(3, 3).stream(A)[1]


def synchronized(module: torch.nn.Module) -> Any:
    """`module` with its batch norms made those of several processes."""
    return torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch's own


def pair(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Zero states of this shape."""
    return torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)


Case = tuple[str, Callable[[], object], type[Exception], str]
WINDOW = "must be an integer of at least 1"
EPS = "eps must be a finite number of at least 0"
FLOATING = "must be a floating-point tensor of 16, 32 or 64 bits"

CASES: list[Case] = [
    # The function.
    ("k zero", lambda: norm(k=0), ValueError, rf"k {WINDOW}, got 0"),
    ("k negative", lambda: norm(k=-3), ValueError, rf"k {WINDOW}, got -3"),
    ("k a float", lambda: norm(k=2.0), TypeError, rf"k {WINDOW}, got 2.0 of type float"),
    ("k a bool", lambda: norm(k=True), TypeError, rf"k {WINDOW}, got True of type bool"),
    ("k None", lambda: norm(k=None), TypeError, rf"k {WINDOW}, got None"),
    ("eps negative", lambda: norm(eps=-1e-5), ValueError, rf"{EPS}, got -1e-05"),
    ("eps NaN", lambda: norm(eps=float("nan")), ValueError, rf"{EPS}, got nan"),
    ("eps infinite", lambda: norm(eps=float("inf")), ValueError, rf"{EPS}, got inf"),
    ("eps a string", lambda: norm(eps="1e-5"), TypeError, rf"{EPS}, got '1e-5' of type str"),
    ("eps a bool", lambda: norm(eps=False), TypeError, rf"{EPS}, got False"),
    ("base unknown", lambda: norm(base="time"), ValueError, "base must be one of 'layer', 'batch', got 'time'"),
    ("a a list", lambda: norm(a=[[1.0]]), TypeError, "a must be a tensor, got list"),
    ("a integers", lambda: norm(a=A.long()), TypeError, rf"a {FLOATING}, got torch.int64"),
    ("a complex", lambda: norm(a=A.to(torch.complex64)), TypeError, rf"a {FLOATING}, got torch.complex64"),
    ("a of rank 2", lambda: norm(a=A[0]), ValueError, r"a must have 3 axes \(T, B, N\), got shape \(2, 3\)"),
    ("a of rank 4", lambda: norm(a=A[None]), ValueError, r"a must have 3 axes \(T, B, N\), got shape \(1, 4, 2, 3\)"),
    ("T zero", lambda: norm(a=A[:0]), ValueError, r"a must have at least one element along each axis .* \(0, 2, 3\)"),
    (
        "B zero",
        lambda: norm(a=A[:, :0]),
        ValueError,
        r"a must have at least one element along each axis .* \(4, 0, 3\)",
    ),
    ("N zero", lambda: norm(a=A[..., :0]), ValueError, r"a must have at least one element .* \(4, 2, 0\)"),
    (
        "weight too long",
        lambda: norm(weight=torch.ones(4)),
        ValueError,
        r"weight must have shape \(N,\) = \(3,\), got \(4,\)",
    ),
    (
        "bias of rank 2",
        lambda: norm(bias=torch.ones(1, 3)),
        ValueError,
        r"bias must have shape \(N,\) = \(3,\), got \(1, 3\)",
    ),
    ("weight integers", lambda: norm(weight=torch.ones(3).long()), TypeError, rf"weight {FLOATING}, got torch.int64"),
    ("weight a number", lambda: norm(weight=1.0), TypeError, "weight must be a tensor, got float"),
    (
        "weight of another dtype",
        lambda: norm(weight=torch.ones(3).double()),
        TypeError,
        "weight must have a's dtype torch.float32, got torch.float64",
    ),
    ("bias elsewhere", lambda: norm(bias=META[0, 0]), ValueError, "bias must be on a's device cpu, got meta"),
    # The norm as a module.
    ("no features", lambda: module(num_features=0), ValueError, rf"num_features {WINDOW}, got 0"),
    ("module, k zero", lambda: module(k=0), ValueError, rf"k {WINDOW}, got 0"),
    ("module, eps", lambda: module(eps=-1), ValueError, rf"{EPS}, got -1"),
    ("module, base", lambda: module(base="Layer"), ValueError, "base must be one of .* got 'Layer'"),
    ("module, affine", lambda: module(affine=1), TypeError, "affine must be True or False, got 1 of type int"),
    (
        "max_steps missing",
        lambda: module(base="batch"),
        ValueError,
        rf"max_steps {WINDOW} for base='batch', .*, got None",
    ),
    ("max_steps zero", lambda: module(base="batch", max_steps=0), ValueError, rf"max_steps {WINDOW}, got 0"),
    ("max_steps a float", lambda: module(base="batch", max_steps=9.0), TypeError, rf"max_steps {WINDOW}, got 9.0"),
    (
        "max_steps for layers",
        lambda: module(max_steps=9),
        ValueError,
        "max_steps must be left out for base='layer', which has no population statistics, got 9",
    ),
    (
        "momentum above 1",
        lambda: module(base="batch", max_steps=9, momentum=2),
        ValueError,
        r"momentum must be a number in \[0, 1\], got 2",
    ),
    (
        "momentum a string",
        lambda: module(momentum="0.1"),
        TypeError,
        r"momentum must be a number in \[0, 1\], got '0.1' of type str",
    ),
    (
        "one value for a statistic",
        lambda: module(k=1, base="batch", max_steps=4)(A[:, :1]),
        ValueError,
        r"a must have at least 2 cases for base='batch' with k=1 in training, .* got shape \(4, 1, 3\)",
    ),
    (
        "module made a SyncBatchNorm",
        lambda: synchronized(module(base="batch", max_steps=4))(A),
        TypeError,
        "population must be the PopulationStatistics of base='batch', got SyncBatchNorm",
    ),
    ("module, features", lambda: module(num_features=4)(A), ValueError, "a must have 4 features along its last axis"),
    (
        "module, dtype",
        lambda: module()(A.double()),
        TypeError,
        "a must have weight's dtype torch.float32, got torch.float64",
    ),
    (
        "module, dtype of the bias alone",
        lambda: functional_call(module(), {"bias": torch.zeros(3).double()}, (A,)),
        TypeError,
        "^bias must have weight's dtype torch.float32, got torch.float64",
    ),
    ("module, device", lambda: module()(META), ValueError, "a must be on weight's device cpu, got meta"),
    (
        "memory of a state",
        lambda: module(k=3).stream(A, state()),
        TypeError,
        "memory must be the NormMemory .* got LSTMState",
    ),
    (
        "memory of another k",
        lambda: module(k=9).stream(A, memory()),
        ValueError,
        "memory must be of a module with k=9, got one of k=3",
    ),
    (
        "memory of another batch",
        lambda: module(k=3).stream(A[:, :1], memory()),
        ValueError,
        r"memory.steps.mean must have shape .* = \(2, 1\), got \(2, 2\)",
    ),
    (
        "memory of another dtype",
        lambda: module(k=3, dtype=torch.float64).stream(A.double(), memory()),
        TypeError,
        "memory.steps.mean must have the computation's dtype torch.float64, got torch.float32",
    ),
    (
        "variance of the memory alone of another dtype",
        lambda: module(k=3).stream(
            A, memory()._replace(steps=memory().steps._replace(var=memory().steps.var.double()))
        ),
        TypeError,
        "^memory.steps.var must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "memory of another base",
        lambda: module(k=3, base="batch", max_steps=4).stream(A, memory()),
        ValueError,
        "memory must be of a module with base='batch', got one of base='layer'",
    ),
    # Settings of the LSTM.
    ("input_size zero", lambda: lstm(input_size=0), ValueError, rf"input_size {WINDOW}, got 0"),
    ("hidden_size a float", lambda: lstm(hidden_size=5.0), TypeError, rf"hidden_size {WINDOW}, got 5.0 of type float"),
    ("no layers", lambda: lstm(num_layers=0), ValueError, rf"num_layers {WINDOW}, got 0"),
    ("bias a number", lambda: lstm(bias=0.5), TypeError, "bias must be True or False, got 0.5 of type float"),
    ("batch_first a string", lambda: lstm(batch_first="no"), TypeError, "batch_first must be True or False, got 'no'"),
    ("bidirectional a number", lambda: lstm(bidirectional=2), TypeError, "bidirectional must be True or False, got 2"),
    ("affine None", lambda: lstm(affine=None), TypeError, "affine must be True or False, got None"),
    ("dropout above 1", lambda: lstm(dropout=1.5), ValueError, r"dropout must be a number in \[0, 1\], got 1.5"),
    ("dropout negative", lambda: lstm(dropout=-0.1), ValueError, r"dropout must be a number in \[0, 1\], got -0.1"),
    ("dropout NaN", lambda: lstm(dropout=float("nan")), ValueError, r"dropout must be a number in \[0, 1\], got nan"),
    (
        "dropout a bool",
        lambda: lstm(dropout=True),
        TypeError,
        r"dropout must be a number in \[0, 1\], got True of type bool",
    ),
    ("k missing", lambda: lstm(k=None), ValueError, rf"k {WINDOW} for norm='atn', got None"),
    ("lstm, k zero", lambda: lstm(k=0), ValueError, rf"k {WINDOW}, got 0"),
    ("lstm, k a float", lambda: lstm(k=2.5), TypeError, rf"k {WINDOW}, got 2.5"),
    ("k for ln", lambda: lstm(norm="ln"), ValueError, "k must be left out for norm='ln', .* got 2"),
    ("k for none", lambda: lstm(norm="none", k=1), ValueError, "k must be left out for norm='none', .* got 1"),
    ("norm unknown", lambda: lstm(norm="batch"), ValueError, "norm must be one of 'atn', 'ln', .*, got 'batch'"),
    ("norm None", lambda: lstm(norm=None), ValueError, "norm must be one of 'atn', 'ln', .*, got None"),
    ("lstm, eps", lambda: lstm(eps=-1.0), ValueError, rf"{EPS}, got -1.0"),
    (
        "bias_placement unknown",
        lambda: lstm(bias_placement="both"),
        ValueError,
        "bias_placement must be one of 'outside', 'inside', got 'both'",
    ),
    (
        "init unknown",
        lambda: lstm(init="uniform"),
        ValueError,
        "init must be one of 'torch', 'paper', 'orthogonal', got 'uniform'",
    ),
    (
        "backend unknown",
        lambda: lstm(backend="cuda"),
        ValueError,
        "backend must be 'auto' or one of 'eager', 'fused', 'triton', got 'cuda'",
    ),
    (
        "backend elsewhere",
        lambda: lstm(backend="fused", device="meta")(META),
        ValueError,
        "backend='fused' runs on cpu, got input on meta; use 'eager' there",
    ),
    (
        "forget_bias a string",
        lambda: lstm(forget_bias="1"),
        TypeError,
        "forget_bias must be a finite number or None, got '1'",
    ),
    (
        "forget_bias NaN",
        lambda: lstm(forget_bias=float("nan")),
        ValueError,
        "forget_bias must be a finite number or None, got nan",
    ),
    (
        "forget_bias without biases",
        lambda: lstm(forget_bias=1.0, bias=False),
        ValueError,
        "forget_bias must be None for bias=False, got 1.0",
    ),
    ("projections", lambda: lstm(proj_size=2), ValueError, "proj_size must be 0, projections are not supported, got 2"),
    # Input of the LSTM.
    ("x integers", lambda: lstm()(A.long()), TypeError, rf"input {FLOATING}, got torch.int64"),
    ("x an array", lambda: lstm()(A.numpy()), TypeError, "input must be a tensor, got ndarray"),
    ("x of rank 1", lambda: lstm()(A[0, 0]), ValueError, r"input must have 3 axes \(T, B, I\), got shape \(3,\)"),
    (
        "x of rank 4",
        lambda: lstm(batch_first=True)(A[None]),
        ValueError,
        r"input must have 3 axes \(B, T, I\), got shape \(1, 4, 2, 3\)",
    ),
    (
        "x, features",
        lambda: lstm()(A[..., :2]),
        ValueError,
        r"input must have 3 features along its last axis, got shape \(4, 2, 2\)",
    ),
    (
        "x, T zero",
        lambda: lstm()(A[:0]),
        ValueError,
        r"input must have at least one element along each axis \(T, B, I\), got \(0, 2, 3\)",
    ),
    (
        "x without batch, T zero",
        lambda: lstm()(A[:0, 0]),
        ValueError,
        r"input must have at least one element along each axis \(T, I\)",
    ),
    (
        "x of another dtype",
        lambda: lstm()(A.double()),
        TypeError,
        "input must have weight_ih_l0's dtype torch.float32, got torch.float64",
    ),
    (
        "a shift alone of another dtype",
        lambda: functional_call(lstm(), {"norm_c_l0.bias": torch.zeros(5).double()}, (A,)),
        TypeError,
        "^norm_c_l0.bias must have weight_ih_l0's dtype torch.float32, got torch.float64",
    ),
    (
        "a shift alone elsewhere",
        lambda: functional_call(lstm(), {"norm_ih_l0.bias": torch.zeros(20, device="meta")}, (A,)),
        ValueError,
        "^norm_ih_l0.bias must be on weight_ih_l0's device cpu, got meta",
    ),
    (
        "x of another dtype without autocast",
        lambda: lstm(device="meta")(META.double()),
        TypeError,
        "input must have weight_ih_l0's dtype torch.float32, got torch.float64",
    ),
    ("x elsewhere", lambda: lstm()(META), ValueError, "input must be on weight_ih_l0's device cpu, got meta"),
    (
        "packed, features",
        lambda: lstm()(pack_sequence([A[:, 0, :2]])),
        ValueError,
        "input.data must have 3 features along its last axis",
    ),
    ("packed, rank", lambda: lstm()(pack_sequence([A])), ValueError, r"input.data must have 2 axes \(S, I\)"),
    (
        "packed integers",
        lambda: lstm()(pack_sequence([A[:, 0].long()])),
        TypeError,
        rf"input.data {FLOATING}, got torch.int64",
    ),
    # States of the LSTM.
    (
        "hx a tensor",
        lambda: lstm()(A, torch.zeros(1, 2, 5)),
        TypeError,
        r"hx must be a pair \(h_0, c_0\) of tensors, got Tensor",
    ),
    (
        "hx of three",
        lambda: lstm()(A, (*pair(1, 2, 5), A)),
        TypeError,
        r"hx must be a pair \(h_0, c_0\) of tensors, got tuple",
    ),
    ("hx of a stream", lambda: lstm()(A, state()), TypeError, "got LSTMState, which goes to stream"),
    ("hx of lists", lambda: lstm()(A, ([0.0], [0.0])), TypeError, "h_0 must be a tensor, got list"),
    (
        "h_0, layers",
        lambda: lstm(num_layers=2)(A, pair(1, 2, 5)),
        ValueError,
        r"h_0 must have shape \(num_layers \* D, B, H\) = \(2, 2, 5\), got \(1, 2, 5\)",
    ),
    (
        "h_0, batch",
        lambda: lstm()(A, pair(1, 4, 5)),
        ValueError,
        r"h_0 must have shape .* = \(1, 2, 5\), got \(1, 4, 5\)",
    ),
    (
        "c_0, features",
        lambda: lstm()(A, (torch.zeros(1, 2, 5), torch.zeros(1, 2, 3))),
        ValueError,
        r"c_0 must have shape .* got \(1, 2, 3\)",
    ),
    (
        "h_0 with a batch for x without",
        lambda: lstm()(A[:, 0], pair(1, 1, 5)),
        ValueError,
        r"h_0 must have shape \(num_layers \* D, H\) = \(1, 5\), got \(1, 1, 5\)",
    ),
    (
        "h_0 of another dtype",
        lambda: lstm()(A, pair(1, 2, 5, dtype=torch.float64)),
        TypeError,
        "h_0 must have input's dtype torch.float32, got torch.float64",
    ),
    (
        "c_0 alone of another dtype",
        lambda: lstm()(A, (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5, dtype=torch.float64))),
        TypeError,
        "^c_0 must have input's dtype torch.float32, got torch.float64",
    ),
    (
        "h_0 elsewhere",
        lambda: lstm()(A, (torch.zeros(1, 2, 5, device="meta"), torch.zeros(1, 2, 5))),
        ValueError,
        "h_0 must be on input's device cpu, got meta",
    ),
    (
        "packed, h_0",
        lambda: lstm()(pack_sequence([A[:, 0]]), pair(1, 2, 5)),
        ValueError,
        r"h_0 must have shape .* = \(1, 1, 5\)",
    ),
    # Streams of the LSTM.
    (
        "stream in both directions",
        lambda: lstm(bidirectional=True).stream(A),
        ValueError,
        "stream needs bidirectional=False, got True",
    ),
    (
        "stream of a packed sequence",
        lambda: lstm().stream(pack_sequence([A[:, 0]])),
        TypeError,
        "input must be a tensor, got PackedSequence",
    ),
    ("stream of nothing", lambda: lstm().stream(A[:0]), ValueError, "input must have at least one element"),
    (
        "state a pair",
        lambda: lstm().stream(A, pair(1, 2, 5)),
        TypeError,
        "state must be the LSTMState of the call before, got tuple",
    ),
    (
        "state of another batch",
        lambda: lstm().stream(A, state(B=3)),
        ValueError,
        r"state.h must have shape .* = \(1, 2, 5\), got \(1, 3, 5\)",
    ),
    (
        "state of more layers",
        lambda: lstm().stream(A, state(num_layers=2)),
        ValueError,
        r"state.h must have shape .* got \(2, 2, 5\)",
    ),
    (
        "state, memory of more layers",
        lambda: lstm().stream(A, state()._replace(memory=state(num_layers=2).memory)),
        ValueError,
        "state.memory must have num_layers = 1 entries, got 2",
    ),
    (
        "state of a longer window",
        lambda: lstm().stream(A, state(k=4)),
        ValueError,
        "state must be of a module with k=2, got one of k=4",
    ),
    (
        "state of a shorter window",
        lambda: lstm(k=5).stream(A, state()),
        ValueError,
        "state must be of a module with k=5, got one of k=2",
    ),
    (
        "state of another norm",
        lambda: lstm(norm="none", k=None).stream(A, state()),
        ValueError,
        "state must be of a module with norm='none', got one of norm='atn'",
    ),
    (
        "state of another eps",
        lambda: lstm(eps=1e-3).stream(A, state()),
        ValueError,
        "state must be of a module with eps=0.001, got one of eps=1e-05",
    ),
    (
        "state of another bias_placement",
        lambda: lstm(bias_placement="inside").stream(A, state()),
        ValueError,
        "state must be of a module with bias_placement='inside', got one of bias_placement='outside'",
    ),
    (
        "state of no module",
        lambda: lstm().stream(A, state()._replace(origin=cast("Any", ("atn", 2)))),
        TypeError,
        "state.origin must be a StreamOrigin, got tuple",
    ),
    (
        "state of another hidden_size",
        lambda: lstm().stream(A, state(hidden_size=4)),
        ValueError,
        r"state.h must have shape .* = \(1, 2, 5\), got \(1, 2, 4\)",
    ),
    (
        "state, a window too long",
        lambda: lstm().stream(A, state()._replace(memory=state(k=4).memory)),
        ValueError,
        r"state.memory\[0\] must hold at most k-1 = 1 steps, got 3",
    ),
    (
        "state without windows",
        lambda: lstm().stream(A, state()._replace(memory=(None,))),
        TypeError,
        r"state.memory\[0\] must be the windows of a norm, got NoneType",
    ),
    (
        "state with windows",
        lambda: lstm(norm="none", k=None).stream(A, state(norm="none", k=None)._replace(memory=state().memory)),
        ValueError,
        r"state.memory\[0\] must be None for norm='none'",
    ),
    (
        "state, lengths of another batch",
        lambda: lstm().stream(A, state()._replace(lengths=(1, 0, 1))),
        ValueError,
        r"state.lengths must be B = 2 numbers from 0 to M = 1, the largest M, got \(1, 0, 1\)",
    ),
    (
        "state, lengths beyond the windows",
        lambda: lstm().stream(A, state()._replace(lengths=(2, 0))),
        ValueError,
        r"state.lengths must be B = 2 numbers from 0 to M = 1",
    ),
    ("reset a number", lambda: lstm().stream(A, reset=1), TypeError, "reset must be a tensor of bools, got int"),
    (
        "reset of numbers",
        lambda: lstm().stream(A, reset=torch.ones(4, 2)),
        TypeError,
        "reset must be a tensor of bools, got torch.float32",
    ),
    (
        "reset of cases",
        lambda: lstm().stream(A, reset=torch.ones(2).bool()),
        ValueError,
        r"reset must have shape \(T, B\) = \(4, 2\), got \(2,\)",
    ),
    (
        "reset, time first",
        lambda: lstm(batch_first=True).stream(A, reset=torch.ones(2, 4).bool()),
        ValueError,
        r"reset must have shape \(B, T\) = \(4, 2\), got \(2, 4\)",
    ),
    (
        "reset with a batch for input without",
        lambda: lstm().stream(A[:, 0], reset=torch.ones(4, 1).bool()),
        ValueError,
        r"reset must have shape \(T,\) = \(4,\), got \(4, 1\)",
    ),
    (
        "state.reset of steps",
        lambda: state().reset(torch.ones(4, 2).bool()),
        ValueError,
        r"mask must have shape \(B,\) = \(2,\), got \(4, 2\)",
    ),
    (
        "state.reset a list",
        lambda: state().reset(cast("Any", [True, False])),
        TypeError,
        "mask must be a tensor of bools, got list",
    ),
    (
        "state.select of bools",
        lambda: state().select(torch.ones(2).bool()),
        TypeError,
        "indices must be a tensor of int32 or int64, got torch.bool",
    ),
    (
        "state.select, rank",
        lambda: state().select(torch.tensor(0)),
        ValueError,
        r"indices must have one axis, got shape \(\)",
    ),
    (
        "state.select beyond",
        lambda: state().select(torch.tensor([0, 2])),
        ValueError,
        r"indices must be from 0 to 1, got \[0, 2\]",
    ),
    (
        "state.select below",
        lambda: state().select(torch.tensor([-1])),
        ValueError,
        r"indices must be from 0 to 1, got \[-1\]",
    ),
    (
        "state.select without a batch",
        lambda: lstm().stream(A[:, 0])[1].select(torch.tensor([0])),
        ValueError,
        "select needs a state with a batch",
    ),
    (
        "memory.reset of the batch",
        lambda: module(base="batch", max_steps=4).stream(A)[1].reset(torch.ones(2).bool()),
        ValueError,
        "reset needs base='layer', got 'batch'",
    ),
    (
        "memory.select of the batch",
        lambda: module(base="batch", max_steps=4).stream(A)[1].select(torch.tensor([0])),
        ValueError,
        "select needs base='layer', got 'batch'",
    ),
    (
        "norm, reset of the batch",
        lambda: module(base="batch", max_steps=4).stream(A, reset=torch.ones(4, 2).bool()),
        ValueError,
        "reset must be left out for base='batch', whose windows are of the whole batch, got Tensor",
    ),
    (
        "norm, reset of cases",
        lambda: module().stream(A, reset=torch.ones(2).bool()),
        ValueError,
        r"reset must have shape \(T, B\) = \(4, 2\), got \(2,\)",
    ),
    (
        "memory.reset of steps",
        lambda: memory().reset(torch.ones(4).bool()),
        ValueError,
        r"mask must have shape \(B,\) = \(2,\), got \(4,\)",
    ),
    (
        "memory, lengths of another batch",
        lambda: module(k=3).stream(A, memory()._replace(lengths=(2, 0, 0))),
        ValueError,
        "memory.lengths must be B = 2 numbers from 0 to M = 2",
    ),
    (
        "state of another dtype",
        lambda: lstm().stream(A, state().to(torch.float64)),
        TypeError,
        "state.h must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "a state's c alone of another dtype",
        lambda: lstm().stream(A, state()._replace(c=state().c.double())),
        TypeError,
        "^state.c must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "a state's windows alone of another dtype",
        lambda: lstm().stream(A, state()._replace(memory=map_memory(state().memory, torch.Tensor.double))),
        TypeError,
        r"^state.memory\[0\].ih.mean must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "windows of another batch",
        lambda: lstm().stream(A, state()._replace(memory=state(B=3).memory)),
        ValueError,
        r"state.memory\[0\].ih.mean must have shape \(M, B\) = \(1, 2\), got \(1, 3\)",
    ),
    # The RNN, the GRU, and the output of the paper's network.
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
        lambda: rnn(backend="fused"),
        ValueError,
        "backend must be 'auto' or one of 'eager' for the cell RNN_TANH, got 'fused'",
    ),
    (
        "gru, backend without the cell",
        lambda: gru(backend="triton"),
        ValueError,
        "backend must be 'auto' or one of 'eager' for the cell GRU, got 'triton'",
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
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [case[1:] for case in CASES], ids=[case[0].replace(" ", "-") for case in CASES]
)
def test_wrong_call(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_dropout_on_one_layer_warns_as_torch_does() -> None:
    with pytest.warns(UserWarning, match="dropout=0.5 has no effect with num_layers=1"):
        lstm(dropout=0.5)


def test_an_available_backend_can_be_named() -> None:
    listed = {info.name: info for info in backends()}
    assert list(listed) == ["eager", "fused", "triton"]
    assert listed["eager"].available
    assert listed["fused"].available
    assert all(info.reason for info in listed.values())
    named, automatic = lstm(backend="fused"), lstm(backend="auto")
    named.load_state_dict(automatic.state_dict())
    x = torch.linspace(-1, 1, 24).reshape(4, 2, 3)
    assert torch.equal(named(x)[0], automatic(x)[0])


def test_numpy_integers_are_integers() -> None:
    k = torch.arange(4).numpy()[2]
    assert torch.equal(norm(k=k), norm(k=2))


def test_a_failed_call_leaves_the_module_as_it_was() -> None:
    batch_norm = AssortedTimeNorm(3, 2, base="batch", max_steps=4)
    with pytest.raises(ValueError, match="features"):
        batch_norm(torch.zeros(4, 2, 5))
    assert batch_norm.population is not None
    assert not batch_norm.population.num_batches_tracked.any()
