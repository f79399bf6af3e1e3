"""The norms by name."""

from typing import get_args

from atn.choices import Norm
from atn.norms.atn import AssortedTime
from atn.norms.interface import LayerNorm, NormArguments
from atn.norms.ln import LayerNormalization
from atn.norms.none import NoNorm
from atn.validation import check_choice

_NORMS: dict[Norm, type[LayerNorm]] = {"atn": AssortedTime, "ln": LayerNormalization, "none": NoNorm}


def checked_norm(name: Norm, arguments: NormArguments) -> LayerNorm:
    """Settings of the norm `name`; a TypeError or ValueError names the argument that is wrong."""
    check_choice("norm", name, get_args(Norm))
    return _NORMS[name].checked(arguments)
