"""The systems beside the paper: definitions, exact facts, and experiments."""
