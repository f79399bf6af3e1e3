"""One process's share of the measurement: a fixed number of threads and one kind of heap, which malloc fixes at start.

``python -m benchmarks.overhead.measure --threads 1 --heap kept --seconds 60`` prints what it measured as one line of
JSON; `benchmarks.overhead` runs it once for each number of threads and kind of heap.
"""

import dataclasses
import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence

import torch
import tyro

from atn import ATNLSTM
from benchmarks.memory import kept_bytes
from benchmarks.overhead.allocated import most_in_use
from benchmarks.overhead.calls import CPU, inference_of, pair, training_of
from benchmarks.overhead.record import Figures, Memory, Process, WindowCost
from benchmarks.overhead.roofline import NUMBER_BYTES, measure_machine, work
from benchmarks.overhead.rows import ATN_LSTM, FAMILY, FAMILY_ROWS, OVER_K, ROWS, Heap, modes
from benchmarks.peers.plain import OutputOnly
from benchmarks.sizes import Size
from benchmarks.timing import Call, interleaved, random_data
from experiments.common.allocator import keep_freed_memory

SHORTEST = 2e-3
"""Seconds that one timing lasts at least: a call that is shorter is repeated, and the time divided."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure with a number of threads and a kind of heap."""

    threads: int
    """Threads of PyTorch."""

    heap: Heap
    """The default malloc, or one that keeps freed memory."""

    seconds: float = 120.0
    """Time for all rounds together."""

    memory: bool = False
    """Measure memory too, which depends neither on threads nor on the heap."""

    rows: tuple[int, ...] = ()
    """Numbers of the rows to measure, counted from 0; none for all of them."""


def main(arguments: Sequence[str]) -> int:
    """Measure, and print one line of JSON."""
    options = tyro.cli(Options, prog="python -m benchmarks.overhead.measure", args=arguments)
    if options.heap == "kept" and not keep_freed_memory():
        sys.exit("--heap kept: only glibc's malloc can be asked to keep what is freed")
    torch.set_num_threads(options.threads)
    print(json.dumps(dataclasses.asdict(measure(options))))
    return 0


def measure(options: Options) -> Process:
    """Measure the rows in every mode."""
    rows = [ROWS[number] for number in options.rows] or list(ROWS)
    jobs = [(size, mode, ATN_LSTM) for size in rows for mode in modes(size)]
    jobs += [(size, mode, member) for member in FAMILY for size in FAMILY_ROWS if size in rows for mode in modes(size)]
    machine = measure_machine()
    figures = []
    for number, (size, mode, member) in enumerate(jobs, start=1):
        name = f"{member.cell}, norm={member.norm!r}, {mode}, {size}"
        _progress(f"threads={options.threads} heap={options.heap} [{number}/{len(jobs)}] {name}")
        ours, peer = _medians(list(pair(size, mode, member)), options.seconds / (len(jobs) + 2))
        figures.append(Figures(size, mode, ours, peer, work(size, mode, member.cell).seconds(machine), member))
    over_k: list[WindowCost] = []
    for name, call_of in (("training", training_of), ("inference", inference_of)):
        _progress(f"threads={options.threads} heap={options.heap} k = {OVER_K.k} over k = 1, {name}")
        short = dataclasses.replace(OVER_K, k=1)
        long_time, short_time = _medians([call_of(OVER_K), call_of(short)], options.seconds / (len(jobs) + 2))
        over_k.append(WindowCost(name, long_time, short_time))
    memory = [_memory(size) for size in rows] if options.memory else []
    return Process(options.threads, options.heap, machine.operations, machine.bytes, figures, over_k, memory)


def _medians(calls: Sequence[Call], seconds: float) -> list[float]:
    """Median time of each call, measured in turns."""
    repeats = max(1, round(SHORTEST / max(min(_about(call) for call in calls), 1e-7)))

    def clock(call: Call) -> float:
        return _seconds(call, repeats) / repeats

    gc.collect()
    gc.disable()
    try:
        return [timing.median for timing in interleaved(calls, clock, seconds / repeats)]
    finally:
        gc.enable()


def _about(call: Call) -> float:
    """About how long a call takes; of one that need not be repeated, how long the first one takes."""
    first = _seconds(call)
    return first if first > 10 * SHORTEST else statistics.median(_seconds(call) for _ in range(3))


def _seconds(call: Call, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def _memory(size: Size) -> Memory:
    """Bytes in use during inference, and numbers kept for the backward pass."""
    calls = pair(size, "inference")
    torch.manual_seed(0)
    layer = OutputOnly(ATNLSTM(size.I, size.H, k=size.k))
    kept = kept_bytes(layer, random_data(size, CPU).x)
    return Memory(size, most_in_use(calls.ours), most_in_use(calls.peer), kept / (NUMBER_BYTES * size.numbers))


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
