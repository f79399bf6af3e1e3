"""Normalization Propagation in an LSTM (Laurent, Ballas, Vincent, *Recurrent Normalization Propagation*, 2017).

"NP (13)" is Eq. (13) of that paper. With What the rows of W over their lengths, and two constants:

    gates = gamma_ih * (What_ih x) + gamma_hh * (What_hh h) + b           NP (13)
    c     = sigmoid(f) * c + sigmoid(i) * tanh(g)                         NP (14)
    h     = sigmoid(o) * tanh(gamma_c * c / sqrt(Var c)) / sqrt(Var h)    NP (15)

Nothing depends on time or on other cases. With h' = sqrt(Var h) * h for the state it is a plain LSTM whose weights are
computed once a sequence and whose cell has a gain on its way into h. What enters and leaves a layer is h, not h'.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.cell import Cell, CellOutput, Layer
from atn.backend.interface import Affine
from atn.choices import Variance
from atn.norms.gain_shift import Gain
from atn.norms.interface import SITES, NormArguments, RecurrentNorm, checked_gammas
from atn.norms.rows import to_unit_rows, with_folded_rows
from atn.precision import state_dtype
from atn.state import StreamOrigin
from atn.validation import check_choice, check_parameter, check_range_of, number

GAINS = (2.0, 2.0, 1.0)
"""Starts of gamma_ih, gamma_hh and gamma_c in the paper's language model; its other experiment has 0.5 for each."""


class Constants(NamedTuple):
    """The variances that NP (15) divides by."""

    var_c: float
    var_h: float


def constants_of(gamma: tuple[float, float, float], variance: Variance) -> Constants:
    """Var c and Var h of NP (8)-(12) for gains that all units share, with biases 0.

    With z ~ N(0, 1), V(u) = E tanh(u z)^2 and u the deviation of a preactivation,

        Var c = V(u) (1 + v) / (3 - v),    Var h = V(gamma_c) (1 + v) / 4,    v = V(u / 2)

    where u is gamma_ih + gamma_hh by NP (9)-(10), "literal", and the root of gamma_ih^2 + gamma_hh^2 by NP (22)-(23),
    "independent".
    """
    gamma_ih, gamma_hh, gamma_c = gamma
    u = gamma_ih + gamma_hh if variance == "literal" else math.hypot(gamma_ih, gamma_hh)
    v = tanh_second_moment(u / 2)
    return Constants(var_c=tanh_second_moment(u) * (1 + v) / (3 - v), var_h=tanh_second_moment(gamma_c) * (1 + v) / 4)


def tanh_second_moment(u: float) -> float:
    """V(u), by the trapezoidal rule with 400 intervals, which are exact to rounding.

    Up to u = 4 on [-12, 12]: the poles of tanh(u z) lie pi/(2u) beside the real line, and the nearer they are, the more
    intervals it takes. Beyond, V(u) = 1 - E sech(u z)^2 with y = u z on [-20, 20], where they lie pi/2 beside it.
    """
    if u <= 4:
        points = (-12 + 24 * i / 400 for i in range(401))
        terms = (math.exp(-z * z / 2) * math.tanh(u * z) ** 2 for z in points)
        return math.fsum(terms) * 24 / 400 / math.sqrt(2 * math.pi)
    points = (-20 + 40 * i / 400 for i in range(401))
    terms = (math.exp(-((y / u) ** 2) / 2) / math.cosh(y) ** 2 for y in points)
    return 1 - math.fsum(terms) * 40 / 400 / u / math.sqrt(2 * math.pi)


