"""The command of a run of a second or less."""

from pathlib import Path
from typing import Any

STEPS = 12


def tiny_run(runs: Path, *more: str, **changes: Any) -> list[str]:
    """Arguments of a run of the copying problem without a stamp.

    Parameters
    ----------
    runs : Path
        Folder of the runs' folders.
    *more : str
        Further arguments.
    **changes
        Options that replace or follow those of the run: ``steps=3``, ``checkpoint_seconds=0``.
    """
    options = {"preset": "smoke", "model": "atn", "T": 2, "batch": 4, "hidden": 6, "k": 3}
    options |= {"steps": STEPS, "validate-every": 5, "runs": runs} | changes
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return ["copying", *flags, "--unverified", *more]
