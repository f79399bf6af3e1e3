"""A cost model of a step of the triton backend on a GPU: bytes, operations and launches.

::

    python -m benchmarks.gpu_model           # writes benchmarks/GPU.md

The counts follow from the kernels. The speed of a device is assumed from its data sheet and from the constants below,
which have not been checked by a measurement yet. The page says which measurements would refute them.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from atn.backend.triton.blocks import LARGEST_AT_ONCE
from benchmarks.limits import TRAINING
from benchmarks.sizes import NAMED, DType, Size
from experiments.common.environment import ROOT
from experiments.common.files import write_atomically
from experiments.common.markdown import markdown

MODELED = ("copying", "char-ptb")
"""Named sizes of which the page says how long they should take."""

PAGE = ROOT / "benchmarks" / "GPU.md"


class GPU(NamedTuple):
    """A device by its data sheet; rates in units of 1e12 a second, the cache in 2^20 bytes."""

    name: str
    memory: float
    """Bytes from memory."""
    cache: float
    """Bytes from the second-level cache: an assumption, data sheets have none."""
    cache_size: int
    float32: float
    """Operations outside tensor cores."""
    bfloat16: float
    """Operations of tensor cores, dense."""


GPUS = (
    GPU("A100 SXM 80 GB", 2.0, 4.5, 40, 19.5, 312),
    GPU("H100 SXM", 3.35, 5.5, 50, 67, 989),
    GPU("H200 SXM", 4.8, 5.5, 50, 67, 989),
    GPU("RTX 4090", 1.0, 4.5, 72, 82.6, 165),
)

NODE = 1.5
"""Microseconds from the end of a node of a CUDA graph to the work of the next: an assumption."""

REDUCTIONS = 3.0
"""Microseconds of a step beside its product, whatever its size: two rounds of block-wide sums and window reads, each of
which waits for the one before, about 1.5 each: an assumption."""

EFFICIENCY = 0.5
"""Share of its rates that a device reaches on work as small as a step: an assumption."""

NEAR = 0.2
"""Bytes from the cache next to a program, in 1e12 a second: 128 a clock at 1.6 GHz."""

NEAR_OPERATIONS = 0.4
"""Operations of one multiprocessor in 1e12 a second: 128 multiply-adds a clock at 1.6 GHz."""

LAUNCHES = 2
"""Launches a step and direction of a large layer: a matrix product and a kernel."""


class Work(NamedTuple):
    """The work of one step in one direction."""

    operations: float
    """Operations of the matrix product."""
    weights: float
    """Bytes of W_hh, read once per step."""
    rows: float
    """Bytes of all other data: rows of B cases, and the windows."""


def forward_work(size: Size) -> Work:
    """Work of a step and its product: a (4BH) written and read, input, gates, carry, c, h and state."""
    return _work(size, rows=4 + 4 + 4 + 4 + 2 + 1 + 1 + 1)


def backward_work(size: Size) -> Work:
    """Work of a backward step and its product: gates, a, dgates, da, then dh twice, dc twice, c twice, dz."""
    return _work(size, rows=4 + 4 + 4 + 4 + 4 + 2 + 2 + 2 + 1)


def _work(size: Size, rows: int) -> Work:
    width = number_bytes(size.dtype)
    windows = 4 * 4 * min(size.k, size.T) * size.B
    return Work(
        operations=2.0 * size.B * 4 * size.H * size.H,
        weights=float(width * 4 * size.H * size.H),
        rows=float(rows * width * size.B * size.H + windows),
    )


def number_bytes(dtype: DType) -> int:
    """Bytes of a number."""
    return {"float32": 4, "bfloat16": 2}[dtype]


def step_microseconds(work: Work, size: Size, gpu: GPU) -> float:
    """Time of a step in one direction: launches, reductions, and the slower of operations and bytes."""
    if at_once(size):
        product = max(work.operations / size.B / NEAR_OPERATIONS, work.weights / NEAR) / EFFICIENCY / 1e6
        return REDUCTIONS + product + work.rows / gpu.cache / EFFICIENCY / 1e6
    source = gpu.cache if work.weights <= gpu.cache_size * 2**20 else gpu.memory
    product = max(work.operations / _rate(size, gpu), work.weights / source) / EFFICIENCY / 1e6
    return LAUNCHES * NODE + REDUCTIONS + product + work.rows / gpu.cache / EFFICIENCY / 1e6


def floor_microseconds(work: Work, size: Size, gpu: GPU) -> float:
    """Lower bound for any implementation: operations at the full rate, W_hh kept on the chip, one round of sums."""
    return max(work.operations / _rate(size, gpu) / 1e6, REDUCTIONS / 2)


def at_once(size: Size) -> bool:
    """Whether one kernel computes all steps."""
    return size.H <= LARGEST_AT_ONCE


def _rate(size: Size, gpu: GPU) -> float:
    return gpu.float32 if size.dtype == "float32" else gpu.bfloat16


TEXT = f"""\
# The triton backend on a GPU: expected cost

