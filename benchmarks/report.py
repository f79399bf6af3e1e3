"""Writes ``benchmarks/README.md``: ratios, memory and plots, with every number taken from the record."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks.accuracy.report import accuracy_section
from benchmarks.figures import axis_figure
from benchmarks.limits import KEPT, LIMIT_AND_TARGET, LONG_WINDOW
from benchmarks.limits import TRAINING as TRAINING_LIMIT
from benchmarks.overhead.page import overhead_section
from benchmarks.results import Conditions, GroupResult, Measurement, load_results
from benchmarks.sizes import FRAMEWORKS, NAMED, NAMED_FOR_FRAMEWORKS, POINTS, Device
from benchmarks.timing import LEAST_ROUNDS, PASSES
from benchmarks.variants import BACKENDS, BASELINE
from experiments.common.files import write_atomically
from experiments.common.markdown import markdown

DEVICES: dict[Device, str] = {"cpu": "CPU", "cuda": "GPU"}
"""Kind of device, which is the name of its record and an argument of the command -> word for it."""

TRAINING = "forward + backward"
NUMBER_BYTES = 4
"""Bytes of a float32."""

DASH = "–"

HOW_TO_RUN = f"""\
# Benchmarks

Time and memory of a layer, compared with the alternatives to it. `python -m benchmarks report` writes this page from
the records in [`results/`](results) only.

## How to run

```
python -m nox -s bench                                       # measure all but the first table, then write this page
python -m benchmarks run --quick                             # a check of the code in two minutes; no report reads it
python -m benchmarks run --sizes copying,k                   # measure these sizes again and keep the other results
python -m benchmarks run --sizes frameworks                  # torch.compile, JAX, torchrecurrent: the same
python -m benchmarks run --device cuda                       # the same on a GPU
python -m benchmarks.overhead                                # the first table: every mode, 1 and 2 threads, both heaps
python -m benchmarks report                                  # this page and its figures
python -m pytest benchmarks/test_speed.py -k copying         # a single timing with pytest-benchmark
```

- **In turns.** At each size all variants are timed in one process, in turns, in a new order each round, after a warm-up
  that is not counted. A slow variant runs in fewer rounds, at least {LEAST_ROUNDS}.
- **Ratios.** A ratio is the variant's median over nn.LSTM's median in the same rounds. Ratios carry over to other
  machines better than times do, but they move too: the figures along k and along T are of two sessions, and differ
  where their sizes nearly meet. In the tables of a device the ratios of this library are bold.
- **Passes.** *Forward*: without a graph. *Forward + backward*: from a random gradient of the output to the gradients
  of the input and of all parameters. All in float32, TF32 off.
- **Check.** A variant whose output or any gradient disagrees with the oracle is reported as wrong and not timed.
- `nn.LSTM + 3 T LayerNorm calls` is not a network but PyTorch's lower bound for an LN-LSTM; `obvious ATN` keeps the
  window as a list and stacks it at each step. Both are in [`peers/`](peers), with the other peers.
"""

HOW_FRAMEWORKS_RUN = """\
What a user could take instead, each timed in turns with nn.LSTM and with the fastest backend of ours; the ratios refer
to nn.LSTM in these rounds. Compilation is in the warm-up and not counted.

- **torch.compile**: a loop in Python over a compiled step, for fixed shapes ([`compiled.py`](peers/compiled.py)).
- **JAX**: a jitted `lax.scan`, and `jax.vjp` through it, float32 on the CPU; weights and input are JAX arrays before
  the clock starts, which stops after `block_until_ready` ([`jax_scan.py`](peers/jax_scan.py)). XLA's pool has as many
  threads as PyTorch uses: the variable `NPROC`, as XLA has no flag for it.
- **torchrecurrent** has neither a norm nor nn.LSTM's cell. Its nearest is `PeepholeLSTM`, which with the constant 0 for
  the weights of its peepholes computes nn.LSTM's function ([`peephole.py`](peers/peephole.py)).

