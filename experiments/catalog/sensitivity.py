"""The grids of the sensitivity study: what the paper leaves open, varied; declared before the runs that they ask for.

The paper reports one run of each model, at settings that its text gives only in part. The study asks which of its
sentences depend on the settings that it leaves open. A *grid* is a set of *cells*, each an assignment of values to some
settings. Every model is trained in every cell with every seed of the grid; `minutes` is what one run may cost. The runs
of a grid are ordinary runs of its task, so ``python -m experiments sweep --grid NAME`` resumes them, and does not
repeat a cell that has finished. A run that was made before the grid was declared counts if its settings fit.

The cells of some grids follow from the results of another grid. The rule is written down here as well: see `FOLLOWERS`.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.catalog.registry import TASKS
from experiments.common.errors import ExperimentError, UsageError
from experiments.tasks import adding, copying, denoise, pixel_mnist, window_lengths
from experiments.training.records.record import Record
from experiments.training.records.summary import mean
from experiments.training.settings import MODELS, ModelName, PresetName

Cell = Mapping[str, Any]
"""Values of some settings, by name."""

SEEDS = (0, 1, 5544)
"""The seeds of every grid but the trials of learning rates: that of the released script and two more."""

TRIAL_SEED = 2
"""The seed of the trials that choose a learning rate. No result uses it, so that the choice does not favor one."""

ENDED = frozenset(("finished", "nan"))
"""Status of a run that is as long as it gets."""

NORMED: tuple[ModelName, ...] = ("ln", "atn")
"""The models that the open settings of the norms change."""


class Grid(NamedTuple):
    """Runs of one task: every model in every cell with every seed."""

    name: str
    """Name on the command line."""

    task: str

    preset: PresetName
    """Where the settings come from that neither `fixed` nor a cell has."""

    models: tuple[ModelName, ...]

    seeds: tuple[int, ...]

    fixed: Cell
    """Settings of every run."""

    cells: tuple[Cell, ...]

    minutes: float
    """Budget of one run on one core."""

    declared: str = "2026-11-25T09:48:21+00:00"
    """Time of the commit that declared the grid, or the rule that chooses its cells, UTC."""

    borrowed: tuple[Cell, ...] = ()
    """Cells of another grid that were put beside its own when their runs had been made, to compare with."""

    shown: tuple[str, ...] = ()
    """Measurements of the last validation that its table shows beside the loss."""

    note: str = ""
    """A sentence on its cells for the readers of the report; may be empty."""

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.models) * len(self.cells) * len(self.seeds)

    @property
    def is_trial(self) -> bool:
        """Whether its runs choose a setting for other grids, and decide nothing else."""
        return self.seeds == (TRIAL_SEED,)

    def cell_of(self, record: Record) -> Cell | None:
        """The cell to which a run belongs; None for a run that is not of this grid."""
        if (record.task, record.preset) != (self.task, self.preset) or record.model not in self.models:
            return None
        if record.settings["seed"] not in self.seeds:
            return None
        return next((cell for cell in self.cells if _has(record, {**self.fixed, **cell})), None)


def _has(record: Record, wanted: Cell) -> bool:
    """Whether the run has the wanted values, and the preset's for every other setting."""
    others = set(record.differences) - set(wanted)
    settings = TASKS[record.task].presets[record.preset].with_defaults(record.settings)
    return not others and all(settings[name] == value for name, value in wanted.items())


def crossed(**values: Sequence[Any]) -> tuple[Cell, ...]:
    """Every combination of the values of each setting."""
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


PAPER_CELL: Cell = {"bias_placement": "inside", "lr": 1e-2, "clip": None}
"""The paper's settings of the denoise task: section 5.1 for the biases, 4.1.3 for the rate; it names no clipping."""

DENOISE_SETTINGS = Grid(
    name="denoise-settings",
    task=denoise.NAME,
    preset="paper",
    models=NORMED,
    seeds=SEEDS,
    fixed={"T": 100, "replace": True, "steps": 3000},
    cells=crossed(bias_placement=("inside", "outside"), lr=(1e-2, 1e-3), clip=(None, 1.0)),
    minutes=6,
)
"""Bias placement, learning rate and gradient clipping on the denoise task, at less than a third of its steps."""

DENOISE_LSTM = DENOISE_SETTINGS._replace(
    name="denoise-lstm", models=("lstm",), seeds=(5544,), cells=crossed(lr=(1e-2, 1e-3), clip=(None, 1.0))
)
"""The plain LSTM beside them, for which both bias placements are the same."""

