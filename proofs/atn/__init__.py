"""Proofs of the ATN paper's claims, one module for each subject.

Reading order: `window` (Eqs. (7)-(9)), `proposition1`, `recurrence` (its correction), `scaling` (Eq. (10)),
`gradients`, `sign`, `control`, `exploding`, `normalizers` with `table_b1` (appendix B), and `networks` (Eqs. (14) to
(16)).
"""
