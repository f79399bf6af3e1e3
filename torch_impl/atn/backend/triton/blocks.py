"""Block sizes: how much of a row, a window or a sum one program of a kernel holds at a time."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

LONGEST_BLOCK = 4096
"""Elements of a row that a program of the sequence kernels holds at a time."""

LONGEST_WINDOW = 1024
"""Steps of a window that a program holds at a time."""

LARGEST_AT_ONCE = 128
"""Hidden size up to which one program takes a case through all steps: W_hh then fits the cache next to it."""

PART_OF_A_PRODUCT = 32
"""Features of the state that a program of `lstm_all_steps` multiplies at a time."""

ROWS_OF_A_SUM = 64
"""Rows that a program of `sums_over_rows` adds up."""

COLUMNS_OF_A_SUM = 32
"""Columns that a program of `sums_over_rows` adds up at once."""


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype of statistics and of the carry for data of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Blocks(NamedTuple):
    """Sizes that a kernel is compiled for."""

    features: int
    """Power of two: size of a row, or of the part of it that a program holds at a time."""
    window: int
    """Power of two: size of a window, or of the part of it that a program holds at a time."""
    warps: int
    acc: Any
    """Triton's dtype of the accumulator."""

    @property
    def registers(self) -> int:
        """All registers that a thread can have. By default the assembler spills registers to fit in two programs."""
        return min(255, 65536 // (32 * self.warps))

    def of_step(self) -> dict[str, Any]:
        """Launch settings of a kernel that computes one step or all steps."""
        kernel = {"BLOCK_H": self.features, "BLOCK_K": self.window, "ACC": self.acc}
        return {**kernel, "num_warps": self.warps, "maxnreg": self.registers}


def blocks_of_rows(N: int, k: int, dtype: torch.dtype) -> Blocks:
    """Blocks for rows of N features; a long row is processed in parts."""
    return _blocks(min(triton.next_power_of_2(N), LONGEST_BLOCK), k, dtype, elements=4)


def blocks_of_step(H: int, k: int, dtype: torch.dtype) -> Blocks:
    """Blocks for a step of the layer, which holds its 4H gates at once."""
    blocks = _blocks(triton.next_power_of_2(H), k, dtype, elements=1)
    return blocks._replace(warps=8) if 32 < H <= LARGEST_AT_ONCE else blocks


def _blocks(features: int, k: int, dtype: torch.dtype, *, elements: int) -> Blocks:
    """Blocks with about this number of elements a thread, within 1 to 16 warps."""
    window = min(triton.next_power_of_2(max(k, 1)), LONGEST_WINDOW)
    warps = max(1, min(16, features // (32 * elements)))
    return Blocks(features, window, warps, tl.float64 if accumulator(dtype) == torch.float64 else tl.float32)
