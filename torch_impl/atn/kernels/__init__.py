"""Triton kernels of the GPU backend: `forward` and `backward`, on what they share in `rows`; launched by `launch`."""
