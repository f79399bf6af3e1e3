"""Which recurrent layer a run has: the plain LSTM, LN or ATN, and what the three leave open."""

import abc
import dataclasses
from typing import NamedTuple

from atn import ATNLSTM
from atn.choices import BiasPlacement, Init, Norm
from experiments.training.settings import ModelName, Settings, require_at_least


class Recurrence(NamedTuple):
    """A recurrent layer but for its sizes. LN is the layer of ATN with k = 1."""

    model: ModelName

    k: int
    """Window length of ATN; the other two models have none."""

    eps: float
    """Added to the variance under the root in each norm."""

    bias_placement: BiasPlacement
    """Whether the biases are added before or after the norms; the plain LSTM does not know the difference."""

    init: Init
    """Initialization of the layer."""

    affine: bool = True
    """Whether the norms have gains and shifts."""

    def layer(self, input_size: int, hidden_size: int) -> ATNLSTM:
        """The layer, with so many features at each step of its input and of its state."""
        if self.model == "lstm":
            return ATNLSTM(input_size, hidden_size, norm="none", init=self.init)
        norm: Norm = "ln" if self.model == "ln" else "atn"
        return ATNLSTM(
            input_size,
            hidden_size,
            k=None if norm == "ln" else self.k,
            norm=norm,
            eps=self.eps,
            affine=self.affine,
            bias_placement=self.bias_placement,
            init=self.init,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrenceSettings(Settings, abc.ABC):
    """Settings of every task that trains a recurrent network; each field says where its value comes from.

    Raises
    ------
    ValueError
        A negative eps.
    """

    eps: float
    """Added to the variance in each norm. Paper: 1 for noisy MNIST; open for the others, 1e-5 as in the released
    code."""

    bias_placement: BiasPlacement
    """Biases before or after the norms. Eq. (14) has them outside; section 5.1 says that its own experiment, noisy
    MNIST, has them outside and the others inside, and so has the released code."""

    init: Init
    """Initialization of the layers of LN and ATN. Open in the paper; "paper" is what the released code does: W_ih
    orthogonal, W_hh four identity blocks, biases 0, gains 1."""

    lstm_init: Init
    """Initialization of the layers of the plain LSTM. Open in the paper; "torch" since the released code takes
    nn.LSTMCell as it comes, and so does AWD-LSTM, on which the paper bases its language models. The paper's baseline
    thus differs from the other two in its initialization as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "eps")

    @abc.abstractmethod
    def window(self) -> int:
        """Window length of ATN."""

    def recurrence(self, model: ModelName) -> Recurrence:
        """Layer of a model by these settings."""
        init = self.lstm_init if model == "lstm" else self.init
        return Recurrence(model, self.window(), self.eps, self.bias_placement, init)
