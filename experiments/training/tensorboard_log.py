"""A run's losses for TensorBoard, an optional package."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.common.errors import ExperimentError
from experiments.training.records.metrics import Row

BOARD = "tensorboard"
"""Folder of the event files inside a run's folder."""


def require_tensorboard() -> None:
    """Check that the package is there.

    Raises
    ------
    ExperimentError
        Naming what to install.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ExperimentError("--tensorboard: tensorboard is not installed; pip install tensorboard")


@contextlib.contextmanager
def board(folder: Path, done: int) -> Iterator[Callable[[Row], None]]:
    """Open a writer of rows, each measured number a curve of its own, for a run that goes on after step `done`.

    TensorBoard drops what a killed run wrote of later steps.
    """
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - slow to import, and only some runs want it

    with SummaryWriter(str(folder / BOARD), purge_step=done + 1) as writer:

        def write(row: Row) -> None:
            for name, value in {"train": row.train, **row.measured}.items():
                writer.add_scalar(name, value, row.step)

        yield write
