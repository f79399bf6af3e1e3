"""The backends by name: which exist, which can run on this machine, and the functions and cells of each."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from atn.backend.eager import eager_norm
from atn.backend.eager_cells import CELLS
from atn.backend.eager_sites import any_layer
from atn.backend.fused.backend import fused_cells, fused_layer, fused_norm, fused_stack
from atn.backend.fused.build import compiled
from atn.backend.interface import HiddenFunction, LayerFunction, NormFunction, StackFunction
from atn.backend.triton import backend as triton_backend


class BackendInfo(NamedTuple):
    """What `atn.backends` says about a backend.

    Attributes
    ----------
    name
        What a module takes as `backend`.
    available
        Whether it can run on this machine.
    reason
        What it runs on, or why it cannot.
    modes
        The cells that it has, by the `mode` of a module: "LSTM", "GRU", "RNN_TANH", "RNN_RELU".
    """

    name: str
    available: bool
    reason: str
    modes: tuple[str, ...]


class Backend(NamedTuple):
    """The functions of a backend, the devices that they run on, and the settings that they support."""

    layer: LayerFunction
    """The LSTM."""
    hidden: Mapping[str, HiddenFunction]
    """Its cells other than the LSTM, by their name in `torch.nn.RNNBase.mode`."""
    norm: NormFunction
    devices: Callable[[], tuple[str, ...] | None]
    """Device types that it runs on; () if this machine has none of them, None for any device."""
    every_norm: bool
    """Whether `layer` computes every kind of `Settings`, or only `NormSettings`."""
    half: bool
    """Whether it takes 16-bit data, with statistics, memory and carry in float32; otherwise data are widened first."""
    stack: Callable[[str], StackFunction | None] = lambda _: None
    """Inference of all layers of the cell of this name in one call; None where there is no such function."""

    @property
    def modes(self) -> tuple[str, ...]:
        """Names of all cells of the backend."""
        return ("LSTM", *self.hidden)


_BACKENDS = {
    "eager": Backend(any_layer, CELLS, eager_norm, lambda: None, every_norm=True, half=False),
    "fused": Backend(
        fused_layer, fused_cells, fused_norm, lambda: ("cpu",), every_norm=False, half=False, stack=fused_stack
    ),
    "triton": Backend(
        triton_backend.layer, {}, triton_backend.norm, triton_backend.devices, every_norm=False, half=True
    ),
}
_FASTEST = {"cpu": "fused"}
"""The backend that "auto" selects for a device type: the fastest that has been checked on it. For other device types,
and for a cell that the backend lacks, "auto" selects "eager"."""


def backends() -> list[BackendInfo]:
    """Every backend by name, whether it can run on this machine, and why.

    Builds the compiled part of "fused" if no process on this machine has done so (see `atn.backend.fused.build`).

    Returns
    -------
    list of BackendInfo
        "eager", "fused" and "triton".
    """
    fused = "the CPU, hand-written gradients; "
    fused += compiled().reason if compiled().operators else f"a loop of plain PyTorch operations ({compiled().reason})"
    found = {
        "eager": (True, "plain PyTorch operations, any device"),
        "fused": (True, fused),
        "triton": (bool(triton_backend.devices()), triton_backend.reason()),
    }
    return [BackendInfo(name, *found[name], _BACKENDS[name].modes) for name in found]


def check_backend(name: str, mode: str | None = None, eager_only: str | None = None) -> None:
    """Check that `name` is "auto" or a backend that can run on this machine and has the cell `mode` (None: any).

    `eager_only` describes a norm that not every backend computes; None for any other norm.

    Raises
    ------
    ValueError
        It is not. The message names the backends that qualify, and the reason why this backend cannot run.
    """
    if name == "auto":
        return
    if not isinstance(name, str) or name not in _BACKENDS:
        raise ValueError(f"backend must be 'auto' or one of {_names(_BACKENDS)}, got {name!r}")
    if not _has(_BACKENDS[name], mode):
        having = [candidate for candidate, backend in _BACKENDS.items() if _has(backend, mode)]
        raise ValueError(f"backend must be 'auto' or one of {_names(having)} for the cell {mode}, got {name!r}")
    if not _computes(_BACKENDS[name], eager_only):
        having = [candidate for candidate, backend in _BACKENDS.items() if _computes(backend, eager_only)]
        raise ValueError(f"backend must be 'auto' or {_names(having)} for {eager_only}, got {name!r}")
    if _BACKENDS[name].devices() == ():
        running = [candidate for candidate, backend in _BACKENDS.items() if backend.devices() != ()]
        raise ValueError(f"backend={name!r} cannot run here: {triton_backend.reason()}; {_names(running)} can")


def backend_for(name: str, device: torch.device, mode: str | None = None, eager_only: str | None = None) -> Backend:
    """The backend `name`, checked for `device` and the cell `mode`; "auto" selects the fastest that has been checked.

    `eager_only` describes a norm that not every backend computes; None for any other norm.

    Raises
    ------
    ValueError
        The backend is unknown, lacks the cell, cannot run on this machine, or does not run on this device.
    """
    check_backend(name, mode, eager_only)
    if name == "auto":
        fastest = _FASTEST.get(device.type, "eager")
        serves = _has(_BACKENDS[fastest], mode) and _computes(_BACKENDS[fastest], eager_only)
        name = fastest if serves else "eager"
    backend = _BACKENDS[name]
    devices = backend.devices()
    if devices is not None and device.type not in devices:
        raise ValueError(
            f"backend={name!r} runs on {', '.join(devices)}, got input on {device}; "
            "use 'eager' there, or 'auto' to choose by device"
        )
    return backend


def stack_for(name: object, device_type: str, mode: str) -> StackFunction | None:
    """The function by which the backend `name` infers all layers of the cell `mode` in one call; None without one."""
    if not isinstance(name, str):
        return None  # whatever was assigned to a module: `backend_for` says what it must be
    backend = _BACKENDS.get(_FASTEST.get(device_type, "eager") if name == "auto" else name)
    if backend is None or device_type not in (backend.devices() or ()):
        return None
    return backend.stack(mode)


def _computes(backend: Backend, eager_only: str | None) -> bool:
    return eager_only is None or backend.every_norm


def _has(backend: Backend, mode: str | None) -> bool:
    return mode is None or mode in backend.modes


def _names(backends: Iterable[str]) -> str:
    return ", ".join(map(repr, backends))
