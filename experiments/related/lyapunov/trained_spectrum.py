"""Lyapunov spectra of character models while they are trained, at several learning rates.

The models are those of character-level Penn Treebank, smaller: LSTM, LN-LSTM and ATN-LSTM of one layer. After every few
steps the largest exponents are measured on the validation text, with the loss. The question of Vogt et al. 2022 is
whether the first exponent tells how well a model trains; their released statistics of an LSTM of 512 units on *War and
Peace* are in `RELEASED`. Ours differ in the text, the size and the number of steps, which two cores carry in minutes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from experiments.common.errors import UsageError
from experiments.related.lyapunov.exponents import check_sizes, measured_exponents
from experiments.tasks import char_ptb
from experiments.tasks.char_ptb import CharPtb, CharPtbSettings
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least
from experiments.training.task import Part

NAME = "spectrum-ptb"

RATES: Mapping[PresetName, tuple[float, ...]] = {
    "paper": (0.001, 0.002, 0.005, 0.01),
    "demo": (0.002, 0.01),
    "smoke": (0.01,),
}
"""Learning rates; the first four are those of `RELEASED`."""


class Released(NamedTuple):
    """Statistics that the paper's authors released for one learning rate, after 15 epochs."""

    first: float
    """First exponent in bits a step, of the product in the wrong order and of h alone (`proofs/ERRATA_LYAPUNOV.md`)."""
    validation: float
    """Validation loss."""


RELEASED: Mapping[float, Released] = {
    0.001: Released(-0.492, 1.503),
    0.002: Released(-0.341, 1.369),
    0.005: Released(-0.124, 1.345),
    0.01: Released(-0.022, 1.362),
}
"""By learning rate: LSTM, H = 512, *War and Peace*, batch 128, length 100, Adam, uniform in +-0.08, no dropout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedSpectrumSettings(CharPtbSettings):
    """Settings of character-level Penn Treebank and of the spectra; where the two differ, the sizes are chosen.

    Raises
    ------
    ValueError
        As `CharPtbSettings`; fewer than two sequences, a `length` that is not more than `burn_in`, or a `burn_in` below
        k - 1.
    """

    free: ClassVar[tuple[str, ...]] = ("lr",)

    lr: float
    """Learning rate of a single run; 0 for each of `RATES`."""

    exponents: int
    """Number of exponents, the largest ones."""

    sequences: int
    """Sequences of the validation text over which they are averaged."""

    length: int
    """Characters of a sequence."""

    burn_in: int
    """Characters whose growth does not count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "exponents", "burn_in")
        require_at_least(self, 2, "sequences")
        check_sizes(length=self.length, burn_in=self.burn_in, k=self.k, exponents=self.exponents, hidden=self.hidden)


def _of_char_ptb(settings: CharPtbSettings, **changes: object) -> TrainedSpectrumSettings:
    shared = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    study = {"lr": 0.0, "exponents": 16, "sequences": 2, "length": 200, "burn_in": 80}
    return TrainedSpectrumSettings(**{**shared, **study, **changes})


PAPER = _of_char_ptb(
    char_ptb.PAPER,
    steps=300,
    seed=1,
    validate_every=100,
    bptt=100,
    carry=False,
    embedding=64,
    hidden=64,
    drops=(),
)

PRESETS: Mapping[PresetName, TrainedSpectrumSettings] = {
    "paper": PAPER,
    "demo": dataclasses.replace(
        PAPER, corpus="generated", steps=60, validate_every=20, batch=8, eval_batch=2, hidden=24, bptt=40
    ),
    "smoke": _of_char_ptb(
        char_ptb.SMOKE, steps=4, validate_every=2, carry=False, drops=(), exponents=3, length=12, burn_in=5
    ),
}
"""The full study, a demonstration on generated text, and a size for trying out the code."""


def plan(preset: PresetName, settings: TrainedSpectrumSettings, models: Sequence[ModelName]) -> list[Part]:
    """A run for each learning rate and model."""
    rates = (settings.lr,) if settings.lr > 0 else RATES[preset]
    return [Part(NAME, model, dataclasses.replace(settings, lr=rate)) for rate in rates for model in models]


class TrainedSpectrum(CharPtb):
    """Character-level Penn Treebank with exponents beside the validation loss.

    Raises
    ------
    UsageError
        As `CharPtb`; also if the validation text has fewer columns than `sequences`, or shorter ones than `length`.
    """

    def __init__(
        self, settings: TrainedSpectrumSettings, model: ModelName, device: torch.device, data_dir: Path | None = None
    ) -> None:
        super().__init__(settings, model, device, data_dir)
        rows, columns = self.columns["validation"].shape
        if settings.length > rows or settings.sequences > columns:
            raise UsageError(
                f"length and sequences are {settings.length} and {settings.sequences}; they must be at most {rows} and "
                f"{columns}, those of the validation text in {settings.eval_batch} columns (eval_batch)"
            )
        self.study = settings

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the whole text every time
        """Mean cross-entropy of the validation text in nats, each window from an empty state, and the exponents."""
        text = self.columns["validation"][: self.study.length, : self.study.sequences].to(self.device)
        (lstm,) = self.model.layers
        x = self.model.embedding(text)
        found = measured_exponents(lstm, x, self.study.exponents, self.study.burn_in)
        return {VALIDATION: self.evaluate(self.model, "validation", carry=False), **found}


def natural(bits: float) -> float:
    """A rate in nats, from one in bits."""
    return bits * math.log(2)
