"""The backends by name: which there are, which can run, and the functions behind each."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from atn.backend.eager import eager_layer, eager_norm
from atn.backend.fused.backend import fused_layer, fused_norm
from atn.backend.fused.build import compiled
from atn.backend.interface import LayerFunction, NormFunction
from atn.backend.triton import backend as triton_backend


class BackendInfo(NamedTuple):
    """One backend: its name, whether it can run here, and why (not)."""

    name: str
    available: bool
    reason: str


class Backend(NamedTuple):
    """The functions of a backend, and what they run on."""

    layer: LayerFunction
    norm: NormFunction
    devices: Callable[[], tuple[str, ...] | None]
    """Kinds of device that it runs on, () for none that is here, None for any."""
    half: bool
    """Whether it takes 16-bit data as it is, with statistics, memory and carry in float32; else data comes wider."""


_BACKENDS = {
    "eager": Backend(eager_layer, eager_norm, lambda: None, half=False),
    "fused": Backend(fused_layer, fused_norm, lambda: ("cpu",), half=False),
    "triton": Backend(triton_backend.layer, triton_backend.norm, triton_backend.devices, half=True),
}
_FASTEST = {"cpu": "fused"}
"""What "auto" takes on a kind of device: the fastest that has been checked there; "eager" on any other."""


def backends() -> list[BackendInfo]:
    """Every backend that is known by name, whether it can run here, and why.

    Builds the compiled part of "fused" if no process on this machine has done so (see `atn.backend.fused.build`).
    """
    fused = "the CPU, hand-written gradients; "
    fused += compiled().reason if compiled().operators else f"a loop of plain PyTorch operations ({compiled().reason})"
    return [
        BackendInfo("eager", available=True, reason="plain PyTorch operations, any device"),
        BackendInfo("fused", available=True, reason=fused),
        BackendInfo("triton", available=bool(triton_backend.devices()), reason=triton_backend.reason()),
    ]


def check_backend(name: str) -> None:
    """Check that `name` is "auto" or a backend that can run here.

    Raises
    ------
    ValueError
        It is not; the message says which can, and why this one cannot.
    """
    if name != "auto" and name not in _BACKENDS:
        raise ValueError(f"backend must be 'auto' or one of {_names(_BACKENDS)}, got {name!r}")
    if name != "auto" and _BACKENDS[name].devices() == ():
        running = [one for one, backend in _BACKENDS.items() if backend.devices() != ()]
        raise ValueError(f"backend={name!r} cannot run here: {triton_backend.reason()}; {_names(running)} can")


def backend_for(name: str, device: torch.device) -> Backend:
    """The backend that runs on `device`; "auto" is the fastest that has been checked for it.

    Raises
    ------
    ValueError
        The backend is unknown, cannot run, or not on this device.
    """
    check_backend(name)
    name = _FASTEST.get(device.type, "eager") if name == "auto" else name
    backend = _BACKENDS[name]
    devices = backend.devices()
    if devices is not None and device.type not in devices:
        raise ValueError(
            f"backend={name!r} runs on {', '.join(devices)}, got input on {device}; "
            "use 'eager' there, or 'auto' to choose by device"
        )
    return backend


def _names(backends: Iterable[str]) -> str:
    return ", ".join(map(repr, backends))
