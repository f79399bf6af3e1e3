"""The processes that train one model: a single one, or as many as torchrun started, each with its share of a batch.

Those that speak to each other, which are `leader_first`, `gather`, `mean`, `any_of` and `texts`, are called by all
processes in the same order, and inside `joined`.
"""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist

# Its functions have the group of their first import as a default. Imported after `joined`, as DistributedDataParallel
# does, they would keep the group and its threads alive into the end of the interpreter, where these may abort it.
import torch.distributed.nn
from torch import Tensor

from experiments.common.errors import UsageError

_TEXT = 256
"""Bytes of a text that the processes send each other."""


def count() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def is_main_process() -> bool:
    """Whether this process is the one that writes the run's folder and speaks to the user."""
    return rank() == 0


def log(line: str) -> None:
    """Print a line on stderr, once however many processes there are."""
    if is_main_process():
        print(line, file=sys.stderr, flush=True)


def own_device(device: torch.device) -> torch.device:
    """The device of this process: on a machine with several GPUs the one with its number there.

    Raises
    ------
    UsageError
        If several processes are to share a GPU.
    """
    if device.type != "cuda" or count() == 1:
        return device
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    there = torch.cuda.device_count()
    if device != torch.device("cuda") or there < here:
        raise UsageError(f"--device {device}: {here} processes here need --device cuda and a GPU each, of {there}")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Let the processes that torchrun started find each other; nothing to do where there is a single one.

    Tensors of the CPU go by gloo, which never waits for a GPU, and those of GPUs by NCCL.
    """
    if count() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        # Nobody hangs up while another still speaks, and no wrapper of a model outlives the connections it uses.
        dist.barrier()
        gc.collect()
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def leader_first() -> Iterator[None]:
    """Let the others into the block when the leading process has left it."""
    if not is_main_process():
        dist.barrier()
    yield
    if is_main_process() and count() > 1:
        dist.barrier()


def scatter_randomness(seed: int) -> None:
    """Give each process but the first a random stream of its own, as for dropout; models are made before, all alike."""
    if not is_main_process():
        torch.manual_seed(int(np.random.SeedSequence([seed, rank()]).generate_state(1)[0]))


def share(tensor: Tensor, dim: int) -> Tensor:
    """Part of a batch for this process: equal parts along `dim`, in the order of the processes; all for one alone.

    Raises
    ------
    UsageError
        If the batch has no such parts.
    """
    size = tensor.shape[dim]
    if size % count() != 0:
        raise UsageError(f"batch is {size}; it must be a multiple of {count()}, the number of processes that share it")
    part = size // count()
    return tensor.narrow(dim, rank() * part, part)


def gather(tensor: Tensor, dim: int) -> Tensor:
    """The whole, along `dim`, of what every process has an equal part of: the inverse of `share`."""
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
    """For each flag, whether it is up in any of the processes."""
    if count() == 1:
        return list(flags)
    up = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(up, dist.ReduceOp.MAX)
    return [bool(flag) for flag in up.tolist()]


def texts(text: str) -> list[str]:
    """What each process said, in their order; at most `_TEXT` bytes of it."""
    said = text.encode()[:_TEXT].ljust(_TEXT, b"\0")
    rows = gather(torch.frombuffer(bytearray(said), dtype=torch.uint8)[None], 0)
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in rows.tolist()]
