"""The proofs, their registry of claims, and the errata."""
