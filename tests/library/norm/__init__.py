"""Tests of the norm alone: `AssortedTimeNorm` and its function."""
