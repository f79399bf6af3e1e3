"""The alternatives to `atn.ATNLSTM` that are measured, as modules x (T, B, I) -> output (T, B, H).

- `plain`: loops in Python, and `torch.nn.LSTM`;
- `compiled`: a step compiled by `torch.compile`, in such a loop;
- `jax_scan`: the same networks as a jitted `jax.lax.scan`;
- `peephole`: the LSTM of the package torchrecurrent.

JAX and torchrecurrent are optional (dependency group `peers`): only `jax_scan` and `peephole` import them, and
`benchmarks.variants` imports these two when their variants are built.
"""
