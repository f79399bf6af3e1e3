"""Wrong calls of the library: each gets an error that names the argument, what it was and what it must be."""
