"""What a run shows while it runs: a bar on a terminal, now and then a line anywhere else."""

import sys
import time

from tqdm import tqdm

LINES = 10
"""Lines that a whole run prints where there is no terminal."""


class Progress:
    """Loss and speed of a run.

    Parameters
    ----------
    title : str
        The run, in short.
    done, steps : int
        Steps made before, and at the end.
    """

    def __init__(self, title: str, done: int, steps: int) -> None:
        self._title = title
        self._done = done
        self._steps = steps
        self._began = time.monotonic()
        self._printed = done * LINES // steps
        # disable=None: no bar where stderr is not a terminal.
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=None, dynamic_ncols=True)

    def update(self, step: int, loss: float) -> None:
        """Show that this step was made, with this training loss."""
        if self._bar.disable:
            self._print(step, loss)
        else:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self._bar.update(step - self._bar.n)

    def _print(self, step: int, loss: float) -> None:
        if step * LINES // self._steps == self._printed:
            return
        self._printed = step * LINES // self._steps
        speed = (step - self._done) / max(time.monotonic() - self._began, 1e-9)
        line = f"{self._title}: step {step}/{self._steps}, loss {loss:.4f}, {speed:.1f} steps/s"
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal to others."""
        self._bar.close()
