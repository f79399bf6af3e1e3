"""In which cells of a grid a sentence of the paper is true.

A sentence is *robust* if it is true at every seed in every cell, *not seen* if there is no cell in which it is true at
every seed, and otherwise it *depends on* the settings at whose values the cells differ most.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.report.schema import NAMES
from experiments.report.sensitivity.grid_results import CellResult, GridResult
from experiments.tasks import pixel_mnist
from experiments.tasks.sensitivity import Cell, Grid
from experiments.training.settings import ModelName

PAIRS: tuple[tuple[ModelName, ModelName], ...] = (("atn", "ln"), ("atn", "lstm"), ("ln", "lstm"))
"""The first of two models is the one that the paper has lower."""

ROBUST = "robust"
NOT_SEEN = "not seen"
PENDING = "pending"


class Statement(NamedTuple):
    """A sentence of the paper that is true or not at one seed in one cell."""

    says: str
    models: tuple[ModelName, ...]
    """The models that it is about."""
    holds: Callable[[CellResult, int], bool]
    """Whether it is true in a cell at a seed."""


def is_lower(first: ModelName, second: ModelName) -> Statement:
    """The first model has the lower loss."""

    def holds(one: CellResult, seed: int) -> bool:
        return one.losses[first][seed] < one.losses[second][seed]

    return Statement(f"{NAMES[first]} is below {NAMES[second]}", (first, second), holds)


def opposite(statement: Statement) -> Statement | None:
    """The sentence with its two models exchanged; None for a sentence about one model."""
    return is_lower(*reversed(statement.models)) if len(statement.models) == 2 else None


def is_accurate(model: ModelName, says: str, bounds: tuple[float, float]) -> Statement:
    """The last accuracy of the model lies within the bounds."""

    def holds(one: CellResult, seed: int) -> bool:
        # A run that diverged has none.
        accuracy = one.shown[pixel_mnist.ACCURACY].get(model, {}).get(seed, 0.0)
        return bounds[0] <= accuracy <= bounds[1]

    limits = f"at least {bounds[0]:.0%}" if bounds[1] == 1 else f"at most {bounds[1]:.0%}"
    return Statement(f"{says}: accuracy {limits}", (model,), holds)


def statements(grid: Grid) -> list[Statement]:
    """The sentences of the paper that a grid decides; none for trials of settings."""
    if grid.is_trial:
        return []
    orders = [is_lower(*pair) for pair in PAIRS if set(pair) <= set(grid.models)]
    if pixel_mnist.ACCURACY not in grid.shown:
        return orders
    return [
        # The bounds are those of the section on the paper's settings.
        is_accurate("ln", "LN is no better than guessing", (0, 0.15)),
        is_accurate("atn", "ATN learns", (0.2, 1)),
        *orders,
    ]


def verdict(result: GridResult, statement: Statement) -> str:
    """In which cells a sentence is true at every seed.

    Only complete cells count: those in which all models that it is about have all the seeds of the grid.
    """
    seeds = set(result.grid.seeds)
    complete = [
        one for one in result.cells if all(one.losses.get(model, {}).keys() == seeds for model in statement.models)
    ]
    if not complete:
        return PENDING
    holds = {index: all(statement.holds(one, seed) for seed in seeds) for index, one in enumerate(complete)}
    missing = len(result.cells) - len(complete)
    if missing:
        return f"{PENDING}: true in {sum(holds.values())} of {len(holds)} cells, {missing} still to run"
    count = f"{sum(holds.values())} of {len(holds)} cells"
    if all(holds.values()):
        return f"{ROBUST} ({count})"
    if not any(holds.values()):
        return f"{NOT_SEEN} ({count})"
    return f"depends on {_factors([one.cell for one in complete], holds)} ({count})"


def _factors(cells: Sequence[Cell], holds: Mapping[int, bool]) -> str:
    """The settings whose values differ most in the share of cells in which the sentence holds, with these shares."""
    spreads: dict[str, float] = {}
    shares: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for cell in cells for name in cell):
        by_value: dict[str, list[bool]] = {}
        for index, cell in enumerate(cells):
            by_value.setdefault(str(cell.get(name)), []).append(holds[index])
        if len(by_value) > 1:
            shares[name] = {value: sum(found) / len(found) for value, found in by_value.items()}
            spreads[name] = max(shares[name].values()) - min(shares[name].values())
    widest = max(spreads.values(), default=0.0)
    named = [
        f"`{name}` ({', '.join(f'{value}: {share:.0%}' for value, share in shares[name].items())})"
        for name, spread in spreads.items()
        if spread == widest and spread > 0
    ]
    return " and ".join(named) or "the combination of settings"
