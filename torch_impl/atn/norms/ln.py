"""Layer normalization, Eqs. (5)-(6)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from atn.norms.case_statistics import CaseStatistics
from atn.norms.interface import NormArguments, affine_gammas, checked_detach
from atn.state import StreamOrigin
from atn.validation import epsilon


@dataclass(frozen=True)
class LayerNormalization(CaseStatistics):
    """Statistics of each step alone: assorted-time normalization with k = 1."""

    takes: ClassVar[frozenset[str]] = frozenset({"eps", "affine", "bias_placement", "gamma", "detach"})

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings without a window."""
        return cls(
            k=None,
            eps=epsilon(arguments.eps),
            affine=arguments.affine,
            bias_placement=arguments.bias_placement,
            gamma=affine_gammas(arguments),
            detach=checked_detach(arguments.detach),
        )

    @property
    def window(self) -> int:
        """One step."""
        return 1

    def origin(self) -> StreamOrigin:
        """The norm; a state holds no statistics of it."""
        return StreamOrigin("ln", None, self.eps, self.bias_placement)
