"""Do zeros in excess disappear once cell types are resolved? Simulated cells of known types (Kim, Zhou and Chen 2020).

A step of a run draws one data set and trains nothing: the model is one number on which no loss depends, so that a run
is resumed, recorded and reported like any other. Its loss is 1 less the adjusted Rand index of HIPPO's clusters and the
types.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn

from experiments.related.hippo.clustering import cluster
from experiments.related.hippo.simulation import Design, simulate
from experiments.related.hippo.zero_proportion import Counts, zero_shares
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, Settings, require_at_least

NAME = "zero-share"

MODELS: tuple[ModelName, ...] = ("equal", "unequal")
"""Cells that are sequenced to equal depth, or to unequal depth."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroShareSettings(Settings):
    """Settings of the study; a step is a data set."""

    genes: int
    """Genes of a data set. Ours: the paper's data sets have thousands."""

    sizes: tuple[int, ...]
    """Cells of each type. Ours."""

    markers: tuple[int, ...]
    """Genes whose rate is higher in one type, for each type. Ours."""

    fold: float
    """How many times higher. Ours."""

    depth_deviation: float
    """Standard deviation of the logarithm of the depth of cells of unequal depth. Ours."""

    threshold: float
    """Genes with a larger z are selected. Released code: 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "genes")
        require_at_least(self, 0, "fold", "depth_deviation")
        if len(self.sizes) < 2 or min(self.sizes) < 2:
            raise ValueError(f"sizes is {self.sizes}; it must be two integers or more, each at least 2")
        if len(self.markers) != len(self.sizes) or min(self.markers) < 0 or sum(self.markers) > self.genes:
            raise ValueError(
                f"markers is {self.markers}; it must have a number for each of sizes, "
                f"together at most genes, {self.genes}"
            )

    def design(self, model: ModelName) -> Design:
        """What a model's data sets are drawn from."""
        deviation = self.depth_deviation if model == "unequal" else 0.0
        return Design(self.genes, self.sizes, self.markers, self.fold, deviation)


PAPER = ZeroShareSettings(
    steps=20,
    seed=0,
    validate_every=1,
    genes=2000,
    sizes=(50, 50, 50, 50),
    markers=(60, 50, 40, 30),
    fold=6.0,
    depth_deviation=0.5,
    threshold=2.0,
)

PRESETS: Mapping[PresetName, ZeroShareSettings] = {
    "paper": PAPER,
    "demo": dataclasses.replace(PAPER, steps=5),
    "smoke": dataclasses.replace(PAPER, steps=2, genes=300, sizes=(20, 20), markers=(30, 20)),
}
"""Twenty data sets, five, and two small ones."""


class Flagged(NamedTuple):
    """Numbers of genes with z above the threshold."""

    whole: float
    """In all cells."""
    within: float
    """In the cells of one type, the mean over the types."""
    random: float
    """In as many cells drawn at random, the mean over the types."""


def flagged(X: Counts, types: Counts, threshold: float, rng: np.random.Generator) -> Flagged:
    """Count the genes of the cells X (G, n) of these types (n,)."""

    def count(cells: Counts) -> int:
        return int((zero_shares(X[:, cells]).z > threshold).sum())

    kinds = [np.flatnonzero(types == kind) for kind in np.unique(types)]
    drawn = [rng.choice(len(types), len(cells), replace=False) for cells in kinds]
    return Flagged(
        whole=count(np.arange(len(types))),
        within=float(np.mean([count(cells) for cells in kinds])),
        random=float(np.mean([count(cells) for cells in drawn])),
    )


class _Nothing(nn.Module):
    """A model without a use."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))


class ZeroShare(Problem):
    """The data sets of a run.

    Parameters
    ----------
    settings : ZeroShareSettings
    model : {"equal", "unequal"}
    device : torch.device
    """

    def __init__(self, settings: ZeroShareSettings, model: ModelName, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self._design = settings.design(model)
        self.model = _Nothing().to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)

    def measure(self, step: int) -> dict[str, float]:
        """Draw the data set of a step, and measure it."""
        rng = np.random.default_rng([self.settings.seed, step])
        cells = simulate(self._design, rng)
        clusters = cluster(cells.X, len(self.settings.sizes), threshold=self.settings.threshold, seed=step).labels
        counts = flagged(cells.X, cells.types, self.settings.threshold, rng)
        index = float(adjusted_rand_score(cells.types, clusters))
        return {VALIDATION: 1 - index, **{name: float(value) for name, value in counts._asdict().items()}}

    def loss(self, step: int) -> Tensor:
        """1 less the adjusted Rand index of a step's data set."""
        self._measured = self.measure(step)
        return self.model.get_parameter("unused") + self._measured[VALIDATION]

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the data set of the step was measured
        """What was measured of the step's data set."""
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in self._measured.items()}
