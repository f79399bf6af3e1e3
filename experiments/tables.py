"""Markdown tables, and how numbers stand in them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.paper import Losses
from experiments.record import UNVERIFIED, Record
from experiments.results import Result, mean, spread


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [_line(header), _line(["---"] * len(header)), *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Four significant digits; a dash for what there is none of."""
    return "–" if math.isnan(value) else f"{value:#.4g}"


def pair(losses: Losses) -> str:
    """Train / validation."""
    return f"{number(losses.train)} / {number(losses.validation)}"


def pair_over_seeds(values: Sequence[Losses]) -> str:
    """Train / validation, each as mean ± sample standard deviation over the seeds where there are several."""
    trains, validations = [value.train for value in values], [value.validation for value in values]
    return f"{_over_seeds(trains)} / {_over_seeds(validations)}"


def _over_seeds(values: Sequence[float]) -> str:
    if len(values) == 1:
        return number(values[0])
    return f"{number(mean(values))} ± {spread(values):.1g}"


def provenance(results: Sequence[Result]) -> list[str]:
    """Cells that say where a row's numbers come from; `PROVENANCE` is their header."""
    records = [result.record for result in results]
    sessions = [session for record in records for session in record.sessions]
    return [
        f"{records[0].step:,}",
        ", ".join(str(result.seed) for result in results),
        f"{mean([record.seconds / record.step for record in records]):.2g}",
        _distinct(session.device for session in sessions),
        _distinct(_short(session.stamp) for session in sessions),
    ]


PROVENANCE = ["steps", "seeds", "s/step", "device", "stamp"]


def _short(stamp: str) -> str:
    scope, _, digest = stamp.partition(" ")
    return f"**{UNVERIFIED}**" if stamp == UNVERIFIED else f"{scope} `{digest[:8]}`"


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def changes(record: Record) -> str:
    """Settings that are not the preset's, in words: "steps = 200 instead of 4,000 (shortened)"; empty for none."""
    words = [
        f"{name} = {_value(here)} instead of {_value(preset)}" for name, (preset, here) in record.differences.items()
    ]
    return ", ".join(words) + (" (**shortened**)" if record.shortened else "")


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
