"""What computes a layer and a norm: the interface, the backends, and the registry that finds one by name."""
