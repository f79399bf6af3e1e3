"""What the norms share whose statistics are of one case, over a window of steps."""

from abc import abstractmethod
from dataclasses import dataclass

from atn.backend.interface import DetachedSettings, NormSettings
from atn.choices import Statistic
from atn.norms.interface import RecurrentNorm


@dataclass(frozen=True)
class CaseStatistics(RecurrentNorm):
    """Statistics over the features of a case, of which `detach` leaves some out of the gradient."""

    detach: tuple[Statistic, ...]

    @property
    @abstractmethod
    def window(self) -> int:
        """Number of steps that a window spans."""

    @property
    def eager_only(self) -> str | None:
        """Statistics without their gradients, which no kernel leaves out."""
        return f"detach={self.detach!r}" if self.detach else None

    def settings(self) -> NormSettings | DetachedSettings:
        """Window, epsilon and the place of the biases."""
        if self.detach:
            return DetachedSettings(self.window, self.eps, self.bias_placement, self.detach)
        return NormSettings(self.window, self.eps, self.bias_placement)
