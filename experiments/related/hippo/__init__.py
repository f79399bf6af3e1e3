"""HIPPO (Kim, Zhou and Chen 2020): clustering of cells by the zeros in their counts.

All but `zero_share`, the study, import nothing of the project.
"""
