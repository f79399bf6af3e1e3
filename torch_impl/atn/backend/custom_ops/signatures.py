"""What the operators of the backends with a backward pass by hand take and give, named once for all of them.

Statistics come in pairs (mean, variance) by step, with the M steps of memory in front, and (mean, 1/sqrt(var + eps))
by window. They, the carry and c may have a wider dtype than the data. Letters: T time, B cases, I inputs, H hidden, N
features, k window length (0: no norm).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, get_type_hints

from torch import Tensor


class NormForward(NamedTuple):
    """Eqs. (7)-(9) of a sequence: gives y (T, B, N), steps (2, M + T, B), windows (2, T, B)."""

    a: Tensor
    """Preactivations (T, B, N)."""
    gamma: Tensor | None
    beta: Tensor | None
    """Both (N,)."""
    memory: Tensor
    """Statistics by step (2, M, B)."""
    k: int
    eps: float


class NormBackward(NamedTuple):
    """Gives the gradients of a, gain, shift (N,) and memory, from those of y and steps."""

    dy: Tensor
    dsteps: Tensor | None
    a: Tensor
    gamma: Tensor | None
    steps: Tensor
    windows: Tensor
    k: int
    eps: float


class LSTMForward(NamedTuple):
    """The arguments of a layer, Eqs. (14)-(16).

    `lstm_forward` keeps what its backward pass reads, `lstm_inference` keeps nothing.
    """

    x: Tensor
    """Input (T, B, I)."""
    weight_ih: Tensor
    weight_hh: Tensor
    """Weights (4H, I) and (4H, H), as nn.LSTM has them."""
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    """Added inside the norms (4H,)."""
    bias: Tensor | None
    """All that is added to the gates after the norms (4H,)."""
    gamma_ih: Tensor | None
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    h_0: Tensor
    c_0: Tensor
    """State before the first step (B, H)."""
    memory: Tensor
    """Statistics by step (3, 2, M, B) of the norms ih, hh and c."""
    k: int
    eps: float


class LSTMResult(NamedTuple):
    """What `lstm_forward` returns; all but h, c and steps is for the backward pass alone."""

    h: Tensor
    c: Tensor
    """States after every step (T, B, H)."""
    steps: Tensor
    """Statistics by step (3, 2, M + T, B)."""
    kept_ih: Tensor
    kept_hh: Tensor
    """Preactivations (T, B, 4H) from input and state, normalized ("fused") or raw ("triton"); see `KeptSteps`."""
    gates: Tensor
    """Gates (T, B, 4H)."""
    windows: Tensor
    """Statistics by window (3, 2, T, B)."""


class KeptSteps(NamedTuple):
    """Of how many steps a backend keeps rows of 4H numbers for its backward pass: of all T, or of none, 0."""

    kept_ih: int
    kept_hh: int
    gates: int


class LSTMInference(NamedTuple):
    """What `lstm_inference` returns."""

    h: Tensor
    """Output of every step (T, B, H)."""
    c_n: Tensor
    """The last cell (B, H)."""
    memory: Tensor
    """Statistics of the last steps (3, 2, min(M + T, k - 1), B), the memory of the next chunk; none without a norm."""


class LSTMBackward(NamedTuple):
    """Gives the gradients of what stands in front of the products, of gains and shifts, and of the state passed in.

    da_ih (T, B, 4H) (empty without a norm: it is da_hh), da_hh (T, B, 4H); dgain_ih, dgain_hh, dbias (4H,); dgain_c,
    dshift_c (H,); dh_0, dc_0 (B, H); dmemory (3, 2, M, B).
    """

    dh: Tensor | None
    dc: Tensor | None
    dsteps: Tensor | None
    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias: Tensor | None
    gamma_ih: Tensor | None
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    c_0: Tensor
    h: Tensor
    c: Tensor
    steps: Tensor
    kept_ih: Tensor
    kept_hh: Tensor
    """What the forward pass kept of the preactivations; each backend its own."""
    gates: Tensor
    windows: Tensor
    k: int
    eps: float


class Kernels(Protocol):
    """What computes: a function for each operator, on contiguous tensors."""

    norm_forward: Callable[[NormForward], tuple[Tensor, ...]]
    norm_backward: Callable[[NormBackward], tuple[Tensor, ...]]
    lstm_forward: Callable[[LSTMForward], tuple[Tensor, ...]]
    lstm_inference: Callable[[LSTMForward], tuple[Tensor, Tensor, Tensor]]
    lstm_backward: Callable[[LSTMBackward], tuple[Tensor, ...]]


_TYPES = {Tensor: "Tensor", Tensor | None: "Tensor?", int: "int", float: "float"}


def schema(arguments: type[tuple[Any, ...]], results: int) -> str:
    """The operator's signature as `torch.library` writes it: these arguments, and so many tensors."""
    taken = (f"{_TYPES[hint]} {name}" for name, hint in get_type_hints(arguments).items())
    return f"({', '.join(taken)}) -> ({', '.join(['Tensor'] * results)})"
