"""Calls of the compiled operators on drawn sizes, as the fuzz makes them: every argument by its name in `signatures`.

A backward operator takes what the forward one took and gave, and as `d<name>` the gradient of what it gave.
"""

import sys
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import Tensor

from atn.backend.custom_ops.signatures import (
    HiddenInference,
    HiddenKernels,
    HiddenResult,
    Kernels,
    LSTMGradients,
    LSTMInference,
    LSTMResult,
)
from tests.support.problems import LARGEST_SEED, Draw
from tests.support.runners import DTYPES, Result

TAKES: dict[str, Any] = {
    name: get_args(hint)[0][0] for kernels in (Kernels, HiddenKernels) for name, hint in get_type_hints(kernels).items()
}
"""Every operator, and the named tuple of its arguments."""

AXES = {
    "norm": {"a": "TBN", "gamma": "N", "beta": "N", "memory": "2MB"},
    "lstm": {
        "x": "TBI", "weight_ih": "GI", "weight_hh": "GH", "bias_ih": "G", "bias_hh": "G", "bias": "G", "gamma_ih": "G",
        "gamma_hh": "G", "gamma_c": "H", "beta_c": "H", "h_0": "BH", "c_0": "BH", "memory": "32MB",
    },
    "hidden": {
        "x": "TBI", "weight_ih": "GI", "weight_hh": "GH", "bias_ih": "G", "bias_hh": "G", "gamma_ih": "G",
        "beta_ih": "G", "gamma_hh": "G", "beta_hh": "G", "h_0": "BH", "memory": "22MB",
    },
}  # fmt: skip
"""Axes of every tensor that a forward operator takes; a digit is a size."""

GIVES = {
    "norm_forward": ("y", "steps", "windows"),
    "norm_backward": ("da", "dgamma", "dbeta", "dmemory"),
    "lstm_forward": LSTMResult._fields,
    "lstm_inference": LSTMInference._fields,
    "lstm_backward": tuple(f"d{name}" for name in LSTMGradients._fields),
    "hidden_forward": HiddenResult._fields,
    "hidden_inference": HiddenInference._fields,
    "hidden_backward": ("da_ih", "da_hh", "dgamma_ih", "dbeta_ih", "dgamma_hh", "dbeta_hh", "dh_0", "dmemory"),
}  # fmt: skip

SUMMED = frozenset({
    "dgamma", "dbeta", "dgamma_ih", "dgamma_hh", "dbias", "dgamma_c", "dbeta_c", "dbeta_ih", "dbeta_hh", "dweight_ih",
    "dweight_hh", "dbias_ih", "dbias_hh",
})  # fmt: skip
"""Results that are sums over cases: the order of their terms depends on the number of threads."""

PLAIN_HAS_NO = {
    "norm": (),
    "lstm": ("bias_hh", "bias", "gamma_ih", "gamma_hh"),
    "hidden": ("gamma_ih", "beta_ih", "gamma_hh", "beta_hh"),
}
"""Arguments that a layer without a norm must not have."""

