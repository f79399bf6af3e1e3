"""Random sequences and norms for tests of `AssortedTimeNorm` and its function."""

import torch
from torch import Tensor

from atn import AssortedTimeNorm
from atn.choices import Base

BASES: tuple[Base, ...] = ("layer", "batch")


def sequence(T: int, B: int, N: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random sequence (T, B, N) whose scale and offset change over time."""
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 + 1.5 * torch.rand(T, 1, 1, generator=generator, dtype=torch.float64)
    values = scale * (torch.randn(T, B, N, generator=generator, dtype=torch.float64) + scale)
    return values.to(dtype)


def module(k: int, base: Base = "layer", dtype: torch.dtype = torch.float64, max_steps: int = 30) -> AssortedTimeNorm:
    """Norm of 5 features with gains and shifts of its own."""
    norm = AssortedTimeNorm(5, k, base=base, max_steps=max_steps if base == "batch" else None, dtype=dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
        norm.bias.copy_(torch.linspace(-1, 1, 5))
    return norm


def in_chunks(norm: AssortedTimeNorm, a: Tensor, lengths: list[int]) -> Tensor:
    """Stream `a` in chunks of these lengths, the rest at the end."""
    outputs, memory, start = [], None, 0
    for length in [*lengths, len(a)]:
        if chunk := len(a[start : start + length]):
            y, memory = norm.stream(a[start : start + length], memory)
            assert len(memory.steps.mean) == min(norm.k - 1, start + chunk)
            outputs.append(y)
            start += chunk
    return torch.cat(outputs)
