"""Linear maps of all hidden states and of the last one: which classifies better, and which steps they name.

A run trains, for each of some data sets, two classifiers whose recurrent layers start from the same draws: the standard
one with a linear map of the last state, and NeuroView-RNN with one of all states. A step is one update of each by all
its training cases; nothing is chosen by the test cases. One of the sets is noise with a class planted into known steps.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from experiments.datasets.ucr import LabeledSeries, UcrName, read_ucr
from experiments.models.recurrent_layer import RecurrenceSettings
from experiments.related.neuroview.classifiers import HEADS, Classifier, Classifiers, HeadName, Shape, pair
from experiments.related.neuroview.importance import Measure, importance, margin_contributions
from experiments.related.neuroview.planted import Design, planted
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "neuroview"

SetName = Literal[UcrName, "planted"]
SET_NAMES: tuple[SetName, ...] = (*get_args(UcrName), "planted")

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadoutsSettings(RecurrenceSettings):
    """Settings of the study. None of the paper's were at hand: all sizes are ours.

    Raises
    ------
    ValueError
        No data set or one twice, a count below 1, fewer than two cases, planted steps that are not among the steps, or
        what `RecurrenceSettings` refuses.
    """

    most_rows: ClassVar[int] = 12
    """More rows than the paper preset has validations, each of which has some hundred measurements."""

    datasets: tuple[SetName, ...]
    """Data sets: of the archives, and "planted"."""

    hidden: int
    """Hidden units."""

    k: int
    """Window length of ATN."""

    lr: float
    """Learning rate of Adam."""

    length: int
    """Steps of the planted series."""

    first: int
    """First of the steps that tell the class, counted from 1."""

    last: int
    """Last of them."""

    amplitude: float
    """Size of the mean that they have in units of the noise."""

    cases: int
    """Planted cases for training, and as many for testing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "hidden", "k", "length", "first")
        require_at_least(self, 2, "cases")
        require_at_least(self, 0, "lr", "amplitude")
        if not self.datasets or len(set(self.datasets)) < len(self.datasets):
            raise ValueError(f"datasets is {self.datasets}; it must be one or more different names")
        if not self.first <= self.last <= self.length:
            raise ValueError(f"last is {self.last}; it must be from first, {self.first}, to length, {self.length}")

    def window(self) -> int:
        """Window length of ATN."""
        return self.k

    @property
    def design(self) -> Design:
        """What is planted."""
        return Design(self.length, self.first, self.last, self.amplitude)


PAPER = ReadoutsSettings(
    steps=300,
    seed=0,
    validate_every=100,
    eps=1e-5,
    bias_placement="outside",
    init="torch",
    lstm_init="torch",
    datasets=SET_NAMES,
    hidden=16,
    k=10,
    lr=0.01,
    length=60,
    first=40,
    last=50,
    amplitude=1.0,
    cases=200,
)

PRESETS: Mapping[PresetName, ReadoutsSettings] = {
    "paper": PAPER,
    "demo": dataclasses.replace(PAPER, datasets=("planted",)),
    "smoke": dataclasses.replace(
        PAPER, steps=4, validate_every=2, datasets=("planted",), hidden=3, k=2, length=6, first=3, last=4, cases=8
    ),
}
"""All data sets; the planted one alone, which needs no data; and a size for trying out the code."""


