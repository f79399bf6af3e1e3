"""The ATN-LSTM, a drop-in replacement for `torch.nn.LSTM`."""

from typing import Any, ClassVar, NamedTuple, Unpack, cast, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from atn.backend.cell import CellOutput
from atn.backend.interface import LayerWeights, NormSettings, Settings
from atn.backend.registry import Backend
from atn.choices import BiasPlacement, Init, Norm
from atn.initialization import forget_bias_start
from atn.layers.initial_state import Chunk
from atn.layers.recurrent import RecurrentLayers
from atn.norms.interface import NormOptions
from atn.state import LayerMemory, LSTMState

States = tuple[Tensor, Tensor]
"""h and c by layer and direction, (L*D, B, H) each, or (L*D, H) without a batch."""


class LSTMCell(NamedTuple):
    """The LSTM on a backend."""

    backend: Backend
    every_c: bool
    """Whether c is needed after every step, or only after the last."""

    def run(
        self,
        x: Float[Tensor, "T B I"],
        weights: LayerWeights,
        states: tuple[Float[Tensor, "B H"], ...],
        memory: LayerMemory | None,
        settings: Settings | None,
    ) -> CellOutput:
        """Run one layer in one direction; see `atn.backend.cell.Cell`."""
        h_0, c_0 = states
        # The registry has chosen a backend that computes these settings.
        norm = cast("NormSettings | None", settings)
        out = self.backend.layer(x, weights, h_0, c_0, memory, norm, every_c=self.every_c)
        return CellOutput((out.h, out.c), out.memory)


