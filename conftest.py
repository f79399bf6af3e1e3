"""Loads the plugins of the test suite: claims of `proofs/papers`, and which tests this machine can run."""

pytest_plugins = ["tests.verification.claims_plugin", "tests.verification.selection"]
