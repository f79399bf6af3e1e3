"""What stands on top of a recurrent layer: maps of its output to the output of a network."""

from atn.readout.normalized_linear import NormalizedLinear
from atn.readout.per_step import PerStepReadout

__all__ = ["NormalizedLinear", "PerStepReadout"]
