"""What the modules share whose only state is h: how they are called, and how they reach a backend."""

from typing import Any, ClassVar, NamedTuple, cast, overload

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from atn.backend.cell import CellOutput
from atn.backend.interface import HiddenFunction, HiddenWeights, NormSettings, Settings
from atn.backend.registry import Backend
from atn.layers.initial_state import Chunk
from atn.layers.recurrent import RecurrentLayers
from atn.state import HiddenMemory, HiddenState


class HiddenCell(NamedTuple):
    """A cell whose only state is h, on a backend."""

    layer: HiddenFunction

    def run(
        self,
        x: Float[Tensor, "T B I"],
        weights: HiddenWeights,
        states: tuple[Float[Tensor, "B H"], ...],
        memory: HiddenMemory | None,
        settings: Settings | None,
    ) -> CellOutput:
        """Run one layer in one direction; see `atn.backend.cell.Cell`."""
        (h_0,) = states
        # The registry has chosen a backend that computes these settings.
        out = self.layer(x, weights, h_0, memory, cast("NormSettings | None", settings))
        return CellOutput((out.h,), out.memory)


class HiddenLayers(RecurrentLayers):
    """Layers of a cell whose only state is h."""

    state_names: ClassVar[tuple[str, ...]] = ("h",)
    state_type: ClassVar[type[tuple[Any, ...]]] = HiddenState
    memory_type: ClassVar[type[tuple[Any, ...]]] = HiddenMemory
    weights_type: ClassVar[type[HiddenWeights]] = HiddenWeights

    @overload
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...
    @overload
    def forward(self, input: PackedSequence, hx: Tensor | None = None) -> tuple[PackedSequence, Tensor]: ...
    @overload
    def forward(self, input: Tensor, hx: Chunk) -> tuple[Tensor, HiddenState]: ...
    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002 - the name that torch.nn.RNN and torch.nn.GRU give it
        hx: Tensor | Chunk | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor | HiddenState]:
        """Run whole sequences, from zero states or from `hx`, each from an empty window.

        Parameters
        ----------
        input
            (T, B, I), or (B, T, I) with `batch_first`, or (T, I) without a batch, or a `PackedSequence` of sequences of
            different lengths, sorted or not: no window, state or gradient of a case depends on another case or on
            padding, and the other direction starts from each case's own end.
        hx
            h_0 of shape (num_layers * D, B, H), without B for (T, I); D is 2 if bidirectional, else 1. In the dtype of
            the input.

        Returns
        -------
        output, h_n
            h of the last layer, laid out as the input with D * H features, and h after each case's last step, shaped
            as h_0; both in the dtype of the input.

        Raises
        ------
        TypeError
            Input or `hx` is no floating-point tensor, dtypes differ outside autocast.
        ValueError
            Wrong rank, features or state shape, no time step, different devices; a number of the norm, as eps, that the
            dtype of a module that was cast does not have. A batch without cases is no error: its output is
            (T, 0, D * H), and every gradient 0.
        """
        return self._forward(input, hx)

    def stream(
        self,
        input: Tensor,  # noqa: A002 - as of forward
        state: HiddenState | None = None,
        reset: Bool[Tensor, "T B"] | None = None,
    ) -> tuple[Tensor, HiddenState]:
        """Run the next steps of a sequence; chunks in sequence equal the whole, as those of `ATNLSTM.stream`.

        Parameters
        ----------
        input
            The next T >= 1 steps, shaped as for `forward`; no `PackedSequence`.
        state
            What the call before returned; None at the start. `state.reset` restarts single cases, `state.select` picks
            and reorders them.
        reset
            Bools (T, B), or (B, T) with `batch_first`, or (T,) without a batch: true where a case restarts before that
            step from a zero state and an empty window, at the cost that `ATNLSTM.stream` gives. None restarts none.

        Returns
        -------
        output, state
            Output as of `forward`, in the dtype of the input, and what the next call needs, in the dtype computed in:
            float32 for the half types, so that nothing is rounded between chunks.

        Raises
        ------
        TypeError
            As `forward`; also for a `PackedSequence`, a state that is no `HiddenState`, or a `reset` without bools.
        ValueError
            As `forward`; also if bidirectional, since the other direction starts from the end, or if the state does not
            fit the input or comes from a module with another cell or other settings, or `reset` has another shape.
        """
        return cast("tuple[Tensor, HiddenState]", self(input, Chunk(state, reset)))

    def _cell(self, backend: Backend, *, every_state: bool) -> HiddenCell:  # noqa: ARG002 - h is the only state
        return HiddenCell(backend.hidden[self.mode])
