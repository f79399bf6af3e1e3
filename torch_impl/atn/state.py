"""What a stream carries from one call to the next: passed in and out, never kept on a module."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from atn.window import StepStatistics


class NormMemory(NamedTuple):
    """What `AssortedTimeNorm.stream` carries.

    Attributes
    ----------
    steps
        Mean and variance of the last min(k-1, position) steps: (M, B) for `base="layer"`, (M, N) for `base="batch"`.
    position
        Number of steps seen.
    """

    steps: StepStatistics
    position: int

    def detach(self) -> "NormMemory":
        """The same numbers, cut from the graph."""
        return NormMemory(_map_steps(self.steps, Tensor.detach), self.position)


class LayerMemory(NamedTuple):
    """Mean and variance of the last steps, at most k-1, in front of each of the three norms of an LSTM layer."""

    ih: StepStatistics
    hh: StepStatistics
    c: StepStatistics


class LSTMState(NamedTuple):
    """What `ATNLSTM.stream` carries.

    Attributes
    ----------
    h, c
        As h_n and c_n of `torch.nn.LSTM`: (num_layers, B, H), or (num_layers, H) for input without a batch. For the
        half types they stay in float32, so that a stream equals the whole.
    memory
        One entry a layer: the windows of its norms, pairs (M, B) of numbers, M <= k-1; None for `norm="none"`.
    """

    h: Float[Tensor, "*L H"]
    c: Float[Tensor, "*L H"]
    memory: tuple[LayerMemory | None, ...]

    def detach(self) -> "LSTMState":
        """The same numbers, cut from the graph: truncates backpropagation through time."""
        return self._map(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "LSTMState":
        """Every tensor through `torch.Tensor.to`."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "LSTMState":
        memory = tuple(
            None if layer is None else LayerMemory(*(_map_steps(steps, function) for steps in layer))
            for layer in self.memory
        )
        return LSTMState(function(self.h), function(self.c), memory)


def _map_steps(steps: StepStatistics, function: Callable[[Tensor], Tensor]) -> StepStatistics:
    return StepStatistics(function(steps.mean), function(steps.var))
