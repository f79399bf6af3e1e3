"""The record of the measurement: one JSON file, from which the page is made."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.limits import Mode
from benchmarks.overhead.rows import ATN_LSTM, Heap, Member
from benchmarks.results import Conditions
from benchmarks.sizes import Size
from experiments.common.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Figures:
    """Median seconds of one call in one mode, and the shortest time that this machine allows."""

    size: Size
    mode: Mode
    ours: float
    peer: float
    roofline: float
    member: Member = ATN_LSTM
    """What is measured, beside torch's plain cell."""

    @property
    def ratio(self) -> float:
        """Our time over that of torch's plain cell."""
        return self.ours / self.peer


@dataclasses.dataclass(frozen=True)
class WindowCost:
    """Median seconds of a pass at k = 200 and at k = 1."""

    mode: str
    long: float
    short: float


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes in use at once during inference, and numbers kept for the backward pass in multiples of T*B*H."""

    size: Size
    ours: int
    peer: int
    kept: float


@dataclasses.dataclass(frozen=True)
class Process:
    """What one process measured, and the speeds of its matrix product and its triad, a second."""

    threads: int
    heap: Heap
    operations: float
    bytes: float
    figures: list[Figures]
    over_k: list[WindowCost]
    memory: list[Memory]


@dataclasses.dataclass(frozen=True)
class Record:
    """All processes of one measurement."""

    conditions: Conditions
    processes: list[Process]


def process_from(fields: dict[str, Any]) -> Process:
    """A process's share from the JSON that it printed."""
    return Process(
        **{
            **fields,
            "figures": [_sized(Figures, {**found, "member": Member(*found["member"])}) for found in fields["figures"]],
            "over_k": [WindowCost(**found) for found in fields["over_k"]],
            "memory": [_sized(Memory, found) for found in fields["memory"]],
        }
    )


def _sized(kind: Any, fields: dict[str, Any]) -> Any:
    return kind(**{**fields, "size": Size(**fields["size"])})


def save_record(path: Path, record: Record) -> None:
    """Write the record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(dataclasses.asdict(record), indent=1) + "\n").encode())


def load_record(path: Path) -> Record | None:
    """Read the record; None where there is none."""
    if not path.exists():
        return None
    data = json.loads(path.read_text("utf-8"))
    return Record(Conditions(**data["conditions"]), [process_from(fields) for fields in data["processes"]])
