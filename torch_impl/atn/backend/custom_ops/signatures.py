"""Arguments and results of the operators of backends with a hand-written backward pass.

Step statistics are pairs (mean, variance), with the M steps of memory in front; window statistics are pairs
(mean, 1/sqrt(var + eps)). Statistics, the carry and c may have a wider dtype than the data. Letters: T time, B cases,
I inputs, H hidden, N features, k window length (0: no norm).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, get_type_hints, runtime_checkable

from torch import Tensor


class NormForward(NamedTuple):
    """Arguments of `norm_forward`, Eqs. (7)-(9) for a sequence.

    The operator returns y (T, B, N), the statistics `steps` (2, M + T, B) and `windows` (2, T, B).
    """

    a: Tensor
    """Preactivations (T, B, N)."""
    gamma: Tensor | None
    beta: Tensor | None
    """Gain and shift (N,)."""
    memory: Tensor
    """Statistics by step (2, M, B)."""
    k: int
    eps: float


class NormBackward(NamedTuple):
    """Arguments of `norm_backward`, which returns the gradients of a, gain (N,), shift (N,) and memory.

    `dy` and `dsteps` are the upstream gradients of y and of the step statistics.
    """

    dy: Tensor
    dsteps: Tensor | None
    a: Tensor
    gamma: Tensor | None
    steps: Tensor
    windows: Tensor
    k: int
    eps: float


class LSTMForward(NamedTuple):
    """Arguments of `lstm_forward` and of `lstm_inference`, Eqs. (14)-(16) for a layer.

    `lstm_forward` also returns the values that its backward pass reads (`LSTMResult`); `lstm_inference` does not
    (`LSTMInference`).
    """

    x: Tensor
    """Input (T, B, I)."""
    weight_ih: Tensor
    weight_hh: Tensor
    """Weights (4H, I) and (4H, H), as in nn.LSTM."""
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    """Added inside the norms (4H,)."""
    bias: Tensor | None
    """Sum of all shifts and biases added to the gates after the norms (4H,)."""
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
    """Results of `lstm_forward`; all but h, c and steps serve the backward pass only."""

    h: Tensor
    c: Tensor
    """States after every step (T, B, H)."""
    steps: Tensor
    """Statistics by step (3, 2, M + T, B)."""
    kept_ih: Tensor
    kept_hh: Tensor
    """Preactivations (T, B, 4H) from input and state, less the mean of their step ("fused") or raw ("triton"); see
    `KeptSteps`."""
    gates: Tensor
    """Gates (T, B, 4H)."""
    windows: Tensor
    """Statistics by window (3, 2, T, B)."""


class KeptSteps(NamedTuple):
    """The number of steps whose rows of 4H numbers a backend keeps for its backward pass: all T, or 0."""

    kept_ih: int
    kept_hh: int
    gates: int


class LSTMInference(NamedTuple):
    """Results of `lstm_inference`."""

    h: Tensor
    """Output of every step (T, B, H)."""
    c_n: Tensor
    """Cell state after the last step (B, H)."""
    memory: Tensor
    """Statistics of the last steps (3, 2, min(M + T, k - 1), B), the memory of the next chunk; empty without a norm."""


class LSTMBackward(NamedTuple):
    """Arguments of `lstm_backward`, which returns the gradients of those of `lstm_forward` (`LSTMGradients`)."""

    dh: Tensor | None
    dc: Tensor | None
    dsteps: Tensor | None
    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    bias: Tensor | None
    gamma_ih: Tensor | None
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    h_0: Tensor
    c_0: Tensor
    h: Tensor
    c: Tensor
    steps: Tensor
    kept_ih: Tensor
    kept_hh: Tensor
    """The preactivations that the forward pass kept; their form depends on the backend (`LSTMResult`)."""
    gates: Tensor
    windows: Tensor
    k: int
    eps: float
    needs_x: bool
    needs_weights: bool
    """Whether these gradients are asked for."""


class LSTMGradients(NamedTuple):
    """Results of `lstm_backward`.

    That of x is empty, (0,), where it is not asked for, those of the weights likewise, and that of an absent bias_ih or
    bias_hh; of another absent argument it is any numbers of its shape.
    """

    x: Tensor
    """Of the input (T, B, I)."""
    weight_ih: Tensor
    weight_hh: Tensor
    """Of the weights (4H, I) and (4H, H)."""
    bias_ih: Tensor
    bias_hh: Tensor
    gamma_ih: Tensor
    gamma_hh: Tensor
    bias: Tensor
    """Of the biases and gains of the gates (4H,)."""
    gamma_c: Tensor
    beta_c: Tensor
    """Of gain and shift of the cell (H,)."""
    h_0: Tensor
    c_0: Tensor
    """Of the first state (B, H)."""
    memory: Tensor
    """Of the statistics (3, 2, M, B) in front of the sequence."""


class HiddenForward(NamedTuple):
    """Arguments of `hidden_forward` and of `hidden_inference`, for a layer of a cell whose only state is h.

    The equations are those of `atn.backend.interface`; a row has G blocks of H numbers, G = 1 for an RNN and 3 for a
    GRU. `hidden_forward` also returns the values that its backward pass reads (`HiddenResult`); `hidden_inference` does
    not (`HiddenInference`).
    """

    x: Tensor
    """Input (T, B, I)."""
    weight_ih: Tensor
    weight_hh: Tensor
    """Weights (G*H, I) and (G*H, H), as in nn.RNN and nn.GRU."""
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    """Added inside the norms (G*H,)."""
    gamma_ih: Tensor | None
    beta_ih: Tensor | None
    gamma_hh: Tensor | None
    beta_hh: Tensor | None
    """Gain of each row, and all that is added to it after its norm (G*H,); None without a norm."""
    h_0: Tensor
    """State before the first step (B, H)."""
    memory: Tensor
    """Statistics by step (2, 2, M, B) of the norms ih and hh."""
    mode: str
    """Name of the cell, as `torch.nn.RNNBase.mode`."""
    k: int
    eps: float


class HiddenResult(NamedTuple):
    """Results of `hidden_forward`; all but h and steps serve the backward pass only."""

    h: Tensor
    """States after every step (T, B, H)."""
    steps: Tensor
    """Statistics by step (2, 2, M + T, B)."""
    kept_ih: Tensor
    kept_hh: Tensor
    """Normalized preactivations (T, B, G*H) from input and state; (0, B, G*H) where they are not kept."""
    gates: Tensor
    """Of a layer without a norm, for a GRU r, z, n and the recurrent row of n (T, B, 4H), for an RNN (T, B, 0)."""
    windows: Tensor
    """Statistics by window (2, 2, T, B)."""


class HiddenInference(NamedTuple):
    """Results of `hidden_inference`."""

    h: Tensor
    """Output of every step (T, B, H)."""
    memory: Tensor
    """Statistics of the last steps (2, 2, min(M + T, k - 1), B), the memory of the next chunk; empty without a norm."""


class HiddenBackward(NamedTuple):
    """Arguments of `hidden_backward`, which returns the gradients of preactivations, gains, shifts and first state.

    These are da_ih (T, B, G*H), empty for an RNN without a norm, where it equals da_hh; da_hh (T, B, G*H); dgamma_ih,
    dbeta_ih, dgamma_hh and dbeta_hh (G*H,); dh_0 (B, H); dmemory (2, 2, M, B).
    """

    dh: Tensor | None
    dsteps: Tensor | None
    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    gamma_ih: Tensor | None
    beta_ih: Tensor | None
    gamma_hh: Tensor | None
    beta_hh: Tensor | None
    h_0: Tensor
    h: Tensor
    steps: Tensor
    kept_ih: Tensor
    kept_hh: Tensor
    gates: Tensor
    windows: Tensor
    mode: str
    k: int
    eps: float


@runtime_checkable
class Kernels(Protocol):
    """The functions that compute the operators, one for each, on contiguous tensors."""

    norm_forward: Callable[[NormForward], tuple[Tensor, ...]]
    norm_backward: Callable[[NormBackward], tuple[Tensor, ...]]
    lstm_forward: Callable[[LSTMForward], tuple[Tensor, ...]]
    lstm_inference: Callable[[LSTMForward], tuple[Tensor, Tensor, Tensor]]
    lstm_backward: Callable[[LSTMBackward], tuple[Tensor, ...]]


@runtime_checkable
class HiddenKernels(Protocol):
    """The functions that compute the operators of the cells whose only state is h, one for each."""

    hidden_forward: Callable[[HiddenForward], tuple[Tensor, ...]]
    hidden_inference: Callable[[HiddenForward], tuple[Tensor, Tensor]]
    hidden_backward: Callable[[HiddenBackward], tuple[Tensor, ...]]


_TYPES = {Tensor: "Tensor", Tensor | None: "Tensor?", int: "int", float: "float", str: "str", bool: "bool"}


def schema(arguments: type[Any], results: int) -> str:
    """The operator's signature in the syntax of `torch.library`: these arguments, and `results` tensors."""
    taken = (f"{_TYPES[hint]} {name}" for name, hint in get_type_hints(arguments).items())
    return f"({', '.join(taken)}) -> ({', '.join(['Tensor'] * results)})"
