"""Small sets of labeled time series of the UCR and UEA archives, read from the package that carries them.

The wheel of aeon 1.6.0 (6.4 MB, BSD) has them as text files. It is read as an archive and not installed.
"""

import io
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from experiments.common.errors import ExperimentError
from experiments.datasets.sources import DataFile, obtain

UcrName = Literal[
    "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "PickupGestureWiimoteZ"
]
UCR_NAMES: tuple[UcrName, ...] = get_args(UcrName)

Split = Literal["train", "test"]

_PACKAGES = "https://files.pythonhosted.org/packages"

WHEEL = DataFile(
    "ucr",
    "aeon-1.6.0-py3-none-any.whl",
    "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    (f"{_PACKAGES}/7d/49/034d8d142106e035fce019d8ee6f04d3ac8842490cd33f811d4df8e15da3/aeon-1.6.0-py3-none-any.whl",),
)


class Sizes(NamedTuple):
    """Sizes of a set."""

    train: int
    """Cases for training."""
    test: int
    T: int
    """Steps of every series."""
    inputs: int
    """Features of a step."""
    classes: int


SIZES: dict[UcrName, Sizes] = {
    "ArrowHead": Sizes(36, 175, 251, 1, 3),
    "BasicMotions": Sizes(40, 40, 100, 6, 4),
    "GunPoint": Sizes(50, 150, 150, 1, 2),
    "ItalyPowerDemand": Sizes(67, 1029, 24, 1, 2),
    "JapaneseVowels": Sizes(270, 370, 25, 12, 9),
    "PickupGestureWiimoteZ": Sizes(50, 50, 361, 1, 10),
}
"""Of the last two these are the versions of equal length, which the package has beside those of several lengths."""

EQUAL_LENGTH: frozenset[UcrName] = frozenset({"JapaneseVowels", "PickupGestureWiimoteZ"})
"""Sets whose files of equal length are marked ``_eq``."""


class LabeledSeries(NamedTuple):
    """Series of one length with their classes: x (N, T, I) float32, and labels (N,) from 0 on."""

    x: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def read_ucr(name: UcrName, split: Split, data_dir: Path | None) -> LabeledSeries:
    """The training or the test cases of a set.

    Raises
    ------
    ExperimentError
        The wheel is missing or another one, or its file is not a text of series of these sizes.
    """
    ending = "_eq" if name in EQUAL_LENGTH else ""
    member = f"aeon/datasets/data/{name}/{name}{ending}_{split.upper()}.ts"
    with zipfile.ZipFile(io.BytesIO(obtain(WHEEL, data_dir))) as archive:
        found = parse_series(archive.read(member).decode("utf-8"), member)
    sizes = SIZES[name]
    expected = (sizes.train if split == "train" else sizes.test, sizes.T, sizes.inputs)
    if found.x.shape != expected:
        raise ExperimentError(f"{member} has series of shape {found.x.shape}; it must have {expected}")
    return found


def parse_series(text: str, where: str) -> LabeledSeries:
    """Series and labels from a text in the archive's format.

    Lines that begin with # are remarks, those that begin with @ describe the set: ``@classLabel true a b`` names the
    classes. After ``@data`` each line is a case: its features, each a list of numbers with commas, and its class, all
    with colons between them.

    Raises
    ------
    ExperimentError
        No classes are named or no case follows, a case has another class or another shape than the first, or what
        should be a number is none.
    """
    lines = [line.strip() for line in text.splitlines()]
    heads = [line for line in lines if line.startswith("@")]
    classes = next((line.split()[2:] for line in heads if line.lower().startswith("@classlabel true")), [])
    start = next((place for place, line in enumerate(lines, 1) if line.lower() == "@data"), len(lines))
    cases = [line.split(":") for line in lines[start:] if line and not line.startswith("#")]
    if not classes or not cases:
        raise ExperimentError(f"{where} has {len(classes)} classes and {len(cases)} cases; it must have some of both")
    try:
        series = [[[float(value) for value in feature.split(",")] for feature in case[:-1]] for case in cases]
        labels = np.array([classes.index(case[-1]) for case in cases])
        x = np.array(series, np.float32)
    except ValueError as error:
        raise ExperimentError(f"{where} is not a text of labeled series of one length: {error}") from None
    return LabeledSeries(x.transpose(0, 2, 1), labels)
