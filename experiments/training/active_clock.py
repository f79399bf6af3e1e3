"""The time that a process spends at work, without the time for which it was stopped."""

import contextlib
import threading
import time
from collections.abc import Iterator

LONGEST_GAP = 1.0
"""Seconds that may lie between two looks at the clock and still count in full; of a longer gap this much counts."""

BEAT = LONGEST_GAP / 10
"""Seconds between two looks."""


class ActiveClock:
    """Seconds since its start, not counting those in which the process was stopped.

    The rule: a thread looks at the system's clock every `BEAT` seconds. Where more than `LONGEST_GAP` lies between two
    looks, the process was stopped meanwhile (by Ctrl-Z, SIGSTOP, a frozen container or a machine put to sleep), and
    only `LONGEST_GAP` of it counts. Each stop is therefore too long by at most that. Time spent waiting for a busy
    processor counts, since a waiting thread is late by far less.

    Parameters
    ----------
    seconds : float
        Where to begin: the time that earlier processes have spent on the same run.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def seconds(self) -> float:
        """Seconds until now."""
        with self._lock:
            now = time.monotonic()
            self._seconds += min(now - self._looked, LONGEST_GAP)
            self._looked = now
            return self._seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Look at the clock while the block runs, in a thread of its own."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(BEAT):
                self.seconds()

        self.seconds()
        thread = threading.Thread(target=look, name="active clock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
