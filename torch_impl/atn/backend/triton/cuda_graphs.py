"""CUDA graphs of the time loops: one launch where the loop has two a step.

A loop's first run with given shapes is made launch by launch, which also compiles its kernels. The second records a
graph over tensors of its own, and from then on a run copies its tensors in, replays, and copies the results out. The
`CAPACITY` graphs used last are kept.

Launch by launch goes on where a graph cannot be recorded: inside a capture of the caller's own, which records the
launches itself, and on tensors of the CPU (Triton's interpreter). Where memory does not suffice for a graph's tensors,
all graphs are given up and the loop runs without.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch

CAPACITY = 8
"""Graphs that are kept; each has tensors of its own, about as large as what the loop reads and writes."""

REMEMBERED = 256
"""Shapes that are remembered as seen once."""


class Loop(Protocol):
    """A named tuple of tensors, and a loop over them."""

    @property
    def _fields(self) -> tuple[str, ...]: ...

    def _asdict(self) -> dict[str, Any]: ...

    @property
    def run(self) -> Callable[..., None]:
        """Run the loop, which allocates nothing."""


L = TypeVar("L", bound=Loop)


class Recorded(NamedTuple, Generic[L]):
    """A graph and the tensors that it works on."""

    loop: L
    graph: torch.cuda.CUDAGraph


class Graphs:
    """Recorded graphs by key, those used last; one run at a time, since a graph's tensors are shared by its runs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._recorded: OrderedDict[Any, Recorded[Any]] = OrderedDict()
        self._seen: OrderedDict[Any, None] = OrderedDict()

    def find(self, key: Any) -> Recorded[Any] | None:
        """The graph of this key, which becomes the one used last."""
        if key in self._recorded:
            self._recorded.move_to_end(key)
        return self._recorded.get(key)

    def first_time(self, key: Any) -> bool:
        """Whether this key comes for the first time."""
        first = key not in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return first

    def keep(self, key: Any, recorded: Recorded[Any]) -> None:
        """Keep a graph, and give up the one that was not used for longest where there are too many."""
        self._recorded[key] = recorded
        if len(self._recorded) > CAPACITY:
            self._recorded.popitem(last=False)

    def clear(self) -> None:
        """Give all graphs and their memory back."""
        self._recorded.clear()
        self._seen.clear()

    def __contains__(self, key: Any) -> bool:
        return key in self._recorded

    def __len__(self) -> int:
        return len(self._recorded)


GRAPHS = Graphs()


def replay(loop: Loop, *, fresh: Sequence[str], changed: Sequence[str], **settings: Any) -> None:
    """``loop.run(**settings)``, by a graph where there is one.

    Results are wanted of the fields `fresh`, which hold nothing before, and `changed`, which do.
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
    """Record the loop over tensors like its own."""
    own = {name: None if tensor is None else torch.empty_like(tensor) for name, tensor in loop._asdict().items()}
    like: L = type(loop)(**own)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on meanwhile: a loader that pins memory must not spoil the capture.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        like.run(**settings)
    return Recorded(like, graph)


def run_recorded(recorded: Recorded[L], loop: L, fresh: Sequence[str], changed: Sequence[str]) -> None:
    """Copy what the loop reads in, replay, and copy the results out."""
    own, theirs = recorded.loop._asdict(), loop._asdict()
    read = [name for name, tensor in theirs.items() if tensor is not None and name not in fresh]
    written = [*fresh, *changed]
    torch._foreach_copy_([own[name] for name in read], [theirs[name] for name in read])
    recorded.graph.replay()
    torch._foreach_copy_([theirs[name] for name in written], [own[name] for name in written])


def can_record(device: torch.device) -> bool:
    """Whether a graph can be recorded now: on a GPU, outside a capture of the caller's."""
    return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


def on_device(device: torch.device) -> AbstractContextManager[None]:
    """Make it the current device, on which graphs are recorded and replayed."""
    return torch.cuda.device(device)


def place(device: torch.device) -> Any:
    """Device and stream: two streams must not share a graph's tensors."""
    return device, torch.cuda.current_stream(device).cuda_stream


def layout(loop: Loop) -> Any:
    """Dtype, shape and strides of every tensor."""
    return tuple(
        None if tensor is None else (tensor.dtype, tuple(tensor.shape), tensor.stride())
        for tensor in loop._asdict().values()
    )
