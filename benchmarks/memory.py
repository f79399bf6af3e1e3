"""Memory of one forward and backward pass: the bytes kept between the passes, and the peak."""

import multiprocessing
import resource
import sys
import weakref
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.timing import Data, random_data, training_call
from benchmarks.variants import Entry

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`."""


class _Held:
    """Holds a tensor that autograd has saved; deleted when autograd releases the tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output would hold the graph that holds it


def kept_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes of all storages that autograd keeps for the backward pass, each once, without x and the parameters.

    They are counted by the hooks for saved tensors, which also see custom operators. The output counts if it is kept.
    """
    given = {_storage_key(tensor) for tensor in (x, *module.parameters())}
    every: weakref.WeakSet[_Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Held:
        held = _Held(tensor)
        every.add(held)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        output = module(x)
    kept = {_storage_key(held.tensor): held.tensor.untyped_storage().nbytes() for held in every}
    del output  # it has kept the graph alive until here
    return sum(size for key, size in kept.items() if key not in given)


def _storage_key(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def peak_bytes(entry: Entry, device: torch.device) -> int:
    """Largest memory that a forward and backward pass takes, beyond the memory in use before it.

    On CUDA it is the allocator's count. On the CPU it is the rise of the largest resident set of a new process, which
    also counts memory that libraries allocate outside of PyTorch, in whole pages.
    """
    if device.type == "cuda":
        return _cuda_peak(entry, device)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.memory"])
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_resident_rise, entry, torch.get_num_threads()).result()


def _cuda_peak(entry: Entry, device: torch.device) -> int:
    call = training_call(entry.module(device), random_data(entry.size, device))
    # Three runs first: libraries allocate some memory at first use, and record graphs when a shape is repeated.
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _resident_rise(entry: Entry, threads: int) -> int:
    """Rise of the largest resident set, measured in a new process."""
    torch.set_num_threads(threads)
    module = entry.module(torch.device("cpu"))
    data = random_data(entry.size, torch.device("cpu"))
    # Two steps first, for what the libraries set up once.
    short = random_data(replace(entry.size, T=2), torch.device("cpu"))
    training_call(module, Data(short.x, short.dh))()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    training_call(module, data)()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_UNIT
