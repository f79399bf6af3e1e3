"""The paper's own results, as printed."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.training.settings import ModelName


class Losses(NamedTuple):
    """A training loss and a validation loss, in the unit of a table."""

    train: float
    validation: float


Printed = Mapping[ModelName, Losses]
"""The lowest losses of each model; the captions call them "attained minimum values"."""

TABLE_1: Mapping[int, Printed] = {
    100: {"lstm": Losses(0.1739, 0.1731), "ln": Losses(0.1542, 0.1529), "atn": Losses(0.1354, 0.1354)},
    200: {"lstm": Losses(0.09445, 0.09445), "ln": Losses(0.09445, 0.09445), "atn": Losses(0.08020, 0.08020)},
}
"""Cross-entropy on the copying problem, by T and model."""

TABLE_2: Mapping[int, Printed] = {
    100: {"lstm": Losses(0.001034, 0.001212), "ln": Losses(0.001319, 0.000866), "atn": Losses(0.000687, 0.000385)},
    200: {"lstm": Losses(0.002390, 0.003161), "ln": Losses(0.001174, 0.001121), "atn": Losses(0.000869, 0.000750)},
}
"""Squared error on the adding problem, by T and model. The table prints it times 1,000."""

TABLE_3: Mapping[int, Printed] = {
    100: {"lstm": Losses(0.1422, 0.1464), "ln": Losses(0.02489, 0.03169), "atn": Losses(0.01733, 0.02073)},
    200: {"lstm": Losses(0.08830, 0.08988), "ln": Losses(0.006108, 0.009057), "atn": Losses(0.00470, 0.005433)},
}
"""Cross-entropy on the denoise task, by T and model."""

TABLE_4: Printed = {"lstm": Losses(1.692, 1.743), "ln": Losses(1.390, 1.520), "atn": Losses(1.381, 1.511)}
"""Bits per character on character-level Penn Treebank, by model."""

TABLE_5: Printed = {"lstm": Losses(80.68, 65.65), "ln": Losses(80.24, 58.0), "atn": Losses(78.55, 56.06)}
"""Perplexity on WikiText-2, by model."""
