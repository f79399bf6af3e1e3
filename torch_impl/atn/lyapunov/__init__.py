"""Lyapunov exponents of recurrent layers: the mean rates at which small changes of their state grow or decay.

Vogt, Puelma Touzel, Shlizerman, Lajoie 2022, *On Lyapunov Exponents for RNNs*. The first exponent is the rate at which
a change of the state grows, and the rate of a gradient on its way back in time: above 0 it explodes, below 0 it
vanishes.

- `state_vector`: the state of a layer as one vector, in all coordinates or in a minimal set of them;
- `stepping`: the Jacobians of successive steps, by the backward pass of any backend;
- `growth`: exponents from Jacobians, by QR decompositions;
- `analysis`: both for a module of the library, on input.
"""

from atn.lyapunov.analysis import Spectrum, jacobians, spectrum
from atn.lyapunov.growth import exponents

__all__ = ["Spectrum", "exponents", "jacobians", "spectrum"]
