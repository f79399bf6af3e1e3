"""Loads the plugins of the test suite: claims of `proofs/papers`, and which tests this machine can run.

With `ATN_ANNOTATIONS=1` the annotations of the oracle and the library are executed; see `tests.support.annotations`.
"""

import os

from tests.support import annotations

pytest_plugins = ["tests.verification.claims_plugin", "tests.verification.selection"]

EXECUTE = os.environ.get("ATN_ANNOTATIONS", "0") == "1"
if EXECUTE:  # before the first test is imported, and with it what it tests
    annotations.install(*annotations.modules())


def pytest_collection_finish() -> None:
    """Execute the annotations of named tuples too, once the tests have imported what they test."""
    if EXECUTE:
        annotations.execute_fields(*annotations.PACKAGES)
        annotations.assert_in_force()
