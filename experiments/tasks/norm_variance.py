"""Variance of the state over time at initialization, for every norm of the library.

*Recurrent Normalization Propagation* (Laurent, Ballas, Vincent 2017), section 3, promises that the means and variances
of the states are preserved through time. A run measures them for one model before the first update: inputs are
independent N(0, 1), the state begins at zero, and at each of the T steps the variances of c and of h are taken over all
units and cases of the batch. For Norm-Prop there are numbers to hold them against. With V(u) = E tanh(u z)^2, z ~ N(0,
1), and u the deviation of a preactivation, `cell_variance` is its Eq. (8); it is exact where the gates do not depend on
the state, ``gamma_hh = 0``::

    Var c_t = Var c (1 - B^t)        B = (1 + V(u/2)) / 4

and Var h is to be 1. The one step that a run makes changes nothing: its learning rate is 0.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from atn.norms.prop import constants_of, tanh_second_moment
from experiments.models.recurrent_layer import RecurrenceSettings
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "norm-variance"

State = Literal["c", "h"]

STATES: tuple[State, ...] = ("c", "h")
"""The cell and what the layer puts out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormVarianceSettings(RecurrenceSettings):
    """Settings of the measurement; no paper has it, so that all of them are ours.

    Raises
    ------
    ValueError
        A size is below 1, or the gain is negative.
    """

    free: ClassVar[tuple[str, ...]] = ("gamma_hh",)

    T: int
    """Number of steps."""

    batch: int
    """Sequences in the batch."""

    hidden: int
    """Number of units, and of features of the input."""

    k: int
    """Window length of ATN."""

    gamma_hh: float
    """Start of Norm-Prop's gain of W_hh h, beside 2 for W_ih x and 1 for c. The paper has 2 for language; with 0 its
    variance of c is exact. The other models do not use it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "T", "batch", "hidden", "k")
        require_at_least(self, 0, "gamma_hh")

    def window(self) -> int:
        """Window length of ATN."""
        return self.k

    def max_steps(self) -> int:
        """Number of time steps of BN's statistics."""
        return self.T


NORMPROP = NormVarianceSettings(
    steps=1,
    seed=0,
    validate_every=1,
    T=30,
    batch=256,
    hidden=256,
    k=10,
    gamma_hh=2.0,
    eps=1e-5,
    bias_placement="outside",
    init="orthogonal",
    lstm_init="orthogonal",
)
"""The gains and the initialization of the paper's language model."""

PRESETS: Mapping[PresetName, NormVarianceSettings] = {
    "normprop": NORMPROP,
    "smoke": dataclasses.replace(NORMPROP, T=5, batch=8, hidden=6, k=3),
}


class NormVariance(Problem):
    """One layer on one batch of noise.

    Parameters
    ----------
    settings : NormVarianceSettings
        Settings that determine every number of the run. Their seed seeds the global generator before the model is made.
    model : {"lstm", "ln", "atn", "prop", "wn", "bn"}
        Which norm the layer has.
    device : torch.device
        Device of the layer and of its input.
    """

    def __init__(self, settings: NormVarianceSettings, model: ModelName, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        recurrence = settings.recurrence(model)._replace(prop_gains=(2.0, settings.gamma_hh, 1.0))
        self.model = recurrence.layer(settings.hidden, settings.hidden).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
        self._measured: dict[str, Tensor] = {}

    def batch(self, step: int) -> Tensor:
        """Input (T, batch, hidden) of a step, which the seed and the step determine."""
        random = np.random.default_rng([self.settings.seed, step])
        shape = (self.settings.T, self.settings.batch, self.settings.hidden)
        return torch.from_numpy(random.standard_normal(shape, dtype=np.float32))

    def loss(self, step: int) -> Tensor:
        """Mean square of h, a scalar; the variances at every step are kept for `validation`."""
        x = self.share(self.batch(step), 1).to(self.device)
        with torch.no_grad():
            for t in range(self.settings.T):
                # BN has no stream, and a layer returns its c after the last step alone.
                _, (h, c) = self.model(x[: t + 1])
                self._measured |= {_key("c", t): c.var(correction=0), _key("h", t): h.var(correction=0)}
        return self._mean_square(x)

    def validation(self, step: int) -> dict[str, Tensor]:
        """Mean square of h on another batch, and the variances on the training batch before the update."""
        return {VALIDATION: self._mean_square(self.batch(self.settings.steps + step).to(self.device)), **self._measured}

    def _mean_square(self, x: Tensor) -> Tensor:
        h: Tensor = self.model(x)[0]
        return h.square().mean()


def read_variances(measured: Mapping[str, float]) -> Mapping[State, list[float]]:
    """Variance of c and of h at steps 1, 2, ..., T of one model, from the measurements of its run."""
    steps = range(sum(name.startswith("c variance ") for name in measured))
    return {name: [measured[_key(name, t)] for t in steps] for name in STATES}


def cell_variance(gamma_ih: float, T: int) -> list[float]:
    """The exact Var c of Norm-Prop at steps 1, ..., T for ``gamma_hh = 0`` and rows that are orthogonal."""
    stationary = constants_of((gamma_ih, 0.0, 1.0), "literal").var_c
    ratio = (1 + tanh_second_moment(gamma_ih / 2)) / 4
    return [stationary * (1 - ratio**t) for t in range(1, T + 1)]


def _key(name: State, t: int) -> str:
    return f"{name} variance {t}"
