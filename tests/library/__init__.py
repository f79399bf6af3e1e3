"""The library against the oracle, against torch, and against what it promises."""
