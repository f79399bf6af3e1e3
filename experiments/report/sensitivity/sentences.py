"""The orders and the sentences of the paper that a grid decides, each at one seed in one cell."""

from collections.abc import Callable
from typing import NamedTuple

from experiments.catalog.sensitivity import Grid
from experiments.report.schema import NAMES
from experiments.report.sensitivity.grid_results import CellResult
from experiments.report.statements import Bounds, below
from experiments.report.studies.ablation import ACCURACIES
from experiments.report.studies.synthetic import MARGIN
from experiments.tasks import pixel_mnist
from experiments.training.settings import ModelName

PAIRS: tuple[tuple[ModelName, ModelName], ...] = (("atn", "ln"), ("atn", "lstm"), ("ln", "lstm"))
"""The first of two models is the one that most tables of the paper have lower."""


class CellSentence(NamedTuple):
    """An order of two losses, or a sentence of the paper, that is true or not at one seed in one cell."""

    says: str
    models: tuple[ModelName, ...]
    """The models that it is about."""
    holds: Callable[[CellResult, int], bool]
    """Whether it is true in a cell at a seed."""
    quantity_name: str
    quantity: Callable[[CellResult, int], float]
    """The number that decides it, in a cell at a seed: a difference of losses, or an accuracy."""


def is_lower(first: ModelName, second: ModelName) -> CellSentence:
    """The first model has the lower loss, by more than the margin of the synthetic tasks."""

    def holds(one: CellResult, seed: int) -> bool:
        return below(one.losses[first][seed], one.losses[second][seed], MARGIN)

    def difference(one: CellResult, seed: int) -> float:
        return one.losses[first][seed] - one.losses[second][seed]

    names = NAMES[first], NAMES[second]
    return CellSentence(
        f"{names[0]} is below {names[1]}", (first, second), holds, f"loss of {names[0]} − {names[1]}", difference
    )


def opposite(sentence: CellSentence) -> CellSentence | None:
    """The sentence with its two models exchanged; None for a sentence about one model."""
    return is_lower(*reversed(sentence.models)) if len(sentence.models) == 2 else None


def is_accurate(model: ModelName, says: str, bounds: Bounds) -> CellSentence:
    """The last accuracy of the model lies within the bounds."""

    def accuracy(one: CellResult, seed: int) -> float:
        # A run that diverged has none.
        return one.shown[pixel_mnist.ACCURACY].get(model, {}).get(seed, 0.0)

    def holds(one: CellResult, seed: int) -> bool:
        return bounds.include(accuracy(one, seed))

    return CellSentence(f"{says}: accuracy {bounds.in_words}", (model,), holds, f"accuracy of {NAMES[model]}", accuracy)


def sentences_of(grid: Grid) -> list[CellSentence]:
    """The orders and sentences that a grid decides; none for trials of settings."""
    if grid.is_trial:
        return []
    orders = [is_lower(*pair) for pair in PAIRS if set(pair) <= set(grid.models)]
    if pixel_mnist.ACCURACY not in grid.shown:
        return orders
    return [*(is_accurate(*each) for each in ACCURACIES), *orders]