BLOCKS = {"LSTM": 4, "RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3}
"""Blocks of H rows of a weight, by cell."""

LANES = (4, 8, 16)
"""Numbers of the vectors of every instruction set."""

JOINT = {"LSTM": 256, "RNN_TANH": 512, "RNN_RELU": 512, "GRU": 296}
"""Hidden size from which all cases take a step together, by cell."""

LONG = 64
"""Window length beyond which windows are merged."""

HUGE = {"float64": 1e160, "float32": 1e25}
"""A factor of which the square overflows."""


Kind = Literal["norm", "lstm", "hidden"]
"""What the names of the operators begin with."""


@dataclass(frozen=True)
class OperatorCall:
    """One forward and one backward pass by the operators."""

    kind: Kind
    T: int
    B: int
    I: int
    N: int
    """Features of a norm, hidden units of a layer."""
    k: int
    M: int
    absent: frozenset[str]
    """Optional tensors that are not given, upstream gradients among them."""
    eps: float
    dtype: str
    threads: int
    seed: int
    mode: str = "LSTM"
    """The cell."""
    huge: bool = False
    """Whether the squares of one step overflow; only before a norm."""


def near_a_vector(draw: Draw) -> int:
    """A number of features about a multiple of a vector's: the last one is partial, whole, or has a single number."""
    multiple = draw.choice((0, 0, 1, 1, 2, 3)) * draw.choice(LANES)
    return max(1, multiple + draw.integer(-1, 3))


def window(draw: Draw, steps: int) -> int:
    """From one step to the largest there is, and about the lengths at which another way to compute it begins."""
    edges = (1, 2, steps, steps + 1, LONG, LONG + 1, 2 * LONG - 1, 2**31, 2**32 + 1, sys.maxsize - 1, sys.maxsize)
    return draw.choice((*edges, draw.integer(1, 2 * steps), draw.integer(LONG, 3 * LONG)))


def draw_operator_call(draw: Draw, kind: Kind, threads: int) -> OperatorCall:
    """Draw sizes, the cell, and which of the optional tensors there are."""
    mode = draw.choice(("RNN_TANH", "RNN_RELU", "GRU", "GRU")) if kind == "hidden" else "LSTM"
    is_joint = kind != "norm" and draw.integer(0, 49) == 0
    T = draw.integer(1, 3) if is_joint else draw.choice((1, 2, draw.integer(1, 12), draw.integer(1, 150)))
    M = draw.choice((0, 0, 1, draw.integer(0, 100)))
    k = window(draw, T + M)
    if kind != "norm" and draw.integer(0, 4) == 0:
        k, M = 0, 0
    optional = {name for taken in TAKES.values() for name, hint in get_type_hints(taken).items() if hint != Tensor}
    absent = {name for name in sorted(optional - {"k", "eps", "mode"}) if draw.integer(0, 2) == 0}
    return OperatorCall(
        kind=kind,
        T=T,
        B=draw.choice((0, 1, 2, 3, draw.integer(1, 9))),
        I=draw.choice((1, 2, 7, near_a_vector(draw), 70)),
        N=JOINT[mode] + draw.integer(0, 9) if is_joint else near_a_vector(draw),
        k=k,
        M=M,
        absent=frozenset(absent | set(PLAIN_HAS_NO[kind] if k == 0 else ())),
        eps=draw.choice((1e-5, 1e-2, 1.0)),
        dtype=draw.choice(("float64", "float32")),
        threads=threads,
        seed=draw.integer(0, LARGEST_SEED),
        mode=mode,
        huge=k > 0 and draw.integer(0, 4) == 0,
    )


def arguments(call: OperatorCall) -> dict[str, Any]:
    """Arguments of the forward operator by name."""
    generator = torch.Generator().manual_seed(call.seed)
    sizes = {
        "T": call.T,
        "B": call.B,
        "I": call.I,
        "N": call.N,
        "H": call.N,
        "G": BLOCKS[call.mode] * call.N,
        "M": call.M,
    }
    given: dict[str, Any] = {"mode": call.mode, "k": call.k, "eps": call.eps}
    given |= {name: name not in call.absent for name in ("needs_x", "needs_weights")}
    for name, axes in AXES[call.kind].items():
        shape = [int(axis) if axis.isdigit() else sizes[axis] for axis in axes]
        if name == "memory":
            value = torch.rand(shape, generator=generator, dtype=DTYPES[call.dtype]) + 0.1  # variances are positive
        else:
            value = torch.randn(shape, generator=generator, dtype=DTYPES[call.dtype])
        if call.huge and axes[0] == "T":
            value[call.T // 2] *= HUGE[call.dtype]
        given[name] = None if name in call.absent else value / (shape[-1] ** 0.5 if name.startswith("weight") else 1.0)
    return given


def run_operators(call: OperatorCall, kernels: Any) -> Result:
    """Every operator of the kind, in order: what each gives by name, "operator.name"."""
    known = arguments(call)
    generator = torch.Generator().manual_seed(call.seed + 1)
    found: dict[str, Tensor] = {}
    for operator in (name for name in TAKES if name.startswith(call.kind)):
        takes = TAKES[operator]
        for name, hint in get_type_hints(takes).items():
            if name not in known:  # gradient of a result
                like = known[name.removeprefix("d")]
                upstream = torch.randn(like.shape, generator=generator, dtype=like.dtype)
                known[name] = None if name in call.absent and hint != Tensor else upstream
        results = getattr(kernels, operator)(takes(**{name: known[name] for name in takes._fields}))
        named = dict(zip(GIVES[operator], results, strict=True))
        found |= {f"{operator}.{name}": value for name, value in named.items()}
        if operator.endswith("_forward"):
            known |= {name: value for name, value in named.items() if name not in known}
    outputs = {name: value for name, value in found.items() if name.rpartition(".")[2] not in SUMMED}
    sums = {name: value for name, value in found.items() if name not in outputs}
    return Result(outputs, sums, dtype=call.dtype)