class Readouts(Problem):
    """The data sets of a run, two classifiers for each, and Adam.

    Parameters
    ----------
    settings : ReadoutsSettings
    model : {"lstm", "ln", "atn"}
        The recurrent layer of all classifiers.
    device : torch.device
    data_dir : Path, optional
        Folder of the data sets. By default it is the one that ``ATN_DATA_DIR`` names; without that the data are
        downloaded.

    Raises
    ------
    ExperimentError
        A data set is missing or damaged.
    """

    model: Classifiers

    def __init__(
        self, settings: ReadoutsSettings, model: ModelName, device: torch.device, data_dir: Path | None = None
    ) -> None:
        self.settings = settings
        self.device = device
        self.x: dict[Split, dict[str, Tensor]] = {split: {} for split in SPLITS}
        self.labels: dict[Split, dict[str, Tensor]] = {split: {} for split in SPLITS}
        pairs: dict[str, Mapping[HeadName, Classifier]] = {}
        for name in settings.datasets:
            shape = self._read(name, data_dir)
            # Each set begins from the seed, so that its numbers do not depend on which others are run.
            pairs[name] = pair(settings.recurrence(model), shape, settings.hidden, settings.seed)
        self.model = Classifiers(pairs).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.lr)

    def _read(self, name: SetName, data_dir: Path | None) -> Shape:
        train, test = (self._cases(name, split, data_dir) for split in SPLITS)
        mean, deviation = train.x.mean((0, 1)), train.x.std((0, 1))
        for split, cases in zip(SPLITS, (train, test), strict=True):
            x = torch.from_numpy((cases.x - mean) / deviation).transpose(0, 1).contiguous()
            self.x[split][name] = x.to(self.device)
            self.labels[split][name] = torch.from_numpy(cases.labels).to(self.device)
        _, T, inputs = train.x.shape
        return Shape(T, inputs, int(train.labels.max()) + 1)

    def _cases(self, name: SetName, split: Split, data_dir: Path | None) -> LabeledSeries:
        if name == "planted":
            return planted(self.settings.design, self.settings.cases, [self.settings.seed, SPLITS.index(split)])
        return read_ucr(name, split, data_dir)

    def loss(self, step: int) -> Tensor:  # noqa: ARG002 - every step has all cases
        """Sum over the classifiers of the cross-entropy of their training cases, so that each trains as if alone."""
        logits = self.model({name: self.share(x, 1) for name, x in self.x["train"].items()})
        losses = [
            torch.nn.functional.cross_entropy(found, self.share(self.labels["train"][name], 0))
            for name, by_head in logits.items()
            for found in by_head.values()
        ]
        return torch.stack(losses).sum()

    def validation(self, step: int) -> dict[str, Tensor]:
        """Accuracy of each classifier on both splits; at the last validation the importance of the planted steps."""
        found = {}
        for split in SPLITS:
            for name, by_head in self.model(self.x[split]).items():
                for head, logits in by_head.items():
                    right = logits.argmax(1) == self.labels[split][name]
                    found[accuracy(split, name, head)] = right.float().mean()
        errors = [1 - found[accuracy("test", name, head)] for name in self.settings.datasets for head in HEADS]
        found[VALIDATION] = torch.stack(errors).mean()
        is_last = step + self.settings.validate_every > self.settings.steps
        return found | self._planted_steps() if is_last and "planted" in self.settings.datasets else found

    def _planted_steps(self) -> dict[str, Tensor]:
        classifier = self.model.classifier("planted", "per-step")
        x, labels = self.x["test"]["planted"], self.labels["test"]["planted"]
        h, _ = classifier.lstm(x[:, -1:])
        curves = {
            **{share_name(measure): shares for measure, shares in importance(classifier, x, labels).items()},
            EXAMPLE: x[:, -1, 0],
            EXAMPLE_CONTRIBUTIONS: margin_contributions(classifier, h)[0],
        }
        return {at(name, t): value for name, curve in curves.items() for t, value in enumerate(curve, start=1)}


EXAMPLE = "series"
"""Name of the last of the planted test cases, standardized."""

EXAMPLE_CONTRIBUTIONS = "margin"
"""Name of what its steps add to the logit of its class less that of the other: an even number of cases ends with 1."""


def accuracy(split: Split, name: str, head: HeadName) -> str:
    """Name of the measurement of an accuracy."""
    return f"{split} accuracy {name} {head}"


def share_name(measure: Measure) -> str:
    """Name of the shares of the steps by a measure."""
    return f"share of {measure}"


def at(name: str, step: int) -> str:
    """Name of the measurement of a curve at a step of the series, counted from 1."""
    return f"{name} {step}"
