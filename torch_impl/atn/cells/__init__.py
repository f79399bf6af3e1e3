"""The cells, one file each, and the short way through one."""