DENOISE_DISTINCT = Grid(
    name="denoise-distinct",
    task=denoise.NAME,
    preset="paper",
    models=MODELS,
    seeds=SEEDS,
    fixed={"T": 100, "replace": False},
    cells=({},),
    minutes=20,
)
"""The paper's settings, with the places drawn without replacement: no symbol then hides another one."""

PIXEL_RATES = Grid(
    name="pixel-rates",
    task=pixel_mnist.NAME,
    preset="paper",
    models=MODELS,
    seeds=(TRIAL_SEED,),
    fixed={"steps": 468},
    cells=crossed(lr=(1e-3, 3e-3, 1e-2, 3e-2)),
    minutes=15,
    shown=(pixel_mnist.ACCURACY, pixel_mnist.CONTRAST),
)
"""Trials of the learning rate on noisy pixel MNIST, one epoch, the same rates for every model."""

_PIXEL_PLACEMENTS: tuple[Cell, ...] = (
    {"bias_placement": "outside", "chrono_at": "bias"},
    {"bias_placement": "inside", "chrono_at": "bias"},
)

PIXEL_INSIDE = PIXEL_RATES._replace(
    name="pixel-inside",
    models=NORMED,
    seeds=SEEDS,
    cells=(
        *_PIXEL_PLACEMENTS,
        {"bias_placement": "inside", "chrono_at": "shift"},
    ),
    declared="2026-11-29T00:32:59+00:00",
    borrowed=_PIXEL_PLACEMENTS,
)
"""With the biases inside, both models guess in the grid `pixel-norm`. Is it because of the biases, or because the norm
undoes the initialization of the forget gates? In the last cell the biases are inside, and the initialization is in the
norm's shift, so that the gates start as they do outside. The first two cells are those of `pixel-norm`, at the preset's
learning rate, which is also the best one of both models."""

PIXEL_START = PIXEL_RATES._replace(
    name="pixel-start",
    models=NORMED,
    seeds=SEEDS,
    fixed={},
    cells=crossed(chrono=(True, False)),
    declared="2026-11-30T20:52:58+00:00",
    note="The forget gates start open where `chrono` is True, and half open where it is False.",
)
"""With and without chrono initialization, which the paper does not mention, at all steps of Figure 5. The first cell is
that of the figure."""

COPYING_PLACEMENT = Grid(
    name="copying-placement",
    task=copying.NAME,
    preset="released",
    models=NORMED,
    seeds=SEEDS,
    fixed={"T": 100},
    cells=crossed(bias_placement=("inside", "outside")),
    minutes=6,
)
"""Bias placement on the copying problem. The cell "inside" is that of Table 1."""

COPYING_PAPER = COPYING_PLACEMENT._replace(name="copying-paper", preset="paper", models=MODELS, cells=({},))
"""The learning rate of the paper's text, without momentum."""

COPYING_LONG = COPYING_PLACEMENT._replace(name="copying-long", models=MODELS, fixed={"T": 200}, cells=({},), minutes=11)
"""T = 200, the second row of Table 1, with every seed."""

ADDING_PLACEMENT = Grid(
    name="adding-placement",
    task=adding.NAME,
    preset="released",
    models=NORMED,
    seeds=SEEDS,
    fixed={"T": 100},
    cells=crossed(bias_placement=("inside", "outside")),
    minutes=14,
)
"""Bias placement on the adding problem. The cell "inside" is that of Table 2."""

ADDING_LONG = ADDING_PLACEMENT._replace(name="adding-long", models=MODELS, fixed={"T": 200}, cells=({},), minutes=28)
"""T = 200, the second row of Table 2, with every seed."""

WINDOWS = Grid(
    name="windows",
    task=window_lengths.NAME,
    preset="released",
    models=("atn",),
    seeds=SEEDS,
    fixed={"T": 100},
    cells=crossed(k=(5, 25, 65, 120)),
    minutes=6,
    note="k = 45 is the ATN of `copying-placement` with the biases inside.",
)
"""Window lengths on the copying problem, up to all of its 120 steps."""

GRIDS: tuple[Grid, ...] = (
    DENOISE_SETTINGS,
    DENOISE_LSTM,
    DENOISE_DISTINCT,
    PIXEL_RATES,
    PIXEL_INSIDE,
    PIXEL_START,
    COPYING_PLACEMENT,
    COPYING_PAPER,
    COPYING_LONG,
    ADDING_PLACEMENT,
    ADDING_LONG,
    WINDOWS,
)
"""The grids whose cells are known beforehand."""


class Follower(NamedTuple):
    """A grid whose cells follow from the results of other grids, by a rule that is declared before they are known."""

    name: str
    after: Grid
    """The grid whose results decide."""
    grids: Callable[[Sequence[Record]], tuple[Grid, ...]]
    """The grids, from the records of all finished runs."""


