"""Tests of `experiments.tasks`."""
