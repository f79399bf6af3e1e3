"""The triton backend, on the GPU: one kernel and one matrix product a step, replayed as one CUDA graph a sequence.

The kernels are in `forward`, `backward` and `rows`; the operators have the signatures of the fused backend's. Every
verification runs them by Triton's interpreter and compiles them for sm_80 and sm_90. The interpreter runs one program
after the other, on arrays of the CPU, so it sees no missing barrier, no race between programs, no offset above 2^31, no
graph and no stream; `UNCHECKED` says so to the user.
"""

import importlib.util
import os
from functools import partial
from typing import cast

import torch

from atn.backend.custom_ops.layer import run_layer, run_norm
from atn.backend.custom_ops.register import register
from atn.backend.custom_ops.signatures import KeptSteps, Kernels, LSTMForward
from atn.backend.interface import LayerFunction, NormFunction

UNCHECKED = (
    "its kernels are checked by interpretation and compilation, which show no race, barrier or offset above 2^31, not "
    "yet on a GPU, so 'auto' does not take it"
)


INSTALLED = importlib.util.find_spec("triton") is not None
"""Whether the package is there; it is not imported to find out. torch.compile could not look for it itself."""


def interpreting() -> bool:
    """Whether Triton interprets its kernels, on tensors of the CPU: asked for by TRITON_INTERPRET=1."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def devices() -> tuple[str, ...]:
    """Kinds of device that the backend runs on here; () where it cannot run."""
    if not INSTALLED:
        return ()
    if interpreting():
        return ("cpu",)
    return ("cuda",) if torch.cuda.is_available() else ()


def reason() -> str:
    """Why it can run here, or cannot."""
    if not INSTALLED:
        return "Triton is not installed (pip install triton)"
    if interpreting():
        return "interpreted on the CPU, for checks alone (TRITON_INTERPRET=1)"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    return f"the GPU, hand-written gradients; {UNCHECKED}"


def kernels() -> Kernels:
    """The kernels, which are imported, and compiled, when they are first used."""
    from atn.backend.triton import launch  # noqa: PLC0415 - importing Triton takes longer than importing the library

    return cast("Kernels", launch)


def kept_steps(given: LSTMForward) -> KeptSteps:
    """What `lstm_forward` keeps."""
    T = given.x.shape[0]
    return KeptSteps(T if given.k > 0 else 0, T if given.k > 0 else 0, T)


OPERATORS = register("triton", lambda: kernels(), ("cuda", "cpu"), kept_steps)  # noqa: PLW0108 - so that a test may replace it

layer: LayerFunction = partial(run_layer, OPERATORS)
norm: NormFunction = partial(run_norm, OPERATORS)
