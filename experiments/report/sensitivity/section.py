"""The section of the report on the sensitivity study: verdicts, the figure, and a table for each grid."""

from collections import Counter
from collections.abc import Mapping, Sequence

from experiments.catalog.sensitivity import FOLLOWERS, Grid
from experiments.common.markdown import markdown
from experiments.report.paired import CONFIDENCE, Paired, in_words
from experiments.report.results import Results
from experiments.report.schema import NAMES
from experiments.report.sensitivity.effects import effects
from experiments.report.sensitivity.figure import FIGURE, is_drawn
from experiments.report.sensitivity.grid_results import GridResult, grid_results, varied
from experiments.report.sensitivity.sentences import CellSentence, opposite, sentences_of
from experiments.report.sensitivity.verdicts import NOT_SEEN, ROBUST, verdict
from experiments.report.studies.synthetic import MARGIN
from experiments.report.tables import duration, over_seeds
from experiments.tasks import pixel_mnist
from experiments.training.records.summary import mean

TITLE = "What the order depends on"

INTRODUCTION = f"""\
The paper reports one run of each model, at settings that its text gives only in part. This study varies what the text
leaves open, and some of what it gives. Its grids, their seeds, their budgets and the rules that choose further cells
stand in [`catalog/sensitivity.py`](catalog/sensitivity.py); they were declared before the runs that they ask for. A
grid trains its models with several choices of some settings; each choice is a *cell*. Runs that were there already
count where their settings fit, and some grids were given cells of another grid later, to compare with: the table of
grids says how many runs are older than their grid or of another one. No cell is left out: a run that has not ended is
counted as missing. No run was cut off by its budget; on a machine that others shared some took longer.

- *Loss* is the mean training loss of the last 5 % of the steps, at a fixed number of steps, since a minimum favors
  noise. One loss is below another if it is smaller by more than {MARGIN:.0%}.
- *Differences* are paired: with the same seed two models see the same data. Their interval is Student's t,
  {CONFIDENCE:.0%}, over the seeds. With three seeds it is wide, so the last column says at how many seeds ATN is the
  lower one, by any amount.
- *Contrast*, on noisy MNIST, is what the first norm leaves of a pixel's brightness: how many times larger a white pixel
  is after it than a gray one of brightness {pixel_mnist.GRAY:g}, both after gray pixels. It is
  {1 / pixel_mnist.GRAY:.2g} as without a norm, and 1 where the norm erases the brightness.
- A sentence is *{ROBUST}* if it is true at every seed in every cell, and *{NOT_SEEN}* if in no cell it is true at every
  seed. Otherwise it *depends on* the settings with which it flips between two cells that differ in nothing else, and
  that change its quantity clearly: their interval, in the table of changes, leaves out 0. *Together with other
  settings* means that in some such pair of cells the quantity changes the other way at every seed. It depends on *the
  cell* alone if it flips with no setting that changes its quantity clearly. A grid of one cell varies nothing: there it
  is true at every seed, or at some or none.
- The *orders* of the losses are those of the paper's tables, with two exceptions: at copying with T = 200 the paper has
  LN and the LSTM level, and its Figure 5, of noisy MNIST, has no LSTM. The last column is the verdict on *the opposite
  order*. If neither is true in a cell, the seeds disagree, or the losses differ by less than the margin.
- The LSTM has no norm. Where the cells of a grid differ in settings of the norms alone, as in `pixel-norm`, its numbers
  in all rows are those of the same runs.
- A change that is clear in the mean over all pairs of cells need not be so in each pair. And the level of
  {CONFIDENCE:.0%} is that of one interval: of twenty changes that are none, one is expected to look clear.
- Some rules are younger than some runs. The column of the opposite order was added when most runs of
  `denoise-settings` were known; the margin, the table of changes and the rule that names a setting, when all runs of
  `denoise-settings`, `pixel-rates` and `pixel-norm` were; that the sentence must flip, when those of `pixel-inside` and
  `copying-placement` were too. No run was made or left out because of them.
- *Versions* of the sources differ in the rounding of the kernels. A run repeats to the bit with the same sources on the
  same machine. With other rounding it can take another course, as it does with another seed.

`python -m experiments sweep --grid NAME` runs a grid, or what is left of it."""


OF_THE_CHANGES = """\
What each setting changes, all others as they are. *Against* counts the pairs of cells in which the quantity changes the
other way than in the mean, at every seed."""

OF_THE_FIGURE = """\
In the figure a marker is a run and a line the mean over the seeds. A cell has the color of the model that is below all
others at every seed; it is white where the seeds disagree, losses differ by less than the margin, runs are missing, or
the runs are trials of a rate. The axes of the panels differ, and a grid of one cell has no panel."""


def sensitivity_section(results: Results) -> list[str]:
    """Lines of the section: a table of verdicts, the figure, and a table for each grid."""
    grids = grid_results(results)
    lines = [f"## {TITLE}", "", INTRODUCTION, "", *_verdicts(grids), *_changes(grids), "", *_overview(grids)]
    if any(map(is_drawn, grids)):
        lines += ["", OF_THE_FIGURE, "", f"![{TITLE}](figures/{FIGURE})"]
    for result in grids:
        if result.records:
            lines += ["", f"### {result.grid.name}", "", _runs(result.grid), "", *_own(result), *_table(result)]
    return [*lines, ""]


