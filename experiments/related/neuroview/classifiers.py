"""Classifiers of sequences: a recurrent layer, and a linear map of its last state or of all its states."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from atn.readout import PerStepReadout
from experiments.models.recurrent_layer import Recurrence

HeadName = Literal["last", "per-step"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)
"""The linear map of the standard RNN, and that of NeuroView-RNN."""


class Shape(NamedTuple):
    """Sizes of the problem that a classifier has to solve."""

    T: int
    inputs: int
    classes: int


class LastStep(nn.Module):
    """Logits (B, C) from the last of the hidden states (T, B, H)."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, classes)

    def forward(self, h: Tensor) -> Tensor:
        """Map the last state."""
        logits: Tensor = self.linear(h[-1])
        return logits


class Classifier(nn.Module):
    """Logits (B, C) of sequences x (T, B, I)."""

    def __init__(self, recurrence: Recurrence, shape: Shape, hidden: int, head: HeadName) -> None:
        super().__init__()
        self.lstm = recurrence.layer(shape.inputs, hidden)
        self.head = (
            PerStepReadout(shape.T, hidden, shape.classes) if head == "per-step" else LastStep(hidden, shape.classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes."""
        h, _ = self.lstm(x)
        logits: Tensor = self.head(h)
        return logits


def pair(recurrence: Recurrence, shape: Shape, hidden: int, seed: int) -> dict[HeadName, Classifier]:
    """One classifier with each head; their recurrent layers start from the same draws."""
    torch.manual_seed(seed)
    found = {head: Classifier(recurrence, shape, hidden, head) for head in HEADS}
    found["per-step"].lstm.load_state_dict(found["last"].lstm.state_dict())
    return found


class Classifiers(nn.Module):
    """Several pairs of classifiers that share nothing, each with data of its own."""

    def __init__(self, pairs: Mapping[str, Mapping[HeadName, Classifier]]) -> None:
        super().__init__()
        by_head = {name: nn.ModuleDict({head: one[head] for head in HEADS}) for name, one in pairs.items()}
        self.pairs = nn.ModuleDict(by_head)

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, dict[HeadName, Tensor]]:
        """Logits by data set and head."""
        return {name: {head: self.classifier(name, head)(x[name]) for head in HEADS} for name in x}

    def classifier(self, name: str, head: HeadName) -> Classifier:
        """The classifier of a data set with a head."""
        found = self.pairs.get_submodule(f"{name}.{head}")
        assert isinstance(found, Classifier)  # noqa: S101 - for the type checker
        return found
