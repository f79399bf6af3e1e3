"""The check before every measurement: a variant that disagrees with the oracle is reported and not timed.

A variant runs in its dtype, with its H, I and k, on a short batch that is long enough for the window to fill and then
move. Its output and its gradients, of the input and of every parameter, are compared with the oracle's in float64.
"""

import re
import zlib
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atn.choices import Norm
from atn_reference import Affine, LSTMParameters, WindowNorm, lstm_backward, lstm_forward
from benchmarks.sizes import DType, Size
from benchmarks.variants import DTYPES, Entry

LIMITS: dict[DType, float] = {"float32": 1e-4, "bfloat16": 0.1}
"""Largest relative error (in the Euclidean norm) of an output or a gradient.

The check finds wrong functions and does not judge rounding: a wrong function has an error of a hundredth or more, and
float32 stays below a tenth of its limit at all measured sizes. In bfloat16 a step rounds by up to 0.4 %, so that the
check of a float32 size, which runs the same code, is stronger.
"""

Array = NDArray[Any]


class Verdict(NamedTuple):
    """Outcome of the comparison."""

    error: float | None
    """Largest relative error; None where the variant did not run."""

    fault: str
    """The reason why the variant is not timed; empty if it is timed."""


def check(entry: Entry, device: torch.device) -> Verdict:
    """Compare one variant with the oracle."""
    small = replace(entry.size, T=min(entry.size.T, entry.size.k + 4), B=min(entry.size.B, 4))
    try:
        module = Entry(entry.variant, small).module(device)
        arrays = _problem(small, module)
        actual = _run(module, arrays, device, DTYPES[small.dtype])
    except (RuntimeError, ValueError) as problem:  # as raised where a backend, a device or the memory does not suffice
        return Verdict(None, f"does not run: {str(problem).splitlines()[0]}")
    return _compare(actual, _oracle(arrays, entry.variant.norm, small.k), LIMITS[small.dtype])


def _compare(actual: dict[str, Array], expected: dict[str, Array], limit: float) -> Verdict:
    errors = {name: _relative_error(actual[name], array) for name, array in expected.items()}
    # Not max by value alone: an error that is not a number has to count as the worst.
    worst = max(errors, key=lambda name: (np.isnan(errors[name]), errors[name]))
    if errors[worst] <= limit:
        return Verdict(errors[worst], "")
    what = "output" if worst == "output" else f"gradient of {worst}"
    return Verdict(errors[worst], f"wrong: relative error {errors[worst]:.2g} of the {what}")


def _relative_error(actual: Array, expected: Array) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def _oracle_name(name: str) -> str:
    """Name of a parameter without the parts that differ between modules: "lstm.weight_ih_l0" is "weight_ih"."""
    return re.sub(r"^(lstm|cell)\.(cells\.0\.)?|_l0", "", name)


def _problem(size: Size, module: nn.Module) -> dict[str, Array]:
    """Random input `x`, upstream gradient `dh`, and a random value for every parameter."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((size.T, size.B, size.I)), "dh": rng.standard_normal((size.T, size.B, size.H))}
    for full_name, parameter in module.named_parameters():
        name = _oracle_name(full_name)
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        shape = tuple(parameter.shape)
        if name.startswith("norm") and name.endswith("weight"):
            # With gains near 1 the recurrence would be chaotic, and float32 would lose all digits over 200 steps.
            arrays[name] = generator.uniform(0.25, 0.75, shape)
        else:
            arrays[name] = generator.uniform(-1, 1, shape) / np.sqrt(size.H)
    return arrays


def _run(module: nn.Module, arrays: dict[str, Array], device: torch.device, dtype: torch.dtype) -> dict[str, Array]:
    tensors = {name: torch.tensor(array, dtype=dtype, device=device) for name, array in arrays.items()}
    parameters = {_oracle_name(name): parameter for name, parameter in module.named_parameters()}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
    inputs = {"x": tensors["x"].requires_grad_(), **parameters}
    output = module(inputs["x"])
    gradients = torch.autograd.grad(output, list(inputs.values()), tensors["dh"])
    results = {"output": output, **dict(zip(inputs, gradients, strict=True))}
    return {name: tensor.detach().double().cpu().numpy() for name, tensor in results.items()}


def _oracle(arrays: dict[str, Array], norm: Norm, k: int) -> dict[str, Array]:
    """Output of the oracle, and its gradients of x and of the parameters of `norm`."""
    sites = ("norm_ih", "norm_hh", "norm_c") if norm != "none" else ()
    affine = {site: Affine(arrays[f"{site}.weight"], arrays[f"{site}.bias"]) for site in sites}
    window = None if norm == "none" else WindowNorm("layer", k if norm == "atn" else 1)
    parameters = LSTMParameters(
        arrays["weight_ih"],
        arrays["weight_hh"],
        arrays["bias_ih"],
        arrays["bias_hh"],
        affine.get("norm_ih"),
        affine.get("norm_hh"),
        affine.get("norm_c"),
    )
    output, cache = lstm_forward(arrays["x"], parameters, window)
    gradients = lstm_backward(arrays["dh"], cache)
    expected = {"output": output.h, "x": gradients.x}
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        expected[name] = getattr(gradients.parameters, name)
    for site in sites:
        gradient = getattr(gradients.parameters, site)
        expected |= {f"{site}.weight": gradient.gamma, f"{site}.bias": gradient.beta}
    return expected
