"""HIPPO (Kim, Zhou and Chen 2020): clustering of cells by the zeros in their counts. Imports nothing of the project."""
