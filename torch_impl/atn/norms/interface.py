"""What a recurrent layer needs to know about its norm: settings that are checked once, and the questions put to them.

A norm is a subclass of `RecurrentNorm`. Adding one is a file here, a name in `atn.choices` and in `registry`, and the
backends that compute it, if it is none that a plain cell with other weights computes.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, NamedTuple, TypedDict, get_args

import torch
from torch import Tensor, nn

from atn.backend.cell import Cell, CellOutput, Layer
from atn.backend.interface import Settings
from atn.choices import Base, BiasPlacement, Statistic, Variance
from atn.norms.gain_shift import GainShift
from atn.population import MOMENTUM
from atn.state import StreamOrigin
from atn.validation import check_epsilon_in, number

SITES = ("norm_ih", "norm_hh", "norm_c")
"""The places of a layer where a norm may stand, around W_ih x, W_hh h and the cell; a cell need not have all."""


class NormOptions(TypedDict, total=False):
    """Arguments of a module that some norms alone have, as keywords."""

    gamma: float | tuple[float, ...] | None
    variance: Variance | tuple[float, float]
    detach: tuple[Statistic, ...]
    base: Base
    max_steps: int | None
    momentum: float | None
    scale: float
    slope: float


class NormArguments(NamedTuple):
    """What a user may choose about a norm; each norm refuses what it does not have."""

    k: int | None = None
    eps: float = 1e-5
    affine: bool = True
    bias_placement: BiasPlacement = "outside"
    gamma: float | tuple[float, ...] | None = None
    variance: Variance | tuple[float, float] = "literal"
    detach: tuple[Statistic, ...] = ()
    base: Base = "layer"
    max_steps: int | None = None
    momentum: float | None = MOMENTUM
    scale: float = 1.0
    slope: float = 0.1


REFUSALS = {
    "k": "has no window to choose",
    "eps": "divides by no variance of the data",
    "affine": "has gains and shifts, or has none, by definition",
    "bias_placement": "has the biases outside by definition",
    "gamma": "has no gains that start at a number",
    "variance": "has no such constants",
    "detach": "has no statistics of a case whose gradient could be left out",
    "base": "is defined for one base alone",
    "max_steps": "has no population statistics",
    "momentum": "has no population statistics",
    "scale": "has no such factor",
    "slope": "has no such factor",
}
"""Argument -> what a norm without it is like."""


def gamma_of_sites(value: Any, sites: tuple[str, ...]) -> Any:
    """Starts of the gains at those of `SITES` that a cell has, in full: 1 where there is none."""
    if value is None or isinstance(value, Real):
        return value
    if not isinstance(value, tuple | list) or len(value) != len(sites):
        raise TypeError(f"gamma must be a number or one for each of {', '.join(sites)}, got {value!r}")
    return (*value, *(1.0 for _ in SITES[len(sites) :]))


def checked_gammas(value: Any) -> tuple[float, float, float]:
    """Starts of the gains at `SITES`, from one number for all or what `gamma_of_sites` returns."""
    values = (value,) * len(SITES) if isinstance(value, Real) else value
    return tuple(number("gamma", gamma) for gamma in values)  # type: ignore[return-value]  # one for each of SITES


def affine_gammas(arguments: NormArguments) -> tuple[float, float, float]:
    """Starts of the gains of a norm that may do without: 1 unless they are chosen."""
    if arguments.gamma is None:
        return 1.0, 1.0, 1.0
    if not arguments.affine:
        raise ValueError(f"gamma must be left out for affine=False, got {arguments.gamma!r}")
    return checked_gammas(arguments.gamma)


def checked_detach(detach: object) -> tuple[Statistic, ...]:
    """Names of statistics, each at most once."""
    names = get_args(Statistic)
    if not isinstance(detach, tuple | list):
        raise TypeError(f"detach must be a tuple of {', '.join(map(repr, names))}, got {detach!r}")
    if any(name not in names for name in detach) or len(set(detach)) < len(detach):
        raise ValueError(f"detach must have {' and '.join(map(repr, names))} at most once each, got {detach!r}")
    return tuple(detach)


@dataclass(frozen=True)
class RecurrentNorm(ABC):
    """Settings of one norm.

    Attributes
    ----------
    k
        Length of the window where the user chooses it.
    eps
        Added to each variance under the root.
    affine
        Whether each site has a gain and a shift.
    bias_placement
        Where the biases stand.
    gamma
        Starts of the gains at `SITES`.
    """

    takes: ClassVar[frozenset[str]]
    """Names of the `NormArguments` that the norm has."""
    couples_cases: ClassVar[bool] = False
    """Whether a case's output depends on the others of its batch, so that all must have the same steps."""
    by_direction: ClassVar[bool] = False
    """Whether the rows of the weights count by their direction alone, whatever their lengths."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Those of `SITES` without which there is no such norm."""

    k: int | None
    eps: float
    affine: bool
    bias_placement: BiasPlacement
    gamma: tuple[float, float, float]

    @classmethod
    @abstractmethod
    def checked(cls, arguments: NormArguments) -> "RecurrentNorm":
        """Settings from what the user chose; a TypeError or ValueError names what is wrong."""

    @property
    def window(self) -> int | None:
        """Number of steps that a window spans, whose statistics a stream carries; None without windows."""
        return None

    @property
    def eager_only(self) -> str | None:
        """How an error calls what not every backend computes; None for what all do."""
        return None

    @property
    def is_plain(self) -> bool:
        """Whether a layer runs by `settings` alone, with its weights as they are."""
        return type(self).folded is RecurrentNorm.folded and type(self).run is RecurrentNorm.run

    def settings(self) -> Settings | None:
        """What a backend needs; None for a plain layer."""
        return None

    def check_range_in(self, dtype: torch.dtype | None) -> None:
        """Check that no number of the norm overflows, or is rounded to 0, where data of `dtype` are computed.

        None is torch's default dtype.
        """
        check_epsilon_in(self.eps, dtype)

    @abstractmethod
    def origin(self) -> StreamOrigin:
        """What a stream's state says about the norm that its windows are of."""

    # ------------------------------------------------------------------------------------------------- parameters

    def site(
        self, name: str, features: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> nn.Module | None:
        """Module with the parameters of the norm at one of `SITES`, over so many features; None for none."""
        return GainShift(features, self.gamma[SITES.index(name)], device, dtype) if self.affine else None

    def filled(self, name: str, values: Tensor) -> None:
        """Change the first values of the parameter `name` of a layer, in place, where the norm wants them otherwise."""
        del name, values

    def start(self, site: nn.Module, weight: Tensor | None) -> None:
        """Start the parameters of a site; `weight` is the matrix in front of it, None for the cell."""
        del weight
        site.reset_parameters()  # type: ignore[operator]  # a module of `site`

    def gain_of(self, name: str, weight: Tensor) -> dict[str, Tensor]:
        """The gain `name` for a weight that is loaded without one, if it follows from the weight; else nothing."""
        del name, weight
        return {}

    # ---------------------------------------------------------------------------------------------------- running

    def check(self, layer: Layer, data: Tensor) -> None:
        """Check what is the norm's own in a layer; called for every layer before the first one runs on `data`."""
        del layer, data

    def folded(self, layer: Layer) -> Layer:
        """The layer with everything computed that does not depend on time, once a sequence."""
        return layer

    def run(
        self,
        cell: Cell,
        x: Tensor,
        layer: Layer,
        states: tuple[Tensor, ...],
        memory: Any,
    ) -> CellOutput:
        """Run a folded layer in one direction."""
        return cell.run(x, layer.weights, states, memory, self.settings())
