"""The backend for the GPU: Triton kernels and their launches.

The kernels are in `forward` and `backward`, the functions that both use in `rows`. `launch` has the operators of a
layer, `norm` those of a norm, `loops` the time loops and `cuda_graphs` their recording. `checks` checks the arguments,
`blocks` chooses the block sizes, and `long_windows` replaces a kernel for windows longer than a block.
"""
