"""The benchmarks and the measurement of accuracy."""
