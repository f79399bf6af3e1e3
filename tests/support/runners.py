"""Runs a problem on the oracle or on a backend of the library; both answer with the same named arrays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import atn.functional as F
from atn import ATNLSTM
from atn_reference import (
    WindowNorm,
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    row_lengths,
    stacked_lstm_backward,
    stacked_lstm_forward,
    window_statistics_forward,
)
from tests.support.oracle_stack import LAYERS, run_stack
from tests.support.problems import Array, LSTMProblem, NormProblem, RecurrentProblem

BACKENDS = ("eager", "fused")
"""Backends of the library that the suite holds to the oracle."""

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Arrays = dict[str, Any]


class Result(NamedTuple):
    """What one run gave: outputs by name, and the gradient of every input and parameter by name."""

    outputs: Arrays
    gradients: Arrays
    cancelled: Mapping[str, float] = MappingProxyType({})
    """By name of a gradient the largest of the terms that cancel in it, where the oracle knows them."""

    dtype: str = "float64"
    """Dtype that was asked for, which every array must have."""


def run_norm_oracle(problem: NormProblem) -> Result:
    """Forward and backward of `problem` by the oracle, in float64."""
    arrays = problem.arrays
    y, cache = assorted_time_norm_forward(
        arrays["a"], problem.k, arrays.get("gamma"), arrays.get("beta"), problem.eps, problem.base
    )
    gradients = assorted_time_norm_backward(arrays["dy"], cache)
    named = {"a": gradients.a, "gamma": gradients.gamma, "beta": gradients.beta}
    (_, var), _ = window_statistics_forward(arrays["a"], problem.k, problem.base)
    direct = arrays["dy"] * arrays.get("gamma", 1.0) / np.sqrt(var + problem.eps)
    return Result(
        {"y": y},
        {name: gradient for name, gradient in named.items() if gradient is not None},
        {"a": float(np.abs(direct).max())},
    )


def as_it_is(tensor: Tensor) -> Tensor:
    """Leave a tensor in the memory layout that it has."""
    return tensor


def run_norm_torch(
    problem: NormProblem,
    backend: str,
    dtype: str,
    device: str = "cpu",
    *,
    arrange: Callable[[Tensor], Tensor] = as_it_is,
) -> Result:
    """Forward and backward of `problem` by `atn.functional` with the given backend.

    Every tensor goes through `arrange`, which may give it another memory layout.
    """
    tensors = {
        name: torch.tensor(array, dtype=DTYPES[dtype], device=device).requires_grad_(name != "dy")
        for name, array in problem.arrays.items()
    }
    dy = arrange(tensors.pop("dy"))
    given = {name: arrange(tensor) for name, tensor in tensors.items()}
    y = F.assorted_time_norm(
        given["a"], problem.k, given.get("gamma"), given.get("beta"), problem.eps, problem.base, backend
    )
    gradients = torch.autograd.grad(y, list(tensors.values()), dy)
    return Result({"y": y}, dict(zip(tensors, gradients, strict=True)), dtype=dtype)


def oracle_norm(problem: RecurrentProblem) -> WindowNorm | None:
    """The oracle's description of the norm of `problem`."""
    if problem.norm == "none":
        return None
    k = problem.k if problem.norm == "atn" else 1
    return WindowNorm("batch" if problem.norm == "bn" else problem.base, k, problem.eps, problem.detach)


def run_lstm_oracle(problem: LSTMProblem) -> Result:
    """Forward and backward of `problem` by the oracle, in float64."""
    if problem.norm in LAYERS:
        return _run_layers_of_oracle(problem)
    arrays = problem.arrays
    state = (arrays["h_0"], arrays["c_0"]) if problem.initial_state else None
    (output, h_n, c_n), cache = stacked_lstm_forward(
        arrays["x"], problem.parameters, oracle_norm(problem), problem.bias_placement, state
    )
    gradients = stacked_lstm_backward(arrays["dh"], arrays["dh_n"], arrays["dc_n"], cache)
    named: Arrays = {"x": gradients.x}
    if problem.initial_state:
        named |= {"h_0": gradients.h_0, "c_0": gradients.c_0}
    return Result({"output": output, "h_n": h_n, "c_n": c_n}, named | named_parameters(gradients.parameters))


def _run_layers_of_oracle(problem: LSTMProblem) -> Result:
    arrays = problem.arrays
    start = (arrays["h_0"], arrays["c_0"]) if problem.initial_state else None
    stack = run_stack(LAYERS[problem.norm](problem), arrays["x"], problem.parameters, start)
    gradients, parameters = stack.backward(arrays["dh"], arrays["dh_n"], arrays["dc_n"])
    named = {name: gradient for name, gradient in gradients.items() if name in arrays}
    found = named_parameters(parameters)
    return Result(stack.outputs, named | found, _radial_terms(named_parameters(problem.parameters), found))


