"""Proofs, corrections and refutations of the papers' claims, with SymPy and exact numbers.

Each paper has a file of claims in `papers`, and its proofs in a folder or a module of the same name: `atn`, `ada_norm`,
`norm_prop`. Reading order: `evidence` (what a proof returns), `sums` (sums over a window of symbolic size), then the
paper's own. `index` ties each proof to the claims of `papers`, which `claims` reads; `python -m proofs` runs them all.
`ERRATA.md` and `ERRATA_NORM_PROP.md` list the errors and omissions of the papers.

Letters: n units, k steps in the window (K_t of them in the warm-up), j the lag behind the current step, s and i units;
`a[j, s]` is the paper's a_s^(t-j).
"""
