"""The recurrent layer of a run: an LSTM with the norm of a model, and the settings that describe it."""

import abc
import dataclasses
from typing import NamedTuple

from atn import ATNLSTM
from atn.choices import BiasPlacement, Init, Norm
from experiments.training.settings import ModelName, Settings, require_at_least


class Recurrence(NamedTuple):
    """Description of a recurrent layer without its sizes."""

    model: ModelName

    k: int
    """Window length of ATN; the plain LSTM and LN do not use it."""

    eps: float
    """Added to the variance under the root in each norm."""

    bias_placement: BiasPlacement
    """Whether the biases are added before or after the norms; for the plain LSTM both are the same."""

    init: Init
    """Initialization of the layer."""

    affine: bool = True
    """Whether the norms have gains and shifts."""

    def layer(self, input_size: int, hidden_size: int) -> ATNLSTM:
        """A layer with `input_size` features of the input and `hidden_size` features of the state."""
        if self.model == "lstm":
            return ATNLSTM(input_size, hidden_size, norm="none", init=self.init)
        norm: Norm = "ln" if self.model == "ln" else "atn"
        return ATNLSTM(
            input_size,
            hidden_size,
            k=None if norm == "ln" else self.k,
            norm=norm,
            detach=("mean", "var") if self.model == "detached" else (),
            eps=self.eps,
            affine=self.affine,
            bias_placement=self.bias_placement,
            init=self.init,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrenceSettings(Settings, abc.ABC):
    """Settings of every task that trains a recurrent network; the docstring of a field gives the source of its value.

    Raises
    ------
    ValueError
        `eps` is negative.
    """

    eps: float
    """Added to the variance in each norm. Paper: 1 for noisy MNIST; open for the others, 1e-5 as in the released
    code."""

    bias_placement: BiasPlacement
    """Whether the biases are added before the norms (inside) or after them (outside). Eq. (14) has them outside.
    Section 5.1 says that noisy MNIST has them outside and the other experiments inside; the released code agrees."""

    init: Init
    """Initialization of the layers of LN and ATN. Open in the paper; "paper" is that of the released code: W_ih is
    orthogonal, W_hh consists of four identity matrices, biases are 0 and gains 1."""

    lstm_init: Init
    """Initialization of the layers of the plain LSTM. Open in the paper; "torch", since the released code uses
    nn.LSTMCell with its default initialization, and so does AWD-LSTM, on which the paper bases its language models.
    The paper's baseline thus differs from the other two models in its initialization as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "eps")

    @abc.abstractmethod
    def window(self) -> int:
        """Window length of ATN."""

    def recurrence(self, model: ModelName) -> Recurrence:
        """Description of the layer of a model under these settings."""
        init = self.lstm_init if model == "lstm" else self.init
        return Recurrence(model, self.window(), self.eps, self.bias_placement, init)
