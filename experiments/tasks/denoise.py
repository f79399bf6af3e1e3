"""The denoise task, section 4.1.3 of the paper: Table 3 and Figure 4.

The input has ten symbols from 1 to 9 at random places among blanks, and then a marker. After the marker the model must
output the symbols in their order::

    x = [T + 9 steps: the symbols in their places, else 0] [marker] [10 zeros]        10 features
    y = [T + 10 zeros]                                              [10 symbols]      10 classes

The loss is the cross-entropy averaged over all T + 20 steps. A model that outputs blanks where the target is blank and
guesses the symbols has the loss `baseline(T)`.

The paper's code of this task is not published. The data are those of the generator that the paper cites
(jingli9111/GORU-tensorflow, denoise_task.py) and that its authors used, unchanged, for another paper of theirs
(emucllari1/NC-GRU, denoise_task/denoise_task.py). Its input is one-hot of the symbols 0 to 9 alone, so the marker, 10,
is the zero vector, and no other step of the input is zero.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from experiments.tasks.synthetic import Split, SyntheticProblem, SyntheticSettings, generator
from experiments.training.records.summary import Level
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "denoise"

SYMBOLS = 9
"""The symbols are 1 to 9; 0 is the blank and 10 the marker."""

LENGTH = 10
"""Number of symbols in a sequence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiseSettings(SyntheticSettings):
    """Settings of the denoise task; the docstring of a field gives the source of its value."""

    free: ClassVar[tuple[str, ...]] = ("T", "replace")

    paper_k: ClassVar[dict[int, int]] = {100: 20, 200: 60}
    """Section 4.1.3."""

    T: int
    """The symbols stand among the first T + 9 of T + 20 steps, as in the public generator. Paper: 100 and 200, as the
    length of the whole input, of which T - 10 points are noise."""

    replace: bool
    """Whether the places are drawn with replacement. Open in the paper; True as in the public generator. A later symbol
    can then overwrite an earlier one that is still part of the target, so that no model has a loss below
    `denoise_floor.floor(T)`. With False the ten places differ, and the lowest loss is 0."""

    batch: int
    """Sequences in a batch. Paper: 128."""

    hidden: int
    """Hidden size of the one layer. Paper: 100."""

    k: int | None
    """Window length of ATN. None for the paper's: 20 at T = 100 and 60 at T = 200."""

    lr: float
    """Learning rate of Adam. Paper: 1e-2."""

    beta1: float
    """Decay of Adam's mean of gradients. Open in the paper; 0.9, PyTorch's default."""

    beta2: float
    """Decay of Adam's mean of squared gradients. Open in the paper; 0.999, PyTorch's default."""

    clip: float | None = None
    """Norm to which a longer gradient is scaled down. Open in the paper; None, which does not clip, as in both public
    scripts of the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "beta1", "beta2")
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if beta >= 1:
                raise ValueError(f"{name} is {beta}; it must be below 1")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise ValueError(f"clip is {self.clip}; it must be a positive number, or None for no clipping")

    def levels(self) -> tuple[Level, ...]:
        """The loss level at which the report compares how fast the runs begin."""
        return (first_level(self.T),)


PAPER = DenoiseSettings(
    # Open in the paper; 10,000 in both public scripts of the task.
    steps=10_000,
    # Open in the paper. Seed and validation are those of the released script of the copying task: a new batch every 100
    # steps. The public script of this task validates at every step on one fixed batch. That takes a third of the time,
    # and every validation loss then depends on the same batch.
    seed=5544,
    validate_every=100,
    T=100,
    replace=True,
    batch=128,
    hidden=100,
    k=None,
    lr=1e-2,
    beta1=0.9,
    beta2=0.999,
    eps=1e-5,
    bias_placement="inside",
    init="paper",
    lstm_init="torch",
)
"""The settings that the text of the paper gives."""

SMOKE = dataclasses.replace(PAPER, steps=100, validate_every=10, T=5, batch=32, hidden=24, k=4)
"""Small sizes that run all of the code in seconds; the losses mean nothing."""

PRESETS: Mapping[PresetName, DenoiseSettings] = {"paper": PAPER, "smoke": SMOKE}
"""No preset "released": the script of this task is not published."""


def baseline(T: int) -> float:
    """Loss of guessing the symbols, ``10 ln 9 / (T + 20)``, as the public script prints it."""
    return LENGTH * math.log(SYMBOLS) / (T + 2 * LENGTH)


def first_level(T: int) -> Level:
    """90 % of the baseline, in the mean of 50 losses: the loss has left the baseline."""
    return Level(0.9 * baseline(T), 50)


def draw_places(rng: np.random.Generator, T: int, count: int, *, replace: bool) -> Tensor:
    """Places (10, count), int64, of the symbols among the first T + 9 steps, ascending in each column."""
    steps = T + LENGTH - 1
    if replace:
        places = rng.integers(steps, size=(LENGTH, count))
    else:
        places = rng.random((steps, count)).argsort(axis=0)[:LENGTH]
    return torch.from_numpy(np.sort(places, axis=0))


def make_batch(symbols: Tensor, places: Tensor, T: int) -> tuple[Tensor, Tensor]:
    """Input and target of a batch.

    Parameters
    ----------
    symbols : Tensor (10, B), int64
        Symbols, which are also the target.
    places : Tensor (10, B), int64
        Steps of the symbols, ascending. Of several symbols at one step only the last is in the input.
    T : int
        The symbols stand among the first T + 9 steps.

    Returns
    -------
    x : Tensor (T + 20, B, 10), float32
        One-hot input, zero at the marker.
    y : Tensor (T + 20, B), int64
        Target classes.
    """
    batch = symbols.shape[1]
    tokens = symbols.new_zeros(T + 2 * LENGTH, batch)
    for symbol, place in zip(symbols, places, strict=True):
        tokens[place, torch.arange(batch)] = symbol
    x = functional.one_hot(tokens, SYMBOLS + 1).float()
    x[T + LENGTH - 1] = 0
    return x, torch.cat([symbols.new_zeros(T + LENGTH, batch), symbols])


class Denoise(SyntheticProblem[DenoiseSettings]):
    """Training problem: the model, its optimizer, and the batch of each step."""

    def __init__(self, settings: DenoiseSettings, model: ModelName, device: torch.device) -> None:
        super().__init__(settings, model, device, SYMBOLS + 1, SYMBOLS + 1)
        betas = (settings.beta1, settings.beta2)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.lr, betas=betas)

    def update(self, step: int) -> None:
        """Take an optimizer step, after clipping the norm of the gradient if the settings have `clip`."""
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        super().update(step)

    def batch(self, split: Split, step: int) -> tuple[Tensor, Tensor]:
        """Input (T + 20, batch, 10) and target classes (T + 20, batch) of this step's batch."""
        settings = self.settings
        rng = generator(settings.seed, split, step)
        symbols = torch.from_numpy(rng.integers(1, SYMBOLS + 1, size=(LENGTH, settings.batch)))
        places = draw_places(rng, settings.T, settings.batch, replace=settings.replace)
        return make_batch(symbols, places, settings.T)
