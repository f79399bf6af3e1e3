"""The first screen of ``benchmarks/README.md``: training, inference, single steps and memory beside nn.LSTM."""

from pathlib import Path

from benchmarks.limits import ALLOCATED, KEPT, LIMIT_AND_TARGET, LONG_WINDOW, RATIO, Bound, Mode
from benchmarks.overhead.record import Figures, Memory, Process, Record, load_record
from benchmarks.overhead.rows import ATN_LSTM, FAMILY, FAMILY_ROWS, HEAPS, ROWS, THREADS, Heap, Member
from benchmarks.sizes import Size
from experiments.common.markdown import markdown

DASH = "–"

ABOUT = """\
Times of `ATNLSTM` as multiples of the time of `torch.nn.LSTM`, and below them of other cells and norms as multiples of
the time of torch's plain cell. Each cell is "2 threads / 1 thread"; a figure above its limit is bold, and
[PROFILE.md](PROFILE.md) says what is in it. *Kept heap*:
malloc keeps freed memory, so that page faults do not hide the arithmetic. Training is forward and backward; inference
and single steps run in evaluation mode, without gradients. In the default heap the system maps the workspace of
`torch.nn.LSTM` anew in every pass, which costs more on one machine than on another: where its own time, in the second
column, is longer than in [section CPU](#cpu), the ratios to it are lower."""


def overhead_section(path: Path) -> list[str]:
    """The section, made of the record at `path` alone."""
    record = load_record(path)
    if record is None:
        return ["## In one screen", "", "Not measured yet: `python -m benchmarks.overhead`.", ""]
    return [
        "## In one screen",
        "",
        ABOUT,
        "",
        *_ratios(record),
        "",
        *_family(record),
        "",
        *_memory(record),
        "",
        *_windows(record),
        "",
        "Time over the shortest time that the machine allows, 2 threads, kept heap: ATNLSTM / nn.LSTM.",
        "",
        *_rooflines(record),
        "",
        f"Measured {record.conditions.date[:10]} on {record.conditions.device}, {record.conditions.cores} cores, "
        f"at {record.conditions.commit[:10]}; by `{record.conditions.command}`. Machine: "
        + "; ".join(
            f"{process.operations / 1e9:.0f} GFLOP/s and {process.bytes / 1e9:.0f} GB/s with {process.threads} "
            f"thread{'s' if process.threads > 1 else ''}"
            for process in record.processes
            if process.heap == "default"
        )
        + ".",
        "",
    ]


def _ratios(record: Record) -> list[str]:
    columns: list[tuple[Mode, Heap]] = [
        *((mode, heap) for mode in ("training", "inference") for heap in HEAPS),
        ("step of forward", "default"),
        ("step of stream", "default"),
    ]
    names = [f"{mode}, {heap} heap" if "step" not in mode else mode for mode, heap in columns]
    rows = [
        [
            _name(size),
            _peer_time(record, size),
            *(_ratio(record, size, mode, heap, RATIO[mode]) for mode, heap in columns),
        ]
        for size in ROWS
    ]
    rows.append([LIMIT_AND_TARGET, "", *(f"*{RATIO[mode]}*" for mode, _ in columns)])
    header = ["T, B, I, H, k", "nn.LSTM: training, default heap", *names]
    return markdown(header, rows)


def _peer_time(record: Record, size: Size) -> str:
    """Time of torch's LSTM in training."""
    found = [_figures(record, size, "training", "default", threads) for threads in THREADS]
    return (
        " / ".join(
            DASH if figures is None else f"{figures.peer * 1e3:.{0 if figures.peer >= 0.1 else 1}f}"
            for figures in found
        )
        + " ms"
    )


def _family(record: Record) -> list[str]:
    """Other cells and norms, beside torch's plain cell."""
    columns: list[tuple[Mode, Heap]] = [(mode, heap) for mode in ("training", "inference") for heap in HEAPS]
    header = ["cell, norm", "T, B, I, H, k", *(f"{mode}, {heap} heap" for mode, heap in columns), LIMIT_AND_TARGET]
    rows = [
        [
            f"{member.cell}, {member.norm}",
            _name(size),
            *(_ratio(record, size, mode, heap, bound, member) for mode, heap in columns),
            f"*{bound}*",
        ]
        for member, bound in FAMILY.items()
        for size in FAMILY_ROWS
    ]
    return markdown(header, rows)


def _ratio(record: Record, size: Size, mode: Mode, heap: Heap, bound: Bound, member: Member = ATN_LSTM) -> str:
    found = [_figures(record, size, mode, heap, threads, member) for threads in THREADS]
    if all(figures is None for figures in found):
        return DASH
    return " / ".join(DASH if figures is None else _judged(figures.ratio, bound) for figures in found)


def _figures(
    record: Record, size: Size, mode: Mode, heap: Heap, threads: int, member: Member = ATN_LSTM
) -> Figures | None:
    for process in record.processes:
        if (process.threads, process.heap) == (threads, heap):
            wanted = (size, mode, member)
            found = (figures for figures in process.figures if (figures.size, figures.mode, figures.member) == wanted)
            return next(found, None)
    return None


def _judged(value: float, bound: Bound) -> str:
    return f"**{value:.2f}**" if round(value, 2) > bound.limit else f"{value:.2f}"


def _memory(record: Record) -> list[str]:
    found: dict[Size, Memory] = {memory.size: memory for process in record.processes for memory in process.memory}
    rows = [
        [
            _name(size),
            f"{memory.ours / 1e6:.1f} MB",
            f"{memory.peer / 1e6:.1f} MB",
            _judged(memory.ours / memory.peer, ALLOCATED),
            _judged(memory.kept, KEPT),
        ]
        for size, memory in found.items()
    ]
    rows.append([LIMIT_AND_TARGET, "", "", f"*{ALLOCATED}*", f"*{KEPT}*"])
    header = ["T, B, I, H, k", "in use in inference", "nn.LSTM's", "ratio", "kept for backward, T*B*H numbers"]
    return markdown(header, rows)


def _windows(record: Record) -> list[str]:
    header = ["k = 200 over k = 1", "training", "inference"]
    rows = []
    for process in record.processes:
        cost = {window.mode: window.long / window.short for window in process.over_k}
        name = f"{process.threads} thread{'s' if process.threads > 1 else ''}, {process.heap} heap"
        rows.append([name, *(_judged(cost[mode], LONG_WINDOW["cpu"]) for mode in ("training", "inference"))])
    rows.append([LIMIT_AND_TARGET, *[f"*{LONG_WINDOW['cpu']}*"] * 2])
    return markdown(header, rows)


def _rooflines(record: Record) -> list[str]:
    process = _process(record, 2, "kept")
    if process is None:
        return ["Not measured."]
    rows = []
    for size in ROWS:
        found = {f.mode: f for f in process.figures if (f.size, f.member) == (size, ATN_LSTM)}
        cells = []
        for mode in ("training", "inference"):
            figures = found.get(mode)
            cells.append(DASH if figures is None else _over(figures))
        rows.append([_name(size), *cells])
    return markdown(["T, B, I, H, k", "training", "inference"], rows)


def _over(figures: Figures) -> str:
    return f"{figures.ours / figures.roofline:.1f} / {figures.peer / figures.roofline:.1f}"


def _process(record: Record, threads: int, heap: Heap) -> Process | None:
    return next((process for process in record.processes if (process.threads, process.heap) == (threads, heap)), None)


def _name(size: Size) -> str:
    return f"{size.T}, {size.B}, {size.I}, {size.H}, {size.k}"
