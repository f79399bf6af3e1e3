"""What experiments and benchmarks share: files, the environment, errors, the command line, memory."""
