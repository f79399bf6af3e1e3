"""The accuracy section of the benchmark document, and its figures, from what `measure.py` and the soak wrote."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator

from benchmarks.accuracy.measure import (
    AXES,
    LONG_AXIS,
    LONG_OFFSET,
    LONG_PROBLEMS,
    OFFSET_TIMES,
    ORACLE,
    RESULTS,
    SPEED_AXIS,
    SPEED_SIZES,
    Row,
)
from benchmarks.end_labels import End, label_ends
from benchmarks.figures import COLORS
from experiments.common.files import write_atomically
from experiments.common.markdown import markdown
from experiments.report.plotting import png, tidy

BASELINE = "eager"
LARGEST_RATIO = 2.0
"""No backend may be this many times less accurate than eager."""

STYLES = {"output": ("-", "o"), "gradients": ("--", "^")}
"""Line and marker: the same distinction without color."""

AXIS_LABELS = {
    "T": "time steps T",
    "k": "window k",
    "H": "hidden units H (features N)",
    "offset": "common offset",
    LONG_AXIS: "window k at a common offset of 1000",
    SPEED_AXIS: "hidden units H of the named sizes",
}


def accuracy_section(path: Path = RESULTS) -> str:
    """Markdown of the section; its figures go to ``figures/`` beside the folder of `path`.

    Parameters
    ----------
    path
        What `python -m benchmarks.accuracy` wrote. The results of the soak and of the sanitizers are looked for beside
        it, in ``soak.json`` and ``sanitize.json``.
    """
    if not path.exists():
        return "## Accuracy\n\nNot measured yet: `python -m benchmarks.accuracy`.\n"
    result = json.loads(path.read_text("utf-8"))
    rows = [Row(**row) for row in result["rows"]]
    tested = [row for row in rows if row.backend != ORACLE]
    figures = path.parents[1] / "figures"
    figures.mkdir(exist_ok=True)
    parts = [
        ["## Accuracy"],
        _method(result),
        _summary_table(tested),
        _ratios([row for row in tested if row.axis != LONG_AXIS]),
        _oracle_sentence([row for row in rows if row.backend == ORACLE]),
        _quantity_table(tested),
        _figures(tested, figures),
        _soak(path.with_name("soak.json")),
        _sanitized(path.with_name("sanitize.json")),
        _provenance(result),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _method(result: Mapping[str, Any]) -> list[str]:
    lstm, problems = result["settings"]["ATNLSTM"], result["problems_a_point"]
    settings = ", ".join(f"{letter} = {lstm[letter]}" for letter in ("T", "B", "I", "H", "k"))
    return [
        "Relative L2 error ‖computed − exact‖ / ‖exact‖ of the output and of every gradient (`d x` is that of x), as",
        "[FFTW publishes its own](https://www.fftw.org/accuracy/method.html):",
        f"worst and median over {problems} random problems per point, {OFFSET_TIMES * problems} with an offset.",
        "Inputs are rounded to the tested dtype first, so that only the arithmetic differs. Small problems are held",
        f"to {result['digits']} digits (mpmath), larger ones to the oracle in longdouble. One setting varies at a time",
        f"from {settings}, eps = {lstm['eps']:g}, with T = {result['T_while_k_varies']} while k varies. The offset is",
        "added to the input of the norm; in the LSTM, of the two norms of W_ih x and W_hh h, by the biases. Windows of",
        f"up to {max(AXES[LONG_AXIS]):,.0f} steps are held to the same digits, at an offset of {LONG_OFFSET:g}, with",
        f"T = k + 1000 and {LONG_PROBLEMS} problems a point, too few for the ratios of medians below. At the",
        f"{len(SPEED_SIZES)} named sizes of the tables above, float32 is held to `eager` in float64.",
    ]


def _kind(row: Row) -> str:
    return "gradients" if row.quantity.startswith("d ") else "output"


def _worst_and_median(rows: Sequence[Row]) -> str:
    if not rows:
        return "–"
    return f"{max(row.worst for row in rows):.1e} / {statistics.median(row.median for row in rows):.1e}"


def _offset(row: Row) -> float:
    if row.axis == LONG_AXIS:
        return LONG_OFFSET
    return row.value if row.axis == "offset" else 0.0


def _summary_table(rows: Sequence[Row]) -> list[str]:
    """Worst and median by subject, backend and dtype, without an offset and at the largest."""
    largest = max(map(_offset, rows))
    header = ["worst / median", "backend", "dtype"]
    header += [f"{kind}, offset {offset:g}" for offset in (0.0, largest) for kind in STYLES]
    lines = []
    for subject, backend, dtype in dict.fromkeys((row.subject, row.backend, row.dtype) for row in rows):
        selected = [row for row in rows if (row.subject, row.backend, row.dtype) == (subject, backend, dtype)]
        cells = [
            _worst_and_median([row for row in selected if _offset(row) == offset and _kind(row) == kind])
            for offset in (0.0, largest)
            for kind in STYLES
        ]
        lines.append([subject, backend, dtype, *cells])
    return markdown(header, lines)


def _quantity_table(rows: Sequence[Row]) -> list[str]:
    """Worst and median of every quantity of the LSTM, over all points without an offset."""
    lstm = [row for row in rows if row.subject == "ATNLSTM" and _offset(row) == 0.0]
    columns = list(dict.fromkeys((row.backend, row.dtype) for row in lstm))
    lines = []
    for quantity in dict.fromkeys(row.quantity for row in lstm):
        cells = [
            _worst_and_median([row for row in lstm if (row.quantity, row.backend, row.dtype) == (quantity, *column)])
            for column in columns
        ]
        lines.append([f"`{quantity}`", *cells])
    return markdown(["ATNLSTM, worst / median", *(f"{backend}, {dtype}" for backend, dtype in columns)], lines)


class Ratios(NamedTuple):
    """A backend's errors over those of eager at the same point; each the largest, and where that is."""

    median: tuple[float, Row]
    worst: tuple[float, Row]
    inverse: float
    """Largest ratio of eager's worst error to the backend's: how much chance there is in a worst of few problems."""


