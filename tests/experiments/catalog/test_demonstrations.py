"""The preset "demo" of every task that has one."""

import pytest
import torch

from experiments.catalog.registry import TASKS

CPU = torch.device("cpu")


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if "demo" in task.presets])
def test_a_demonstration_can_be_validated(task: str) -> None:
    """Its size fits its data: the first step and the first validation of each of its parts run."""
    of_task = TASKS[task]
    for part in of_task.parts("demo", of_task.presets["demo"], of_task.standard_models):
        problem = of_task.problem(part.settings, part.model, CPU)
        assert torch.isfinite(torch.as_tensor(problem.loss(1)).detach()).all()
        assert all(torch.isfinite(value).all() for value in problem.validation(1).values())
