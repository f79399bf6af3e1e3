"""Wrong calls of `atn.lyapunov`: each gets an error that names the argument, what it was and what it must be."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from atn import ATNGRU, ATNLSTM
from atn.lyapunov import exponents, jacobians, spectrum

X = torch.zeros(6, 2, 3)
J = torch.eye(4).expand(5, 2, 4, 4)

Case = tuple[str, Callable[[], object], type[Exception], str]


def lstm(**changes: Any) -> ATNLSTM:
    """`ATNLSTM` of 3 features and 5 hidden, with settings changed."""
    return ATNLSTM(**{"input_size": 3, "hidden_size": 5, "k": 3, **changes})


def call(**changes: Any) -> Any:
    """Call of `spectrum` with one argument changed."""
    return spectrum(**{"model": lstm(), "x": X, **changes})


def matrices(**changes: Any) -> Any:
    """Call of `exponents` with one argument changed."""
    return exponents(**{"jacobians": J, **changes})


CASES: list[Case] = [
    ("no function for the progress", lambda: call(progress=5), TypeError, "progress must be a function .* got 5"),
    ("no numbers", lambda: call(x=X.to("meta")), ValueError, "x must have values, got a tensor on the device meta"),
    (
        "no weights",
        lambda: call(model=lstm(device="meta")),
        ValueError,
        "weight_ih_l0 must have values, got a tensor on",
    ),
    (
        "in forward mode",
        lambda: torch.func.jvp(lambda x: call(x=x).exponents, (X,), (X,)),
        RuntimeError,
        "the Jacobians must be computed outside the transforms of torch.func and forward mode",
    ),
    (
        "in a transform",
        lambda: torch.func.vmap(partial(jacobians, lstm()))(X.expand(2, *X.shape)),
        RuntimeError,
        "the Jacobians must be computed outside the transforms of torch.func and forward mode",
    ),
    ("a module of torch", lambda: call(model=torch.nn.LSTM(3, 5)), TypeError, "model must be an ATNLSTM, .* got LSTM"),
    (
        "both directions",
        lambda: jacobians(lstm(bidirectional=True), X),
        ValueError,
        "model must have bidirectional=False, got True",
    ),
    ("bn", lambda: call(model=lstm(norm="bn", k=None, max_steps=6)), ValueError, "model must have norm .* got 'bn'"),
    (
        "base batch",
        lambda: call(model=lstm(base="batch", max_steps=6)),
        ValueError,
        "model must have norm .* got 'atn' of base 'batch'",
    ),
    (
        "ada",
        lambda: call(model=lstm(norm="ada", k=None)),
        ValueError,
        "model must have norm .* got 'ada': the gradient",
    ),
    ("detached", lambda: call(model=lstm(detach=("mean",))), ValueError, r"no detached statistics, got \('mean',\)"),
    (
        "dropout in training",
        lambda: call(model=lstm(num_layers=2, dropout=0.5)),
        ValueError,
        "model must be in evaluation mode, got one in training with dropout=0.5",
    ),
    ("x a list", lambda: call(x=[1.0]), TypeError, "x must be a tensor, got list"),
    ("x integers", lambda: call(x=X.long()), TypeError, "x must be a floating-point tensor .* got torch.int64"),
    ("x of rank 1", lambda: call(x=X[0, 0]), ValueError, r"x must have 3 axes \(T, B, I\), got shape \(3,\)"),
    ("x without cases", lambda: call(x=X[:, :0]), ValueError, "x must have at least one element along each axis"),
    ("x of other features", lambda: call(x=X[..., :2]), ValueError, "x must have 3 features along its last axis"),
    (
        "batch first",
        lambda: call(model=lstm(batch_first=True), x=X[..., :2]),
        ValueError,
        "x must have 3 features along its last axis",
    ),
    ("burn_in a float", lambda: call(burn_in=2.0), TypeError, "burn_in must be an integer of at least 2, got 2.0"),
    ("burn_in a bool", lambda: call(burn_in=True), TypeError, "burn_in must be an integer of at least 2, got True"),
    (
        "burn_in too short",
        lambda: call(burn_in=1),
        ValueError,
        "burn_in must be an integer of at least 2, the steps that fill the windows, got 1",
    ),
    (
        "burn_in too long",
        lambda: call(burn_in=6),
        ValueError,
        "burn_in must be less than the number of steps, 6, got 6",
    ),
    ("too few steps", lambda: jacobians(lstm(), X[:2]), ValueError, "burn_in must be less than the number of steps, 2"),
    ("every zero", lambda: call(every=0), ValueError, "every must be an integer of at least 1, got 0"),
    ("count zero", lambda: call(count=0), ValueError, "count must be an integer of at least 1, got 0"),
    ("count too large", lambda: call(count=17), ValueError, "count must be at most D = 16, .* got 17"),
    ("count of all", lambda: call(count=23, minimal=False), ValueError, "count must be at most D = 22, .* got 23"),
    (
        "count of a GRU",
        lambda: spectrum(ATNGRU(3, 5, k=3), X, count=10),
        ValueError,
        "count must be at most D = 9, .* got 10",
    ),
    ("minimal a number", lambda: call(minimal=1), TypeError, "minimal must be True or False, got 1"),
    ("jacobians of rank 3", lambda: matrices(jacobians=J[:, 0]), ValueError, "jacobians must have 4 axes"),
    (
        "jacobians not square",
        lambda: matrices(jacobians=J[..., :3]),
        ValueError,
        r"jacobians must have shape \(T, B, D, D\)",
    ),
    ("start of other rows", lambda: matrices(start=torch.eye(3)), ValueError, r"start must have shape \(D, p\)"),
    (
        "start of another dtype",
        lambda: matrices(start=torch.eye(4).double()),
        TypeError,
        "start must have jacobians's dtype",
    ),
    (
        "start with too many",
        lambda: matrices(start=torch.ones(4, 5)),
        ValueError,
        "start must have at most D = 4 columns, got 5",
    ),
    (
        "start of columns of length 5",
        lambda: matrices(start=5 * torch.eye(4)),
        ValueError,
        "start must have orthonormal columns, .* got columns whose products differ from it by 24",
    ),
    (
        "start of equal columns",
        lambda: matrices(start=torch.eye(4)[:, [0, 0]]),
        ValueError,
        "start must have orthonormal columns, .* differ from it by 1",
    ),
    (
        "start not a number",
        lambda: matrices(start=torch.eye(4) * torch.nan),
        ValueError,
        "start must have orthonormal columns, .* differ from it by nan",
    ),
    ("negative burn_in", lambda: matrices(burn_in=-1), ValueError, "burn_in must be an integer of at least 0, got -1"),
]


@pytest.mark.parametrize(
    ("function", "error", "message"), [case[1:] for case in CASES], ids=[case[0].replace(" ", "-") for case in CASES]
)
def test_wrong_call(function: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function()
