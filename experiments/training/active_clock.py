"""A clock of the time that a process runs, without the time for which it is stopped."""

import contextlib
import threading
import time
from collections.abc import Iterator

LONGEST_GAP = 1.0
"""Longest gap in seconds between two readings of the clock that counts in full; of a longer gap this much counts."""

BEAT = LONGEST_GAP / 10
"""Seconds between two readings."""


class ActiveClock:
    """Seconds since its start, not counting those in which the process was stopped.

    A thread reads the system's clock every `BEAT` seconds. If more than `LONGEST_GAP` lies between two readings, the
    process was stopped in between (by Ctrl-Z, SIGSTOP, a frozen container or a sleeping machine), and only
    `LONGEST_GAP` of the time counts. Each stop therefore adds at most `LONGEST_GAP`. Time spent waiting for a busy
    processor counts in full, since it delays a reading by far less.

    Parameters
    ----------
    seconds : float
        Initial value: the time that earlier processes have spent on the same run.
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
        """Read the clock in a separate thread while the block runs."""
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
