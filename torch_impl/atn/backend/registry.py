"""The backends by name: which there are, which can run, the cells that each has, and the functions behind them."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from atn.backend.eager import eager_norm
from atn.backend.eager_cells import CELLS
from atn.backend.eager_sites import any_layer
from atn.backend.fused.backend import fused_layer, fused_norm
from atn.backend.fused.build import compiled
from atn.backend.interface import HiddenFunction, LayerFunction, NormFunction
from atn.backend.triton import backend as triton_backend


class BackendInfo(NamedTuple):
    """One backend: its name, whether it can run here, why (not), and the cells that it has, as a module's `mode`."""

    name: str
    available: bool
    reason: str
    modes: tuple[str, ...]


class Backend(NamedTuple):
    """The functions of a backend, and what they run on."""

    layer: LayerFunction
    """The LSTM."""
    hidden: Mapping[str, HiddenFunction]
    """The cells beside the LSTM that it has, by the name in `torch.nn.RNNBase.mode`."""
    norm: NormFunction
    devices: Callable[[], tuple[str, ...] | None]
    """Kinds of device that it runs on, () for none that is here, None for any."""
    every_norm: bool
    """Whether `layer` computes every kind of `Settings`, or windows alone (`NormSettings`)."""
    half: bool
    """Whether it takes 16-bit data as it is, with statistics, memory and carry in float32; else data comes wider."""

    @property
    def modes(self) -> tuple[str, ...]:
        """Names of all cells that it has."""
        return ("LSTM", *self.hidden)


_BACKENDS = {
    "eager": Backend(any_layer, CELLS, eager_norm, lambda: None, every_norm=True, half=False),
    "fused": Backend(fused_layer, {}, fused_norm, lambda: ("cpu",), every_norm=False, half=False),
    "triton": Backend(
        triton_backend.layer, {}, triton_backend.norm, triton_backend.devices, every_norm=False, half=True
    ),
}
_FASTEST = {"cpu": "fused"}
"""What "auto" takes on a kind of device: the fastest that has been checked there; "eager" on any other, and for a cell
that this one does not have."""


def backends() -> list[BackendInfo]:
    """Every backend that is known by name, whether it can run here, and why.

    Builds the compiled part of "fused" if no process on this machine has done so (see `atn.backend.fused.build`).
    """
    fused = "the CPU, hand-written gradients; "
    fused += compiled().reason if compiled().operators else f"a loop of plain PyTorch operations ({compiled().reason})"
    found = {
        "eager": (True, "plain PyTorch operations, any device"),
        "fused": (True, fused),
        "triton": (bool(triton_backend.devices()), triton_backend.reason()),
    }
    return [BackendInfo(name, *found[name], _BACKENDS[name].modes) for name in found]


def check_backend(name: str, mode: str | None = None, rare: str | None = None) -> None:
    """Check that `name` is "auto" or a backend that can run here and has the cell `mode`; None needs no cell.

    `rare` describes a norm that not every backend computes; None for any other.

    Raises
    ------
    ValueError
        It is not; the message says which can, and why this one cannot.
    """
    if name == "auto":
        return
    if name not in _BACKENDS:
        raise ValueError(f"backend must be 'auto' or one of {_names(_BACKENDS)}, got {name!r}")
    if not _has(_BACKENDS[name], mode):
        having = [one for one, backend in _BACKENDS.items() if _has(backend, mode)]
        raise ValueError(f"backend must be 'auto' or one of {_names(having)} for the cell {mode}, got {name!r}")
    if not _computes(_BACKENDS[name], rare):
        having = [one for one, backend in _BACKENDS.items() if _computes(backend, rare)]
        raise ValueError(f"backend must be 'auto' or {_names(having)} for {rare}, got {name!r}")
    if _BACKENDS[name].devices() == ():
        running = [one for one, backend in _BACKENDS.items() if backend.devices() != ()]
        raise ValueError(f"backend={name!r} cannot run here: {triton_backend.reason()}; {_names(running)} can")


def backend_for(name: str, device: torch.device, mode: str | None = None, rare: str | None = None) -> Backend:
    """The backend that runs on `device` and has the cell `mode`; "auto" is the fastest that has been checked for both.

    `rare` describes a norm that not every backend computes; None for any other.

    Raises
    ------
    ValueError
        The backend is unknown, lacks the cell, cannot run, or not on this device.
    """
    check_backend(name, mode, rare)
    if name == "auto":
        fastest = _FASTEST.get(device.type, "eager")
        serves = _has(_BACKENDS[fastest], mode) and _computes(_BACKENDS[fastest], rare)
        name = fastest if serves else "eager"
    backend = _BACKENDS[name]
    devices = backend.devices()
    if devices is not None and device.type not in devices:
        raise ValueError(
            f"backend={name!r} runs on {', '.join(devices)}, got input on {device}; "
            "use 'eager' there, or 'auto' to choose by device"
        )
    return backend


def _computes(backend: Backend, rare: str | None) -> bool:
    return rare is None or backend.every_norm


def _has(backend: Backend, mode: str | None) -> bool:
    return mode is None or mode in backend.modes


def _names(backends: Iterable[str]) -> str:
    return ", ".join(map(repr, backends))
