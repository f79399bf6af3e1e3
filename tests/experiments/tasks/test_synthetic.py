"""What the generated tasks do alike: batches of the seed, wrong settings, validation, and that training learns.

What is a task's own stands in its own file.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from experiments.catalog.registry import TASKS
from experiments.models.recurrent_layer import Recurrence
from experiments.models.sequence_model import SequenceModel
from experiments.tasks import copying, denoise
from experiments.tasks.synthetic import SyntheticProblem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import MODELS, ModelName
from tests.support.experiment_runs import SYNTHETIC

CPU = torch.device("cpu")


def problem(name: str, model: ModelName = "lstm", **changes: Any) -> SyntheticProblem[Any]:
    """A task at sizes of a moment, some settings changed; training and validation batches have equally many cases."""
    settings = dataclasses.replace(TASKS[name].presets["smoke"], T=3, batch=4, hidden=6, k=2)
    if name == "adding":
        changes = {"training_sequences": 23, "validation_sequences": settings.batch, **changes}
    found = TASKS[name].problem(dataclasses.replace(settings, **changes), model, CPU)
    assert isinstance(found, SyntheticProblem)
    return found


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    """Whether input or target of two batches are equal."""
    return any(torch.equal(mine, their) for mine, their in zip(one, other, strict=True))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_batch_depends_on_seed_split_and_step_alone(name: str) -> None:
    drawn = problem(name)
    first = drawn.batch("train", 2)
    drawn.batch("train", 3)
    torch.manual_seed(0)
    again = problem(name, "atn").batch("train", 2)
    assert all(torch.equal(mine, their) for mine, their in zip(again, first, strict=True))
    others = [drawn.batch("train", 3), drawn.batch("validation", 2), problem(name, seed=1).batch("train", 2)]
    assert not any(same(other, first) for other in others)
    assert not same(problem(name, seed=1).batch("validation", 2), drawn.batch("validation", 2))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_validation_is_of_its_own_batch(name: str) -> None:
    one = problem(name)
    x, y = one.batch("validation", 3)
    assert one.validation(3)[VALIDATION].item() == one.cost(x, y).item() != one.loss(3).item()


LEAST: dict[str, dict[str, float]] = {
    "": {"steps": 1, "batch": 1, "hidden": 1, "k": 1, "seed": 0, "lr": 0, "eps": 0},
    "copying": {"T": 1, "momentum": 0, "alpha": 0},
    "adding": {"T": 3, "momentum": 0, "alpha": 0, "training_sequences": 4, "validation_sequences": 1},
    "denoise": {"T": 1, "beta1": 0, "beta2": 0},
}
"""Least value of each setting that every task has, and of those that one has besides."""


@pytest.mark.parametrize(
    ("name", "field", "least"),
    [(name, field, least) for name in SYNTHETIC for field, least in {**LEAST[""], **LEAST[name]}.items()],
)
def test_settings_out_of_range_are_refused_by_name(name: str, field: str, least: int) -> None:
    wrong: dict[str, Any] = {field: least - 1}
    with pytest.raises(ValueError, match=rf"^{field} is {least - 1}; it must be at least {least}$"):
        problem(name, **wrong)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_setting_that_is_no_number_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"^lr is nan; it must be a finite number$"):
        problem(name, lr=math.nan)


class Symbols(NamedTuple):
    """A task whose targets are blanks and then ten symbols."""

    classes: int
    baseline: Callable[[int], float]
    baseline_of_100_and_200: tuple[float, float]
    lr: float
    steps: int
    """Until the places of the symbols are learned."""


SYMBOLS = {
    "copying": Symbols(9, copying.baseline, (0.17329, 0.09452), lr=3e-3, steps=40),
    "denoise": Symbols(10, denoise.baseline, (0.18310, 0.09987), lr=1e-2, steps=60),
}
LENGTH = 10


@pytest.mark.claim("s4-copying-baseline")
@pytest.mark.parametrize("name", SYMBOLS)
def test_the_baseline_is_the_loss_of_knowing_the_places_and_guessing_the_symbols(name: str) -> None:
    task, drawn = SYMBOLS[name], problem(name)
    _, y = drawn.batch("train", 1)
    logits = torch.full((*y.shape, task.classes), -math.inf, dtype=torch.float64)
    logits[:-LENGTH, :, 0] = 0
    logits[-LENGTH:, :, 1:] = 0
    loss = functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    assert loss.item() == pytest.approx(task.baseline(drawn.settings.T), rel=1e-12)
    assert (round(task.baseline(100), 5), round(task.baseline(200), 5)) == task.baseline_of_100_and_200


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", SYMBOLS)
def test_training_lowers_the_loss_to_the_baseline(name: str, model: ModelName) -> None:
    """What is learned first is where symbols stand at all: from guessing among nine or ten classes to the baseline."""
    task = SYMBOLS[name]
    trained = problem(name, model, T=1, hidden=16, batch=16, lr=task.lr)
    losses = []
    for step in range(1, task.steps + 1):
        loss = trained.loss(step)
        trained.optimizer.zero_grad()
        torch.autograd.backward(loss)
        trained.update(step)
        losses.append(loss.item())
    assert losses[0] > 1.7
    assert sum(losses[-5:]) / 5 < 1.1 * task.baseline(1)


def test_the_head_starts_by_he_s_normal_rule() -> None:
    """Its deviation is sqrt(2 / H); uniform draws would end at sqrt(3) deviations."""
    torch.manual_seed(0)
    weight = SequenceModel(Recurrence("ln", 1, 1e-5, "inside", "paper"), 2, 50, 40).head.weight / (2 / 50) ** 0.5
    assert abs(weight.std().item() - 1) < 0.1
    assert weight.abs().max() > 2.5
