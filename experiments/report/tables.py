"""The format of numbers, settings and provenance in the tables of the report."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from experiments.report.results import Result, spread
from experiments.training.records.record import UNVERIFIED, Record
from experiments.training.records.summary import mean


def number(value: float) -> str:
    """A number with four significant digits, or all digits before the point; a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:#.4g}"


def over_seeds(values: Sequence[tuple[float, ...]], show: Callable[[float], str] = number) -> str:
    """Components joined by slashes, each as mean ± sample standard deviation if there are several seeds."""
    return " / ".join(_over_seeds(component, show) for component in zip(*values, strict=True))


def _over_seeds(values: Sequence[float], show: Callable[[float], str]) -> str:
    if len(values) == 1:
        return show(values[0])
    if not all(map(math.isfinite, values)):
        return ", ".join(show(value) for value in values)
    return f"{show(mean(values))} ± {f'{spread(values):.1g}' if show is number else show(spread(values))}"


def provenance(results: Sequence[Result]) -> list[str]:
    """Cells for the steps, seeds, time, device and stamp of a row; `PROVENANCE` is their header."""
    records = [result.record for result in results]
    sessions = [session for record in records for session in record.sessions]
    return [
        f"{records[0].step:,}",
        ", ".join(str(result.seed) for result in results),
        duration(mean([record.seconds for record in records])),
        f"{mean([record.seconds / record.step for record in records]):.2g}",
        _distinct(session.device for session in sessions),
        _distinct(_short(session.stamp) for session in sessions),
    ]


PROVENANCE = ["steps", "seeds", "time", "s/step", "device", "stamp"]


def duration(seconds: float) -> str:
    """A time with two significant digits, in seconds, minutes, hours or days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{float(f'{seconds / length:.2g}'):,.10g} {unit}"
    return f"{float(f'{seconds:.2g}'):.10g} s"


def _short(stamp: str) -> str:
    scope, _, digest = stamp.partition(" ")
    return f"**{UNVERIFIED}**" if stamp == UNVERIFIED else f"{scope} `{digest[:8]}`"


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def changes(record: Record) -> str:
    """Differences from the preset in words, as in "steps = 200 instead of 4,000 (shortened)"; may be empty."""
    words = [
        f"{name} = {_value(value)} instead of {_value(preset)}" for name, (preset, value) in record.differences.items()
    ]
    return ", ".join(words) + (" (**shortened**)" if record.shortened else "")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
