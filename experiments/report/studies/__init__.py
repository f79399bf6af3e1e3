"""What the report says of each task."""