class CellGain(Gain):
    """Gain gamma_c of the cell, and the constants `var_c` and `var_h`, (), which are saved and not trained.

    They are in float32 at least, and rounded to a half type only where a module that is made is cast to it.
    """

    var_c: Float[Tensor, ""]
    var_h: Float[Tensor, ""]

    def __init__(
        self,
        num_features: int,
        start: float,
        constants: Constants,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__(num_features, start, device, dtype)
        self.constants = constants
        for name, value in constants._asdict().items():
            check_range_of(f"{name}, by gamma and variance,", value, state_dtype(self.weight.dtype), positive=True)
            self.register_buffer(name, torch.tensor(value, device=device, dtype=state_dtype(self.weight.dtype)))

    def reset_parameters(self) -> None:
        """Set the gain to its start, and the constants to those of the starts."""
        super().reset_parameters()
        self.var_c.fill_(self.constants.var_c)
        self.var_h.fill_(self.constants.var_h)


@dataclass(frozen=True)
class NormProp(RecurrentNorm):
    """Gains, and the constants that follow from their starts or are given."""

    takes: ClassVar[frozenset[str]] = frozenset({"gamma", "variance"})
    by_direction: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"norm_c"})

    constants: Constants

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Gains and constants."""
        gamma = GAINS if arguments.gamma is None else checked_gammas(arguments.gamma)
        return cls(
            k=None,
            eps=arguments.eps,
            affine=True,
            bias_placement="outside",
            gamma=gamma,
            constants=_checked_constants(arguments.variance, gamma),
        )

    def site(self, name: str, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> Gain:
        """A gain, and at the cell the constants too."""
        start = self.gamma[SITES.index(name)]
        if name == "norm_c":
            return CellGain(features, start, self.constants, device, dtype)
        return Gain(features, start, device, dtype)

    def filled(self, name: str, values: Tensor) -> None:
        """Rows start with length 1 (section 3.3)."""
        if name.startswith("weight"):
            to_unit_rows(values)

    def folded(self, layer: Layer) -> Layer:
        """The plain LSTM that has h' for its state, with a gain on the cell."""
        site_c: Any = layer.sites["norm_c"]
        device = layer.weights.norm_c.gamma.device
        for name, value in site_c.constants._asdict().items():
            of_site = f"norm_c_{layer.suffix}.{name}"
            check_parameter(of_site, getattr(site_c, name), (), "()")
            # Again: the module may have been cast.
            check_range_of(f"{name}, by gamma and variance,", value, getattr(site_c, name).dtype, positive=True)
            if getattr(site_c, name).device != device:
                raise ValueError(f"{of_site} must be on {device}, got {getattr(site_c, name).device}")
        weights = with_folded_rows(layer.weights)
        # Roots of a constant in a half type would be rounded a second time.
        var_c, var_h = (constant.to(weights.weight_hh.dtype) for constant in (site_c.var_c, site_c.var_h))
        return layer._replace(
            weights=weights._replace(
                weight_hh=weights.weight_hh / var_h.sqrt(),
                norm_c=Affine(weights.norm_c.gamma / var_c.sqrt(), None),
            )
        )

    def run(
        self,
        cell: Cell,
        x: Tensor,
        layer: Layer,
        states: tuple[Tensor, ...],
        memory: Any,
    ) -> CellOutput:
        """Run the plain LSTM on h' and return h."""
        site_c: Any = layer.sites["norm_c"]
        h_0, *others = states
        root = site_c.var_h.to(h_0.dtype).sqrt()
        out = cell.run(x, layer.weights, (h_0 * root, *others), memory, None)
        h, *rest = out.states
        return CellOutput((h / root, *rest), out.memory)

    def origin(self) -> StreamOrigin:
        """The name alone: a state holds h, whatever the constants."""
        return StreamOrigin("prop", None, None, None)


def _checked_constants(variance: object, gamma: tuple[float, float, float]) -> Constants:
    """Constants by a formula, for gains that give a preactivation and a cell a variance; or as they are given."""
    if isinstance(variance, tuple | list):
        if len(variance) != 2:
            raise ValueError(f"variance must have two numbers, Var c and Var h, got {variance!r}")
        return Constants(*(number("variance", value, positive=True) for value in variance))
    check_choice("variance", variance, get_args(Variance))
    gamma_ih, gamma_hh, gamma_c = gamma
    if min(gamma_ih, gamma_hh) < 0 or gamma_ih + gamma_hh == 0 or gamma_c <= 0:
        raise ValueError(
            f"gamma must be at least 0, and above 0 for norm_c and for one of the others, for variance={variance!r}, "
            f"got {gamma}"
        )
    return constants_of(gamma, variance)  # type: ignore[arg-type]  # one of the choices
