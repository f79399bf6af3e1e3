"""How much each setting of a grid changes the quantity that a sentence is about."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.report.paired import Paired
from experiments.report.sensitivity.grid_results import CellResult, GridResult, varied
from experiments.report.sensitivity.sentences import CellSentence


class Effect(NamedTuple):
    """The change of a quantity where one setting has another value, and all others stay as they are."""

    setting: str
    first: Any
    """The value of the setting in the first cell of the grid."""
    other: Any
    pairs: tuple[Paired, ...]
    """For each pair of cells that differ in this setting alone, by seed: the quantity at `other` minus at `first`."""
    flips: int
    """Number of these pairs in which the sentence is true at every seed in one cell and not in the other one."""

    @property
    def change(self) -> Paired:
        """By seed, the mean over the pairs."""
        by_seed = zip(*(pair.differences for pair in self.pairs), strict=True)
        return Paired(tuple(Paired(changes).mean for changes in by_seed))

    @property
    def against(self) -> int:
        """Number of pairs in which the quantity changes the other way than in the mean, at every seed."""
        return sum(all(change * self.change.mean < 0 for change in pair.differences) for pair in self.pairs)

    @property
    def decides(self) -> bool:
        """Whether the sentence flips with the setting, and the mean change is clear."""
        return self.flips > 0 and self.change.leaves_out_zero


def effects(result: GridResult, sentence: CellSentence) -> list[Effect]:
    """The effect of every value of every setting in which cells of the grid differ, over the complete cells."""
    cells = result.complete(sentence.models)
    found = []
    for setting in varied(result.grid):
        first, *others = dict.fromkeys(one.cell.get(setting) for one in result.cells)
        for other in others:
            pairs = _differing_in(setting, first, other, cells)
            if pairs:
                seeds = sorted(result.grid.seeds)
                changes = tuple(_change(pair, sentence, seeds) for pair in pairs)
                flips = sum(len({is_true(one, sentence, seeds) for one in pair}) == 2 for pair in pairs)
                found.append(Effect(setting, first, other, changes, flips))
    return found


def is_true(one: CellResult, sentence: CellSentence, seeds: Sequence[int]) -> bool:
    """Whether a sentence is true in a cell at every seed."""
    return all(sentence.holds(one, seed) for seed in seeds)


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


def _change(pair: tuple[CellResult, CellResult], sentence: CellSentence, seeds: Sequence[int]) -> Paired:
    one, another = pair
    return Paired(tuple(sentence.quantity(another, seed) - sentence.quantity(one, seed) for seed in seeds))
