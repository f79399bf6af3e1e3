"""The backend for the GPU: Triton kernels, `forward` and `backward` on what they share in `rows`, and their launch."""
