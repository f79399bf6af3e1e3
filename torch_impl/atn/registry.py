"""The backends by name: which there are, which can run, and the function behind each."""

from typing import NamedTuple

from atn.eager import eager_layer
from atn.layer import LayerFunction


class BackendInfo(NamedTuple):
    """One backend: its name, whether it can run here, and why (not)."""

    name: str
    available: bool
    reason: str


_LAYERS: dict[str, LayerFunction] = {"eager": eager_layer}
_BACKENDS = (
    BackendInfo("eager", available=True, reason="plain PyTorch operations: any device, second derivatives"),
    BackendInfo("fused", available=False, reason="not part of this version"),
    BackendInfo("triton", available=False, reason="not part of this version"),
)


def backends() -> list[BackendInfo]:
    """Every backend that `ATNLSTM(backend=...)` knows by name, with whether it can run here and why."""
    return list(_BACKENDS)


def layer_function(name: str) -> LayerFunction:
    """The function of the backend `name`; "auto" is the fastest that can run.

    Raises
    ------
    ValueError
        The backend is unknown or cannot run; the message says which can.
    """
    if name == "auto":
        return eager_layer
    if name in _LAYERS:
        return _LAYERS[name]
    known = "; ".join(f"{info.name!r} ({info.reason})" for info in _BACKENDS)
    available = ", ".join(repr(info.name) for info in _BACKENDS if info.available)
    raise ValueError(f"backend must be 'auto' or one that can run, {available}, got {name!r}; known are {known}")
