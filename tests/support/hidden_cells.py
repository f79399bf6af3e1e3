"""Runs a problem of an RNN or a GRU on the oracle, layer by layer, or on the library."""

from collections.abc import Callable

import numpy as np
import torch

from atn import ATNGRU, ATNRNN
from atn_reference import (
    AdaNorm,
    GRUState,
    RNNCache,
    RNNGradients,
    RNNState,
    gru_backward,
    gru_forward,
    rnn_backward,
    rnn_forward,
)
from tests.support.oracle_stack import Layer, run_stack
from tests.support.problems import Array, HiddenProblem
from tests.support.runners import DTYPES, Result, as_it_is, load_parameters, named_parameters, oracle_norm, settings_of

HIDDEN_BACKENDS = ("eager", "fused")
"""Backends of the library that have these cells."""


def make_hidden_module(
    problem: HiddenProblem, backend: str = "auto", dtype: str = "float64", device: str = "cpu"
) -> ATNRNN | ATNGRU:
    """Build the module of `problem` with its parameters."""
    cell = ATNGRU if problem.cell == "GRU" else ATNRNN
    module = cell(**settings_of(problem), backend=backend, dtype=DTYPES[dtype], device=device)
    load_parameters(module, problem.parameters)
    return module


def run_hidden_torch(
    problem: HiddenProblem,
    backend: str,
    dtype: str,
    device: str = "cpu",
    *,
    arrange: Callable[[torch.Tensor], torch.Tensor] = as_it_is,
) -> Result:
    """Forward and backward of `problem` by the library with the given backend.

    Every tensor but the parameters goes through `arrange`, which may give it another memory layout.
    """
    module = make_hidden_module(problem, backend, dtype, device)
    tensors = {name: torch.tensor(array, dtype=DTYPES[dtype], device=device) for name, array in problem.arrays.items()}
    inputs = {str(name): tensors[name].requires_grad_() for name in ("x", "h_0") if name in tensors}
    output, h_n = module(arrange(inputs["x"]), arrange(inputs["h_0"]) if "h_0" in inputs else None)
    leaves: dict[str, torch.Tensor] = {**inputs, **dict(module.named_parameters())}
    gradients = torch.autograd.grad(
        (output, h_n), list(leaves.values()), (arrange(tensors["dh"]), arrange(tensors["dh_n"]))
    )
    return Result({"output": output, "h_n": h_n}, dict(zip(leaves, gradients, strict=True)), dtype=dtype)


def run_hidden_oracle(problem: HiddenProblem) -> Result:
    """Forward and backward of `problem` by the oracle, in float64."""
    arrays, placement = problem.arrays, problem.bias_placement
    norm = AdaNorm(eps=problem.eps) if problem.norm == "ada" else oracle_norm(problem)
    if problem.cell == "GRU":
        layer = Layer(lambda x, p, state: gru_forward(x, p, norm, placement, state), gru_backward, GRUState, ("h",))
    else:
        layer = Layer(lambda x, p, state: rnn_forward(x, p, norm, placement, state), _rnn_backward, RNNState, ("h",))
    start = (arrays["h_0"],) if problem.initial_state else None
    stack = run_stack(layer, arrays["x"], problem.parameters, start)
    gradients, parameters = stack.backward(arrays["dh"], arrays["dh_n"])
    named = {name: gradient for name, gradient in gradients.items() if name in arrays}
    return Result(stack.outputs, named | named_parameters(parameters))


def _rnn_backward(dh: Array, cache: RNNCache, dh_n: Array) -> RNNGradients:
    """Without a gradient from the network's output y."""
    return rnn_backward(dh, np.zeros_like(cache.output.y), cache, dh_n)
