"""The study of message propagation through time."""
