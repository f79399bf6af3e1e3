"""The cells, one file each."""
