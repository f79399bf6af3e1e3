"""From markers to the matrix: what ties tests to claims, the long random run, and the import rules."""
