"""Message propagation through time, MPTT (Xu and others 2023): states passed between the windows of a series.

What the errata name in the released code is in `proofs/ERRATA_MPTT.md`.
"""