def ratios(rows: Sequence[Row]) -> dict[str, Ratios]:
    """Ratios by backend other than eager."""
    eager = {_place(row): row for row in rows if row.backend == BASELINE}
    found: dict[str, Ratios] = {}
    for backend in dict.fromkeys(row.backend for row in rows if row.backend not in {BASELINE, ORACLE}):
        pairs = [(row, eager[_place(row)]) for row in rows if row.backend == backend]
        found[backend] = Ratios(
            median=max(((_ratio(row.median, base.median), row) for row, base in pairs), key=_first),
            worst=max(((_ratio(row.worst, base.worst), row) for row, base in pairs), key=_first),
            inverse=max(_ratio(base.worst, row.worst) for row, base in pairs),
        )
    return found


def _place(row: Row) -> tuple[str, str, str, float, str]:
    return row.subject, row.dtype, row.axis, row.value, row.quantity


def _first(pair: tuple[float, Row]) -> float:
    return pair[0]


def _ratio(error: float, baseline: float) -> float:
    if error == baseline:
        return 1.0
    return error / baseline if baseline > 0 else float("inf")


def _ratios(rows: Sequence[Row]) -> list[str]:
    found = ratios(rows)
    if not found:
        return [f"Only `{BASELINE}` could run here; there is no other backend to hold to it."]
    return [_ratio_sentence(backend, of) for backend, of in found.items()]


def _ratio_sentence(backend: str, of: Ratios) -> str:
    verdict = "within" if of.median[0] <= LARGEST_RATIO else "**beyond**"
    return (
        f"- `{backend}`: its median error is at most {of.median[0]:.2f} times that of `{BASELINE}` at the same point "
        f"({_where(of.median[1])}), {verdict} the {LARGEST_RATIO:g} times allowed. "
        f"The worst of a point's few problems, in which there is chance, is at most {of.worst[0]:.1f} times "
        f"`{BASELINE}`'s ({_where(of.worst[1])}), and `{BASELINE}`'s at most {of.inverse:.1f} times its own."
    )


def _where(row: Row) -> str:
    return f"{row.subject}, {row.dtype}, {row.axis} = {row.value:g}, `{row.quantity}`"