class ATNLSTM(RecurrentLayers):
    """LSTM with assorted-time normalization, in the place of `torch.nn.LSTM`.

    Each layer computes Eqs. (14)-(16), gates in the order i, f, g, o, one statistic over all 4H preactivations:

        gates = ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh]
        c     = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h     = sigmoid(o) * tanh(ATN(c))

    with the biases after the norms for `bias_placement="outside"`, inside them for "inside". ATN(a) at step t is
    Eq. (9), with the mean and the biased variance over the features and the last min(k, t+1) steps of the case
    (Eqs. (7)-(8)). The other norms are in the place of ATN, or change the weights:

    | norm | statistics | parameters | biases inside | backends | paper |
    |---|---|---|---|---|---|
    | "atn" | the last k steps of a case | gain, shift | yes | all | Eqs. (7)-(9) |
    | "atn", `base="batch"` | the cases and the last k steps | gain, shift | yes | eager | Eqs. (7)-(9), ATN-BN |
    | "ln" | one step of a case: k = 1 | gain, shift | yes | all | Eqs. (5)-(6) |
    | "bn" | the cases of one step | gain, shift | yes | eager | Cooijmans et al. 2017 |
    | "ada" | one step of a case | none | yes | eager | Xu et al. 2019, AdaNorm |
    | "prop" | none: two constants | gain | no | all | Laurent, Ballas, Vincent 2017 |
    | "wn" | none | gain of each row of W_ih, W_hh | no | all | Salimans, Kingma 2016 |
    | "none" | none | none | no difference | all | `torch.nn.LSTM` |

    The arguments up to `bidirectional`, `device` and `dtype` are those of `torch.nn.LSTM`, and so are the shapes and
    the parameters: `weight_ih_l0` (4H, I), `weight_hh_l0` (4H, H), `bias_ih_l0`, `bias_hh_l0` (4H,), with the suffix
    `_reverse` for the other direction. `affine=True` adds `norm_ih_l0`, `norm_hh_l0` (4H,) and `norm_c_l0` (H,), each
    with `.weight` (gain) and `.bias` (shift), also `norm_ih_l0_reverse` and so on. So the state dict of a
    `torch.nn.LSTM` loads strictly with `norm="none"` and "wn", whose gains are then the lengths of the loaded rows, so
    that it computes the same; and with `strict=False` otherwise, where the norms' own parameters alone are missing.

    The gains and shifts end in "weight" and "bias", too: a loop that starts parameters in its own way has to choose by
    the beginning of the name, `weight_hh` or `bias`, or it overwrites them. For the bias of the forget gate there is
    `forget_bias`.

    Dtypes float16 to float64. The half types are computed in float32, all statistics and the carry c included, and the
    results are rounded to the dtype of the input once, at the end. Under `torch.autocast` the layer does the same: it
    computes in float32, whatever of input and parameters is in half precision, and answers in the dtype of the input.
    The backend "triton" takes 16-bit data as it is, and autocast's dtype under autocast: products, gates and h then
    have 16 bits, statistics and the carry 32. Run the backward pass outside autocast, as torch asks for any module:
    inside, torch rounds the products in the gradient of "eager"; those of "fused" keep float32.

    `torch.compile` and `torch.export` keep the number of cases free, and with "fused" the number of steps; "eager"
    writes out its loop over the steps in the graph. Packed input is one graph, too, but for input packed with
    `enforce_sorted=True`: no shape of it holds the number of cases, and unless `fullgraph=True` asks for one graph,
    torch reads it between two.

    Every derivative that torch knows is there on every backend: second ones, forward mode, the transforms of
    `torch.func`. The kernels of "fused" and "triton" compute plain forward and backward passes; the other
    derivatives are computed by the operations of "eager", at its speed. Only training with statistics of the batch
    ("bn", `base="batch"`) refuses transforms and forward mode, which cannot follow its update in place; and "ada" and
    `detach` have, by definition, a gradient that is no derivative.

    Preactivations whose squares overflow the dtype computed in, float32 from about 1e19 on, are normalized to the shift
    alone, with gradients of 0, on every backend alike; see `atn.functional.assorted_time_norm`.

    Of "prop" and "wn" the rows of the weights count by their direction; a row of zeros, as pruning leaves it, stays
    zero. In float32 a row longer than about 1e19 or shorter than about 3e-23, whose squares float32 lacks, counts as
    zeros, and one shorter than about 1e-20 loses digits.

    With eps = 0 a window of constant values, such as W_hh h of a zero initial state, gives what IEEE arithmetic
    gives: NaN, and NaN gradients.

    Parameters
    ----------
    input_size, hidden_size
        I and H.
    num_layers
        Number of stacked layers (default 1).
    bias
        Whether to have `bias_ih` and `bias_hh` (default True).
    batch_first
        Whether input and output are (B, T, ...) rather than (T, B, ...) (default False).
    dropout
        Probability of dropping an output of each layer but the last, while training (default 0). Warns with one layer,
        which has no such output.
    bidirectional
        Whether a second stack reads each sequence backwards (default False).
    k
        Length of the window, at least 1, may exceed T. Needed for "atn", refused for the others.
    norm
        A name of the table (default "atn").
    eps
        Added to each variance under the root, at least 0 (default 1e-5). Refused for "prop" and "wn"; "none" takes it
        without effect, as it takes `affine` and `bias_placement`, so that one set of arguments serves it and "ln".
    affine
        Whether each norm has a gain and a shift (default True).
    bias_placement
        "outside" (default), Eq. (14) with b = b_ih + b_hh, or "inside" (section 5.1). Without a norm both are the same.
    init
        "torch" (default): uniform in +-1/sqrt(H), as `torch.nn.LSTM` draws them. "paper": W_ih orthogonal, W_hh four
        identity blocks, biases 0. "orthogonal": an orthogonal block for each gate, biases 0. For "prop" rows are
        brought to length 1, and `project_rows_` does so after a step of the optimizer. Shifts are 0; see `gamma`.
    forget_bias
        Bias of the forget gate at first: that part of `bias_ih` has this value and that of `bias_hh` is 0. With
        `bias_placement="inside"` it stands in front of a norm. None leaves it to `init`; needs `bias=True`.
    backend
        "eager" (any device, any norm), "fused" (CPU, the speed of `torch.nn.LSTM`), "triton" (GPU), or "auto" for the
        fastest that has been checked on the device of the input; see `atn.backends`.
    device, dtype
        Of the parameters.
    proj_size
        Must be 0: projections are not supported.
    gamma
        Where the gains start: a number, or three for `norm_ih`, `norm_hh` and `norm_c`. By default 1; for "prop"
        (2, 2, 1), as its paper has it for language, and 0.5 for images; for "bn" 0.1; for "wn" the lengths of
        the rows that were drawn. (Rows that are drawn anew need `norm_ih_l0.weight` and `norm_hh_l0.weight` anew.)
    variance
        For "prop": its constants Var c and Var h, buffers of `norm_c_l0` that are not trained. "literal" (default),
        from the starts of the gains by NP (9)-(10); "independent", by NP (22)-(23); or the two numbers.
    detach
        For "atn" and "ln", eager: which of "mean" and "var" are constants to the gradient (DetachNorm, Xu et al. 2019).
        With both the forward pass sees k steps and the gradient flows through none of them.
    base, max_steps, momentum
        For "atn", "layer" (default) or "batch", and for "bn": as of `AssortedTimeNorm`, with population statistics in
        `norm_ih_l0.population` and so on. Whole sequences of one length alone: no packed input, no `stream`.
        Evaluation, where each site is one affine map for each step, runs on "eager" too: the kernels have one gain for
        all steps. Under `DistributedDataParallel` each process normalizes and averages by its own share of the batch;
        gradients are synchronized, statistics are not, but that before each forward pass the process of rank 0 sends
        its own to the others, unless `broadcast_buffers=False`.
    scale, slope
        For "ada": C (default 1) and k (default 0.1) of its factor C (1 - k y), a constant to the gradient.

    Raises
    ------
    TypeError
        A number or a dtype that is not of the right kind.
    ValueError
        A number out of range, such as an eps too large or too small for the dtype computed in; an unknown choice; an
        argument that the norm needs and lacks, or that it does not have (`k`, `eps`, `gamma` with `affine=False`, ...);
        `forget_bias` without biases; a backend that cannot run; `proj_size` not 0.
    """

    _fixed: ClassVar[frozenset[str]] = RecurrentLayers._fixed | {"forget_bias"}  # noqa: SLF001 - of the base class
    gates: ClassVar[int] = 4
    state_names: ClassVar[tuple[str, ...]] = ("h", "c")
    state_type: ClassVar[type[tuple[Any, ...]]] = LSTMState
    memory_type: ClassVar[type[tuple[Any, ...]]] = LayerMemory
    weights_type: ClassVar[type[LayerWeights]] = LayerWeights

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
        forget_bias: float | None = None,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        proj_size: int = 0,
        **options: Unpack[NormOptions],
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            k=k,
            norm=norm,
            eps=eps,
            affine=affine,
            bias_placement=bias_placement,
            init=init,
            backend=backend,
            device=device,
            dtype=dtype,
            proj_size=proj_size,
            **options,
        )
        self.forget_bias = forget_bias_start(forget_bias, dtype, bias=bias)
        self.reset_parameters()

    @overload
    def forward(self, input: Tensor, hx: States | None = None) -> tuple[Tensor, States]: ...
    @overload
    def forward(self, input: PackedSequence, hx: States | None = None) -> tuple[PackedSequence, States]: ...
    @overload
    def forward(self, input: Tensor, hx: Chunk) -> tuple[Tensor, LSTMState]: ...
    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002 - the name that torch.nn.LSTM gives it
        hx: States | Chunk | None = None,
    ) -> tuple[Tensor | PackedSequence, States | LSTMState]:
        """Run whole sequences, from zero states or from `hx`, each from an empty window.

        Parameters
        ----------
        input
            (T, B, I), or (B, T, I) with `batch_first`, or (T, I) without a batch, or a `PackedSequence` of sequences of
            different lengths, sorted or not: no window, state or gradient of a case depends on another case or on
            padding, and the other direction starts from each case's own end.
        hx
            Pair (h_0, c_0) of shape (num_layers * D, B, H) each, without B for (T, I); D is 2 if bidirectional, else 1.
            In the dtype of the input.

        Returns
        -------
        output, (h_n, c_n)
            Output of the last layer, laid out as the input with D * H features, and the states after each case's last
            step, shaped as h_0; all in the dtype of the input.

        Raises
        ------
        TypeError
            Input or a state is no floating-point tensor, `hx` is no pair, dtypes differ outside autocast.
        ValueError
            Wrong rank, features or state shape, no time step, different devices; a number of the norm, as eps, that the
            dtype of a module that was cast does not have. A batch without cases is no error: its output is
            (T, 0, D * H), and every gradient 0.
        """
        return self._forward(input, hx)

    def stream(
        self,
        input: Tensor,  # noqa: A002 - as of forward
        state: LSTMState | None = None,
        reset: Bool[Tensor, "T B"] | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """Run the next steps of a sequence; chunks in sequence equal the whole.

        Equal bit for bit on the CPU with compiled kernels, but for "prop", whose state is scaled at both ends of a
        chunk; elsewhere up to the order in which the product W_ih x sums, which a matrix library may choose by
        the length of the chunk. The gradient flows through the state until `state.detach()`. Hooks of the module run as
        for `forward`, which this calls.

        Parameters
        ----------
        input
            The next T >= 1 steps, shaped as for `forward`; no `PackedSequence`.
        state
            What the call before returned; None at the start. `state.reset` restarts single cases, `state.select` picks
            and reorders them.
        reset
            Bools (T, B), or (B, T) with `batch_first`, or (T,) without a batch: true where a case restarts before that
            step from zero states and an empty window, as at the begin of an episode. Equal to running the pieces apart.
            The chunk is cut at every step where some case restarts, and each piece runs once for every length of window
            that its cases have, up to min(B, k) of them until the windows are full. None restarts none.

        Returns
        -------
        output, state
            Output as of `forward`, in the dtype of the input, and what the next call needs, in the dtype computed in:
            float32 for the half types, so that nothing is rounded between chunks.

        Raises
        ------
        TypeError
            As `forward`; also for a `PackedSequence`, a state that is no `LSTMState`, or a `reset` without bools.
        ValueError
            As `forward`; also if bidirectional, since the other direction starts from the end, or if the state does not
            fit the input or comes from a module with other settings, or `reset` has another shape.
        """
        return cast("tuple[Tensor, LSTMState]", self(input, Chunk(state, reset)))

    def _sites(self) -> dict[str, int]:
        return {**super()._sites(), "norm_c": self.hidden_size}

    def _cell(self, backend: Backend, *, every_state: bool) -> LSTMCell:
        return LSTMCell(backend, every_state)

    def _fill(self, name: str, values: Tensor) -> None:
        super()._fill(name, values)
        if self.forget_bias is not None and name.startswith("bias"):
            H = self.hidden_size
            values[H : 2 * H] = self.forget_bias if name == "bias_ih" else 0
