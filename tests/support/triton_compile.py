"""What the GPU's assembler says of every kernel: registers and spilled bytes, by architecture; needs no GPU.

As a program, ``python -m tests.support.triton_compile``, it compiles all of them at the paper's sizes and prints one
line of JSON each. A process of its own, since Triton either compiles or interprets (`TRITON_INTERPRET`).
"""

import dataclasses
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from atn.backend.triton import backward, forward
from atn.backend.triton.blocks import (
    COLUMNS_OF_A_SUM,
    LARGEST_AT_ONCE,
    PART_OF_A_PRODUCT,
    ROWS_OF_A_SUM,
    Blocks,
    accumulator,
    blocks_of_rows,
    blocks_of_step,
)

ARCHITECTURES = (80, 90)
"""sm_80 is the A100, sm_90 the H100 and H200."""

SIZES = ((68, 45), (60, 25), (100, 60), (128, 10), (1000, 10), (1150, 25))
"""H and k of the paper's experiments, and of the noisy MNIST task."""

DTYPES = (torch.float32, torch.bfloat16)

WARP = 32

KEPT = frozenset({"gates", "c", "windows_hh", "windows_c"})
"""What the forward pass writes for the backward pass alone, by the names of the kernels' arguments."""

EVERYTHING = KEPT | {"gamma_hh", "gamma_c", "beta_c", "bias_hh", "dh_out", "dc_out", "dz"}
"""What a layer may be without."""

INTEGERS = {"t", "T", "B", "H", "N", "M", "k", "rows"}

WIDE = re.compile(r"d?(steps|windows)_.*|d?step_(mean|var)|d?mean|dvar|rstd|carry|c|c_0|dc|dc_out|dz|sum_.*")
"""Tensors of statistics, states and sums, which have the accumulator's dtype."""


class Variant(NamedTuple):
    """A kernel and what it is compiled for."""

    kernel: Any
    constants: dict[str, Any]
    blocks: Blocks
    step: bool = False
    """Whether it may have all registers, as a step of the layer may."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a compiled kernel takes."""

    kernel: str
    architecture: int
    H: int
    k: int
    dtype: str
    warps: int
    registers: int
    """A thread's."""
    spilled: int
    """Bytes of a thread in local memory: its stack, and what the assembler says it spilled."""


def variants(H: int, k: int, dtype: torch.dtype) -> Iterator[Variant]:
    """Every kernel as a layer of this size launches it.

    In training: a layer that has everything, a plain LSTM without biases, and one with a gain on its cell; the first
    for inference too.
    """
    yield from steps(H, k, dtype, present=EVERYTHING)
    yield from steps(H, k, dtype, present=KEPT | {"dh_out"})
    yield from steps(H, k, dtype, present=KEPT | {"dh_out", "gamma_c", "dz"})
    yield steps(H, k, dtype, present=EVERYTHING - KEPT)[0]
    rows = blocks_of_rows(4 * H, k, dtype)
    row = {"BLOCK_N": rows.features, "ACC": rows.acc}
    yield Variant(forward.step_statistics, row, rows)
    for long in (False, True):
        normalize = {"eps": 1e-5, "HAS_GAMMA": True, "HAS_BETA": True, "HAS_WINDOWS": long, "BLOCK_K": rows.window}
        yield Variant(forward.normalize, {**normalize, **row}, rows)
    yield Variant(backward.window_gradients, {"HAS_GAMMA": True, **row}, rows)
    yield Variant(backward.step_gradients, {"BLOCK_K": rows.window, "ACC": rows.acc}, rows._replace(warps=1))
    yield Variant(backward.input_gradient, {"HAS_GAMMA": True, **row}, rows)
    for none in ({"HAS_WINDOWS": True}, {"HAS_WINDOWS": False, "mean": None, "rstd": None}):
        sums = {"BLOCK_R": ROWS_OF_A_SUM, "BLOCK_N": COLUMNS_OF_A_SUM, "ACC": rows.acc, **none}
        yield Variant(backward.sums_over_rows, sums, rows._replace(warps=4))


def steps(H: int, k: int, dtype: torch.dtype, present: frozenset[str]) -> tuple[Variant, Variant]:
    """The kernels of the recurrence, forward and backward, of a layer that has these of `EVERYTHING`."""
    blocks = blocks_of_step(H, k, dtype)
    normed = "gamma_hh" in present
    constants = {
        **blocks.of_step(),
        **dict.fromkeys(EVERYTHING - present),
        "NORMED": normed,
        "EVERY_STEP": normed,
        "KEEP": "gates" in present,
        "HAS_BIAS": "bias_hh" in present,
        "HAS_GAMMA_HH": normed,
        "HAS_GAMMA_C": "gamma_c" in present,
        "HAS_BETA_C": "beta_c" in present,
        "HAS_DH": "dh_out" in present,
        "HAS_DC": "dc_out" in present,
        "HAS_DZ": "dz" in present,
        "eps": 1e-5,
        "BLOCK_J": PART_OF_A_PRODUCT,
    }
    if H <= LARGEST_AT_ONCE:
        kernels = (forward.lstm_all_steps, backward.lstm_all_steps_backward)
    else:
        kernels = (forward.lstm_step, backward.lstm_step_backward)
    forth, back = (
        Variant(
            kernel, {name: value for name, value in constants.items() if name in kernel.arg_names}, blocks, step=True
        )
        for kernel in kernels
    )
    return forth, back


def compiled(variant: Variant, dtype: torch.dtype, architecture: int) -> bytes:
    """Machine code."""
    names = variant.kernel.arg_names
    data, wide = (f"*{triton.runtime.jit.type_canonicalisation_dict[_short(d)]}" for d in (dtype, accumulator(dtype)))

    def kind(name: str) -> str:
        if name in variant.constants:
            return "constexpr"
        if name in INTEGERS:
            return "i32"
        return wide if WIDE.fullmatch(name) else data

    signature = {name: kind(name) for name in names}
    # Tensors begin at multiples of 16 bytes, which the launcher tells the compiler too.
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    source = ASTSource(variant.kernel, signature=signature, constexprs=variant.constants, attrs=aligned)
    target = GPUTarget("cuda", architecture, WARP)
    options = {"num_warps": variant.blocks.warps, **({"maxnreg": variant.blocks.registers} if variant.step else {})}
    code: bytes = triton.compile(source, target=target, options=options).asm["cubin"]
    return code


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def resources(variant: Variant, H: int, k: int, dtype: torch.dtype, architecture: int) -> Resources:
    """Compile a kernel and ask the tool of the assembler."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled(variant, dtype, architecture))
        file.flush()
        printed = subprocess.run(  # noqa: S603 - Triton's own tool on a file made here
            [tool, "--dump-resource-usage", file.name], check=True, capture_output=True, text=True
        ).stdout
    (used,) = re.findall(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", printed)
    registers, stack, local = map(int, used)
    name, warps = variant.kernel.__name__, variant.blocks.warps
    return Resources(name, architecture, H, k, _short(dtype), warps, registers, stack + local)


def main() -> int:
    """Compile all, each program once: sizes that differ less than a power of two share theirs."""
    seen = set()
    for architecture, (H, k), dtype in itertools.product(ARCHITECTURES, SIZES, DTYPES):
        for variant in variants(H, k, dtype):
            program = (variant.kernel.__name__, str(sorted(variant.constants.items())), variant.blocks.warps)
            if (architecture, dtype, program) not in seen:
                seen.add((architecture, dtype, program))
                print(json.dumps(dataclasses.asdict(resources(variant, H, k, dtype, architecture))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
