"""Code shared by experiments and benchmarks: files, the environment, errors, the command line, memory."""
