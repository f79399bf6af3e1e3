"""Tests of `experiments.catalog`."""
