"""The norms by name."""

from atn.choices import Norm
from atn.norms.ada import AdaNorm
from atn.norms.atn import AssortedTime
from atn.norms.bn import BatchStatistics
from atn.norms.interface import REFUSALS, SITES, NormArguments, RecurrentNorm, gamma_of_sites
from atn.norms.ln import LayerNormalization
from atn.norms.none import NoNorm
from atn.norms.prop import NormProp
from atn.norms.wn import WeightNormalization
from atn.validation import check_choice, is_default

NORMS: dict[Norm, type[RecurrentNorm]] = {
    "atn": AssortedTime,
    "ln": LayerNormalization,
    "bn": BatchStatistics,
    "ada": AdaNorm,
    "prop": NormProp,
    "wn": WeightNormalization,
    "none": NoNorm,
}


def checked_norm(name: Norm, arguments: NormArguments, sites: tuple[str, ...] = SITES) -> RecurrentNorm:
    """Settings of the norm `name` for a cell with these of `SITES`; a TypeError or ValueError names what is wrong."""
    check_choice("norm", name, [choice for choice, norm in NORMS.items() if norm.needs.issubset(sites)])
    norm, default = NORMS[name], NormArguments()
    for argument, value in arguments._asdict().items():
        if argument not in norm.takes and not is_default(value, getattr(default, argument)):
            raise ValueError(
                f"{argument} must be left out for norm={name!r}, which {REFUSALS[argument]}, got {value!r}"
            )
    return norm.checked(arguments._replace(gamma=gamma_of_sites(arguments.gamma, sites)))
