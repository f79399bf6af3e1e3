"""The largest errors that the running test has seen, by backend, dtype and quantity."""

from typing import NamedTuple


class ErrorKey(NamedTuple):
    """What an error was measured on."""

    backend: str
    dtype: str
    quantity: str


_errors: dict[ErrorKey, float] = {}


def record_error(key: ErrorKey, error: float) -> None:
    """Keep `error` if it is the largest that this test has seen for `key`."""
    _errors[key] = max(error, _errors.get(key, 0.0))


def take_errors() -> dict[ErrorKey, float]:
    """Return what was recorded since the last call, and forget it."""
    taken = dict(_errors)
    _errors.clear()
    return taken
