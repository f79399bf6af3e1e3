"""Property tests: the only place that sees the oracle, the library, the proofs and the experiments together."""
