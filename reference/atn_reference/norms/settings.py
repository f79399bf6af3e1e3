"""How a caller names a norm, its parameters, and where the bias of a network stands beside it.

Letters: N features, k window length.
"""

from typing import Literal, NamedTuple, TypeAlias

from atn_reference.arrays import Array, Base

Statistic: TypeAlias = Literal["mean", "var"]
"""The two statistics of a window."""

STATISTICS = ("mean", "var")
"""The two values of ``Statistic``."""

BiasPlacement: TypeAlias = Literal["outside", "inside"]
"""Where the biases stand: after the norms, Eqs. (3)-(4) and (14), or within them, section 5.1."""

BIAS_PLACEMENTS = ("outside", "inside")
"""The two values of ``BiasPlacement``."""


class WindowNorm(NamedTuple):
    """Normalization by a window, Eq. (9).

    LN is ("layer", 1), BN ("batch", 1), ATN-LN ("layer", k), ATN-BN ("batch", k).

    Attributes
    ----------
    base : "layer" or "batch"
    k : window length, >= 1
    eps : >= 0
    detach : statistics that the backward pass takes for constants (DetachNorm, Xu et al. 2019, section 3); with both
        of them the gradient is that of a fixed affine map and reaches no row but the newest
    """

    base: Base
    k: int
    eps: float = 1e-5
    detach: tuple[Statistic, ...] = ()


class AdaNorm(NamedTuple):
    """LN with a factor C * (1 - slope * xhat) in place of gain and shift (Xu et al. 2019, section 4).

    Attributes
    ----------
    C : real number > 0
    slope : real number >= 0, the paper's k = 1/10, which here is the window length
    eps : >= 0
    """

    C: float = 1.0
    slope: float = 0.1
    eps: float = 1e-5


class Affine(NamedTuple):
    """Gain and shift of one normalizer, the gamma and beta of Eq. (9), shared by all steps.

    Attributes
    ----------
    gamma, beta : (N,)
    """

    gamma: Array
    beta: Array
