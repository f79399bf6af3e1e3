"""Errors that end a command, each with its exit status."""

from typing import ClassVar


class ExperimentError(Exception):
    """An error reported to the user in one line: a damaged record, a full disk, a loss that is not finite."""

    exit_status: ClassVar[int] = 1


class UsageError(ExperimentError):
    """An invalid command: an unknown task, model or setting."""

    exit_status: ClassVar[int] = 2


class StampError(ExperimentError):
    """There is no stamp for the current sources, that is, they have not passed their checks."""

    exit_status: ClassVar[int] = 3


INTERRUPTED: int = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""
