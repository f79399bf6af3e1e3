"""Assorted-time normalization, Eqs. (7)-(9): here on layer normalization; on batch normalization it is in `bn`."""

from dataclasses import dataclass
from typing import ClassVar, get_args

from atn.choices import Base
from atn.norms.bn import BatchStatistics
from atn.norms.case_statistics import CaseStatistics
from atn.norms.interface import NormArguments, RecurrentNorm, affine_gammas, checked_detach
from atn.population import check_no_momentum, population_steps
from atn.state import StreamOrigin
from atn.validation import check_choice, epsilon, whole_number


@dataclass(frozen=True)
class AssortedTime(CaseStatistics):
    """Statistics over the last k steps of a case."""

    takes: ClassVar[frozenset[str]] = frozenset(
        {"k", "eps", "affine", "bias_placement", "gamma", "detach", "base", "max_steps", "momentum"}
    )

    k: int

    @classmethod
    def checked(cls, arguments: NormArguments) -> RecurrentNorm:
        """Settings with a window; for base "batch" those of ATN-BN."""
        if arguments.k is None:
            raise ValueError("k must be an integer of at least 1 for norm='atn', got None")
        k = whole_number("k", arguments.k)
        check_choice("base", arguments.base, get_args(Base))
        if arguments.base == "batch":
            if checked_detach(arguments.detach):
                raise ValueError(f"detach must be left out for base='batch', got {arguments.detach!r}")
            return BatchStatistics.of(arguments, "base='batch'", k, k)
        population_steps(arguments.base, arguments.max_steps, f"base={arguments.base!r}")
        check_no_momentum(arguments.base, arguments.momentum)
        return cls(
            k=k,
            eps=epsilon(arguments.eps),
            affine=arguments.affine,
            bias_placement=arguments.bias_placement,
            gamma=affine_gammas(arguments),
            detach=checked_detach(arguments.detach),
        )

    @property
    def window(self) -> int:
        """The k that was chosen."""
        return self.k

    def origin(self) -> StreamOrigin:
        """All that the statistics in a state depend on."""
        return StreamOrigin("atn", self.k, self.eps, self.bias_placement)
