"""The end of ``copying --preset demo``: a table of the models' losses, a figure of them, and the next commands."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from experiments.common.errors import ExperimentError
from experiments.common.files import write_atomically
from experiments.report.curves import draw_curves
from experiments.report.results import Result, read_result
from experiments.report.schema import NAMES, Axis, Case, Panel, Runs, Series
from experiments.report.tables import over_seeds
from experiments.tasks import copying
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.record import Record
from experiments.training.records.summary import FINAL_STEPS, mean
from experiments.training.settings import MODELS, PresetName

LARGEST_SHARE = 10
"""Largest loss that the table gives in percent of the baseline, as a multiple of it."""

NEXT = """\
Go on with
  python -m nox -s experiments -- copying --preset demo --seeds 1..2     two more draws of weights and data
  python -m nox -s experiments -- copying --preset released --T 100      the paper's size, about half an hour
  python -m nox -s verify                                                everything that is checked"""


def demonstrate(records: Sequence[Record], runs: Path) -> str:
    """Draw the losses into a file in `runs`, and return what to print: the table, the file, and the next commands.

    Parameters
    ----------
    records : sequence of Record
        Finished runs of the copying problem whose settings differ in the seed alone.
    runs : Path
        Folder of the runs' folders.

    Raises
    ------
    ExperimentError
        If a curve is not the one of its record, or the figure cannot be written.
    """
    by_label: dict[str, list[Result]] = {}
    for record in records:
        by_label.setdefault(NAMES[record.model], []).append(read_result(runs / record.name, record))
    T: int = records[0].settings["T"]
    figure = runs / figure_name(records)
    try:
        write_atomically(figure, draw_curves([_panel(by_label, T)]))
    except OSError as error:
        raise ExperimentError(f"cannot write {figure}: {error.strerror}") from None
    return "\n".join(
        [
            "",
            f"The copying problem: give back {copying.LENGTH} symbols after T = {T} blanks. The baseline is the loss",
            "of a model that knows when to answer and guesses the symbols.",
            "",
            *_table(by_label, copying.baseline(T)),
            "",
            f"loss: mean cross-entropy of the last {min(FINAL_STEPS, records[0].step)} training batches",
            f"figure: {figure}",
            "",
            NEXT,
        ]
    )


def figure_name(records: Sequence[Record]) -> str:
    """``copying-demo-T30-lstm+ln+atn-seed0.png``, the models and the seeds of the runs in their names' places."""
    first = records[0]
    models = "+".join(dict.fromkeys(record.model for record in records))
    seeds = list(dict.fromkeys(record.settings["seed"] for record in records))
    seed = f"seed{seeds[0]}" if len(seeds) == 1 else f"{len(seeds)}seeds"
    return first.name.replace(f"-{first.model}-seed{seeds[0]}", f"-{models}-{seed}") + ".png"


def _table(runs: Runs, baseline: float) -> list[str]:
    rows = [("model", "loss", "of baseline", "seconds"), ("baseline", over_seeds([(baseline,)]), "100%", "")]
    for label, results in runs.items():
        losses = [result.final.train for result in results]
        seconds = mean([result.record.seconds for result in results])
        share = _percent(mean(losses) / baseline)
        rows.append((label, over_seeds([(loss,) for loss in losses]), share, f"{seconds:.0f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths) for row in rows]


def _percent(share: float) -> str:
    """A share in percent; one of a run that diverged would be wider than the page."""
    return f"{share:.0%}" if share < LARGEST_SHARE else f"over {LARGEST_SHARE:.0%}"


def _line(row: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "   ".join([first.strip().ljust(widths[0]), *others]).rstrip()


def _panel(runs: Runs, T: int) -> Panel:
    title = f"Copying, T = {T}"
    case = Case(
        title=title,
        where={"T": T},
        series=tuple(Series(NAMES[model], copying.NAME, model, {}) for model in MODELS),
        printed={},
        remark="",
        columns=(),
        axes=(Axis(VALIDATION, "cross-entropy", "linear", {"baseline": copying.baseline(T)}),),
        sentences=(),
    )
    return Panel(title, case, runs)


DEMONSTRATIONS: Mapping[tuple[str, PresetName], Callable[[Sequence[Record], Path], str]] = {
    (copying.NAME, "demo"): demonstrate
}
"""Task and preset -> what the command prints when all of its runs have finished, of their records and their folder."""
