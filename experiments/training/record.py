"""The record of a run: ``record.json``, everything about it but its curve.

Record and curve are all that the report reads.
"""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from experiments.common.errors import ExperimentError
from experiments.common.files import write_atomically
from experiments.training.settings import ModelName, PresetName
from experiments.training.summary import Summary

Status = Literal["running", "finished", "interrupted", "nan"]

RECORD = "record.json"

UNVERIFIED = "unverified"
"""In the place of a stamp, where a run was started without."""


@dataclasses.dataclass(frozen=True)
class Session:
    """One stretch of a run, from its start or resumption to its end or kill."""

    started: str
    """When, UTC."""
    after_step: int
    """The step whose checkpoint it began from, 0 at the beginning."""
    command: str
    """What was typed."""
    commit: str
    """Commit of the checkout, "-dirty" after it if files had changed."""
    versions: dict[str, str]
    """Versions of Python, NumPy, PyTorch and the rest."""
    device: str
    """Device in words, "2 x " and so on before it where several processes had one each."""
    threads: int
    """CPU threads of PyTorch."""
    stamp: str
    """Scope and digest of the stamp that let it start, or "unverified"."""
    processes: int = 1
    """Processes that trained the one model, each with its share of every batch; records from before have no such
    number."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run was and how it went."""

    name: str
    """Name of the run and of its folder."""
    task: str
    model: ModelName
    preset: PresetName
    settings: dict[str, Any]
    """Every setting."""
    differences: dict[str, Any]
    """Settings that are not the preset's: ``{field: [preset, here]}``."""
    shortened: bool
    """Fewer steps than the preset has."""
    status: Status
    """"running" also stands in the record of a run that was killed."""
    step: int
    """Steps made when the record was written; at status "nan" the step whose loss was not finite."""
    seconds: float
    """Time spent on these steps, validations included, by the rule of `active_clock`: a stopped process does not
    count."""
    metrics_digest: str
    """SHA-256 of the single-step losses of a run that has finished, else empty. Their file stays on the machine."""
    sessions: list[Session]
    validation_seconds: float | None = None
    """Part of `seconds` spent on validations; records from before do not have it."""
    curve_digest: str = ""
    """SHA-256 of ``curve.csv`` of a run that has finished, else empty."""
    summary: Summary | None = None
    """What needs the loss of every step; None for a run that has not finished."""

    @property
    def unverified(self) -> bool:
        """Whether any stretch of the run was made without a stamp."""
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


D = typing.TypeVar("D")


def _typed(kind: type[D], data: dict[str, Any]) -> D:
    """Instance of `kind` from `data`, which may lack nothing but fields with a default, and fits the fields' types."""
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__} is {data!r}")
    expected = typing.get_type_hints(kind)
    instance = kind(**{name: _nested(value, expected.get(name)) for name, value in data.items()})
    for name, of in expected.items():
        if not _is_of(getattr(instance, name), of):
            raise TypeError(f"{name} is {getattr(instance, name)!r}")
    return instance


def _nested(value: Any, expected: Any) -> Any:
    """Value of a field, with dataclasses in the place of their dictionaries."""
    kinds = (expected, *typing.get_args(expected))
    kind = next((one for one in kinds if isinstance(one, type) and dataclasses.is_dataclass(one)), None)
    if kind is None or value is None:
        return value
    return [_typed(kind, each) for each in value] if typing.get_origin(expected) is list else _typed(kind, value)


def _is_of(value: Any, expected: Any) -> bool:
    if typing.get_origin(expected) is Literal:
        return value in typing.get_args(expected)
    if typing.get_origin(expected) is types.UnionType:
        return any(_is_of(value, one) for one in typing.get_args(expected))
    return isinstance(value, typing.get_origin(expected) or expected)
