"""The ways to start the parameters of recurrent layers, and where the values go."""

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm

from atn.choices import Init
from atn.precision import compute_dtype


def fill_as_torch(name: str, values: Tensor, H: int) -> None:
    """Uniform in +-1/sqrt(H): drawn in the order of `torch.nn.LSTM`, one seed gives both the same numbers."""
    del name
    bound = 1 / math.sqrt(H)
    values.uniform_(-bound, bound)


def fill_as_paper(name: str, values: Tensor, H: int) -> None:
    """W_ih orthogonal, W_hh identity blocks, biases 0: the released code of the paper."""
    if name == "weight_ih":
        # The decomposition behind orthogonal_ has no half types.
        values.copy_(nn.init.orthogonal_(torch.empty_like(values, dtype=compute_dtype([values]))))
    elif name == "weight_hh":
        values.copy_(torch.eye(H, device=values.device).repeat(values.shape[0] // H, 1))
    else:
        values.fill_(0)


def fill_orthogonal(name: str, values: Tensor, H: int) -> None:
    """An orthogonal block (H, I) or (H, H) for each gate, biases 0."""
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
"""What fills the values of `weight_ih`, `weight_hh`, `bias_ih` or `bias_hh` in place, by the name of the start."""


def forget_bias_start(value: object, *, bias: bool) -> float | None:
    """`forget_bias` as a finite float, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"forget_bias must be a finite number or None, got {value!r} of type {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"forget_bias must be a finite number or None, got {value!r}")
    if not bias:
        raise ValueError(f"forget_bias must be None for bias=False, got {value!r}")
    return float(value)


@torch.no_grad()
def start_anew(module: nn.Module, name: str, fill: Callable[[Tensor], object]) -> None:
    """Fill the parameter `name` of a module in place, or what stands behind it.

    Behind a parametrization of one tensor, pruning or hook-based spectral normalization, the original is filled, as
    `torch.nn.LSTM.reset_parameters` does. Where several tensors stand behind it (weight normalization), they are set so
    that the parameter itself has the values.

    Raises
    ------
    RuntimeError
        A tensor that is no parameter stands in its place, and none is found behind it.
    """
    own = module._parameters  # noqa: SLF001 - by name, where an attribute may be something else
    if parametrize.is_parametrized(module, name):
        behind = module.get_submodule(f"parametrizations.{name}")
        if isinstance(original := getattr(behind, "original", None), Tensor):
            fill(original)
        else:
            values = torch.empty_like(getattr(module, name))
            fill(values)
            setattr(module, name, values)
    elif (direction := own.get(f"{name}_v")) is not None and (size := own.get(f"{name}_g")) is not None:
        fill(direction)
        size.copy_(torch.norm_except_dim(direction, 2, _weight_norm_axis(module, name)))
    elif (parameter := own.get(name, own.get(f"{name}_orig"))) is not None:
        fill(parameter)
    else:
        raise RuntimeError(
            f"{name} must be a parameter to be reset, got {type(getattr(module, name)).__name__}; reset what it is "
            "computed from"
        )


def _weight_norm_axis(module: nn.Module, name: str) -> int:
    hooks = module._forward_pre_hooks.values()  # noqa: SLF001 - the hook alone knows its axis
    return next(hook.dim for hook in hooks if isinstance(hook, WeightNorm) and hook.name == name)
