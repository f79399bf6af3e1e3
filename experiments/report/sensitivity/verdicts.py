"""In which cells of a grid a sentence of the paper is true.

A sentence is *robust* if it is true at every seed in every cell, *not seen* if there is no cell in which it is true at
every seed, and otherwise it *depends on* the settings that change its quantity clearly.
"""

from experiments.report.sensitivity.effects import clear_settings
from experiments.report.sensitivity.grid_results import GridResult
from experiments.report.sensitivity.sentences import CellSentence
from experiments.report.verdicts import PENDING

ROBUST = "robust"
NOT_SEEN = "not seen"

UNCLEAR = "the cell, on no single setting clearly"
"""What a sentence depends on if no setting changes its quantity clearly."""


def verdict(result: GridResult, sentence: CellSentence) -> str:
    """In which cells a sentence is true at every seed; only complete cells count."""
    complete = result.complete(sentence.models)
    if not complete:
        return PENDING
    true = sum(all(sentence.holds(one, seed) for seed in result.grid.seeds) for one in complete)
    if missing := len(result.cells) - len(complete):
        return f"{PENDING}: true in {true} of {len(complete)} cells, {missing} still to run"
    count = f"{true} of {len(complete)} cells"
    if true == len(complete):
        return f"{ROBUST} ({count})"
    if true == 0:
        return f"{NOT_SEEN} ({count})"
    clear = " and ".join(f"`{name}`" for name in clear_settings(result, sentence))
    return f"depends on {clear or UNCLEAR} ({count})"