**It has not run on a GPU yet.** This page is a model, written by `python -m benchmarks.gpu_model`. On a machine with a
CUDA device, these commands check and measure the backend:

```
nox -s gpu                                   # every comparison, graphs, streams, determinism, memory
compute-sanitizer --tool memcheck python -m pytest -m gpu -k shaped_like_the_paper
compute-sanitizer --tool racecheck python -m pytest -m gpu -k shaped_like_the_paper
python -m benchmarks run --device cuda && python -m benchmarks report
```

## Counts for a step

Up to H = {LARGEST_AT_ONCE} one kernel computes all steps: cases are independent, so a program takes one case through
the sequence and reads W_hh from the first-level cache. Above this size, a step is one matrix product and one kernel in
each direction, both of them nodes of one CUDA graph over the sequence. Neither form has a barrier across the device.
All work without a recurrence (the product with the input, its norm, the gradients of the weights) is done for the whole
sequence and is not counted.
"""

EXPECTED = """\
## Expected time of a step

Microseconds, forward + backward, of the current kernels; in brackets the lower bound for an implementation that keeps
W_hh on the chip and takes only the time of its operations and of one round of sums.
"""

CONCLUSIONS = f"""\
## Predictions, and measurements that would refute them

- cuDNN's LSTM has the same product at every step and no sums. At H = 1000 in float32 the product is most of a step, and
  the ratio to nn.LSTM should be below {TRAINING["cuda"].limit:g}. In bfloat16 launches and sums are most of it, and
  {TRAINING["cuda"].target:g} is out of reach.
- At H = 68 sums are most of a step. cuDNN has an implementation that stays on the chip and has no sums: there
  {TRAINING["cuda"].limit:g} is in doubt, and {TRAINING["cuda"].target:g} out of reach.
- A step that takes more than 1.5 times its figure above refutes the model. The profile (`nsys profile
  --cuda-graph-trace=node`) then says which constant is wrong: gaps between nodes, the kernel, or the product.
- Both forms compute the same function. A first measurement has to show which one is faster at which H, with
  `atn.backend.triton.blocks.LARGEST_AT_ONCE` set to 0 and to {LARGEST_AT_ONCE}.
- Time at k = 200 over k = 1: windows are a few kilobytes per step, read at once, so at most 1.05.
- Copying in and out of a graph's own tensors: about 14 T*B*H numbers each way, 5 % of a sequence or less.

## Not built

A form for large H that keeps W_hh in the registers and shared memories of all multiprocessors over all steps. It needs
a barrier across the device at every step, which cannot be tested without a device. The table above shows the possible
gain.
"""


def page() -> str:
    """The whole page."""
    sizes = {name: size for name, size in NAMED["cuda"].items() if name.partition(",")[0] in MODELED}
    directions = (("forward", forward_work), ("backward", backward_work))
    counts = [
        [f"{name}: {size}" if which == "forward" else "", which, *_counts(work(size)), _launches(size)]
        for name, size in sizes.items()
        for which, work in directions
    ]
    expected = [[gpu.name, *(_expected(size, gpu) for size in sizes.values())] for gpu in GPUS]
    caches = ", ".join(f"{gpu.cache} ({gpu.name})" for gpu in GPUS)
    lines = [
        TEXT,
        *markdown(["size", "", "operations of the product", "W_hh", "rows and windows", "launches"], counts),
        "",
        EXPECTED,
        *markdown(["device", *sizes], expected),
        "",
        f"Assumed: {NODE} us from node to node of a graph; {REDUCTIONS} us of sums and window reads in a step,",
        f"whatever its size; {EFFICIENCY:.0%} of every rate; {NEAR} TB/s and {NEAR_OPERATIONS} T operations a second",
        f"next to a program; second-level caches of, in TB/s, {caches}.",
        "",
        CONCLUSIONS,
    ]
    return "\n".join(lines)


def _launches(size: Size) -> str:
    return "1 a sequence" if at_once(size) else f"{LAUNCHES} a step"


def _counts(work: Work) -> list[str]:
    return [f"{work.operations / 1e6:,.1f} M", f"{work.weights / 1e6:,.2f} MB", f"{work.rows / 1e6:,.2f} MB"]


def _expected(size: Size, gpu: GPU) -> str:
    works = (forward_work(size), backward_work(size))
    time = sum(step_microseconds(work, size, gpu) for work in works)
    floor = sum(floor_microseconds(work, size, gpu) for work in works)
    return f"{time:.1f} ({floor:.1f})"


def main(arguments: Sequence[str]) -> int:
    """Write the page."""
    if arguments:
        print("usage: python -m benchmarks.gpu_model", file=sys.stderr)
        return 2
    write_atomically(PAGE, page().encode())
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
