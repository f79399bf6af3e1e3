"""The recurrent layer of a run: an LSTM with the norm of a model, and the settings that describe it."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from atn import ATNLSTM
from atn.choices import BiasPlacement, Init, Norm
from experiments.training.settings import ModelName, Settings, require_at_least

NORM_OF: Mapping[ModelName, Norm] = {
    "lstm": "none",
    "ln": "ln",
    "atn": "atn",
    "detached": "atn",
    "prop": "prop",
    "wn": "wn",
    "bn": "bn",
}
"""The library's norm of each model."""


class Recurrence(NamedTuple):
    """Description of a recurrent layer without its sizes.

    The gains of Norm-Prop start at `prop_gains`. Those of the other norms start where the library starts them, as their
    papers have it: at 1 for LN and ATN, at 0.1 for BN, and at the lengths of the rows for weight normalization.
    """

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

    max_steps: int | None = None
    """Number of time steps for which BN keeps population statistics; the other models do not use it."""

    prop_gains: tuple[float, float, float] = (2.0, 2.0, 1.0)
    """Starts of Norm-Prop's gains of W_ih x, W_hh h and c. Its paper: 2, 2 and 1 for language."""

    @property
    def carries(self) -> bool:
        """Whether a sequence can be read in chunks: the statistics of BN are of one time step of the whole batch."""
        return self.model != "bn"

    def layer(self, input_size: int, hidden_size: int) -> ATNLSTM:
        """A layer with `input_size` features of the input and `hidden_size` features of the state."""
        norm = NORM_OF[self.model]
        if norm == "prop":
            return ATNLSTM(input_size, hidden_size, norm=norm, init=self.init, gamma=self.prop_gains)
        if norm in {"none", "wn"}:
            return ATNLSTM(input_size, hidden_size, norm=norm, init=self.init)
        return ATNLSTM(
            input_size,
            hidden_size,
            k=self.k if norm == "atn" else None,
            norm=norm,
            eps=self.eps,
            affine=self.affine,
            bias_placement=self.bias_placement,
            init=self.init,
            detach=("mean", "var") if self.model == "detached" else (),
            max_steps=self.max_steps if norm == "bn" else None,
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

    def max_steps(self) -> int | None:
        """Number of time steps for which BN keeps population statistics; None where no task has that model."""
        return None

    def unused(self, model: ModelName) -> tuple[str, ...]:
        """Fields of the norms that the norm of this model does not have."""
        if NORM_OF[model] in {"none", "prop", "wn"}:
            return ("k", "eps", "bias_placement")
        return () if NORM_OF[model] == "atn" else ("k",)

    def recurrence(self, model: ModelName) -> Recurrence:
        """Description of the layer of a model under these settings."""
        init = self.lstm_init if model == "lstm" else self.init
        return Recurrence(model, self.window(), self.eps, self.bias_placement, init, max_steps=self.max_steps())
