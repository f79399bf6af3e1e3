"""Lists of seeds: ``0..4`` or ``0,3,5``."""

import re

from experiments.common.errors import UsageError
from experiments.training.settings import LARGEST_SEED

MOST = 10_000
"""Largest number of seeds in one command."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds of a list of numbers and ranges, both of whose ends belong to them, each seed once, in the order given.

    Raises
    ------
    UsageError
        If `text` is not such a list, a seed is too large, or there are more than `MOST` seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", part.strip(), re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise UsageError(f"--seeds {text}: {part.strip()!r} is neither a seed nor a range such as 0..4")
        if last > LARGEST_SEED:
            raise UsageError(f"--seeds {text}: {last} is too large; a seed is at most {LARGEST_SEED}")
        if last - first >= MOST - len(seeds):
            raise UsageError(f"--seeds {text}: more than {MOST:,} seeds")
        seeds.extend(range(first, last + 1))
    return tuple(dict.fromkeys(seeds))
