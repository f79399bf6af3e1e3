"""The ends of a command that are not success, each with its exit status."""

from typing import ClassVar


class ExperimentError(Exception):
    """Something that the user has to know in one line: a damaged record, a full disk, a loss that is not finite."""

    exit_status: ClassVar[int] = 1


class UsageError(ExperimentError):
    """A command that cannot be understood: unknown task, model or setting."""

    exit_status: ClassVar[int] = 2


class GateError(ExperimentError):
    """No stamp says that these sources have passed their checks."""

    exit_status: ClassVar[int] = 3


INTERRUPTED: int = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""
