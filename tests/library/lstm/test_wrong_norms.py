"""Wrong choices about the norm of a layer: each gets one error that names the argument and what the norm lacks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from atn import ATNLSTM
from atn.norms.interface import REFUSALS, NormArguments
from atn.norms.registry import NORMS


def lstm(norm: str, **changes: Any) -> Any:  # Any: wrong calls are not for the type checker
    """`ATNLSTM` of 3 features and 5 hidden."""
    return ATNLSTM(3, 5, norm=norm, **changes)  # type: ignore[arg-type]  # the same


X = torch.zeros(4, 2, 3)

Case = tuple[str, Callable[[], object], type[Exception], str]

CASES: list[Case] = [
    ("prop, k", lambda: lstm("prop", k=3), ValueError, "k must be left out for norm='prop', .* got 3"),
    ("prop, eps", lambda: lstm("prop", eps=0.1), ValueError, "eps must be left out for norm='prop', .* got 0.1"),
    ("prop, affine", lambda: lstm("prop", affine=False), ValueError, "affine must be left out for norm='prop', .* got"),
    (
        "prop, biases inside",
        lambda: lstm("prop", bias_placement="inside"),
        ValueError,
        "bias_placement must be left out for norm='prop', which has the biases outside by definition, got 'inside'",
    ),
    (
        "variance unknown",
        lambda: lstm("prop", variance="exact"),
        ValueError,
        "variance must be one of 'literal', 'independent', got 'exact'",
    ),
    (
        "one variance",
        lambda: lstm("prop", variance=(1.0,)),
        ValueError,
        r"variance must have two numbers, Var c and Var h, got \(1.0,\)",
    ),
    (
        "variance 0",
        lambda: lstm("prop", variance=(1.0, 0.0)),
        ValueError,
        "variance must be a finite number above 0, got 0.0",
    ),
    (
        "variance a string",
        lambda: lstm("prop", variance=("1", 1.0)),
        TypeError,
        "variance must be a finite number above 0, got '1' of type str",
    ),
    (
        "gains without a variance",
        lambda: lstm("prop", gamma=(0, 0, 1)),
        ValueError,
        r"gamma must be at least 0, and above 0 for norm_c .* for variance='literal', got \(0.0, 0.0, 1.0\)",
    ),
    (
        "gain beyond its dtype",
        lambda: lstm("ln", gamma=1e300),
        ValueError,
        "gamma must be from -3.4e[+]38 to 3.4e[+]38 for torch.float32, got 1e[+]300",
    ),
    (
        "gain beyond half",
        lambda: lstm("ln", gamma=1e5, dtype=torch.float16),
        ValueError,
        "gamma must be from -6.55e[+]04 to 6.55e[+]04 for torch.float16, got 100000.0",
    ),
    (
        "variance that is 0 in float32",
        lambda: lstm("prop", variance=(1.0, 1e-50)),
        ValueError,
        "var_h, by gamma and variance, must be from 1.18e-38 to 3.4e[+]38 for torch.float32, got 1e-50",
    ),
    (
        "variance beyond float32",
        lambda: lstm("prop", variance=(1e50, 1.0)),
        ValueError,
        "var_c, by gamma and variance, must be from 1.18e-38 to 3.4e[+]38 for torch.float32, got 1e[+]50",
    ),
    (
        "two gains",
        lambda: lstm("prop", gamma=(1, 2)),
        TypeError,
        r"gamma must be a number or one for each of norm_ih, norm_hh, norm_c, got \(1, 2\)",
    ),
    (
        "gain a string",
        lambda: lstm("ln", gamma="1"),
        TypeError,
        "gamma must be a number or one for each of norm_ih, norm_hh, norm_c, got '1'",
    ),
    ("gain a bool", lambda: lstm("ln", gamma=True), TypeError, "gamma must be a finite number, got True of type bool"),
    ("gain infinite", lambda: lstm("ln", gamma=float("inf")), ValueError, "gamma must be a finite number, got inf"),
    (
        "gain without gains",
        lambda: lstm("ln", affine=False, gamma=0.1),
        ValueError,
        "gamma must be left out for affine=False, got 0.1",
    ),
    ("wn, k", lambda: lstm("wn", k=3), ValueError, "k must be left out for norm='wn', .* got 3"),
    ("wn, gain", lambda: lstm("wn", gamma=1.0), ValueError, "gamma must be left out for norm='wn', .* got 1.0"),
    (
        "ln, variance",
        lambda: lstm("ln", variance=(1, 1)),
        ValueError,
        "variance must be left out for norm='ln', .* got",
    ),
    ("none, gain", lambda: lstm("none", gamma=2.0), ValueError, "gamma must be left out for norm='none', .* got 2.0"),
    (
        "no such argument",
        lambda: lstm("ln", gains=2.0),
        TypeError,
        "gains is no argument of ATNLSTM, got {'gains': 2.0}",
    ),
    (
        "bn, max_steps missing",
        lambda: lstm("bn"),
        ValueError,
        "max_steps must be an integer of at least 1 for norm='bn', .*, got None",
    ),
    ("bn, max_steps zero", lambda: lstm("bn", max_steps=0), ValueError, "max_steps must be an integer of at least 1"),
    ("bn, k", lambda: lstm("bn", k=2, max_steps=3), ValueError, "k must be left out for norm='bn', .* got 2"),
    ("bn, base", lambda: lstm("bn", base="batch", max_steps=3), ValueError, "base must be left out for norm='bn'"),
    ("bn, momentum", lambda: lstm("bn", max_steps=3, momentum=2), ValueError, "momentum must be a number in"),
    (
        "bn, fused",
        lambda: lstm("bn", max_steps=3, backend="fused"),
        ValueError,
        "backend must be 'auto' or 'eager' for norm='bn', got 'fused'",
    ),
    ("bn, packed", lambda: batch("bn")(packed()), ValueError, "input must be no PackedSequence for norm='bn', whose"),
    ("bn, stream", lambda: batch("bn").stream(X), ValueError, "stream must not be called for norm='bn', whose"),
    (
        "bn, one case",
        lambda: batch("bn")(X[:, :1]),
        ValueError,
        r"input must have at least 2 cases for norm='bn' with a window of one step in training, .* \(4, 1, 3\)",
    ),
    (
        "bn, no case",
        lambda: batch("bn")(X[:, :0]),
        ValueError,
        r"input must have at least 1 case for norm='bn' in training, got shape \(4, 0, 3\)",
    ),
    (
        "bn, another module's statistics",
        lambda: torch.nn.SyncBatchNorm.convert_sync_batchnorm(batch("bn"))(X),  # type: ignore[no-untyped-call]  # torch's
        TypeError,
        "norm_ih_l0.population must be the PopulationStatistics of norm='bn', got SyncBatchNorm",
    ),
    (
        "atn, base unknown",
        lambda: lstm("atn", k=2, base="time"),
        ValueError,
        "base must be one of 'layer', 'batch'",
    ),
    (
        "atn, max_steps missing",
        lambda: lstm("atn", k=2, base="batch"),
        ValueError,
        "max_steps must be an integer of at least 1 for base='batch', .*, got None",
    ),
    (
        "atn, max_steps for layers",
        lambda: lstm("atn", k=2, max_steps=3),
        ValueError,
        "max_steps must be left out for base='layer', .* got 3",
    ),
    (
        "atn, momentum for layers",
        lambda: lstm("atn", k=2, momentum=0.5),
        ValueError,
        "momentum must be left out for base='layer', .* got 0.5",
    ),
    (
        "atn, packed batch",
        lambda: batch("atn", k=2, base="batch")(packed()),
        ValueError,
        "input must be no PackedSequence for base='batch', whose",
    ),
    (
        "atn, batch with constants",
        lambda: batch("atn", k=2, base="batch", detach=("mean",)),
        ValueError,
        r"detach must be left out for base='batch', got \('mean',\)",
    ),
    ("ln, base", lambda: lstm("ln", base="batch"), ValueError, "base must be left out for norm='ln', .* got 'batch'"),
    (
        "detach unknown",
        lambda: lstm("ln", detach=("std",)),
        ValueError,
        "detach must have 'mean' and 'var'",
    ),
    (
        "detach twice",
        lambda: lstm("ln", detach=("var", "var")),
        ValueError,
        "detach must have 'mean' and 'var'",
    ),
    (
        "detach a string",
        lambda: lstm("ln", detach="mean"),
        TypeError,
        "detach must be a tuple of 'mean', 'var'",
    ),
    (
        "detach, fused",
        lambda: lstm("ln", detach=("mean",), backend="fused"),
        ValueError,
        r"backend must be 'auto' or 'eager' for detach=\('mean',\), got 'fused'",
    ),
    ("ada, affine", lambda: lstm("ada", affine=False), ValueError, "affine must be left out for norm='ada', .* got"),
    ("ada, k", lambda: lstm("ada", k=2), ValueError, "k must be left out for norm='ada', .* got 2"),
    ("ada, scale", lambda: lstm("ada", scale=0), ValueError, "scale must be a finite number above 0, got 0"),
    ("ada, slope", lambda: lstm("ada", slope=-1), ValueError, "slope must be at least 0, got -1"),
    ("ada, fused", lambda: lstm("ada", backend="fused"), ValueError, "'auto' or 'eager' for norm='ada', got 'fused'"),
    ("prop, slope", lambda: lstm("prop", slope=1), ValueError, "slope must be left out for norm='prop', .* got 1"),
    (
        "projection where lengths count",
        lambda: lstm("ln").project_rows_(),
        ValueError,
        "project_rows_ needs norm='prop' or 'wn', got 'ln'",
    ),
    (
        "projection behind a parametrization",
        lambda: parametrized().project_rows_(),
        TypeError,
        "weight_hh_l0 must be a",
    ),
]


def packed() -> PackedSequence:
    """Two cases of different lengths."""
    return pack_sequence([torch.zeros(3, 3), torch.zeros(2, 3)])


def batch(norm: str, **changes: Any) -> Any:
    """The same with population statistics of 3 steps."""
    return lstm(norm, max_steps=3, **changes)


def parametrized() -> Any:
    """Its recurrent weight is computed."""
    module = lstm("prop")
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    return module


@pytest.mark.parametrize(("call", "error", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_error(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


OTHERS: dict[str, Any] = {
    "k": 2,
    "eps": 0.5,
    "affine": False,
    "bias_placement": "inside",
    "gamma": 0.5,
    "variance": (1.0, 1.0),
    "detach": ("mean",),
    "base": "batch",
    "max_steps": 3,
    "momentum": 0.5,
    "scale": 2.0,
    "slope": 0.2,
}
"""A value of every argument that is not its default."""


def test_every_argument_is_in_the_table() -> None:
    assert set(OTHERS) == set(REFUSALS) == set(NormArguments._fields)


@pytest.mark.parametrize("argument", OTHERS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_takes_an_argument_or_refuses_it_by_name(norm: str, argument: str) -> None:
    of_norm: dict[str, dict[str, Any]] = {"atn": {"k": 3}, "bn": {"max_steps": 4}}
    needed = of_norm.get(norm, {})
    if norm == "atn" and argument in {"base", "max_steps", "momentum"}:
        needed |= {"base": "batch", "max_steps": 4}
    arguments = needed | {argument: OTHERS[argument]}
    if argument in NORMS[norm].takes:  # type: ignore[index]  # a name
        ATNLSTM(3, 5, norm=norm, **arguments)  # type: ignore[arg-type]  # a name
    else:
        with pytest.raises(
            ValueError, match=f"^{argument} must be left out for norm='{norm}', which {REFUSALS[argument]}"
        ):
            ATNLSTM(3, 5, norm=norm, **arguments)  # type: ignore[arg-type]  # a name
