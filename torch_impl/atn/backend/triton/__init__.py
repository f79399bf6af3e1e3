"""The backend for the GPU: Triton kernels (`forward`, `backward`, on what they share in `rows`) and their launches.

`launch` has the operators of a layer, `norm` those of a norm, `loops` the time loops, `checks` what the arguments must
be, `blocks` how much a program holds, `long_windows` what replaces a kernel where windows are longer than that.
"""
