"""A task: its name, its presets, the function that makes its problem, and the runs of its command."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from experiments.common.errors import UsageError
from experiments.training.problem import Problem
from experiments.training.settings import MODELS, ModelName, PresetName, Settings

S = TypeVar("S", bound=Settings)


class Part(NamedTuple):
    """One run of a command that makes several."""

    task: str
    """Name of the task whose run it is."""
    model: ModelName
    settings: Settings


class Task(NamedTuple, Generic[S]):
    """The description of a task that the command line and a run use."""

    name: str
    """Name on the command line, in records and in the names of runs."""

    presets: Mapping[PresetName, S]

    problem: Callable[..., Problem]
    """Makes the problem (model, optimizer, data) from the settings, the model's name and the device."""

    reads_data: bool = False
    """Whether `problem` also takes ``data_dir``: the folder of the data sets, or None to download them."""

    plan: Callable[[PresetName, S, Sequence[ModelName]], list[Part]] | None = None
    """Runs of the command for a preset, its settings and some models; None where each model has one run."""

    more_models: tuple[ModelName, ...] = ()
    """Models that are run only by name, beside `standard_models`."""

    standard_models: tuple[ModelName, ...] = MODELS
    """Models that a command runs if it names none."""

    @property
    def standard_preset(self) -> PresetName:
        """Preset that a command takes if it names none: the paper's, or the first of a task without it."""
        return "paper" if "paper" in self.presets else next(iter(self.presets))

    @property
    def models(self) -> tuple[ModelName, ...]:
        """Every model that the task has."""
        return (*self.standard_models, *self.more_models)

    def parts(self, preset: PresetName, settings: S, models: Sequence[ModelName]) -> list[Part]:
        """The runs of the command for these models, in their order.

        Raises
        ------
        UsageError
            If the task has no such model.
        """
        for model in models:
            if model not in self.models:
                raise UsageError(f"--model {model}: {self.name} has {', '.join(self.models)}")
        if self.plan is None:
            return [Part(self.name, model, settings) for model in models]
        return self.plan(preset, settings, models)

    def reading(self, data_dir: Path | None) -> "Task[S]":
        """The task with its data sets read from this folder; unchanged for a task that generates its data."""
        return self._replace(problem=functools.partial(self.problem, data_dir=data_dir)) if self.reads_data else self