def ranked_cells(grid: Grid, records: Sequence[Record]) -> list[Cell]:
    """The cells of a grid, the best one first.

    The better cell has the lower mean, over all models and seeds of the grid, of the training loss over the last 5 % of
    the steps. No model is preferred. A run whose loss was not finite counts as infinite.

    Raises
    ------
    ExperimentError
        A run of the grid has not ended.
    """
    _check_ended(grid, records)
    losses: dict[int, list[float]] = {index: [] for index in range(len(grid.cells))}
    for record in records:
        cell = grid.cell_of(record)
        if cell is not None and record.status in ENDED:
            summary = record.summary
            losses[grid.cells.index(cell)].append(math.inf if summary is None else summary.last_twentieth)
    return [grid.cells[index] for index in sorted(losses, key=lambda index: mean(losses[index]))]


def _check_ended(grid: Grid, records: Sequence[Record]) -> None:
    ended = sum(grid.cell_of(record) is not None for record in records if record.status in ENDED)
    if missing := grid.runs - ended:
        raise ExperimentError(
            f"{missing} of the {grid.runs} runs of the grid {grid.name} have not ended, and they decide: run them first"
        )


def _denoise_initialization(records: Sequence[Record]) -> tuple[Grid, ...]:
    """The best cells as they are, whose runs are those of the first grid, and with the other initialization."""
    best = ranked_cells(DENOISE_SETTINGS, records)[:2]
    cells = tuple({**cell, "init": init} for cell in best for init in ("paper", "torch"))
    borrowed = tuple(cell for cell in cells if cell["init"] == "paper")
    return (DENOISE_SETTINGS._replace(name="denoise-initialization", cells=cells, borrowed=borrowed),)


def _denoise_long(records: Sequence[Record]) -> tuple[Grid, ...]:
    best = next(cell for cell in ranked_cells(DENOISE_SETTINGS, records) if cell != PAPER_CELL)
    cells = tuple({"T": T, **cell} for T in (100, 200) for cell in (PAPER_CELL, best))
    return (
        DENOISE_SETTINGS._replace(name="denoise-long", models=MODELS, fixed={"replace": True}, cells=cells, minutes=30),
    )


def _pixel_norm(records: Sequence[Record]) -> tuple[Grid, ...]:
    """For each model its own best rate, and for the models with norms three ways to regularize them."""
    _check_ended(PIXEL_RATES, records)
    of_model = {model: PIXEL_RATES._replace(models=(model,)) for model in MODELS}
    rates = {model: ranked_cells(grid, records)[0] for model, grid in of_model.items()}
    ways: tuple[Cell, ...] = (
        {"eps": 1.0, "bias_placement": "outside"},
        {"eps": 1e-5, "bias_placement": "outside"},
        {"eps": 1.0, "bias_placement": "inside"},
    )
    return tuple(
        PIXEL_RATES._replace(
            name="pixel-norm",
            models=(model,),
            seeds=SEEDS,
            cells=tuple({**rates[model], **way} for way in (ways if model in NORMED else ways[:1])),
        )
        for model in MODELS
    )


FOLLOWERS: tuple[Follower, ...] = (
    Follower("denoise-initialization", DENOISE_SETTINGS, _denoise_initialization),
    Follower("denoise-long", DENOISE_SETTINGS, _denoise_long),
    Follower("pixel-norm", PIXEL_RATES, _pixel_norm),
)
"""The two best cells of `DENOISE_SETTINGS`, and the same with PyTorch's initialization; the paper's cell and the best
other one with all of the paper's steps, at both lengths; and on pixel MNIST every model at its best rate, with the
paper's eps = 1 outside the norms, with eps = 1e-5, and with the biases inside."""

NAMES: tuple[str, ...] = (*(grid.name for grid in GRIDS), *(follower.name for follower in FOLLOWERS))
"""Names of all grids."""


def find_grids(name: str, records: Sequence[Record]) -> tuple[Grid, ...]:
    """The grids of a name; more than one where the models have different cells.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    records : sequence of Record
        Records of the runs so far.

    Raises
    ------
    UsageError
        If there is no such grid.
    ExperimentError
        If the runs that decide its cells have not ended.
    """
    for grid in GRIDS:
        if grid.name == name:
            return (grid,)
    for follower in FOLLOWERS:
        if follower.name == name:
            return follower.grids(records)
    raise UsageError(f"--grid {name}: unknown grid {name!r}; there are {', '.join(NAMES)}")
