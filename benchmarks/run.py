"""A whole measurement: for each group the check against the oracle, the memory and the time, saved after each group."""

import datetime as dt
import gc
import os
import time
from pathlib import Path

import torch

from benchmarks.correctness import check
from benchmarks.memory import kept_bytes, peak_bytes
from benchmarks.results import Conditions, GroupResult, Measurement, load_results, replaced, save_results
from benchmarks.sizes import Group
from benchmarks.timing import LEAST_ROUNDS, PASSES, Timing, clock_of, interleaved, random_data
from benchmarks.variants import Entry, entries, package_versions
from experiments.common.environment import commit, describe, versions

SECONDS = 420.0
"""Seconds for the timed rounds of all groups; the check, the memory and slow variants take additional time."""

QUICK_SECONDS = 30.0
"""Seconds for the timed rounds of a quick run."""


def measure(groups: list[Group], device: torch.device, seconds: float, path: Path, command: str) -> None:
    """Measure the groups, and save each in the record at `path` when it is complete."""
    _full_precision()
    conditions = _conditions(device, command)
    print(f"{conditions.device}, {conditions.threads} threads, {len(groups)} groups -> {path}", flush=True)
    start, total = time.monotonic(), sum(group.weight for group in groups)
    for number, group in enumerate(groups, start=1):
        print(f"[{number}/{len(groups)}, {time.monotonic() - start:.0f} s] {group.name}", flush=True)
        measurements = _measure_group(group, device, seconds * group.weight / total)
        result = GroupResult(group.name, group.axis, conditions, measurements, frameworks=group.frameworks)
        _say(result)
        save_results(path, replaced(load_results(path), result))
    print(f"{path}: done after {time.monotonic() - start:.0f} s", flush=True)


def _measure_group(group: Group, device: torch.device, seconds: float) -> list[Measurement]:
    every = entries(group, "cuda" if device.type == "cuda" else "cpu")
    verdicts = [check(entry, device) for entry in every]
    right = [entry for entry, verdict in zip(every, verdicts, strict=True) if not verdict.fault]
    print(f"  {len(right)} of {len(every)} agree with the oracle; memory", flush=True)
    # Not of compilers and other packages: autograd does not see what JAX keeps, and compiling raises a process's peak.
    with_peak = not group.frameworks and (device.type == "cuda" or group.axis in {None, "k"})
    kept = {} if group.frameworks else {entry: _kept(entry, device) for entry in right}
    peaks = {entry: peak_bytes(entry, device) for entry in right} if with_peak else {}
    print(f"  time, {seconds:.0f} s or {LEAST_ROUNDS} rounds", flush=True)
    times = _times(right, device, seconds)
    return [
        Measurement(
            variant=entry.variant.name,
            norm=entry.variant.norm,
            backend=entry.variant.backend,
            size=entry.size,
            error=verdict.error,
            fault=verdict.fault,
            kept=kept.get(entry),
            peak=peaks.get(entry),
            times=times.get(entry, {}),
        )
        for entry, verdict in zip(every, verdicts, strict=True)
    ]


def _kept(entry: Entry, device: torch.device) -> int:
    module = entry.module(device)
    return kept_bytes(module, random_data(entry.size, device).x)


def _times(every: list[Entry], device: torch.device, seconds: float) -> dict[Entry, dict[str, Timing]]:
    torch.manual_seed(0)
    modules = [entry.module(device) for entry in every]
    data = random_data(every[0].size, device)  # sizes of a group differ in k alone
    times: dict[Entry, dict[str, Timing]] = {entry: {} for entry in every}
    for name, make_call in PASSES.items():
        calls = [make_call(module, data) for module in modules]
        gc.collect()
        gc.disable()
        try:
            timings = interleaved(calls, clock_of(device), seconds / len(PASSES))
        finally:
            gc.enable()
        for entry, timing in zip(every, timings, strict=True):
            times[entry][name] = timing
    return times


def _full_precision() -> None:
    """Switch TF32 off, which otherwise cuDNN's LSTM would use and the other products would not."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _conditions(device: torch.device, command: str) -> Conditions:
    return Conditions(
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        device=describe(device),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        commit=commit(),
        versions=versions() | package_versions(),
        command=command,
    )


def _say(result: GroupResult) -> None:
    for found in result.measurements:
        label = f"  {found.variant} (k={found.size.k})"
        if found.fault:
            print(f"{label:<44} {found.fault}")
            continue
        ratios = {name: result.ratio(found, name) for name in PASSES}
        words = [f"{name} {ratio.median:.2f} ({ratio.rounds} rounds)" for name, ratio in ratios.items() if ratio]
        print(f"{label:<44} {', '.join(words)}", flush=True)
