"""Initialization schemes for the parameters of recurrent layers, also under parametrizations."""

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm

from atn.choices import Init
from atn.precision import compute_dtype
from atn.validation import check_range_of, is_finite


def fill_as_torch(name: str, values: Tensor, H: int) -> None:
    """Fill with uniform values in +-1/sqrt(H). The draws have torch.nn.LSTM's order: equal seeds give equal values."""
    del name
    bound = 1 / math.sqrt(H)
    values.uniform_(-bound, bound)


def fill_as_paper(name: str, values: Tensor, H: int) -> None:
    """Fill as the paper's released code does: W_ih orthogonal, W_hh identity blocks, biases 0."""
    if name == "weight_ih":
        # The QR decomposition in orthogonal_ does not support the half types.
        values.copy_(nn.init.orthogonal_(torch.empty_like(values, dtype=compute_dtype([values]))))
    elif name == "weight_hh":
        values.copy_(torch.eye(H, device=values.device).repeat(values.shape[0] // H, 1))
    else:
        values.fill_(0)


def fill_orthogonal(name: str, values: Tensor, H: int) -> None:
    """Fill with an orthogonal block (H, I) or (H, H) for each gate; biases are 0."""
    if not name.startswith("weight"):
        values.fill_(0)
        return
    for block in torch.split(values, H):
        block.copy_(nn.init.orthogonal_(torch.empty_like(block, dtype=compute_dtype([block]))))


FILLS: dict[Init, Callable[[str, Tensor, int], None]] = {
    "torch": fill_as_torch,
    "paper": fill_as_paper,
    "orthogonal": fill_orthogonal,
}
"""Functions that fill `weight_ih`, `weight_hh`, `bias_ih` or `bias_hh` in place, by the name of the scheme."""


def forget_bias_start(value: object, dtype: torch.dtype | None, *, bias: bool) -> float | None:
    """`forget_bias` as a number in the dtype of the biases, torch's default for None; or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"forget_bias must be a finite number or None, got {value!r} of type {type(value).__name__}")
    if not is_finite(value):
        raise ValueError(f"forget_bias must be a finite number or None, got {value!r}")
    if not bias:
        raise ValueError(f"forget_bias must be None for bias=False, got {value!r}")
    check_range_of("forget_bias", float(value), dtype)
    return float(value)


@torch.no_grad()
def start_anew(module: nn.Module, name: str, fill: Callable[[Tensor], object]) -> None:
    """Fill the parameter `name` of a module in place, or the tensors from which the module computes it.

    Under a parametrization of one tensor, pruning or hook-based spectral normalization, the original tensor is filled,
    as `torch.nn.LSTM.reset_parameters` does. Where the parameter is computed from several tensors (weight
    normalization), these are set so that the computed parameter has the values.

    Raises
    ------
    RuntimeError
        The attribute is not a parameter, and no parameter is found from which it is computed.
    """
    parameters = module._parameters  # noqa: SLF001 - getattr may return a computed tensor of the same name
    if parametrize.is_parametrized(module, name):
        behind = module.get_submodule(f"parametrizations.{name}")
        if isinstance(original := getattr(behind, "original", None), Tensor):
            fill(original)
        else:
            values = torch.empty_like(getattr(module, name))
            fill(values)
            setattr(module, name, values)
    elif (direction := parameters.get(f"{name}_v")) is not None and (size := parameters.get(f"{name}_g")) is not None:
        fill(direction)
        size.copy_(torch.norm_except_dim(direction, 2, _weight_norm_axis(module, name)))
    elif (parameter := parameters.get(name, parameters.get(f"{name}_orig"))) is not None:
        fill(parameter)
    else:
        raise RuntimeError(
            f"{name} must be a parameter to be reset, got {type(getattr(module, name)).__name__}; reset what it is "
            "computed from"
        )


def _weight_norm_axis(module: nn.Module, name: str) -> int:
    hooks = module._forward_pre_hooks.values()  # noqa: SLF001 - only the hook stores its axis
    return next(hook.dim for hook in hooks if isinstance(hook, WeightNorm) and hook.name == name)
