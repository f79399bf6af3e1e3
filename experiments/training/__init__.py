"""Training, for any task: settings, the loop, checkpoints, records, and several processes."""
