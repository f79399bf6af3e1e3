"""How much each setting of a grid changes the quantity that a sentence is about."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.report.paired import Paired
from experiments.report.sensitivity.grid_results import CellResult, GridResult, varied
from experiments.report.sensitivity.sentences import CellSentence
from experiments.training.records.summary import mean


class Effect(NamedTuple):
    """The change of a quantity where one setting has another value, and all others stay as they are."""

    setting: str
    first: Any
    """The value of the setting in the first cell of the grid."""
    other: Any
    pairs: int
    """Number of pairs of cells that differ in this setting alone."""
    change: Paired
    """By seed, the mean over these pairs: the quantity at `other` minus that at `first`."""


def effects(result: GridResult, sentence: CellSentence) -> list[Effect]:
    """The effect of every value of every setting in which cells of the grid differ, over the complete cells."""
    cells = result.complete(sentence.models)
    found = []
    for setting in varied(result.grid):
        first, *others = dict.fromkeys(one.cell.get(setting) for one in result.cells)
        for other in others:
            pairs = _differing_in(setting, first, other, cells)
            if pairs:
                change = tuple(_mean_change(pairs, sentence, seed) for seed in sorted(result.grid.seeds))
                found.append(Effect(setting, first, other, len(pairs), Paired(change)))
    return found


def clear_settings(result: GridResult, sentence: CellSentence) -> list[str]:
    """Names of the settings with an effect whose confidence interval leaves out 0."""
    found = effects(result, sentence)
    return list(dict.fromkeys(effect.setting for effect in found if effect.change.leaves_out_zero))


def _differing_in(
    setting: str, first: Any, other: Any, cells: Sequence[CellResult]
) -> list[tuple[CellResult, CellResult]]:
    """Pairs of cells that have the two values of the setting and are equal in all others."""
    return [
        (one, another)
        for one in cells
        for another in cells
        if one.cell.get(setting) == first and another.cell == {**one.cell, setting: other}
    ]


def _mean_change(pairs: Sequence[tuple[CellResult, CellResult]], sentence: CellSentence, seed: int) -> float:
    return mean([sentence.quantity(another, seed) - sentence.quantity(one, seed) for one, another in pairs])
