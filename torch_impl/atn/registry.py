"""The backends by name: which there are, which can run, and the functions behind each."""

from typing import NamedTuple

import torch

from atn.compiled import compiled
from atn.eager import eager_layer, eager_norm
from atn.fused import fused_layer, fused_norm
from atn.layer import LayerFunction, NormFunction


class BackendInfo(NamedTuple):
    """One backend: its name, whether it can run here, and why (not)."""

    name: str
    available: bool
    reason: str


class _Functions(NamedTuple):
    layer: LayerFunction
    norm: NormFunction
    devices: tuple[str, ...]
    """Kinds of device that it runs on; () for any."""


_BACKENDS = {
    "eager": _Functions(eager_layer, eager_norm, ()),
    "fused": _Functions(fused_layer, fused_norm, ("cpu",)),
}
_MISSING = {"triton": "not part of this version"}
_FASTEST = {"cpu": "fused"}
"""What "auto" takes on a kind of device; "eager" on any other."""


def backends() -> list[BackendInfo]:
    """Every backend that is known by name, whether it can run here, and why.

    Builds the compiled part of "fused" if no process on this machine has done so (see `atn.compiled`).
    """
    fused = "the CPU, gradients by hand, no second derivatives; "
    fused += compiled().reason if compiled().operators else f"a loop of plain PyTorch operations ({compiled().reason})"
    return [
        BackendInfo("eager", available=True, reason="plain PyTorch operations: any device, second derivatives"),
        BackendInfo("fused", available=True, reason=fused),
        *(BackendInfo(name, available=False, reason=reason) for name, reason in _MISSING.items()),
    ]


def check_backend(name: str) -> None:
    """Check that `name` is "auto" or a backend that can run.

    Raises
    ------
    ValueError
        It is not; the message says which can.
    """
    if name != "auto" and name not in _BACKENDS:
        missing = "".join(f"; {name!r} is {reason}" for name, reason in _MISSING.items())
        raise ValueError(f"backend must be 'auto' or one of {_names()}, got {name!r}{missing}")


def layer_function(name: str, device: torch.device) -> LayerFunction:
    """The function that runs a layer on `device`; "auto" is the fastest that has been checked for it.

    Raises
    ------
    ValueError
        The backend is unknown, cannot run, or not on this device.
    """
    return _functions(name, device).layer


def norm_function(name: str, device: torch.device) -> NormFunction:
    """The function that normalises a sequence on `device`; otherwise as `layer_function`."""
    return _functions(name, device).norm


def _functions(name: str, device: torch.device) -> _Functions:
    check_backend(name)
    name = _FASTEST.get(device.type, "eager") if name == "auto" else name
    functions = _BACKENDS[name]
    if functions.devices and device.type not in functions.devices:
        raise ValueError(
            f"backend={name!r} runs on {', '.join(functions.devices)}, got input on {device}; "
            "use 'eager' there, or 'auto' to choose by device"
        )
    return functions


def _names() -> str:
    return ", ".join(map(repr, _BACKENDS))