JAX and torchrecurrent are optional: `pip install -c constraints.txt --group peers`.
"""


def write_report(folder: Path) -> None:
    """Write README.md and figures/ into `folder` from its results/.

    Raises
    ------
    OSError
        If a file cannot be written; the old file is unchanged.
    """
    records = {device: load_results(folder / "results" / f"{device}.json") for device in DEVICES}
    lines = [HOW_TO_RUN, *overhead_section(folder / "results" / "overhead.json")]
    for device, results in records.items():
        lines += [f"## {DEVICES[device]}", "", *_device_section(device, results), ""]
    lines.append(accuracy_section(folder / "results" / "accuracy.json"))
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for device, results in records.items():
        for axis in POINTS:
            if drawn := _drawn(results, axis):
                write_atomically(figures / f"{device}-{axis}.png", axis_figure(axis, drawn))
    write_atomically(folder / "README.md", "\n".join(lines).encode())


def _device_section(device: Device, results: list[GroupResult]) -> list[str]:
    command = f"`python -m benchmarks run --device {device}`"
    if not results:
        counted = " [GPU.md](GPU.md) models the expected cost." if device == "cuda" else ""
        return [f"Not measured yet: {command} on a machine that has one, then `python -m benchmarks report`.{counted}"]
    named = {result.name: result for result in results if result.axis is None and not result.frameworks}
    lines = []
    for name in reversed(PASSES):
        lines += [f"### {name.capitalize()}", "", *_ratio_table(device, named, name), ""]
    lines += ["### Parts of the ratio", "", *_shares(device, named), ""]
    lines += _frameworks_section(device, results)
    lines += [*_faults(results), "### Along the window", "", *_window_section(device, results), ""]
    lines += ["### Memory", "", *_memory_section(device, named), ""]
    lines += ["### Along T, H and B", ""]
    lines += [_picture(device, axis) for axis in POINTS if axis != "k" and _drawn(results, axis)]
    if missing := [name for name in [*NAMED[device], *POINTS] if not _measured(results, name)]:
        lines += ["", f"Not measured yet: {', '.join(missing)}; {command[:-1]} --sizes {','.join(missing)}`."]
    return [*lines, "", "### Measured on", "", *_conditions_section(results)]


def _measured(results: list[GroupResult], name: str) -> bool:
    return any(name in {result.name, result.axis} for result in results)


def _on_axis(results: list[GroupResult], axis: str) -> list[GroupResult]:
    return [result for result in results if result.axis == axis]


def _drawn(results: list[GroupResult], axis: str) -> list[GroupResult]:
    """The groups on the axis in which an ATNLSTM has a ratio."""
    return [
        result
        for result in _on_axis(results, axis)
        if any(found.backend is not None and result.ratio(found, TRAINING) for found in result.measurements)
    ]


def _picture(device: str, axis: str) -> str:
    return f"![Ratio to nn.LSTM against {axis}](figures/{device}-{axis}.png)"


def _by_size(
    sizes: Iterable[str], named: dict[str, GroupResult], cell: Callable[[GroupResult, Measurement], str]
) -> list[list[str]]:
    """Rows of a table: a variant each, a cell for each size by name."""
    variants = dict.fromkeys(found.variant for result in named.values() for found in result.measurements)
    rows = []
    for variant in variants:
        cells = []
        for name in sizes:
            result = named.get(name)
            found = [] if result is None else [found for found in result.measurements if found.variant == variant]
            cells.append(DASH if result is None or not found else cell(result, found[0]))
        rows.append([variant, *cells])
    return rows


def _header(device: Device, sizes: Iterable[str]) -> list[str]:
    return ["", *(f"{name}: {NAMED[device][name]}" for name in sizes)]


def _ratio(result: GroupResult, found: Measurement, name: str) -> str:
    """Cell of a table with the ratio in the pass `name`."""
    ratio = result.ratio(found, name)
    if ratio is None:
        return "**wrong**" if found.error is not None else "does not run"
    if found.variant == BASELINE:
        return f"1 = {1000 * found.times[name].median:.3g} ms (n = {ratio.rounds})"
    value = f"{ratio.median:.2f}" if found.backend is None else f"**{ratio.median:.2f}**"
    return f"{value} ({ratio.lower:.2f} to {ratio.upper:.2f}, n = {ratio.rounds})"


def _frameworks_section(device: Device, results: list[GroupResult]) -> list[str]:
    """The compilers and other packages; nothing for a device on which they do not run."""
    sizes = NAMED_FOR_FRAMEWORKS[device]
    if not sizes:
        return []
    named = {result.name.removeprefix(f"{FRAMEWORKS}:"): result for result in results if result.frameworks}
    lines = ["### Compilers and other packages", "", HOW_FRAMEWORKS_RUN]
    if not named:
        return [*lines, f"Not measured yet: `python -m benchmarks run --sizes {FRAMEWORKS}`.", ""]
    for name in reversed(PASSES):
        rows = _by_size(sizes, named, partial(_ratio, name=name))
        lines += [f"{name.capitalize()}, as a multiple of nn.LSTM's time:", ""]
        lines += [*markdown(_header(device, sizes), rows), ""]
    return lines


def _ratio_table(device: Device, named: dict[str, GroupResult], name: str) -> list[str]:
    rows = _by_size(NAMED[device], named, partial(_ratio, name=name))
    if name == TRAINING:
        rows.append(["*ATNLSTM: limit (target)*", *(f"*{TRAINING_LIMIT[device]}*" for _ in NAMED[device])])
    return [
        "Time as a multiple of nn.LSTM's: median (quartiles, number of rounds).",
        "",
        *markdown(_header(device, NAMED[device]), rows),
    ]


def _shares(device: Device, named: dict[str, GroupResult]) -> list[str]:
    """The fastest backend's ratio, split into the plain LSTM of the same code, the norms, and their window."""
    backend = BACKENDS[device][-1]

    def ratio(name: str, norm: str) -> float:
        result = named.get(name)
        found = (
            [
                measurement
                for measurement in result.measurements
                if (measurement.backend, measurement.norm) == (backend, norm)
            ]
            if result
            else []
        )
        measured = result.ratio(found[0], TRAINING) if result and found else None
        return measured.median if measured else math.nan

    parts = (
        (f"plain LSTM, {backend}", "none", ""),
        ("and three norms (LN)", "ln", "none"),
        ("and windows", "atn", "ln"),
    )
    rows = []
    for words, norm, without in parts:
        shares = [ratio(name, norm) - (ratio(name, without) if without else 0.0) for name in NAMED[device]]
        rows.append([words, *(DASH if math.isnan(share) else f"{share:+.2f}" for share in shares)])
    header = _header(device, NAMED[device])
    return [f"{TRAINING.capitalize()}, as multiples of nn.LSTM's time:", "", *markdown(header, rows)]


