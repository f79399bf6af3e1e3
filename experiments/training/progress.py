"""Progress of a run: a bar on a terminal, occasional lines elsewhere, both with the remaining time."""

import time

from tqdm import tqdm

from experiments.training import distributed

LINES = 10
"""Number of lines that a whole run prints if stderr is not a terminal."""


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
        if step * LINES // self._steps == self._printed:
            return
        self._printed = step * LINES // self._steps
        speed = (step - self._done) / max(time.monotonic() - self._began, 1e-9)
        left = tqdm.format_interval(round((self._steps - step) / speed))
        distributed.log(f"{self._title}: step {step}/{self._steps}, loss {loss:.4f}, {speed:.1f} steps/s, {left} left")

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()
