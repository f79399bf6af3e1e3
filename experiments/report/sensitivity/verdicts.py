"""In which cells of a grid a sentence of the paper is true.

A sentence is *robust* if it is true at every seed in every cell, *not seen* if there is no cell in which it is true at
every seed, and otherwise it *depends on* the settings with which it flips and that change its quantity clearly. A grid
of one cell varies nothing, and says only whether the sentence is true there.
"""

from experiments.report.sensitivity.effects import effects, is_true
from experiments.report.sensitivity.grid_results import GridResult
from experiments.report.sensitivity.sentences import CellSentence
from experiments.report.verdicts import PENDING

ROBUST = "robust"
NOT_SEEN = "not seen"
IN_ONE_CELL = {True: "true at every seed", False: "true at some seeds or none"}

UNCLEAR = "the cell, on no single setting clearly"
"""What a sentence depends on if it flips with no setting that changes its quantity clearly."""


def verdict(result: GridResult, sentence: CellSentence) -> str:
    """In which cells a sentence is true at every seed; only complete cells count."""
    complete = result.complete(sentence.models)
    if not complete:
        return PENDING
    true = sum(is_true(one, sentence, result.grid.seeds) for one in complete)
    if missing := len(result.cells) - len(complete):
        return f"{PENDING}: true in {true} of {len(complete)} cells, {missing} still to run"
    if len(complete) == 1:
        return IN_ONE_CELL[true == 1]
    count = f"{true} of {len(complete)} cells"
    if true == len(complete):
        return f"{ROBUST} ({count})"
    if true == 0:
        return f"{NOT_SEEN} ({count})"
    return f"depends on {_settings(result, sentence)} ({count})"


def _settings(result: GridResult, sentence: CellSentence) -> str:
    """The settings with which a sentence flips and that change its quantity clearly."""
    deciding = [effect for effect in effects(result, sentence) if effect.decides]
    if not deciding:
        return UNCLEAR
    names = " and ".join(dict.fromkeys(f"`{effect.setting}`" for effect in deciding))
    return names + (", together with other settings" if any(effect.against for effect in deciding) else "")
