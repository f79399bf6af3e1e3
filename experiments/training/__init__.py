"""What trains any task: settings, the loop, checkpoints, records, several processes."""
