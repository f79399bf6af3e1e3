"""Lyapunov spectra at initialization against the window length: what a longer window adds.

A run is one layer, LSTM, LN or ATN with some k, with one of two initializations, driven by standard normal inputs. It
trains nothing: its one step has the learning rate 0, its loss is the mean square of the layer's output, and what counts
are the exponents that its validation measures. No paper has this study; its sizes are chosen.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from atn.choices import BiasPlacement, Init
from experiments.models.recurrent_layer import Recurrence
from experiments.related.lyapunov.exponents import check_sizes, measured_exponents
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, Settings, require_at_least
from experiments.training.task import Part

NAME = "spectrum"

INITS: tuple[Init, ...] = ("torch", "paper")
"""Initializations of the study: that of `torch.nn.LSTM`, and that of the ATN paper's LN and ATN-LSTMs."""

WINDOWS: Mapping[PresetName, tuple[int, ...]] = {"paper": (2, 5, 20), "demo": (5,), "smoke": (2,)}
"""Window lengths of ATN."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrumSettings(Settings):
    """Settings of the spectra at initialization, all of them chosen.

    Raises
    ------
    ValueError
        A size is below 1, fewer than two sequences, `eps` negative, or a sequence that is not longer than `burn_in`.
    """

    free: ClassVar[tuple[str, ...]] = ("init", "k")

    init: Init | None
    """Initialization of the layer, also of the plain LSTM; None for each of `INITS`."""

    k: int | None
    """Window length of a single model; k = 1 is LN. None for LSTM, LN, and ATN with each k of `WINDOWS`."""

    hidden: int
    """Units of the layer."""

    inputs: int
    """Features of the input, each standard normal at every step."""

    sequences: int
    """Sequences over which the exponents are averaged."""

    length: int
    """Steps of a sequence."""

    burn_in: int
    """Steps of a sequence whose growth does not count."""

    exponents: int
    """Number of exponents, the largest ones."""

    eps: float
    """Added to the variance in each norm; 1e-5 as in the ATN paper's released code."""

    bias_placement: BiasPlacement
    """Whether the biases are added before the norms (inside) or after them (outside)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "hidden", "inputs", "burn_in", "exponents")
        require_at_least(self, 2, "sequences")
        require_at_least(self, 0, "eps")
        if self.k is not None:
            require_at_least(self, 1, "k")
        check_sizes(
            length=self.length, burn_in=self.burn_in, k=self.k or 1, exponents=self.exponents, hidden=self.hidden
        )


PAPER = SpectrumSettings(
    steps=1,
    seed=1,
    validate_every=1,
    init=None,
    k=None,
    hidden=32,
    inputs=8,
    sequences=2,
    length=300,
    burn_in=100,
    # LN with the ATN paper's initialization has two exponents of -inf, at the end.
    exponents=60,
    eps=1e-5,
    bias_placement="outside",
)

PRESETS: Mapping[PresetName, SpectrumSettings] = {
    "paper": PAPER,
    "demo": dataclasses.replace(PAPER, hidden=16, length=160, burn_in=60, exponents=28),
    "smoke": dataclasses.replace(PAPER, hidden=4, inputs=2, length=12, burn_in=4, exponents=6),
}
"""The full study, a demonstration of less than three minutes, and a size for trying out the code."""


def plan(preset: PresetName, settings: SpectrumSettings, models: Sequence[ModelName]) -> list[Part]:
    """The runs of the study: LSTM, LN, and ATN with each window length, for each initialization.

    Parameters
    ----------
    preset : {"paper", "demo", "smoke"}
        Preset that gives the window lengths if the settings have k = None.
    settings : SpectrumSettings
        Settings of every run, apart from its k and initialization.
    models : sequence of {"lstm", "ln", "atn"}
        Models to run.
    """
    inits = INITS if settings.init is None else (settings.init,)
    standard = {model: WINDOWS[preset] if model == "atn" else (1,) for model in models}
    return [
        Part(NAME, model, dataclasses.replace(settings, init=init, k=k))
        for init in inits
        for model in models
        for k in (standard[model] if settings.k is None else (settings.k,))
        if (model == "atn") == (k > 1)
    ]


class InitialSpectrum(Problem):
    """One layer at its initialization, and its exponents.

    Parameters
    ----------
    settings : SpectrumSettings
        Settings with an initialization and a k; the seed draws parameters and inputs.
    model : {"lstm", "ln", "atn"}
        Which layer.
    device : torch.device
        Device of the layer and its input.
    """

    def __init__(self, settings: SpectrumSettings, model: ModelName, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        recurrence = Recurrence(
            model, settings.k or 1, settings.eps, settings.bias_placement, settings.init or INITS[0]
        )
        self.model = recurrence.layer(settings.inputs, settings.hidden).to(device)
        self.x = torch.randn(settings.length, settings.sequences, settings.inputs).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)

    def loss(self, step: int) -> Tensor:  # noqa: ARG002 - the same at every step: nothing is trained
        """Mean square of the layer's output."""
        output, _ = self.model(self.share(self.x, 1))
        loss: Tensor = output.square().mean()
        return loss

    def validation(self, step: int) -> dict[str, Tensor]:
        """The loss, and the largest exponents."""
        found = measured_exponents(self.model, self.x, self.settings.exponents, self.settings.burn_in)
        return {VALIDATION: self.loss(step), **found}
