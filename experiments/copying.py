"""The copying problem, section 4.1.1 of the paper: Table 1 and Figure 2.

Ten symbols from 1 to 8, T blanks, a marker, nine blanks; from the marker on the model has to give the symbols back::

    x = [10 symbols] [T zeros] [9] [9 zeros]        one-hot, 10 features
    y = [T + 10 zeros]          [10 symbols]        9 classes

The loss is the cross-entropy averaged over all T + 20 steps. Whoever knows where the symbols stand but not which they
are pays `baseline(T)`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from experiments.metrics import VALIDATION
from experiments.network import BiasPlacement, Initialisation, SequenceModel
from experiments.problem import Problem
from experiments.settings import ModelName, PresetName, Settings, require_at_least

Split = Literal["train", "validation"]

SYMBOLS = 8
"""The symbols are 1 to 8; 0 is the blank and 9 the marker."""

LENGTH = 10
"""Number of symbols to copy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyingSettings(Settings):
    """Settings of the copying problem; each field says where its value comes from."""

    free: ClassVar[tuple[str, ...]] = ("T",)

    T: int
    """Blanks between the symbols and the marker. Paper: 100 and 200."""

    batch: int
    """Sequences in a batch. Paper: 128."""

    hidden: int
    """Hidden size of the one layer. Paper: 68."""

    k: int
    """Window length of ATN. Paper: 45."""

    lr: float
    """Learning rate of RMSProp. Paper: 1e-4; the released script has 2e-4."""

    momentum: float
    """Momentum of RMSProp. The paper names none, so 0; the released script has 0.9."""

    alpha: float
    """Smoothing of RMSProp's squared gradients. Open in the paper; 0.99, PyTorch's default, as in the script."""

    eps: float
    """Added to the variance in each norm. Open in the paper; 1e-5 as in the released code."""

    bias_placement: BiasPlacement
    """Biases before or after the norms. Eq. (14) has them outside; section 5.1 says that the experiments had them
    inside, and so has the released code."""

    init: Initialisation
    """Initialisation of LN and ATN. Open in the paper; "paper" is what the released code does: W_ih orthogonal, W_hh
    four identity blocks, biases 0, gains 1."""

    lstm_init: Initialisation
    """Initialisation of the plain LSTM. Open in the paper; "torch" since the released code takes nn.LSTMCell as it
    comes. The paper's baseline thus differs from the other two in its initialisation as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "T", "batch", "hidden", "k")
        require_at_least(self, 0, "lr", "momentum", "alpha", "eps")


PAPER = CopyingSettings(
    # The text gives no number of steps: 4,000 is the only one its authors ever published.
    steps=4000,
    # One test batch every 100 steps and this seed are the released script's; the text has neither.
    seed=5544,
    validate_every=100,
    T=100,
    batch=128,
    hidden=68,
    k=45,
    lr=1e-4,
    momentum=0.0,
    alpha=0.99,
    eps=1e-5,
    bias_placement="inside",
    init="paper",
    lstm_init="torch",
)
"""What the text of the paper says."""

RELEASED = dataclasses.replace(PAPER, lr=2e-4, momentum=0.9)
"""What the released script does."""

SMOKE = dataclasses.replace(
    RELEASED, steps=100, validate_every=10, T=5, batch=32, hidden=24, k=4, lr=1e-3, momentum=0.9
)
"""All of the code in seconds; its numbers mean nothing."""

PRESETS: Mapping[PresetName, CopyingSettings] = {"paper": PAPER, "released": RELEASED, "smoke": SMOKE}


def baseline(T: int) -> float:
    """Loss of guessing the symbols, ``10 ln 8 / (T + 20)``, section 4.1.1."""
    return LENGTH * math.log(SYMBOLS) / (T + 2 * LENGTH)


def draw_symbols(settings: CopyingSettings, split: Split, step: int) -> Tensor:
    """Symbols (10, batch), int64, uniform in 1..8: the same for the same seed, split and step, whatever came before."""
    key = [settings.seed, ("train", "validation").index(split), step]
    shape = (LENGTH, settings.batch)
    return torch.from_numpy(np.random.default_rng(key).integers(1, SYMBOLS + 1, size=shape))


def make_batch(symbols: Tensor, T: int) -> tuple[Tensor, Tensor]:
    """Input and target of the problem.

    Parameters
    ----------
    symbols : Tensor (10, B), int64
        What is to be copied.
    T : int
        Number of blanks in between.

    Returns
    -------
    x : Tensor (T + 20, B, 10), float32
        One-hot input.
    y : Tensor (T + 20, B), int64
        Target classes.
    """
    batch = symbols.shape[1]
    blanks = symbols.new_zeros
    marker = symbols.new_full((1, batch), SYMBOLS + 1)
    tokens = torch.cat([symbols, blanks(T, batch), marker, blanks(LENGTH - 1, batch)])
    y = torch.cat([blanks(T + LENGTH, batch), symbols])
    return functional.one_hot(tokens, SYMBOLS + 2).float(), y


class Copying(Problem):
    """The problem as the trainer sees it: a model, its optimiser, and the loss of any step.

    Parameters
    ----------
    settings : CopyingSettings
        All that decides the numbers; the global generator is seeded from it before the model is made.
    model : {"lstm", "ln", "atn"}
        Which model to train.
    device : torch.device
        Where to.
    """

    def __init__(self, settings: CopyingSettings, model: ModelName, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        network = SequenceModel(
            model,
            SYMBOLS + 2,
            settings.hidden,
            SYMBOLS + 1,
            k=settings.k,
            eps=settings.eps,
            bias_placement=settings.bias_placement,
            init=settings.lstm_init if model == "lstm" else settings.init,
        )
        self.model = network.to(device)
        self.optimizer = torch.optim.RMSprop(
            self.model.parameters(), lr=settings.lr, alpha=settings.alpha, momentum=settings.momentum
        )

    def loss(self, step: int) -> Tensor:
        """Mean cross-entropy, a scalar, of the training batch of this step."""
        return self._loss("train", step)

    def validation(self, step: int) -> dict[str, Tensor]:
        """The same of the validation batch."""
        return {VALIDATION: self._loss("validation", step)}

    def _loss(self, split: Split, step: int) -> Tensor:
        x, y = make_batch(draw_symbols(self.settings, split, step), self.settings.T)
        logits = self.model(x.to(self.device))
        return functional.cross_entropy(logits.flatten(0, 1), y.to(self.device).flatten())
