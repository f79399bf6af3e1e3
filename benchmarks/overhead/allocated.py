"""The largest number of bytes that a call has in use at once, by PyTorch's count of its allocations."""

import json
import tempfile
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Call


def most_in_use(call: Call) -> int:
    """Largest number of bytes that a call has in use beyond what was in use before it.

    It counts the blocks of PyTorch's CPU allocator, including outputs and scratch tensors, but not the memory that a
    library allocates with malloc directly.
    """
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    in_use = most = 0
    for _, change in sorted(changes, key=lambda found: found[0]):
        in_use += change
        most = max(most, in_use)
    return most
