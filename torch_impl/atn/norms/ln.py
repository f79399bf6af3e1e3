"""Layer normalization, Eqs. (5)-(6)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from atn.backend.interface import DetachedSettings, NormSettings
from atn.choices import Statistic
from atn.norms.interface import NormArguments, RecurrentNorm, affine_gammas, checked_detach
from atn.state import StreamOrigin
from atn.validation import epsilon


@dataclass(frozen=True)
class LayerNormalization(RecurrentNorm):
    """Statistics of each step alone: assorted-time normalization with k = 1."""

    takes: ClassVar[frozenset[str]] = frozenset({"eps", "affine", "bias_placement", "gamma", "detach"})

    detach: tuple[Statistic, ...]

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
    def eager_only(self) -> str | None:
        """Statistics without their gradients, which no kernel leaves out."""
        return f"detach={self.detach!r}" if self.detach else None

    @property
    def window(self) -> int:
        """One step."""
        return 1

    def settings(self) -> NormSettings | DetachedSettings:
        """A window of one step."""
        if self.detach:
            return DetachedSettings(1, self.eps, self.bias_placement, self.detach)
        return NormSettings(1, self.eps, self.bias_placement)

    def origin(self) -> StreamOrigin:
        """The norm; a state holds no statistics of it."""
        return StreamOrigin("ln", None, self.eps, self.bias_placement)
