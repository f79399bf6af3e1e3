"""Loads the claims plugin, which ties tests to `proofs/claims.toml`."""

pytest_plugins = ["tests.verification.claims_plugin"]
