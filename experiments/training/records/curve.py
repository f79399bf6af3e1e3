"""The curve of a run in ``curve.csv``: at most 500 rows that summarize all of its steps.

A row has the last of its steps; the mean, the minimum and the maximum of the training loss over the steps since the
previous row; and the measurements of the validation, if there was one after its last step::

    step,mean,minimum,maximum,validation
    40,0.2031,0.1742,0.2519,
    80,0.1806,0.1699,0.1951,0.1779
"""

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.common.errors import ExperimentError
from experiments.training.records.metrics import Row

CURVE = "curve.csv"

MOST_ROWS_IF_SHORTENED = 60
"""Most rows of the curve of a run with fewer steps than its preset: there are many, and no figure draws one."""

MOST_ROWS = 500
"""Rows of a curve at most, for most tasks. A run with no more steps than that keeps every step."""

FINAL_VALIDATIONS = 5
"""Validation losses whose mean is a run's final validation loss."""

FEW_VALIDATIONS = 40
"""A run with fewer validations than this changes too much within its last `FINAL_VALIDATIONS`: its last one counts."""

_COLUMNS = ("step", "mean", "minimum", "maximum")


class Point(NamedTuple):
    """One row of a curve."""

    step: int
    """The last step of the row."""
    mean: float
    """Mean of the training loss over the steps since the previous row; the next two fields are its extremes."""
    minimum: float
    maximum: float
    measured: Mapping[str, float]
    """Measurements of the validation after `step`, by name; empty if there was none."""


def make_curve(rows: Sequence[Row], validate_every: int, most: int = MOST_ROWS) -> list[Point]:
    """Curve of a run from the losses of all its steps, with `most` rows at most."""
    points = []
    start = 0
    for end in row_ends(rows, validate_every, most):
        losses = [row.train for row in rows[start:end]]
        mean = math.fsum(losses) / len(losses)
        points.append(Point(end, mean, min(losses), max(losses), rows[end - 1].measured))
        start = end
    return points


def row_ends(rows: Sequence[Row], validate_every: int, most: int) -> list[int]:
    """Last step of each row of the curve, ascending; the last one is the last step of the run.

    Every validated step ends a row. If there are more than `most` of them, the validated steps that the report
    needs are kept, which are the last `FINAL_VALIDATIONS` and the one with the lowest value of each name. The remaining
    rows are spread evenly over the others.

    Parameters
    ----------
    rows : sequence of Row
        Losses of the steps 1, 2, ...
    validate_every : int
        Steps between two validations.
    most : int
        Rows at most.
    """
    steps = len(rows)
    if steps <= most:
        return list(range(1, steps + 1))
    starts = range(0, steps, validate_every)
    if len(starts) > most:
        return _thinned([row for row in rows if row.measured], steps, most)
    most_parts = most // len(starts)
    ends: list[int] = []
    for start in starts:
        length = min(validate_every, steps - start)
        parts = min(most_parts, length)
        ends += [start + length * part // parts for part in range(1, parts + 1)]
    return ends


def _thinned(validated: Sequence[Row], steps: int, most: int) -> list[int]:
    """Steps of `most` of the validated rows, the last step of the run among them."""
    lowest: dict[str, Row] = {}
    for row in validated:
        lowest |= {
            name: row
            for name, value in row.measured.items()
            if name not in lowest or value < lowest[name].measured[name]
        }
    needed = {steps, *(row.step for row in lowest.values()), *(row.step for row in validated[-FINAL_VALIDATIONS:])}
    others = [row.step for row in validated if row.step not in needed]
    places = max(most - len(needed), 0)
    return sorted(needed | {others[len(others) * place // places] for place in range(places)})


def encode_curve(points: Sequence[Point]) -> bytes:
    """Content of the file. Numbers have 9 significant digits, which give a float32, as losses are, to the bit."""
    names = list(dict.fromkeys(name for point in points for name in point.measured))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *names])
    for point in points:
        measured = [_digits(point.measured[name]) if name in point.measured else "" for name in names]
        writer.writerow([point.step, *map(_digits, point[1:4]), *measured])
    return text.getvalue().encode()


def _digits(number: float) -> str:
    return format(number, ".9g")


def read_curve(path: Path, digest: str) -> list[Point]:
    """Curve of a run whose record has this digest of the file.

    Raises
    ------
    ExperimentError
        If the file is missing, or is not the one that the record was written for.
    """
    if not path.exists():
        raise ExperimentError(f"{path} is missing, which its record was written for")
    content = path.read_bytes()
    if curve_digest(content) != digest:
        raise ExperimentError(f"{path} is not the file that its record was written for")
    header, *lines = csv.reader(io.StringIO(content.decode()))
    names = header[len(_COLUMNS) :]
    return [
        Point(
            int(step),
            float(mean),
            float(minimum),
            float(maximum),
            {name: float(value) for name, value in zip(names, measured, strict=True) if value},
        )
        for step, mean, minimum, maximum, *measured in lines
    ]


def curve_digest(content: bytes) -> str:
    """SHA-256 of the file's content, which the record of a finished run holds."""
    return hashlib.sha256(content).hexdigest()
