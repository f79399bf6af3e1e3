"""The record of a run in ``record.json``: its settings, conditions and results without the curve.

The report reads only records and curves.
"""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from experiments.common.errors import ExperimentError
from experiments.common.files import write_atomically
from experiments.training.records.summary import Summary
from experiments.training.settings import ModelName, PresetName

Status = Literal["running", "finished", "interrupted", "nan"]

RECORD = "record.json"

UNVERIFIED = "unverified"
"""Replaces the stamp in the record of a run that was started without one."""


@dataclasses.dataclass(frozen=True)
class Session:
    """One stretch of a run, from its start or resumption to its end or kill."""

    started: str
    """Time of its start, UTC."""
    after_step: int
    """The step of the checkpoint from which it began; 0 for the first session."""
    command: str
    """The command line, without the folders of the machine."""
    commit: str
    """Commit of the checkout, followed by "-dirty" if files had changed."""
    versions: dict[str, str]
    """Versions of Python, NumPy, PyTorch and the rest."""
    device: str
    """Device in words, preceded by "2 x " and so on if several processes had one each."""
    threads: int
    """CPU threads of PyTorch."""
    stamp: str
    """Scope and digest of the stamp of the sources, or "unverified"."""
    processes: int = 1
    """Number of processes that trained the model, each with its share of every batch; older records lack the field."""


@dataclasses.dataclass(frozen=True)
class Record:
    """The settings of a run, its sessions and its results."""

    name: str
    """Name of the run and of its folder."""
    task: str
    model: ModelName
    preset: PresetName
    settings: dict[str, Any]
    """Every setting."""
    differences: dict[str, Any]
    """Settings that differ from the preset: ``{field: [preset's value, this run's value]}``."""
    shortened: bool
    """Whether the run has fewer steps than the preset."""
    status: Status
    """"running" also stands in the record of a run that was killed."""
    step: int
    """Steps made when the record was written; at status "nan" the step whose loss was not finite."""
    seconds: float
    """Time spent on these steps, including validations, by `active_clock`, which does not count a stopped process."""
    metrics_digest: str
    """SHA-256 of the single-step losses of a finished run, otherwise empty. Their file is not committed."""
    sessions: list[Session]
    validation_seconds: float | None = None
    """The part of `seconds` spent on validations; older records lack the field."""
    curve_digest: str = ""
    """SHA-256 of ``curve.csv`` of a finished run, otherwise empty."""
    summary: Summary | None = None
    """The results that need the loss of every step; None for a run that has not finished."""

    @property
    def unverified(self) -> bool:
        """Whether any session of the run was made without a stamp."""
        return any(session.stamp == UNVERIFIED for session in self.sessions)


def save_record(folder: Path, record: Record) -> None:
    """Write the record into the run's folder.

    Raises
    ------
    OSError
        Of the write; the record stands as before.
    """
    write_atomically(folder / RECORD, (json.dumps(dataclasses.asdict(record), indent=2) + "\n").encode())


def load_record(folder: Path) -> Record | None:
    """Record of the run in this folder, None if there is none.

    Raises
    ------
    ExperimentError
        If it is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_bytes())
        record = _typed(Record, data)
    except (ValueError, TypeError, KeyError) as error:
        raise ExperimentError(f"{path} is damaged ({error}); nothing was changed") from None
    return record


def load_records(runs: Path) -> dict[Path, Record]:
    """Record of every run in the folder `runs`, by the run's folder, in the order of the folders' names.

    Raises
    ------
    ExperimentError
        If one is damaged.
    """
    folders = sorted(path.parent for path in runs.glob(f"*/{RECORD}"))
    return {folder: record for folder in folders if (record := load_record(folder)) is not None}


D = typing.TypeVar("D")


def _typed(kind: type[D], data: dict[str, Any]) -> D:
    """Instance of `kind` from `data`, which must fit the types of the fields and may lack only those with a default."""
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__} is {data!r}")
    expected = typing.get_type_hints(kind)
    instance = kind(**{name: _nested(value, expected.get(name)) for name, value in data.items()})
    for name, of in expected.items():
        if not _is_of(getattr(instance, name), of):
            raise TypeError(f"{name} is {getattr(instance, name)!r}")
    return instance


def _nested(value: Any, expected: Any) -> Any:
    """Value of a field, with dictionaries replaced by the dataclasses that they describe."""
    kinds = (expected, *typing.get_args(expected))
    kind = next((member for member in kinds if isinstance(member, type) and dataclasses.is_dataclass(member)), None)
    if kind is None or value is None:
        return value
    return [_typed(kind, each) for each in value] if typing.get_origin(expected) is list else _typed(kind, value)


def _is_of(value: Any, expected: Any) -> bool:
    if typing.get_origin(expected) is Literal:
        return value in typing.get_args(expected)
    if typing.get_origin(expected) is types.UnionType:
        return any(_is_of(value, member) for member in typing.get_args(expected))
    return isinstance(value, typing.get_origin(expected) or expected)
