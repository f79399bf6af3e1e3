"""Layer normalization, Eqs. (5)-(6)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from atn.backend.interface import NormSettings
from atn.norms.interface import LayerNorm, NormArguments, affine_gains
from atn.state import StreamOrigin
from atn.validation import epsilon


@dataclass(frozen=True)
class LayerNormalization(LayerNorm):
    """Statistics of each step alone: assorted-time normalization with k = 1."""

    takes: ClassVar[frozenset[str]] = frozenset({"eps", "affine", "bias_placement", "gamma"})

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings without a window."""
        return cls(
            k=None,
            eps=epsilon(arguments.eps),
            affine=arguments.affine,
            bias_placement=arguments.bias_placement,
            gamma=affine_gains(arguments),
        )

    @property
    def window(self) -> int:
        """One step."""
        return 1

    def settings(self) -> NormSettings:
        """A window of one step."""
        return NormSettings(1, self.eps, self.bias_placement)

    def origin(self) -> StreamOrigin:
        """The norm; a state holds no statistics of it."""
        return StreamOrigin("ln", None, self.eps, self.bias_placement)
