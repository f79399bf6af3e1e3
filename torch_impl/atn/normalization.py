"""Assorted-time normalization as a module: gain and shift, and for the batch the population statistics."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from atn.backend.registry import backend_for, check_backend
from atn.functional import BASES
from atn.precision import full_precision, in_one_dtype, state_dtype
from atn.state import NormMemory
from atn.validation import (
    check_choice,
    check_flag,
    check_floating,
    check_matches,
    check_shape,
    check_steps,
    epsilon,
    whole_number,
)
from atn.window import Base, StepStatistics, normalize, steps_of, window_statistics

MOMENTUM = 0.1
"""Weight of a new batch in the running averages of `base="batch"`, as `torch.nn.BatchNorm1d`."""


class AssortedTimeNorm(nn.Module):
    """Normalize each step of a sequence by the statistics of the last k steps, Eqs. (7)-(9).

    `norm(a)` takes a whole sequence (T, B, N); `norm.stream(a, memory)` takes it in chunks. The equation, the treatment
    of dtypes and of eps = 0, and the errors for `k`, `eps`, `base` and `a` are those of
    `atn.functional.assorted_time_norm`.

    With `base="layer"` (ATN-LN) training and evaluation are the same. With `base="batch"` (ATN-BN) the statistics are
    those of the batch while training; evaluation uses population statistics, kept for every time step apart as
    Recurrent Batch Normalization does: running averages of the window's mean and biased variance, started by the first
    batch that reaches the step, with momentum 0.1. Beyond the longest step seen, the last is used.

    Parameters
    ----------
    num_features
        N.
    k
        Length of the window, at least 1; 1 is layer or batch normalization.
    base
        "layer" or "batch".
    eps
        Added to the variance under the root, at least 0.
    affine
        Whether to have a gain (`weight`, ones at first) and a shift (`bias`, zeros at first), (N,) each. ATN adds no
        trainable parameter to them.
    backend
        "auto", or a name of `atn.backends`. Second derivatives need "eager".
    device, dtype
        Of the parameters and buffers.

    Attributes
    ----------
    running_mean, running_var
        Population statistics (S, N), S the longest sequence seen while training; `base="batch"` alone.
    num_batches_tracked
        Number of batches that reached each step, (S,); `base="batch"` alone.
    """

    running_mean: Float[Tensor, "S N"]
    running_var: Float[Tensor, "S N"]
    num_batches_tracked: Int[Tensor, " S"]

    def __init__(
        self,
        num_features: int,
        k: int,
        *,
        base: Base = "layer",
        eps: float = 1e-5,
        affine: bool = True,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = whole_number("num_features", num_features)
        self.k = whole_number("k", k)
        self.eps = epsilon(eps)
        check_choice("base", base, BASES)
        check_flag("affine", affine)
        check_backend(backend)
        self.base: Base = base
        self.affine = affine
        self.backend = backend
        if affine:
            self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
            self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        if base == "batch":
            self.register_buffer("running_mean", torch.zeros(0, num_features, device=device, dtype=dtype))
            self.register_buffer("running_var", torch.zeros(0, num_features, device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", torch.zeros(0, device=device, dtype=torch.long))

    def forward(self, a: Float[Tensor, "T B N"]) -> Float[Tensor, "T B N"]:
        """Normalize a whole sequence.

        Raises
        ------
        RuntimeError
            `base="batch"` in evaluation without population statistics: no batch was seen in training mode.
        """
        y, _ = self.stream(a)
        return y

    def stream(
        self, a: Float[Tensor, "T B N"], memory: NormMemory | None = None
    ) -> tuple[Float[Tensor, "T B N"], NormMemory]:
        """Normalize the next T >= 1 steps of a sequence.

        Chunks in sequence equal the whole: bit for bit on the CPU, up to the order of additions inside a step on other
        devices. The gradient flows through the memory until it is detached.

        Parameters
        ----------
        a
            The next steps (T, B, N).
        memory
            What the call before returned; None at the start.

        Returns
        -------
        y, memory
            Normalized steps, in the dtype of `a`, and what the next call needs.

        Raises
        ------
        TypeError, ValueError
            As `atn.functional.assorted_time_norm`, and for a memory that does not fit `a` or this module.
        RuntimeError
            As `forward`.
        """
        check_floating("a", a)
        check_steps("a", a, "(T, B, N)", self.num_features)
        if self.affine:
            check_matches("a", a, "weight", self.weight)
        backend = backend_for(self.backend, a.device)
        by_population = self.base == "batch" and not self.training
        values, weight, bias = in_one_dtype(a, self.weight, self.bias, half=backend.half and not by_population)
        with full_precision(a.device):
            columns = a.shape[1] if self.base == "layer" else a.shape[2]
            none = StepStatistics.none(columns, values, state_dtype(values.dtype))
            memory = NormMemory(none, 0) if memory is None else memory
            self._check_memory(memory, columns, none.mean)
            end = memory.position + len(a)
            if by_population:
                population = self._population(memory.position, end, values.dtype)
                y = normalize(values, population, weight, bias, self.eps, self.base)
                steps = memory.steps.followed_by(steps_of(values, self.base))
            else:
                y, steps = backend.norm(values, weight, bias, memory.steps, self.k, self.eps, self.base)
            if self.base == "batch" and self.training:
                self._update_population(memory.position, end, steps)
        return y.to(a.dtype), NormMemory(steps.last(self.k - 1), end)

    def extra_repr(self) -> str:
        """Settings that differ between modules."""
        return f"{self.num_features}, k={self.k}, base={self.base!r}, eps={self.eps}, affine={self.affine}"

    def _check_memory(self, memory: object, columns: int, values: Tensor) -> None:
        if not isinstance(memory, NormMemory):
            raise TypeError(f"memory must be the NormMemory of the call before, got {type(memory).__name__}")
        shape = (min(self.k - 1, memory.position), columns)
        for name, statistic in zip(("memory.steps.mean", "memory.steps.var"), memory.steps, strict=True):
            check_shape(
                name, statistic, shape, "(min(k-1, position), B)" if self.base == "layer" else "(min(k-1, position), N)"
            )
            check_matches(name, statistic, "the computation", values)

    def _population(self, start: int, end: int, dtype: torch.dtype) -> StepStatistics:
        S = len(self.running_mean)
        if S == 0:
            raise RuntimeError(
                "base='batch' in evaluation needs population statistics and has none: "
                "run a batch in training mode, or load a state_dict that has them"
            )
        steps = torch.arange(start, end, device=self.running_mean.device).clamp(max=S - 1)
        return StepStatistics(self.running_mean[steps].to(dtype), self.running_var[steps].to(dtype))

    @torch.no_grad()
    def _update_population(self, start: int, end: int, steps: StepStatistics) -> None:
        batch = window_statistics(steps, self.k).last(end - start)
        self._resize_population(max(end, len(self.running_mean)))
        first = self.num_batches_tracked[start:end].unsqueeze(1) == 0
        for running, new in ((self.running_mean, batch.mean), (self.running_var, batch.var)):
            old = running[start:end]
            old.copy_(torch.where(first, new, (1 - MOMENTUM) * old + MOMENTUM * new))
        self.num_batches_tracked[start:end] += 1

    def _resize_population(self, S: int) -> None:
        """Make room for S steps, keeping those that there are."""
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            old: Tensor = getattr(self, name)
            new = old.new_zeros(S, *old.shape[1:])
            new[: len(old)] = old[:S]
            setattr(self, name, new)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take over population statistics of any number of steps."""
        saved = state_dict.get(f"{prefix}running_mean")
        if self.base == "batch" and saved is not None:
            self._resize_population(len(saved))
        super()._load_from_state_dict(state_dict, prefix, *args)
