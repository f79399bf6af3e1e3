"""The tasks by name."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from experiments.tasks import (
    adding,
    char_ptb,
    copying,
    denoise,
    norm_statistics,
    pixel_mnist,
    wikitext2,
    window_lengths,
)
from experiments.training.problem import Problem
from experiments.training.settings import ModelName, Part, PresetName, Settings

S = TypeVar("S", bound=Settings)


class Task(NamedTuple, Generic[S]):
    """What the command line has to know of a task."""

    name: str
    presets: Mapping[PresetName, S]
    problem: Callable[..., Problem]
    """Makes the model, its optimizer and its data of the settings, the model's name and the device."""
    reads_data: bool = False
    """Whether `problem` also takes ``data_dir``, the folder of the data sets, or None where none is named."""

    plan: Callable[[PresetName, S, Sequence[ModelName]], list[Part]] | None = None
    """The runs of the command for some models, where they are not simply one a model."""

    def parts(self, preset: PresetName, settings: S, models: Sequence[ModelName]) -> list[Part]:
        """The runs of the command for these models, in their order."""
        if self.plan is None:
            return [Part(self.name, model, settings) for model in models]
        return self.plan(preset, settings, models)

    def reading(self, data_dir: Path | None) -> "Task[S]":
        """The task on the data sets of this folder; as it is for a task that makes its own data."""
        return self._replace(problem=functools.partial(self.problem, data_dir=data_dir)) if self.reads_data else self


_ALL: list[Task[Any]] = [
    Task(copying.NAME, copying.PRESETS, copying.Copying),
    Task("adding", adding.PRESETS, adding.Adding),
    Task("denoise", denoise.PRESETS, denoise.Denoise),
    Task("char-ptb", char_ptb.PRESETS, char_ptb.CharPtb, reads_data=True),
    Task("wikitext2", wikitext2.PRESETS, wikitext2.WikiText2, reads_data=True),
    Task("pixel-mnist", pixel_mnist.PRESETS, pixel_mnist.PixelMnist, reads_data=True),
    Task(norm_statistics.NAME, norm_statistics.PRESETS, norm_statistics.Statistics, plan=norm_statistics.plan),
    Task(window_lengths.NAME, window_lengths.PRESETS, copying.Copying, plan=window_lengths.plan),
]

TASKS: Mapping[str, Task[Any]] = {task.name: task for task in _ALL}
