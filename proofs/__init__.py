"""What the paper claims: proved, corrected or refuted, with SymPy and exact numbers.

Reading order: `evidence` (what a proof returns), `sums` (sums over a window of symbolic size), then a module for each
subject: `window`, `proposition1`, `recurrence`, `scaling`, `gradients`, `sign`, `control`, `normalizers` with
`table_b1`, and `networks`; of two other papers `norm_prop` and `detach`. `index` ties each proof to the claims of
`papers`, which `claims` reads; `python -m proofs` runs them all. What is wrong in a paper, or left out, is collected in
`ERRATA.md` and `ERRATA_NORM_PROP.md`.

Letters: n units, k steps in the window (K_t of them in the warm-up), j the lag behind the current step, s and i units;
`a[j, s]` is the paper's a_s^(t-j).
"""
