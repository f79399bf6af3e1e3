"""Settings that the LSTM refuses."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from atn import backends
from tests.support.wrong_calls import EPS, META, WINDOW, Case, lstm, wrong_calls

IN_FLOAT32 = r"eps must be 0 or from 1.18e-38 to 3.4e[+]38 to be computed in torch.float32"
DTYPE = "dtype must be None or one of torch.float16, torch.bfloat16, torch.float32, torch.float64"

CASES: list[Case] = [
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
    ("norm an array", lambda: lstm(norm=np.array(["atn"])), ValueError, "norm must be one of 'atn', 'ln', .*, got arr"),
    ("backend a list", lambda: lstm(backend=["eager"]), ValueError, r"backend must be 'auto' or .*, got \['eager'\]"),
    (
        "detach an array, of ATN-BN",
        lambda: lstm(base="batch", max_steps=3, detach=np.array(["mean", "var"])),
        TypeError,
        "detach must be a tuple of 'mean', 'var', got array",
    ),
    (
        "momentum an array",
        lambda: lstm(momentum=np.array([0.1, 0.2])),
        ValueError,
        r"momentum must be left out for base='layer', which has no population statistics, got array\(\[0.1, 0.2\]\)",
    ),
    (
        "momentum a tensor",
        lambda: lstm(momentum=torch.tensor([0.1, 0.1])),
        ValueError,
        "momentum must be left out for base='layer', which has no population statistics, got tensor",
    ),
    (
        "detach a list of lists",
        lambda: lstm(detach=(["mean"],)),
        ValueError,
        r"detach must have 'mean' and 'var' at most once each, got \(\['mean'\],\)",
    ),
    (
        "gamma an array, for a norm without gains",
        lambda: lstm(norm="none", k=None, gamma=np.ones(2)),
        ValueError,
        "gamma must be left out for norm='none', .* got array",
    ),
    (
        "variance an array",
        lambda: lstm(norm="prop", k=None, variance=np.ones(2)),
        ValueError,
        "variance must be one of 'literal', 'independent', got array",
    ),
    (
        "scale beyond float32",
        lambda: lstm(norm="ada", k=None, scale=1e39),
        ValueError,
        "scale must be from 1.18e-38 to 3.4e[+]38 for torch.float32, got 1e[+]39",
    ),
    (
        "slope rounded to 0",
        lambda: lstm(norm="ada", k=None, slope=1e-60, dtype=torch.float16),
        ValueError,
        "slope must be from 1.18e-38 to 3.4e[+]38 for torch.float32, got 1e-60",
    ),
    ("eps of NumPy, infinite", lambda: lstm(eps=np.float32("inf")), ValueError, rf"{EPS}, got np.float32\(inf\)"),
    ("eps too large for a float", lambda: lstm(eps=10**400), ValueError, rf"{EPS}, got 1000"),
    (
        "dropout too large for a float",
        lambda: lstm(dropout=10**400),
        ValueError,
        r"dropout must be a number in \[0, 1\]",
    ),
    (
        "dropout no number",
        lambda: lstm(dropout=float("nan")),
        ValueError,
        r"dropout must be a number in \[0, 1\], got nan",
    ),
    (
        "forget_bias beyond its dtype",
        lambda: lstm(forget_bias=1e300),
        ValueError,
        "forget_bias must be from -3.4e[+]38 to 3.4e[+]38 for torch.float32, got 1e[+]300",
    ),
    ("gamma too large for a float", lambda: lstm(gamma=10**400), ValueError, "gamma must be a finite number, got 1000"),
    (
        "forget_bias too large for a float",
        lambda: lstm(forget_bias=10**400),
        ValueError,
        "forget_bias must be a finite number or None, got 1000",
    ),
    ("eps infinite in its dtype", lambda: lstm(eps=1e300), ValueError, rf"{IN_FLOAT32}, got 1e[+]300"),
    ("eps zero in its dtype", lambda: lstm(eps=1e-40), ValueError, rf"{IN_FLOAT32}, got 1e-40"),
    (
        "eps in half precision, which is computed in float32",
        lambda: lstm(eps=1e39, dtype=torch.float16),
        ValueError,
        rf"{IN_FLOAT32}, got 1e[+]39",
    ),
    ("dtype of integers", lambda: lstm(dtype=torch.int32), TypeError, rf"{DTYPE}, got torch.int32"),
    ("dtype a string", lambda: lstm(dtype="float32"), TypeError, rf"{DTYPE}, got 'float32'"),
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
]


@wrong_calls(CASES)
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
