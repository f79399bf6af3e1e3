"""Random calls of the compiled operators under sanitizers."""
