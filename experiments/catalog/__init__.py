"""Every task by name, those of the paper and of other systems, and the declared grids of their settings."""
