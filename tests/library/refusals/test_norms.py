"""Wrong calls of the norm, as a function and as a module."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch.func import functional_call

from atn import AssortedTimeNorm
from tests.support.wrong_calls import (
    EPS,
    FLOATING,
    META,
    WINDOW,
    A,
    Case,
    gru,
    linear,
    lstm,
    memory,
    module,
    norm,
    per_step,
    state,
    synchronized,
    wrong_calls,
)

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
        "momentum for layers",
        lambda: module(momentum=0.5),
        ValueError,
        "momentum must be left out for base='layer', which has no population statistics, got 0.5",
    ),
    ("module, eps infinite in its dtype", lambda: module(eps=1e39), ValueError, "eps must be 0 or from .* got 1e[+]39"),
    ("a's dtype has no such eps", lambda: norm(eps=1e-50), ValueError, "eps must be 0 or from .* got 1e-50"),
    (
        "module, dtype of integers",
        lambda: module(base="batch", max_steps=5, affine=False, dtype=torch.int32),
        TypeError,
        "dtype must be None or one of torch.float16, .*, got torch.int32",
    ),
    (
        "linear, dtype of integers",
        lambda: linear(dtype=torch.int32),
        TypeError,
        "dtype must be None or one of torch.float16, .*, got torch.int32",
    ),
    (
        "per_step, complex",
        lambda: per_step(dtype=torch.complex64),
        TypeError,
        "dtype must be None or one of torch.float16, .*, got torch.complex64",
    ),
    (
        "gamma of a cell with two norms",
        lambda: gru(gamma="1"),
        TypeError,
        "gamma must be a number or one for each of norm_ih, norm_hh, got '1'",
    ),
    (
        "bn without max_steps",
        lambda: lstm(norm="bn", k=None),
        ValueError,
        rf"max_steps {WINDOW} for norm='bn', .*, got None",
    ),
    (
        "bn of one case",
        lambda: lstm(norm="bn", k=None, max_steps=4)(A[:, :1]),
        ValueError,
        r"input must have at least 2 cases for norm='bn' with a window of one step in training, .* \(4, 1, ",
    ),
    (
        "one value for a statistic",
        lambda: module(k=1, base="batch", max_steps=4)(A[:, :1]),
        ValueError,
        r"a must have at least 2 cases for base='batch' with a window of one step in training, .* \(4, 1, 3\)",
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
        "memory of another width",
        lambda: AssortedTimeNorm(3, 2).stream(A, AssortedTimeNorm(5, 2).stream(torch.ones(2, A.shape[1], 5))[1]),
        ValueError,
        "memory must be of a module with num_features=3, got one of num_features=5",
    ),
    (
        "memory of another k",
        lambda: module(k=9).stream(A, memory()),
        ValueError,
        "memory must be of a module with k=9, got one of k=3",
    ),
    (
        "memory without steps",
        lambda: module(k=3).stream(A, memory()._replace(steps=cast("Any", None))),
        TypeError,
        "memory.steps must be a StepStatistics, got NoneType",
    ),
    (
        "memory without means",
        lambda: module(k=3).stream(A, memory()._replace(steps=memory().steps._replace(mean=cast("Any", None)))),
        TypeError,
        "memory.steps.mean must be a tensor, got NoneType",
    ),
    (
        "memory of no position",
        lambda: module(k=3).stream(A, memory()._replace(position=cast("Any", "2"))),
        TypeError,
        "memory.position must be an integer of at least 0, got '2'",
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
]


@wrong_calls(CASES)
def test_wrong_call(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_numpy_integers_are_integers() -> None:
    k = torch.arange(4).numpy()[2]
    assert torch.equal(norm(k=k), norm(k=2))


def test_a_failed_call_leaves_the_module_as_it_was() -> None:
    batch_norm = AssortedTimeNorm(3, 2, base="batch", max_steps=4)
    with pytest.raises(ValueError, match="features"):
        batch_norm(torch.zeros(4, 2, 5))
    assert batch_norm.population is not None
    assert not batch_norm.population.num_batches_tracked.any()
