"""CUDA graphs of the time loops: one launch instead of two per step.

The first run of a loop with given shapes launches its kernels one by one, which also compiles them. The second run
records a graph over newly allocated tensors. From then on a run copies its tensors into these, replays the graph, and
copies the results out. The `CAPACITY` most recently used graphs are kept.

The kernels are still launched one by one where a graph cannot be recorded: inside a capture by the caller, which
records the launches itself, and on CPU tensors (Triton's interpreter). If memory does not suffice for a graph's
tensors, all graphs are deleted and the loop runs without one.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch

CAPACITY = 8
"""Number of graphs that are kept. The tensors of each are about as large as those that the loop reads and writes."""

REMEMBERED = 256
"""Number of shapes that are remembered after their first run."""


@runtime_checkable
class Loop(Protocol):
    """A named tuple of tensors with a method that runs a time loop over them."""

    @property
    def _fields(self) -> tuple[str, ...]: ...

    def _asdict(self) -> dict[str, Any]: ...

    @property
    def run(self) -> Callable[..., None]:
        """The function that runs the loop; it allocates no memory."""


L = TypeVar("L", bound=Loop)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[L]):
    """A graph and the tensors that it reads and writes."""

    loop: L
    graph: torch.cuda.CUDAGraph


class Graphs:
    """The most recently used graphs by key. One run at a time, since all runs of a graph share its tensors."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._recorded: OrderedDict[Any, Recorded[Any]] = OrderedDict()
        self._seen: OrderedDict[Any, None] = OrderedDict()

    def find(self, key: Any) -> Recorded[Any] | None:
        """The graph of this key, which becomes the most recently used one; None if there is none."""
        if key in self._recorded:
            self._recorded.move_to_end(key)
        return self._recorded.get(key)

    def first_time(self, key: Any) -> bool:
        """Whether this is the first run with this key, which is then remembered."""
        first = key not in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return first

    def keep(self, key: Any, recorded: Recorded[Any]) -> None:
        """Keep a graph, and delete the least recently used one if there are too many."""
        self._recorded[key] = recorded
        if len(self._recorded) > CAPACITY:
            self._recorded.popitem(last=False)

    def clear(self) -> None:
        """Delete all graphs and free their memory."""
        self._recorded.clear()
        self._seen.clear()

    def __contains__(self, key: Any) -> bool:
        return key in self._recorded

    def __len__(self) -> int:
        return len(self._recorded)


GRAPHS = Graphs()


def replay(loop: Loop, *, fresh: Sequence[str], changed: Sequence[str], **settings: Any) -> None:
    """Run ``loop.run(**settings)``, by a graph if one has been recorded.

    The results are in the fields `fresh`, whose content before the run is not read, and `changed`, whose content is.
    """
    device = next(tensor.device for tensor in loop._asdict().values() if tensor is not None)
    if not can_record(device):
        loop.run(**settings)
        return
    key = (type(loop), place(device), layout(loop), tuple(sorted(settings.items())))
    with GRAPHS.lock, on_device(device):
        recorded = GRAPHS.find(key)
        if recorded is None and GRAPHS.first_time(key):
            loop.run(**settings)
            return
        try:
            if recorded is None:
                recorded = record(loop, settings)
                GRAPHS.keep(key, recorded)
            run_recorded(recorded, loop, fresh, changed)
        except torch.cuda.OutOfMemoryError:
            GRAPHS.clear()
            torch.cuda.empty_cache()
            loop.run(**settings)


def record(loop: L, settings: dict[str, Any]) -> Recorded[L]:
    """Record the loop over newly allocated tensors with the shapes of its tensors."""
    buffers = {name: None if tensor is None else torch.empty_like(tensor) for name, tensor in loop._asdict().items()}
    like: L = type(loop)(**buffers)
    graph = torch.cuda.CUDAGraph()
    # Calls of other threads stay allowed: a data loader that pins memory must not invalidate the capture.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        like.run(**settings)
    return Recorded(like, graph)


def run_recorded(recorded: Recorded[L], loop: L, fresh: Sequence[str], changed: Sequence[str]) -> None:
    """Copy the loop's inputs into the graph's tensors, replay the graph, and copy the results out."""
    buffers, values = recorded.loop._asdict(), loop._asdict()
    read = [name for name, tensor in values.items() if tensor is not None and name not in fresh]
    written = [*fresh, *changed]
    torch._foreach_copy_([buffers[name] for name in read], [values[name] for name in read])
    recorded.graph.replay()
    torch._foreach_copy_([values[name] for name in written], [buffers[name] for name in written])


def can_record(device: torch.device) -> bool:
    """Whether a graph can be recorded now: on a GPU, and not inside a capture by the caller."""
    return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


def on_device(device: torch.device) -> AbstractContextManager[None]:
    """A context in which `device` is the current device, on which graphs are recorded and replayed."""
    return torch.cuda.device(device)


def place(device: torch.device) -> Any:
    """Device and stream: two streams must not share a graph's tensors."""
    return device, torch.cuda.current_stream(device).cuda_stream


def layout(loop: Loop) -> Any:
    """Dtype, shape and strides of every tensor of the loop."""
    return tuple(
        None if tensor is None else (tensor.dtype, tuple(tensor.shape), tensor.stride())
        for tensor in loop._asdict().values()
    )
