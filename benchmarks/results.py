"""The record of measurements: one JSON file per kind of device, from which the report is made."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from atn.choices import Norm
from benchmarks.sizes import Axis, Size
from benchmarks.timing import Timing
from benchmarks.variants import BASELINE
from experiments.common.files import write_atomically


@dataclass(frozen=True)
class Conditions:
    """Date, machine, versions and command of one run."""

    date: str
    """Start of the run, UTC."""

    device: str
    cores: int
    threads: int
    commit: str
    versions: dict[str, str]
    command: str


@dataclass(frozen=True)
class Measurement:
    """Results of one variant at one size."""

    variant: str
    norm: Norm
    backend: str | None
    """The backend of an `ATNLSTM`; None for a peer."""

    size: Size
    error: float | None
    """Largest relative error against the oracle; None where the variant did not run."""

    fault: str = ""
    """The reason why the variant was not measured; empty if it was."""

    kept: int | None = None
    """Bytes kept for the backward pass."""

    peak: int | None = None
    """Peak memory in bytes; None if it was not measured."""

    times: dict[str, Timing] = field(default_factory=dict)
    """Times by the name of the pass; empty if the variant was not timed."""


@dataclass(frozen=True)
class GroupResult:
    """All measurements of one group, in the order of the group."""

    name: str
    axis: Axis | None
    conditions: Conditions
    measurements: list[Measurement]
    frameworks: bool = False
    """Whether compilers and other packages were measured, instead of the plain peers."""

    def ratio(self, measurement: Measurement, name: str) -> Timing | None:
        """Time of a pass as a multiple of the baseline's median; None if one of them was not timed."""
        baseline = next(found for found in self.measurements if found.variant == BASELINE)
        if not measurement.times or not baseline.times:
            return None
        unit = baseline.times[name].median
        timing = measurement.times[name]
        return Timing(timing.median / unit, timing.lower / unit, timing.upper / unit, timing.rounds)


def save_results(path: Path, results: list[GroupResult]) -> None:
    """Write the record atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(result) for result in results], indent=1)
    write_atomically(path, (text + "\n").encode())


def load_results(path: Path) -> list[GroupResult]:
    """Read the record; an empty list if there is no file."""
    if not path.exists():
        return []
    return [_group(fields) for fields in json.loads(path.read_text("utf-8"))]


def replaced(results: list[GroupResult], new: GroupResult) -> list[GroupResult]:
    """The results, in which `new` replaces the group of the same name or is appended."""
    names = [result.name for result in results]
    if new.name not in names:
        return [*results, new]
    return [new if result.name == new.name else result for result in results]


def _group(fields: dict[str, Any]) -> GroupResult:
    conditions = Conditions(**fields.pop("conditions"))
    measurements = [_measurement(found) for found in fields.pop("measurements")]
    return GroupResult(**fields, conditions=conditions, measurements=measurements)


def _measurement(fields: dict[str, Any]) -> Measurement:
    size = Size(**fields.pop("size"))
    times = {name: Timing(*values) for name, values in fields.pop("times").items()}
    return Measurement(**fields, size=size, times=times)
