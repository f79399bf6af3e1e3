"""The paper's own results, as printed."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.settings import ModelName


class Losses(NamedTuple):
    """A training loss and a validation loss."""

    train: float
    validation: float


TABLE_1: Mapping[int, Mapping[ModelName, Losses]] = {
    100: {"lstm": Losses(0.1739, 0.1731), "ln": Losses(0.1542, 0.1529), "atn": Losses(0.1354, 0.1354)},
    200: {"lstm": Losses(0.09445, 0.09445), "ln": Losses(0.09445, 0.09445), "atn": Losses(0.08020, 0.08020)},
}
"""Copying: T -> model -> the lowest losses that single batches attained, Table 1."""