def _runs(grid: Grid) -> str:
    """A line on what the runs of all its cells have in common."""
    fixed = "".join(f", {name} = {value}" for name, value in grid.fixed.items())
    models = ", ".join(NAMES[model] for model in grid.models)
    return f"`{grid.task}`, preset `{grid.preset}`{fixed}: {models}.{f' {grid.note}' if grid.note else ''}"


def _own(result: GridResult) -> list[str]:
    """A sentence on the settings that each model has for itself, which trials have chosen."""
    if not result.own:
        return []
    of_models = [
        f"{NAMES[model]} {', '.join(f'{name} = {value}' for name, value in cell.items())}"
        for model, cell in result.own.items()
    ]
    return [f"Each model at the settings that were best in its trials: {'; '.join(of_models)}.", ""]


def _verdicts(grids: Sequence[GridResult]) -> list[str]:
    """A table of the sentences with at least one complete cell, and a line with the number of the others."""
    found = [(result, sentence) for result in grids for sentence in sentences_of(result.grid)]
    begun = [(result, sentence) for result, sentence in found if result.complete(sentence.models)]
    rows = [
        [sentence.says, f"`{result.grid.name}`", verdict(result, sentence), _of_the_opposite(result, sentence)]
        for result, sentence in begun
    ]
    waiting = Counter(result.grid.name for result, sentence in found if not result.complete(sentence.models))
    header = ["order of the losses, or sentence of the paper", "grid", "verdict", "the opposite order"]
    lines = markdown(header, rows) if rows else []
    if waiting:
        names = ", ".join(f"`{name}` ({count})" for name, count in waiting.items())
        lines += [*([""] if lines else []), f"Sentences that wait for the runs of a whole cell: {names}."]
    return lines


def _of_the_opposite(result: GridResult, sentence: CellSentence) -> str:
    other = opposite(sentence)
    return "–" if other is None else verdict(result, other)


def _changes(grids: Sequence[GridResult]) -> list[str]:
    """A table of what each setting changes; nothing if no two complete cells differ in a single setting."""
    rows = [
        [
            f"`{result.grid.name}`",
            sentence.quantity_name,
            f"`{effect.setting}`: {effect.first} → {effect.other}",
            in_words(effect.change),
            "yes" if effect.change.leaves_out_zero else "no",
            " / ".join(f"{pair.mean:+.2g}" for pair in effect.pairs),
            f"{effect.against} of {len(effect.pairs)}",
        ]
        for result in grids
        for sentence in sentences_of(result.grid)
        for effect in effects(result, sentence)
    ]
    header = ["grid", "quantity", "setting", "mean change, interval", "clear", "in each pair of cells", "against"]
    return ["", OF_THE_CHANGES, "", *markdown(header, rows)] if rows else []


def _overview(grids: Sequence[GridResult]) -> list[str]:
    rows = [
        [
            f"`{result.grid.name}`",
            f"{len(result.records)} of {result.runs}",
            str(result.older),
            str(result.versions),
            duration(60 * result.grid.minutes),
            duration(mean([record.seconds for record in result.records])) if result.records else "–",
        ]
        for result in grids
    ]
    waiting = sorted({follower.name for follower in FOLLOWERS} - {result.grid.name for result in grids})
    note = [f"Their cells are not known yet: {', '.join(f'`{name}`' for name in waiting)}."] if waiting else []
    header = ["grid", "runs", "older, or of another grid", "versions", "budget of a run, one core", "measured"]
    return [*markdown(header, rows), *([""] if note else []), *note]


def _table(result: GridResult) -> list[str]:
    names = varied(result.grid)
    compared = {"atn", "ln"} <= set(result.grid.models)
    header = [*(f"`{name}`" for name in names), *(NAMES[model] for model in result.grid.models)]
    header += [f"{name}: {' / '.join(NAMES[model] for model in result.grid.models)}" for name in result.grid.shown]
    header += ["ATN − LN, interval", "ATN lower at"] if compared else []
    rows = []
    for one in result.cells:
        row = [str(one.cell.get(name)) for name in names]
        row += [_over_seeds(one.losses.get(model, {})) for model in result.grid.models]
        row += [
            " / ".join(_measured_over_seeds(one.shown.get(name, {}).get(model, {})) for model in result.grid.models)
            for name in result.grid.shown
        ]
        rows.append([*row, *(_compared(one.compared("atn", "ln")) if compared else [])])
    return markdown(header, rows)


def _over_seeds(losses: Mapping[int, float]) -> str:
    return over_seeds([(loss,) for loss in losses.values()]) if losses else "to run"


def _measured_over_seeds(values: Mapping[int, float]) -> str:
    return over_seeds([(value,) for value in values.values()]) if values else "–"


def _compared(pair: Paired) -> list[str]:
    if not pair.differences:
        return ["to run", "–"]
    return [in_words(pair), f"{pair.lower} of {len(pair.differences)} seeds"]
