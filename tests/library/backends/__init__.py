"""Tests of what computes: every backend against the oracle, and each for itself."""
