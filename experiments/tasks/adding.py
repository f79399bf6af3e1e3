"""The adding problem, section 4.1.2 of the paper: Table 2 and Figure 3.

The input is a sequence of numbers uniform in [0, 1), two of which are marked, one in each half. After the last step the
model must output the sum of the two::

    x[t] = (number, 1 where it is marked and else 0)        T steps
    y    = sum of the two marked numbers

The loss is the squared error of the last step. A model that always outputs 1 has the loss `CHANCE`.

The training set is fixed, and every epoch goes through it in the same order, as in the released script. It is not
stored, because the seed and the number of a batch within the set determine the batch.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from experiments.tasks.synthetic import Split, SyntheticProblem, SyntheticSettings, generator
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.summary import Level
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "adding"

CHANCE = 1 / 6
"""Squared error of the best constant, 1: the variance of the sum of two numbers uniform in [0, 1)."""

FIRST_LEVEL = Level(CHANCE / 10, 50)
"""A tenth of `CHANCE`, in the mean of 50 losses: the end of the first fall."""

VALIDATED_AT_ONCE = 100
"""Validation sequences in one forward pass. With more sequences the working set no longer fits into the caches."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddingSettings(SyntheticSettings):
    """Settings of the adding problem; the docstring of a field gives the source of its value."""

    paper_k: ClassVar[dict[int, int]] = {100: 25, 200: 5}
    """Section 4.1.2."""

    T: int
    """Number of steps of a sequence. Paper: 100 and 200."""

    batch: int
    """Sequences in a batch. Paper: 50."""

    hidden: int
    """Hidden size of the one layer. Paper: 60."""

    k: int | None
    """Window length of ATN. None for the paper's: 25 at T = 100 and 5 at T = 200."""

    lr: float
    """Learning rate of RMSProp. Paper: 1e-3."""

    momentum: float
    """Momentum of RMSProp. Open in the paper; 0, PyTorch's default, as in the released script."""

    alpha: float
    """Smoothing of RMSProp's squared gradients. Open in the paper; 0.99, PyTorch's default, as in the script."""

    training_sequences: int
    """Size of the fixed training set. Open in the paper; 100,000 as in the script. Sequences after the last whole
    batch are not used."""

    validation_sequences: int
    """Size of the validation set, over all of which each validation averages. Open in the paper; 10,000 as in the
    script."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 3, "T")
        require_at_least(self, 0, "momentum", "alpha")
        require_at_least(self, self.batch, "training_sequences")
        require_at_least(self, 1, "validation_sequences")

    def levels(self) -> tuple[Level, ...]:
        """The loss level at which the report compares how fast the runs begin."""
        return (FIRST_LEVEL,)


PAPER = AddingSettings(
    # The text gives no number of steps: the released script goes 10 times through its training set.
    steps=20_000,
    # Open in the paper. The script of this task sets no seed; this is the one of the copying task's script.
    seed=5544,
    # Open in the paper. The script validates after the steps 199, 399, ..., 1,999 of each epoch, one step earlier.
    validate_every=200,
    T=100,
    batch=50,
    hidden=60,
    k=None,
    lr=1e-3,
    momentum=0.0,
    alpha=0.99,
    training_sequences=100_000,
    validation_sequences=10_000,
    eps=1e-5,
    bias_placement="inside",
    init="paper",
    lstm_init="torch",
)
"""The settings that the text of the paper gives."""

RELEASED = PAPER
"""The settings of the released script, which agree with the text."""

SMOKE = dataclasses.replace(
    RELEASED,
    steps=100,
    validate_every=10,
    T=10,
    batch=20,
    hidden=16,
    k=4,
    lr=3e-3,
    training_sequences=400,
    validation_sequences=100,
)
"""Small sizes that run all of the code in seconds; the losses mean nothing."""

PRESETS: Mapping[PresetName, AddingSettings] = {"paper": PAPER, "released": RELEASED, "smoke": SMOKE}


def draw_sequences(rng: np.random.Generator, T: int, count: int) -> tuple[Tensor, Tensor]:
    """Draw sequences and their targets.

    The first mark is uniform among the steps 0 to ``h - 1`` and the second among h to ``T - 1``, with
    ``h = (T - 1) // 2``, as in the released script. The paper says "in the first and second half".

    Parameters
    ----------
    rng : numpy.random.Generator
        Random generator.
    T : int
        Length of a sequence, at least 3.
    count : int
        Number of sequences, B.

    Returns
    -------
    x : Tensor (T, B, 2), float32
        Numbers x[:, :, 0] and marks x[:, :, 1].
    y : Tensor (1, B), float32
        Sum of the two marked numbers.
    """
    half = (T - 1) // 2
    numbers = rng.random((T, count), dtype=np.float32)
    marked = np.stack([rng.integers(0, half, size=count), rng.integers(half, T, size=count)])
    marks = np.zeros_like(numbers)
    np.put_along_axis(marks, marked, 1, axis=0)
    y = np.take_along_axis(numbers, marked, axis=0).sum(axis=0, keepdims=True)
    return torch.from_numpy(np.stack([numbers, marks], axis=2)), torch.from_numpy(y)


class Adding(SyntheticProblem[AddingSettings]):
    """Training problem: the model, its optimizer, and the batch of each step."""

    def __init__(self, settings: AddingSettings, model: ModelName, device: torch.device) -> None:
        super().__init__(settings, model, device, 2, 1)
        self.optimizer = torch.optim.RMSprop(
            self.model.parameters(), lr=settings.lr, alpha=settings.alpha, momentum=settings.momentum
        )

    def batch(self, split: Split, step: int) -> tuple[Tensor, Tensor]:
        """Sequences (T, batch, 2) and sums (1, batch) of a step; training batches repeat in each epoch."""
        settings = self.settings
        if split == "validation":
            return draw_sequences(generator(settings.seed, split, 0), settings.T, settings.validation_sequences)
        index = (step - 1) % (settings.training_sequences // settings.batch)
        return draw_sequences(generator(settings.seed, split, index), settings.T, settings.batch)

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean squared error, a scalar, of the last step's output for x (T, B, 2) against y (1, B)."""
        last = self.model(x.to(self.device))[-1:, :, 0]
        return functional.mse_loss(last, y.to(self.device))

    def validation(self, step: int) -> dict[str, Tensor]:
        """Mean squared error over the whole validation set, which is the same at each step."""
        x, y = self.batch("validation", step)
        parts = zip(torch.split(x, VALIDATED_AT_ONCE, 1), torch.split(y, VALIDATED_AT_ONCE, 1), strict=True)
        total = torch.stack([self.cost(some_x, some_y) * some_y.numel() for some_x, some_y in parts]).sum()
        return {VALIDATION: total / y.numel()}
