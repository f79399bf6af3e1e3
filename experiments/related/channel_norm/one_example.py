"""Training on one example with and without channel normalization: figures 1, 2 and 5 of Dai and Heckel 2019.

The network has to map one fixed random input to a step, 1 in the first half of the signal and 0 in the second. A run
trains a network of every depth, beside each other; its training loss is the mean over the depths. The constant 1/2 has
the loss 0.25, and a sigmoid that is saturated everywhere the loss 0.5.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from experiments.related.channel_norm.network import InitName, Networks
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, Settings, require_at_least
from experiments.training.task import Part

NAME = "one-example"

MODELS: tuple[ModelName, ...] = ("shift", "cn")
"""A shift alone in each layer, or channel normalization in front of it."""

INITS: tuple[InitName, ...] = ("default", "preserving")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneExampleSettings(Settings):
    """Settings of the study; the docstring of a field gives the source of its value."""

    free: ClassVar[tuple[str, ...]] = ("init",)

    most_rows: ClassVar[int] = 25
    """A row for each validation of the paper preset."""

    depths: tuple[int, ...]
    """Numbers of convolutions, ascending. Published: 5, 10 and 30."""

    samples: int
    """Length of the signal. Released code: 128."""

    taps: int
    """Length of a filter. Released code: 15."""

    lr: float
    """Learning rate of SGD. Released code: 0.1."""

    momentum: float
    """Momentum of SGD. Released code: 0.9."""

    init: InitName | None
    """Variance of the filters: PyTorch's default, as in the released code, or one that preserves that of the signal.
    None for both in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 2, "samples")
        require_at_least(self, 1, "taps")
        require_at_least(self, 0, "lr", "momentum")
        if not self.depths or min(self.depths) < 1 or list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths is {self.depths}; it must be one or more integers from 1 on, ascending")
        if self.taps > self.samples:
            raise ValueError(f"taps is {self.taps}; it must be at most samples, {self.samples}")


PAPER = OneExampleSettings(
    # 2,000 steps are those of the released ReLU network.
    steps=2000,
    seed=0,
    validate_every=100,
    depths=(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30),
    samples=128,
    taps=15,
    lr=0.1,
    momentum=0.9,
    init=None,
)

PRESETS: Mapping[PresetName, OneExampleSettings] = {
    "paper": PAPER,
    "demo": dataclasses.replace(PAPER, steps=500, depths=(1, 5, 10, 30)),
    "smoke": dataclasses.replace(PAPER, steps=20, validate_every=10, depths=(1, 3), samples=16, taps=5),
}
"""The paper's sizes; fewer depths and steps; and a size for trying out the code."""


def plan(_: PresetName, settings: OneExampleSettings, models: Sequence[ModelName]) -> list[Part]:
    """The runs of the study: each initialization of the settings with and without the norm."""
    inits = INITS if settings.init is None else (settings.init,)
    return [Part(NAME, model, dataclasses.replace(settings, init=init)) for init in inits for model in models]


class OneExample(Problem):
    """The networks of a run, their one example, and SGD.

    Parameters
    ----------
    settings : OneExampleSettings
    model : {"shift", "cn"}
    device : torch.device
    """

    model: Networks

    def __init__(self, settings: OneExampleSettings, model: ModelName, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        generator = torch.Generator().manual_seed(settings.seed)
        # Uniform on [0, 1), as in the released code, so that the mean of the input is not 0.
        self.x = torch.rand(settings.samples, generator=generator).to(device)
        self.target = (torch.arange(settings.samples) < settings.samples // 2).float().to(device)
        self.model = Networks(
            settings.depths, settings.taps, norm=model == "cn", init=settings.init or "default", generator=generator
        ).to(device)
        # The loss is the mean over the depths; times their number each network trains as it would alone.
        rate = settings.lr * len(settings.depths)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=settings.momentum)
        self._at_start: dict[str, Tensor] = {}

    def losses(self) -> Tensor:
        """Mean squared error of the network of each depth."""
        losses: Tensor = (self.model(self.x) - self.target).square().mean(1)
        return losses

    def loss(self, step: int) -> Tensor:  # noqa: ARG002 - every step has the same example
        """Mean of `losses`."""
        return self.losses().mean()

    def update(self, step: int) -> None:
        """Keep the norms of the first gradients, then update."""
        if step == 1:
            count = len(self.settings.depths)
            for depth, (least, most) in zip(self.settings.depths, self.model.gradient_norms(), strict=True):
                self._at_start |= {smallest_gradient(depth): least * count, largest_gradient(depth): most * count}
        super().update(step)

    def validation(self, step: int) -> dict[str, Tensor]:
        """The losses after the update, by depth, and at the first validation the norms of the first gradients."""
        losses = self.losses()
        found = {VALIDATION: losses.mean()}
        found |= {final_loss(depth): loss for depth, loss in zip(self.settings.depths, losses, strict=True)}
        if step != self.settings.validate_every:
            return found
        names = [name(depth) for depth in self.settings.depths for name in (smallest_gradient, largest_gradient)]
        return found | {name: self._at_start[name] for name in names}

    def state_dict(self) -> dict[str, Tensor]:
        """The norms of the first gradients, until they are measured."""
        return dict(self._at_start)

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore the norms of the first gradients."""
        self._at_start = dict(carried)


def final_loss(depth: int) -> str:
    """Name of the measurement of a network's loss."""
    return f"loss {depth}"


def smallest_gradient(depth: int) -> str:
    """Name of the smallest norm of a filter's gradient at the first step, over the layers."""
    return f"smallest gradient {depth}"


def largest_gradient(depth: int) -> str:
    """Name of the largest norm of a filter's gradient at the first step, over the layers."""
    return f"largest gradient {depth}"
