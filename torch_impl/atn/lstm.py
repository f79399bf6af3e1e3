"""The ATN-LSTM as a module that stands where `torch.nn.LSTM` stood."""

import inspect
import warnings
from collections.abc import Iterator
from typing import get_args, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from atn.backend.interface import Affine, LayerWeights, NormSettings
from atn.backend.registry import backend_for, check_backend
from atn.choices import BiasPlacement, Init, Norm
from atn.initial_state import Shape, States, initial_states, streamed_states
from atn.initialization import initialize
from atn.packing import Steps, StepsPacked, StepsTogether
from atn.precision import compute_dtype, data_dtype, full_precision, state_dtype
from atn.stack import Memories, StackOutput, run_stack
from atn.state import LSTMState
from atn.validation import (
    check_choice,
    check_flag,
    check_floating,
    check_matches,
    check_steps,
    epsilon,
    probability,
    whole_number,
)


class GainShift(nn.Module):
    """Gain `weight` and shift `bias` of one norm, (N,) each."""

    def __init__(self, num_features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))

    def extra_repr(self) -> str:
        """Number of features."""
        return str(len(self.weight))


class ATNLSTM(nn.Module):
    """LSTM with assorted-time normalization, in the place of `torch.nn.LSTM`.

    Each layer computes Eqs. (14)-(16), gates in the order i, f, g, o, one statistic over all 4H preactivations:

        gates = ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh]
        c     = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h     = sigmoid(o) * tanh(ATN(c))

    with the biases after the norms for `bias_placement="outside"`, inside them for "inside". ATN(a) at step t is
    Eq. (9), with the mean and the biased variance over the features and the last min(k, t+1) steps of the case
    (Eqs. 7-8).

    The arguments up to `bidirectional`, `device` and `dtype` are those of `torch.nn.LSTM`, and so are the shapes and
    the parameters: `weight_ih_l0` (4H, I), `weight_hh_l0` (4H, H), `bias_ih_l0`, `bias_hh_l0` (4H,), with the suffix
    `_reverse` for the other direction. `affine=True` adds `norm_ih_l0`, `norm_hh_l0` (4H,) and `norm_c_l0` (H,), each
    with `.weight` (gain) and `.bias` (shift), also `norm_ih_l0_reverse` and so on. So the state dict of a
    `torch.nn.LSTM` loads strictly with `norm="none"`, and with `strict=False` otherwise, where the norms' own
    parameters alone are missing.

    Dtypes float16 to float64. The half types are computed in float32, all statistics and the carry c included, and the
    results are rounded to the dtype of the input once, at the end. Under `torch.autocast` the layer does the same: it
    computes in float32, whatever of input and parameters is in half precision, and answers in the dtype of the input.
    The backend "triton" takes 16-bit data as it is, and autocast's dtype under autocast: products, gates and h then
    have 16 bits, statistics and the carry 32.

    Second derivatives need `backend="eager"`; the others say so where one is asked for. With eps = 0 a window of
    constant values, such as W_hh h of a zero initial state, gives what IEEE arithmetic gives: NaN, and NaN gradients.

    Parameters
    ----------
    input_size, hidden_size
        I and H.
    num_layers
        Number of stacked layers.
    bias
        Whether to have `bias_ih` and `bias_hh`.
    batch_first
        Whether input and output are (B, T, ...) rather than (T, B, ...).
    dropout
        Probability of dropping an output of each layer but the last, while training.
    bidirectional
        Whether a second stack reads each sequence backwards.
    k
        Length of the window, at least 1, may exceed T. Needed for `norm="atn"`, refused for the others.
    norm
        "atn"; "ln", which is "atn" with k = 1; or "none", the function of `torch.nn.LSTM`.
    eps
        Added to each variance under the root, at least 0.
    affine
        Whether each norm has a gain and a shift.
    bias_placement
        "outside" (Eq. 14, with b = b_ih + b_hh) or "inside" (section 5.1). Without a norm both are the same.
    init
        "torch": uniform in +-1/sqrt(H), as `torch.nn.LSTM` draws them. "paper": W_ih orthogonal, W_hh four identity
        blocks, biases 0. Gains are 1 and shifts 0.
    backend
        "eager" (any device, second derivatives), "fused" (CPU, gradients by hand, the speed of `torch.nn.LSTM`),
        "triton" (GPU, gradients by hand), or "auto" for the fastest that has been checked on the device of the input;
        see `atn.backends`.
    device, dtype
        Of the parameters.
    proj_size
        Must be 0: projections are not supported.

    Raises
    ------
    TypeError
        A number that is not of the right kind.
    ValueError
        A number out of range, an unknown choice, `k` missing or refused, a backend that cannot run, `proj_size` not 0.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,  # noqa: FBT001, FBT002 - positional in torch.nn.LSTM
        batch_first: bool = False,  # noqa: FBT001, FBT002 - positional in torch.nn.LSTM
        dropout: float = 0.0,
        bidirectional: bool = False,  # noqa: FBT001, FBT002 - positional in torch.nn.LSTM
        *,
        k: int | None = None,
        norm: Norm = "atn",
        eps: float = 1e-5,
        affine: bool = True,
        bias_placement: BiasPlacement = "outside",
        init: Init = "torch",
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        self.input_size = whole_number("input_size", input_size)
        self.hidden_size = whole_number("hidden_size", hidden_size)
        self.num_layers = whole_number("num_layers", num_layers)
        self.dropout = probability("dropout", dropout)
        self.eps = epsilon(eps)
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "affine": affine}
        for name, flag in flags.items():
            check_flag(name, flag)
        self.bias, self.batch_first, self.bidirectional, self.affine = bias, batch_first, bidirectional, affine
        check_choice("norm", norm, get_args(Norm))
        check_choice("bias_placement", bias_placement, get_args(BiasPlacement))
        check_choice("init", init, get_args(Init))
        self.norm: Norm = norm
        self.k = _window(norm, k)
        self.bias_placement: BiasPlacement = bias_placement
        self.init: Init = init
        check_backend(backend)
        self.backend = backend
        if proj_size != 0:
            raise ValueError(f"proj_size must be 0, projections are not supported, got {proj_size!r}")
        if self.dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} has no effect with num_layers=1: it acts on every layer's output but the last's",
                stacklevel=2,
            )
        for suffix, inputs in self._layers():
            self._register_layer(suffix, inputs, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start all parameters anew, as `init` says."""
        for suffix, _ in self._layers():
            initialize(self._weights(suffix), self.init)

    def flatten_parameters(self) -> None:
        """Do nothing: `torch.nn.LSTM` has this method, and code written for it calls it."""

    @overload
    def forward(self, x: Tensor, hx: States | None = None) -> tuple[Tensor, States]: ...
    @overload
    def forward(self, x: PackedSequence, hx: States | None = None) -> tuple[PackedSequence, States]: ...
    def forward(self, x: Tensor | PackedSequence, hx: States | None = None) -> tuple[Tensor | PackedSequence, States]:
        """Run whole sequences, from zero states or from `hx`, each from an empty window.

        Parameters
        ----------
        x
            (T, B, I), or (B, T, I) with `batch_first`, or (T, I) without a batch, or a `PackedSequence` of sequences of
            different lengths, sorted or not: no window, state or gradient of a case depends on another case or on
            padding, and the other direction starts from each case's own end.
        hx
            Pair (h_0, c_0) of shape (num_layers * D, B, H) each, without B for (T, I); D is 2 if bidirectional, else 1.
            In the dtype of x.

        Returns
        -------
        output, (h_n, c_n)
            Output of the last layer, laid out as x with D * H features, and the states after each case's last step,
            shaped as h_0; all in the dtype of x.

        Raises
        ------
        TypeError
            x or a state is no floating-point tensor, `hx` is no pair, dtypes differ outside autocast.
        ValueError
            Wrong rank, features or state shape, an empty axis, different devices.
        """
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, hx)
        data, batched = self._time_major(x)
        h_0, c_0 = initial_states(hx, data, self._state_shape(data.shape[1]), batched=batched)
        out = self._run(data, StepsTogether(), h_0, c_0, self._no_memory())
        h_n, c_n = (_as_given(states, batched=batched).to(x.dtype) for states in (out.h_n, out.c_n))
        return self._laid_out(out.data, batched=batched).to(x.dtype), (h_n, c_n)

    def stream(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Run the next steps of a sequence; chunks in sequence equal the whole.

        Equal bit for bit on the CPU, but for the order in which the product W_ih x sums, which the matrix library may
        choose by the length of the chunk. The gradient flows through the state until `state.detach()`.

        Parameters
        ----------
        x
            The next T >= 1 steps, shaped as for `forward`; no `PackedSequence`.
        state
            What the call before returned; None at the start.

        Returns
        -------
        output, state
            Output as of `forward`, in the dtype of x, and what the next call needs, in the dtype computed in: float32
            for the half types, so that nothing is rounded between chunks.

        Raises
        ------
        TypeError
            As `forward`; also for a `PackedSequence`, or a state that is no `LSTMState`.
        ValueError
            As `forward`; also if bidirectional, since the other direction starts from the end, or if the state does not
            fit x or this module.
        """
        if self.bidirectional:
            raise ValueError("stream needs bidirectional=False, got True: the reverse direction starts from the end")
        data, batched = self._time_major(x)
        shape = self._state_shape(data.shape[1])
        if state is None:
            h_0, c_0 = initial_states(None, data, shape, batched=batched)
            memory = self._no_memory()
        else:
            norm = self._norm_settings()
            h_0, c_0, memory = streamed_states(state, data, shape, norm and norm.k, batched=batched)
        out = self._run(data, StepsTogether(), h_0, c_0, memory)
        # A backend that takes 16-bit data as it is gives h in 16 bits; a state has one dtype.
        h_n, c_n = (_as_given(states.to(compute_dtype([x])), batched=batched) for states in (out.h_n, out.c_n))
        return self._laid_out(out.data, batched=batched).to(x.dtype), LSTMState(h_n, c_n, out.memory)

    def extra_repr(self) -> str:
        """Sizes, and the settings that differ from their defaults."""
        parameters = inspect.signature(ATNLSTM.__init__).parameters
        settings = {name: getattr(self, name) for name in parameters if hasattr(self, name)}
        changed = [f"{name}={value!r}" for name, value in settings.items() if value != parameters[name].default]
        return ", ".join(changed)

    def _layers(self) -> Iterator[tuple[str, int]]:
        """Suffix of the parameter names and number of input features, by layer and direction."""
        for layer in range(self.num_layers):
            for direction in ("", "_reverse")[: self._directions]:
                yield f"l{layer}{direction}", self.input_size if layer == 0 else self.hidden_size * self._directions

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _register_layer(
        self, suffix: str, inputs: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        H = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (4 * H, inputs), "weight_hh": (4 * H, H)}
        if self.bias:
            shapes |= {"bias_ih": (4 * H,), "bias_hh": (4 * H,)}
        for name, shape in shapes.items():
            self.register_parameter(f"{name}_{suffix}", nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        if self.norm != "none" and self.affine:
            for name, features in (("norm_ih", 4 * H), ("norm_hh", 4 * H), ("norm_c", H)):
                self.register_module(f"{name}_{suffix}", GainShift(features, device, dtype))

    def _weights(self, suffix: str) -> LayerWeights:
        """Parameters of one layer and direction, read by attribute: a parametrization may stand in their place."""
        norms = (getattr(self, f"{name}_{suffix}", None) for name in ("norm_ih", "norm_hh", "norm_c"))
        return LayerWeights(
            getattr(self, f"weight_ih_{suffix}"),
            getattr(self, f"weight_hh_{suffix}"),
            getattr(self, f"bias_ih_{suffix}", None),
            getattr(self, f"bias_hh_{suffix}", None),
            *(None if norm is None else Affine(norm.weight, norm.bias) for norm in norms),
        )

    def _norm_settings(self) -> NormSettings | None:
        return None if self.norm == "none" else NormSettings(self.k or 1, self.eps, self.bias_placement)

    def _state_shape(self, B: int) -> Shape:
        return self.num_layers * self._directions, B, self.hidden_size

    def _no_memory(self) -> Memories:
        return (None,) * (self.num_layers * self._directions)

    def _run(self, data: Tensor, steps: Steps, h_0: Tensor, c_0: Tensor, memory: Memories) -> StackOutput:
        """Run all layers in the dtype that is computed in, which is the dtype of the result."""
        weights = [self._weights(suffix) for suffix, _ in self._layers()]
        named = {
            name: tensor
            for (suffix, _), layer in zip(self._layers(), weights, strict=True)
            for name, tensor in layer.named(suffix)
        }
        for name, tensor in named.items():
            check_matches("x", data, name, tensor)
        backend = backend_for(self.backend, data.device)
        tensors = [data, *named.values()]
        dtype = data_dtype(tensors, data.device) if backend.half else compute_dtype(tensors)
        weights = [layer.to(dtype) for layer in weights]
        D = self._directions
        with full_precision(data.device):
            return run_stack(
                data.to(dtype),
                steps,
                [weights[first : first + D] for first in range(0, len(weights), D)],
                h_0.to(dtype),
                c_0.to(state_dtype(dtype)),
                memory,
                norm=self._norm_settings(),
                layer_function=backend.layer,
                dropout=self.dropout if self.training else 0.0,
            )

    def _forward_packed(self, x: PackedSequence, hx: States | None) -> tuple[PackedSequence, States]:
        check_floating("x.data", x.data)
        check_steps("x.data", x.data, "(S, I)", self.input_size)
        steps = StepsPacked(x.batch_sizes, x.data.device)
        h_0, c_0 = initial_states(hx, x.data, self._state_shape(int(x.batch_sizes[0])), batched=True)
        if x.sorted_indices is not None:
            h_0, c_0 = h_0[:, x.sorted_indices], c_0[:, x.sorted_indices]
        out = self._run(x.data, steps, h_0, c_0, self._no_memory())
        h_n, c_n = out.h_n.to(x.data.dtype), out.c_n.to(x.data.dtype)
        if x.unsorted_indices is not None:
            h_n, c_n = h_n[:, x.unsorted_indices], c_n[:, x.unsorted_indices]
        output = out.data.to(x.data.dtype)
        return PackedSequence(output, x.batch_sizes, x.sorted_indices, x.unsorted_indices), (h_n, c_n)

    def _time_major(self, x: Tensor) -> tuple[Float[Tensor, "T B I"], bool]:
        """Checked input as (T, B, I), and whether it had a batch."""
        check_floating("x", x)
        batched = x.ndim != 2
        letters = ("(B, T, I)" if self.batch_first else "(T, B, I)") if batched else "(T, I)"
        check_steps("x", x, letters, self.input_size)
        if not batched:
            return x.unsqueeze(1), batched
        return x.transpose(0, 1) if self.batch_first else x, batched

    def _laid_out(self, output: Float[Tensor, "T B F"], *, batched: bool) -> Tensor:
        """Output in the layout of the input."""
        if not batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output


def _window(norm: Norm, k: int | None) -> int | None:
    """`k` where the norm has one to choose."""
    if norm == "atn":
        if k is None:
            raise ValueError("k must be an integer of at least 1 for norm='atn', got None")
        return whole_number("k", k)
    if k is not None:
        raise ValueError(f"k must be left out for norm={norm!r}, which has no window to choose, got {k!r}")
    return None


def _as_given(states: Float[Tensor, "L*D B H"], *, batched: bool) -> Tensor:
    """Final states without the batch axis where the input had none."""
    return states if batched else states.squeeze(1)
