"""The triton backend, on the GPU: one kernel and one matrix product per step, replayed as one CUDA graph per sequence.

The kernels are in `forward`, `backward` and `rows`; the operators have the same signatures as the fused backend's.
Every verification runs them in Triton's interpreter and compiles them for sm_80 and sm_90. The interpreter runs one
program after the other, on CPU arrays. It therefore cannot find a missing barrier, a race between programs or a fault
with offsets above 2^31, and runs no graph and no stream. `UNCHECKED` is the user's notice of this.
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
"""Whether Triton is installed. Found without importing it, and once, since torch.compile cannot trace the search."""


def interpreting() -> bool:
    """Whether Triton interprets its kernels on CPU tensors, as the environment variable TRITON_INTERPRET=1 requests."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def devices() -> tuple[str, ...]:
    """Device types that the backend runs on, on this machine; () if it cannot run."""
    if not INSTALLED:
        return ()
    if interpreting():
        return ("cpu",)
    return ("cuda",) if torch.cuda.is_available() else ()


def reason() -> str:
    """The reason why the backend can or cannot run on this machine."""
    if not INSTALLED:
        return "Triton is not installed (pip install triton)"
    if interpreting():
        return "interpreted on the CPU, for checks alone (TRITON_INTERPRET=1)"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    return f"the GPU, hand-written gradients; {UNCHECKED}"


def kernels() -> Kernels:
    """The kernels; the first call imports them, and the first launch compiles them."""
    from atn.backend.triton import launch  # noqa: PLC0415 - importing Triton takes longer than importing the library

    return cast("Kernels", launch)


def kept_steps(given: LSTMForward) -> KeptSteps:
    """Number of steps whose rows `lstm_forward` keeps."""
    T = given.x.shape[0]
    return KeptSteps(T if given.k > 0 else 0, T if given.k > 0 else 0, T)


OPERATORS = register("triton", lambda: kernels(), ("cuda", "cpu"), kept_steps)  # noqa: PLW0108 - so that a test may replace it

layer: LayerFunction = partial(run_layer, OPERATORS)
norm: NormFunction = partial(run_norm, OPERATORS)
