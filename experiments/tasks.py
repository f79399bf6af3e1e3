"""The tasks by name."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from experiments import copying
from experiments.problem import Problem
from experiments.settings import ModelName, PresetName, Settings

S = TypeVar("S", bound=Settings)


class Task(NamedTuple, Generic[S]):
    """What the command line has to know of a task."""

    name: str
    presets: Mapping[PresetName, S]
    problem: Callable[[S, ModelName, torch.device], Problem]
    """Makes the model, its optimiser and its data."""


TASKS: Mapping[str, Task[Any]] = {task.name: task for task in [Task("copying", copying.PRESETS, copying.Copying)]}