def _oracle_sentence(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["No point was small enough to hold the longdouble oracle to the 50 digits."]
    plain, every = [row.worst for row in rows if _offset(row) == 0.0], [row.worst for row in rows]
    return [
        "The longdouble oracle, held to the same digits on the small problems, is within",
        f"{max(plain):.1e} without an offset and {max(every):.1e} with one.",
    ]


def _figures(rows: Sequence[Row], folder: Path) -> list[str]:
    """Draw one figure per axis; return the Markdown lines that show them."""
    lines = []
    for axis in dict.fromkeys(row.axis for row in rows):
        name = f"accuracy_{axis}.png"
        write_atomically(folder / name, draw(axis, [row for row in rows if row.axis == axis]))
        lines.append(f"![Worst relative L2 error against the {AXIS_LABELS[axis]}](figures/{name})")
    return lines


def draw(axis: str, rows: Sequence[Row]) -> bytes:
    """PNG of the worst error along one axis: a column a subject, a row a dtype."""
    dtypes, subjects = list(dict.fromkeys(row.dtype for row in rows)), list(dict.fromkeys(row.subject for row in rows))
    figure = Figure(figsize=(4.0 * len(subjects), 2.9 * len(dtypes)), dpi=130, layout="constrained")
    grid = figure.subplots(len(dtypes), len(subjects), sharex=True, sharey="row", squeeze=False)
    for dtype, panels in zip(dtypes, grid, strict=True):
        panels[0].set_ylabel(f"{dtype}: worst relative L2 error")
        by_subject = [[row for row in rows if (row.subject, row.dtype) == (subject, dtype)] for subject in subjects]
        for ax, shown in zip(panels, by_subject, strict=True):
            _panel(ax, axis, shown)
        # Only now are the limits, which the panels share, those that the ticks and the labels have to fit in.
        _divide_decades(panels[0])
        for ax, shown in zip(panels, by_subject, strict=True):
            _label_ends(ax, axis, shown)
    for ax, subject in zip(grid[0], subjects, strict=True):
        ax.set_title(subject, fontsize=11)
    for ax in grid[-1]:
        ax.set_xlabel(AXIS_LABELS[axis])
    return png(figure)


def _panel(ax: Axes, axis: str, rows: Sequence[Row]) -> None:
    if axis == "offset":
        ax.set_xscale("symlog", linthresh=1)
    elif axis != SPEED_AXIS:
        ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    values = sorted({row.value for row in rows})
    places = _places(axis, values)
    for backend, kind in _curves(rows):
        line, marker = STYLES[kind]
        heights = [_worst_at(rows, backend, kind, value) for value in values]
        # The named sizes differ in more than H: no line joins them.
        line = "none" if axis == SPEED_AXIS else line
        ax.plot(places, heights, color=COLORS[backend], linestyle=line, marker=marker, markersize=4, linewidth=1.4)
    ax.set_xticks(places, [_short(value) for value in values])
    ax.minorticks_off()
    tidy(ax)


def _short(value: float) -> str:
    """A value of the x axis, thousands as in 30k."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _divide_decades(ax: Axes) -> None:
    """Put ticks at 1, 2 and 5 of each decade where a row of panels, which share theirs, shows fewer than two."""
    low, high = ax.get_ylim()
    if high < 100 * low:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf)))


def _places(axis: str, values: Sequence[float]) -> Sequence[float]:
    """Where the values stand on the x axis: the named sizes, which differ in more than H, beside each other."""
    return range(len(values)) if axis == SPEED_AXIS else values


def _curves(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Backends and kinds in order of appearance."""
    return list(dict.fromkeys((row.backend, _kind(row)) for row in rows))


def _worst_at(rows: Sequence[Row], backend: str, kind: str, value: float) -> float:
    return max(row.worst for row in rows if (row.backend, _kind(row), row.value) == (backend, kind, value))


def _label_ends(ax: Axes, axis: str, rows: Sequence[Row]) -> None:
    """Name each curve at its right end."""
    values = sorted({row.value for row in rows})
    ends = {
        f"{backend}, {kind}": End(_worst_at(rows, backend, kind, values[-1]), COLORS[backend])
        for backend, kind in _curves(rows)
    }
    label_ends(ax, _places(axis, values)[-1], ends)


def _soak(path: Path) -> list[str]:
    if not path.exists():
        return ["No random differential run is recorded (`nox -s soak`)."]
    soak = json.loads(path.read_text("utf-8"))
    errors: dict[tuple[str, str], float] = {}
    for found in soak["largest_errors"]:
        key = found["backend"], found["dtype"]
        errors[key] = max(found["error"], errors.get(key, 0.0))
    largest = ", ".join(f"{error:.1e} ({backend}, {dtype})" for (backend, dtype), error in errors.items())
    return [
        f"Random differential run (`nox -s soak`, {soak['date'][:10]}, seed {soak['seed']}):",
        f"**{soak['problems']:,} problems, {soak['comparisons']:,} comparisons, {soak['failures']} failures**.",
        f"Largest elementwise errors, relative to an array's largest element: {largest}.",
        *_decided(soak),
        f"Sources `{soak['digest'][:8]}`.",
    ]


def _decided(soak: Mapping[str, Any]) -> list[str]:
    """A sentence on the errors beyond the plain bound."""
    number = sum(soak["beyond_plain_bound"].values())
    if number == 0:
        return ["No error was beyond the plain bounds of `tests/support/tolerances.py`."]
    return [
        f"For {number} arrays the condition of their problem decided: the error was up to",
        f"{soak['largest_multiple_of_condition']:.1f} times what one unit round-off of every input does to the exact",
        f"result; {soak['condition_multiple_allowed']:g} times are allowed.",
    ]


def _sanitized(path: Path) -> list[str]:
    """What the sanitizers found in the compiled operators."""
    if not path.exists():
        return ["No run of the compiled operators under sanitizers is recorded (`nox -s sanitize`)."]
    found = json.loads(path.read_text("utf-8"))
    sanitizers = found["sanitizers"].replace(",", " and ")
    return [
        f"Compiled operators under the {sanitizers} sanitizers (`nox -s sanitize`, {found['date'][:10]}, seed",
        f"{found['seed']}, {found['compiler']}): **{found['problems']:,} problems, {_tests(found['tests'])},",
        f"{found['failures']} failures**. Sources `{found['digest'][:8]}`.",
    ]


def _tests(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return "no tests"
    return f"{counts['passed']:,} tests" + (f", {counts['failed']} of them failed" if counts["failed"] else "")


def _provenance(result: Mapping[str, Any]) -> list[str]:
    """When, where and with what, for each group of axes that were measured together."""
    axes: dict[str, list[str]] = {}
    for axis, found in result["measured"].items():
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        axes.setdefault(f"{found['date'][:10]} on {found['machine']}; {versions}", []).append(f"`{axis}`")
    quick = " A quick run, with few points." if result["quick"] else ""
    measured = [f"- {', '.join(names)}: {conditions}" for conditions, names in axes.items()]
    return [f"Measured by `python -m benchmarks.accuracy`.{quick}", "", *measured]
