"""Seconds of an epoch of each strategy, measured in turn.

A step of a run is a round: an epoch of every strategy, one after the other, in an order that moves on by one with each
round, so that what else the machine does falls on all of them alike. The learning rate is 0, since time does not depend
on the weights. A round's loss is the mean of the strategies' last losses. A run that goes on from a checkpoint begins
with empty memories, which take as long to read as full ones.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from experiments.related.mptt import long_series
from experiments.related.mptt.long_series import LongSeries, LongSeriesSettings, SeriesSettings, cells
from experiments.related.mptt.policies import STRATEGIES, Strategy
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName
from experiments.training.task import Part

NAME = "mptt-seconds"


def _timed(settings: LongSeriesSettings, rounds: int) -> SeriesSettings:
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(SeriesSettings)}
    return SeriesSettings(**{**fields, "steps": rounds, "validate_every": 1, "lr": 0.0})


PRESETS: Mapping[PresetName, SeriesSettings] = {
    "paper": _timed(long_series.PRESETS["paper"], 12),
    "demo": _timed(long_series.PRESETS["demo"], 3),
    "smoke": _timed(long_series.PRESETS["smoke"], 2),
}
"""The sizes of the runs whose epochs they are."""


def plan(_: PresetName, settings: SeriesSettings, models: Sequence[ModelName]) -> list[Part]:
    """A run for each store, window length and model of the study."""
    return [
        Part(NAME, model, dataclasses.replace(settings, store=store, n=n))
        for store, n, model in cells(settings, models)
    ]


def seconds(strategy: Strategy) -> str:
    """Name of the measurement of an epoch."""
    return f"seconds {strategy}"


def updates(strategy: Strategy) -> str:
    """Name of the number of its updates."""
    return f"updates {strategy}"


class EpochSeconds(Problem):
    """The runs whose epochs are timed.

    Parameters
    ----------
    settings : SeriesSettings
    model : {"lstm", "atn"}
    device : torch.device
    """

    def __init__(self, settings: SeriesSettings, model: ModelName, device: torch.device) -> None:
        fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
        self.device = device
        self._runs = {
            strategy: LongSeries(LongSeriesSettings(**fields, strategy=strategy), model, device)
            for strategy in STRATEGIES
        }
        self.model = nn.ModuleList(run.model for run in self._runs.values())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
        self._measured: dict[str, float] = {}

    def loss(self, step: int) -> Tensor:
        """Run an epoch of each strategy and measure it; the mean of their last losses."""
        first = (step - 1) % len(STRATEGIES)
        last = [self._epoch(strategy, step) for strategy in (*STRATEGIES[first:], *STRATEGIES[:first])]
        # The parameters are in the loss with the factor 0, since the trainer takes its gradient.
        return torch.stack(last).mean() + 0 * next(self.model.parameters()).sum()

    def _epoch(self, strategy: Strategy, step: int) -> Tensor:
        run = self._runs[strategy]
        count = run.policy.epoch_steps
        self.wait_for_device()
        began = time.perf_counter()
        for each in range((step - 1) * count + 1, step * count + 1):
            loss = run.loss(each)
            run.optimizer.zero_grad()
            torch.autograd.backward(loss)
            run.update(each)
        self.wait_for_device()
        self._measured[seconds(strategy)] = time.perf_counter() - began
        self._measured[updates(strategy)] = float(count)
        return loss.detach()

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the round of the step was measured
        """Seconds and updates of an epoch of each strategy, and the seconds of the round."""
        found = {name: torch.tensor(value, dtype=torch.float64) for name, value in self._measured.items()}
        return found | {VALIDATION: torch.stack([found[seconds(strategy)] for strategy in STRATEGIES]).sum()}
