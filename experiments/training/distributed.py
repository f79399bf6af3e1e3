"""The processes that train one model: a single process, or those that torchrun started, each with its part of a batch.

`main_process_first`, `gather`, `mean`, `any_of` and `texts` communicate between the processes. All processes must call
them in the same order, inside `joined`.
"""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist

# The default group of these functions is the one at their first import. If they were imported after `joined`, as by
# DistributedDataParallel, they would keep the group and its threads alive until the interpreter ends, and these threads
# may abort it then.
import torch.distributed.nn
from torch import Tensor

from experiments.common.errors import UsageError

_TEXT = 256
"""Largest number of bytes of a text that the processes send each other."""


def count() -> int:
    """Number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def is_main_process() -> bool:
    """Whether this process is the one that writes the run's folder and prints messages."""
    return rank() == 0


def log(line: str) -> None:
    """Print a line on stderr, in the main process only."""
    if is_main_process():
        print(line, file=sys.stderr, flush=True)


def own_device(device: torch.device) -> torch.device:
    """The device of this process: if several processes use GPUs, the GPU with the process's local rank.

    Raises
    ------
    UsageError
        If several processes are to share a GPU.
    """
    if device.type != "cuda" or count() == 1:
        return device
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    gpus = torch.cuda.device_count()
    if device != torch.device("cuda") or gpus < processes:
        raise UsageError(f"--device {device}: {processes} processes here need --device cuda and a GPU each, of {gpus}")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Form a process group of the processes that torchrun started, while the block runs; a single process needs none.

    CPU tensors are sent by gloo, which never waits for a GPU, and GPU tensors by NCCL.
    """
    if count() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        # Wait until every process has finished communicating before the group is destroyed, and collect the wrappers of
        # models, which use its connections.
        dist.barrier()
        gc.collect()
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process run the block first; the other processes enter it after the main process has left it."""
    if not is_main_process():
        dist.barrier()
    yield
    if is_main_process() and count() > 1:
        dist.barrier()


def scatter_randomness(seed: int) -> None:
    """Seed every process but the first differently, for dropout. Call it after making the models, which are equal."""
    if not is_main_process():
        torch.manual_seed(int(np.random.SeedSequence([seed, rank()]).generate_state(1)[0]))


def share(tensor: Tensor, dim: int) -> Tensor:
    """The part of a batch for this process: equal parts along `dim`, in the order of the ranks.

    Raises
    ------
    UsageError
        If the size of the batch is not a multiple of the number of processes.
    """
    size = tensor.shape[dim]
    if size % count() != 0:
        raise UsageError(f"batch is {size}; it must be a multiple of {count()}, the number of processes that share it")
    part = size // count()
    return tensor.narrow(dim, rank() * part, part)


def gather(tensor: Tensor, dim: int) -> Tensor:
    """Concatenate the equal parts of all processes along `dim`: the inverse of `share`."""
    if count() == 1:
        return tensor
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(count())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts, dim)


def mean(tensor: Tensor) -> Tensor:
    """Elementwise mean over the processes."""
    if count() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total / count()


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether it is true in any of the processes."""
    if count() == 1:
        return list(flags)
    up = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(up, dist.ReduceOp.MAX)
    return [bool(flag) for flag in up.tolist()]


def texts(text: str) -> list[str]:
    """The texts of all processes in the order of their ranks, each cut to `_TEXT` bytes."""
    encoded = text.encode()[:_TEXT].ljust(_TEXT, b"\0")
    rows = gather(torch.frombuffer(bytearray(encoded), dtype=torch.uint8)[None], 0)
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in rows.tolist()]
