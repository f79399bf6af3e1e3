"""The norms by name."""

from typing import get_args

from atn.choices import Norm
from atn.norms.atn import AssortedTime
from atn.norms.interface import REFUSALS, LayerNorm, NormArguments
from atn.norms.ln import LayerNormalization
from atn.norms.none import NoNorm
from atn.norms.prop import NormProp
from atn.norms.wn import WeightNormalization
from atn.validation import check_choice

NORMS: dict[Norm, type[LayerNorm]] = {
    "atn": AssortedTime,
    "ln": LayerNormalization,
    "prop": NormProp,
    "wn": WeightNormalization,
    "none": NoNorm,
}


def checked_norm(name: Norm, arguments: NormArguments) -> LayerNorm:
    """Settings of the norm `name`; a TypeError or ValueError names the argument that is wrong."""
    check_choice("norm", name, get_args(Norm))
    norm, default = NORMS[name], NormArguments()
    for argument, value in arguments._asdict().items():
        if argument not in norm.takes and value != getattr(default, argument):
            raise ValueError(
                f"{argument} must be left out for norm={name!r}, which {REFUSALS[argument]}, got {value!r}"
            )
    return norm.checked(arguments)
