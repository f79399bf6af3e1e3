"""The models that tasks train."""