def _radial_terms(parameters: Arrays, gradients: Arrays) -> dict[str, float]:
    """What cancels in the gradient of a weight that counts by the directions of its rows: the part along a row.

    A row v = |v| u with the gain g gives g (dW - (dW u) u) / |v|, and dW u is the gradient of g. Of a row of one number
    nothing else is left.
    """
    return {
        name: float(np.abs(gain * gradients[of_gain] / row_lengths(parameters[name])).max())
        for name in gradients
        if name.startswith("weight_")
        and (gain := parameters.get(of_gain := name.replace("weight", "norm", 1) + ".weight")) is not None
    }


def run_lstm_torch(
    problem: LSTMProblem,
    backend: str,
    dtype: str,
    device: str = "cpu",
    *,
    arrange: Callable[[Tensor], Tensor] = as_it_is,
) -> Result:
    """Forward and backward of `problem` by `ATNLSTM` with the given backend.

    Every tensor but the parameters goes through `arrange`, which may give it another memory layout.
    """
    module = make_module(problem, backend, dtype, device)
    tensors = {name: torch.tensor(array, dtype=DTYPES[dtype], device=device) for name, array in problem.arrays.items()}
    inputs = {name: tensors[name].requires_grad_() for name in ("x", "h_0", "c_0") if name in tensors}
    state = (arrange(inputs["h_0"]), arrange(inputs["c_0"])) if problem.initial_state else None
    output, (h_n, c_n) = module(arrange(inputs["x"]), state)
    parameters = dict(module.named_parameters())
    gradients = torch.autograd.grad(
        (output, h_n, c_n),
        [*inputs.values(), *parameters.values()],
        [arrange(tensors[name]) for name in ("dh", "dh_n", "dc_n")],
    )
    outputs = {"output": output, "h_n": h_n, "c_n": c_n}
    return Result(outputs, dict(zip([*inputs, *parameters], gradients, strict=True)), dtype=dtype)


def make_module(problem: LSTMProblem, backend: str, dtype: str, device: str = "cpu") -> ATNLSTM:
    """Build the `ATNLSTM` of `problem` with its parameters."""
    module = ATNLSTM(**settings_of(problem), backend=backend, dtype=DTYPES[dtype], device=device)
    load_parameters(module, problem.parameters)
    return module


def settings_of(problem: RecurrentProblem) -> dict[str, Any]:
    """Arguments of the module of `problem`."""
    return {
        "input_size": problem.I,
        "hidden_size": problem.H,
        "num_layers": problem.layers,
        "bias": problem.bias,
        "bidirectional": problem.directions == 2,
        "norm": problem.norm,
        **norm_arguments(problem),
    }


def norm_arguments(problem: RecurrentProblem) -> dict[str, Any]:
    """The arguments of the module that the norm of `problem` takes."""
    if problem.norm in {"prop", "wn"}:
        return {}
    arguments: dict[str, Any] = {"eps": problem.eps, "bias_placement": problem.bias_placement}
    if problem.norm == "ada":
        return arguments
    arguments["affine"] = problem.affine
    if problem.norm == "atn":
        arguments |= {"k": problem.k, "base": problem.base}
    if problem.norm in {"atn", "ln"}:
        arguments["detach"] = problem.detach
    if problem.norm == "bn" or problem.base == "batch":
        arguments["max_steps"] = problem.T
    return arguments


def load_parameters(module: nn.Module, parameters: Sequence[Sequence[Any]]) -> None:
    """Copy the oracle's parameters into a module with the parameter names of `torch.nn.RNNBase`; buffers stay."""
    arrays = named_parameters(parameters)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    module.load_state_dict(tensors | dict(module.named_buffers()))


def named_parameters(parameters: Sequence[Sequence[Any]]) -> dict[str, Array]:
    """Flatten parameters (or their gradients) by layer and direction into the names of `torch.nn.RNNBase`."""
    return dict(_names_and_arrays(parameters))


def _names_and_arrays(parameters: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Array]]:
    for layer, directions in enumerate(parameters):
        for direction, values in enumerate(directions):
            suffix = f"l{layer}" + "_reverse" * direction
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                if (array := getattr(values, name)) is not None:
                    yield f"{name}_{suffix}", array
            for name in ("norm_ih", "norm_hh", "norm_c"):
                if (affine := getattr(values, name, None)) is not None:
                    yield f"{name}_{suffix}.weight", affine.gamma
                    yield f"{name}_{suffix}.bias", affine.beta
                if (gamma := getattr(values, name.replace("norm", "gamma"), None)) is not None:
                    yield f"{name}_{suffix}.weight", gamma


def parameters_of(gradients: Arrays) -> frozenset[str]:
    """Those names of a result that belong to parameters rather than to inputs."""
    return frozenset(gradients) - {"x", "h_0", "c_0", "a"}


def to_tensor(array: Array, dtype: torch.dtype = torch.float64) -> Tensor:
    """Tensor that requires a gradient, with the values of `array`."""
    return torch.tensor(array, dtype=dtype, requires_grad=True)