def _faults(results: list[GroupResult]) -> list[str]:
    lines = [
        f"- {found.variant} at {found.size}: {found.fault}."
        for result in results
        for found in result.measurements
        if found.fault
    ]
    return ["Not timed:", "", *lines, ""] if lines else []


def _window_section(device: Device, results: list[GroupResult]) -> list[str]:
    on_axis = _on_axis(results, "k")
    if not on_axis:
        return ["Not measured yet."]
    (result,) = on_axis
    windowed = [found for found in result.measurements if found.norm == "atn" and found.times]
    longest = max((found.size.k for found in windowed), default=0)
    rows = []
    for variant in dict.fromkeys(found.variant for found in windowed):
        at = {found.size.k: found for found in windowed if found.variant == variant}
        if 1 in at and longest in at:
            times = [_quotient(at[longest], at[1], name) for name in PASSES]
            kept = f"{(at[longest].kept or 0) / (at[1].kept or 1):.2f}"
            rows.append([variant, *times, kept])
    bounds = (f"*{LONG_WINDOW[device]}*" if name == TRAINING else DASH for name in PASSES)
    rows.append([LIMIT_AND_TARGET, *bounds, "*1*"])
    return [
        f"k = {longest} over k = 1, at {_without_k(result)}:",
        "",
        *markdown(["", *(f"time, {name}" for name in PASSES), "kept for backward"], rows),
        "",
        *([_picture(device, "k")] if _drawn(results, "k") else []),
    ]


def _without_k(result: GroupResult) -> str:
    return str(result.measurements[0].size).rpartition(" ")[0]


def _quotient(numerator: Measurement, denominator: Measurement, name: str) -> str:
    return f"{numerator.times[name].median / denominator.times[name].median:.3f}"


def _memory_section(device: Device, named: dict[str, GroupResult]) -> list[str]:
    def kept(_: GroupResult, found: Measurement) -> str:
        return DASH if found.kept is None else f"{found.kept / NUMBER_BYTES / found.size.numbers:.1f}"

    def peak(_: GroupResult, found: Measurement) -> str:
        return DASH if found.peak is None else f"{found.peak / NUMBER_BYTES / found.size.numbers:.1f}"

    way = (
        "by how far the largest resident set of a fresh process\n"
        "rises: what libraries take counts, what is reserved and never written does not"
        if device == "cpu"
        else "by the count of the CUDA allocator"
    )
    sizes = NAMED[device]
    header = _header(device, sizes)
    bounds = ["*ATNLSTM: limit (target)*", *(f"*{KEPT} + O(1/H)*" for _ in sizes)]
    return [
        "Kept from the forward for the backward pass, in multiples of T*B*H numbers of four bytes: all storages that",
        "autograd holds, without the input and the parameters.",
        "",
        *markdown(header, [*_by_size(sizes, named, kept), bounds]),
        "",
        f"Peak of a forward and backward pass, in the same unit, {way}:",
        "",
        *markdown(header, _by_size(sizes, named, peak)),
    ]


def _conditions_section(results: list[GroupResult]) -> list[str]:
    measured: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        measured.setdefault(_conditions_cells(result.conditions), []).append(result.name)
    rows = [[", ".join(names), *cells] for cells, names in measured.items()]
    return markdown(["sizes", "date (UTC)", "device", "cores / threads", "versions", "commit", "command"], rows)


def _conditions_cells(conditions: Conditions) -> tuple[str, ...]:
    versions = conditions.versions
    shown = [f"{name} {versions[name]}" for name in ("python", "torch", "jax", "torchrecurrent") if name in versions]
    return (
        conditions.date.partition("+")[0].replace("T", " "),
        conditions.device,
        f"{conditions.cores} / {conditions.threads}",
        ", ".join(shown),
        f"`{_short(conditions.commit)}`",
        f"`{conditions.command}`",
    )


def _short(commit: str) -> str:
    head, _, dirty = commit.partition("-")
    return "-".join([head[:8], dirty]) if dirty else head[:8]
