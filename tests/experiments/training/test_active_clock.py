"""The time of a run leaves out what the process was stopped for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.training.active_clock import LONGEST_GAP, ActiveClock

STOPPED = 4.0
"""Seconds for which the process is stopped, several times `LONGEST_GAP`."""


def work() -> None:
    """Run the clock until a line arrives; print the clock's seconds and the system's."""
    clock, began = ActiveClock(), time.monotonic()
    with clock.running():
        print("ready", flush=True)
        sys.stdin.readline()
        print(clock.seconds(), time.monotonic() - began, flush=True)


def test_the_time_of_a_stopped_process_does_not_count() -> None:
    program = [sys.executable, "-m", "tests.experiments.training.test_active_clock"]
    with subprocess.Popen(  # noqa: S603 - this very module
        program, cwd=Path(__file__).parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(STOPPED)
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        active, elapsed = map(float, process.stdout.readline().split())
    assert elapsed >= STOPPED
    assert active <= elapsed - STOPPED + LONGEST_GAP


def test_time_at_work_counts_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that are at most `LONGEST_GAP` apart lose nothing, and the time of earlier processes is kept."""
    moments = iter([10.0, 10.5, 11.5, 11.5, 12.0])
    monkeypatch.setattr("experiments.training.active_clock.time.monotonic", lambda: next(moments))
    clock = ActiveClock(100.0)
    assert [clock.seconds() for _ in range(4)] == [100.5, 101.5, 101.5, 102.0]


def test_the_clock_is_looked_at_while_a_step_runs() -> None:
    """One step longer than `LONGEST_GAP` counts in full, since the thread looks meanwhile."""
    clock = ActiveClock()
    began = time.monotonic()
    with clock.running():
        time.sleep(2.5 * LONGEST_GAP)
    assert clock.seconds() == pytest.approx(time.monotonic() - began, abs=0.3 * LONGEST_GAP)


if __name__ == "__main__":
    work()
