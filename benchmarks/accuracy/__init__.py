"""Accuracy against 50 digits: the measurement, its high-precision reference and its report."""
