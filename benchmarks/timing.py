"""Times of calls, measured in turns in one process, so that a slower machine slows all of them alike."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.sizes import Size
from benchmarks.variants import DTYPES

Call = Callable[[], Any]
Clock = Callable[[Call], float]
"""Runs a call and returns how long it took, in seconds."""

LEAST_ROUNDS = 3
MOST_ROUNDS = 50
WARM_UP_SECONDS = 0.2
"""Each call is repeated for so long before it is timed, twice at least unless one takes longer."""


class Timing(NamedTuple):
    """Median and quartiles in seconds, and of how many rounds."""

    median: float
    lower: float
    upper: float
    rounds: int


class Data(NamedTuple):
    """Input (T, B, I), which requires its gradient, and upstream gradient (T, B, H)."""

    x: Tensor
    dh: Tensor


def random_data(size: Size, device: torch.device) -> Data:
    """Draw the same numbers for every variant."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size.T, size.B, size.I, generator=generator).to(device, DTYPES[size.dtype]).requires_grad_()
    return Data(x, torch.randn(size.T, size.B, size.H, generator=generator).to(device, DTYPES[size.dtype]))


@runtime_checkable
class OwnCalls(Protocol):
    """A module of another framework, which is timed by calls of its own, without PyTorch in between."""

    def forward_call(self, data: Data) -> Call:
        """Forward pass alone."""

    def training_call(self, data: Data) -> Call:
        """Forward and backward pass: the gradients of the input and of all parameters."""


def forward_call(module: nn.Module, data: Data) -> Call:
    """Forward pass alone, without a graph."""
    if isinstance(module, OwnCalls):
        return module.forward_call(data)

    def call() -> None:
        with torch.no_grad():
            module(data.x)

    return call


def training_call(module: nn.Module, data: Data) -> Call:
    """Forward and backward pass: the gradients of the input and of all parameters."""
    if isinstance(module, OwnCalls):
        return module.training_call(data)
    inputs = [data.x, *module.parameters()]

    def call() -> None:
        torch.autograd.grad(module(data.x), inputs, data.dh)

    return call


PASSES = {"forward": forward_call, "forward + backward": training_call}
"""The two things that are timed, by name."""


def clock_of(device: torch.device) -> Clock:
    """The clock for calls on this device."""
    return _cuda_seconds if device.type == "cuda" else _seconds


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _cuda_seconds(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call] # torch's
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def interleaved(calls: Sequence[Call], clock: Clock, seconds: float) -> list[Timing]:
    """Time the calls in turns, in a new order each round, for about `seconds` together.

    Each call has an equal share of the time, so a slow one runs in fewer rounds, spread over the whole time: 3 at
    least, even if that takes longer than there is time.
    """
    share = seconds / len(calls)
    wanted = [min(max(int(share / _warm_up(call, clock)), LEAST_ROUNDS), MOST_ROUNDS) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    shuffle = random.Random(0).shuffle  # noqa: S311 - an order, not a secret
    total = max(wanted)
    for number in range(total):
        shuffle(order)
        for index in order:
            if (number + 1) * wanted[index] // total > number * wanted[index] // total:
                times[index].append(clock(calls[index]))
    return [_summary(samples) for samples in times]


def _warm_up(call: Call, clock: Clock) -> float:
    """Run the call uncounted until it is as fast as it will be; return how long it takes."""
    passed = last = clock(call)
    while passed < WARM_UP_SECONDS:
        last = clock(call)
        passed += last
    return last


def _summary(times: list[float]) -> Timing:
    lower, median, upper = (float(value) for value in np.quantile(times, [0.25, 0.5, 0.75]))
    return Timing(median, lower, upper, len(times))
