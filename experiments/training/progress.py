"""Progress of a run: a bar on a terminal, occasional lines elsewhere, both with the remaining time."""

import time

from tqdm import tqdm

from experiments.training import distributed

LINES = 10
"""Number of lines that a whole run prints at least if stderr is not a terminal."""

LINE_SECONDS = 180.0
"""Seconds after which another line is due, so that a slow run is seen to go on."""


class Progress:
    """Loss and speed of a run.

    Parameters
    ----------
    title : str
        Short name of the run.
    done, steps : int
        Number of steps made before, and in all.
    """

    def __init__(self, title: str, done: int, steps: int) -> None:
        self._title = title
        self._done = done
        self._steps = steps
        self._began = time.monotonic()
        self._printed = done * LINES // steps
        self._printed_at = self._began
        # None: no bar where stderr is not a terminal.
        disable = None if distributed.is_main_process() else True
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=disable, dynamic_ncols=True)

    def update(self, step: int, loss: float) -> None:
        """Show that this step was made, with this training loss."""
        if self._bar.disable:
            self._print(step, loss)
        else:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self._bar.update(step - self._bar.n)

    def _print(self, step: int, loss: float) -> None:
        now = time.monotonic()
        part = step * LINES // self._steps
        if part == self._printed and now - self._printed_at < LINE_SECONDS:
            return
        self._printed, self._printed_at = part, now
        seconds = max(now - self._began, 1e-9) / (step - self._done)
        left = tqdm.format_interval(round((self._steps - step) * seconds))
        distributed.log(f"{self._title}: step {step}/{self._steps}, loss {loss:.4f}, {_speed(seconds)}, {left} left")

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()


def _speed(seconds: float) -> str:
    """Speed of steps that take this many seconds each: ``10.0 steps/s``, or ``25.0 s/step`` below one step a second."""
    return f"{1 / seconds:.1f} steps/s" if seconds <= 1 else f"{seconds:.1f} s/step"
