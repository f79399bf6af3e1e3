"""The two constants of Normalization Propagation (Laurent, Ballas, Vincent, *Recurrent Normalization Propagation*).

Norm-Prop divides the cell and the hidden state of an LSTM by deviations that they should have, computed once. "NP (8)"
is Eq. (8) of that paper. With z ~ N(0, 1), u the deviation of a preactivation and V(u) = E tanh(u z)^2,

    Var c = V(u) E s(u z)^2 / (1 - E s(u z)^2) = V(u) (1 + v) / (3 - v),     v = V(u / 2)      NP (8)
    Var h = V(gamma_c) E s(u z)^2              = V(gamma_c) (1 + v) / 4                        NP (12)

since the sigmoid s(a) is (1 + tanh(a / 2)) / 2: its mean is 1/2 and its variance v / 4. NP (8) takes i, f, g and the
old cell for independent, NP (12) the cell for Gaussian besides; the biases are 0.

The paper says in two ways what u is: gamma_x + gamma_h in NP (9)-(10), the root of gamma_x^2 + gamma_h^2 in NP
(22)-(23). The second is what its assumption of independence gives ("independent"); the first is what it prints where
the constants are defined ("literal").
"""

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from atn_reference.validation import check_choice, check_real

VarianceFormula: TypeAlias = Literal["literal", "independent"]
"""How the deviation of a preactivation follows from the gains: NP (9)-(10) or NP (22)-(23)."""

VARIANCE_FORMULAS = ("literal", "independent")
"""The two values of ``VarianceFormula``."""


class NormProp(NamedTuple):
    """The constants that a Norm-Prop LSTM divides by, NP (15): fixed when the network is made, not trained.

    Attributes
    ----------
    var_c, var_h : real numbers > 0
    """

    var_c: float
    var_h: float


def norm_prop(gamma_x: float, gamma_h: float, gamma_c: float, variance: VarianceFormula = "literal") -> NormProp:
    """The constants of NP (8)-(12) for gains that all units share at the start. Others are given as ``NormProp``.

    Parameters
    ----------
    gamma_x, gamma_h : real numbers >= 0, not both 0
    gamma_c : real number > 0
    variance : "literal" or "independent"

    Returns
    -------
    NormProp

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    u = preactivation_deviation(gamma_x, gamma_h, variance)
    if u == 0.0:
        raise ValueError("gamma_x, gamma_h: were both 0, must not be for the cell to have a variance")
    gamma_c = check_real("gamma_c", gamma_c, positive=True)
    return NormProp(cell_variance(u), hidden_variance(u, gamma_c))


def preactivation_deviation(gamma_x: float, gamma_h: float, variance: VarianceFormula = "literal") -> float:
    """Standard deviation u of a preactivation by NP (9)-(10), or by NP (22)-(23).

    Parameters
    ----------
    gamma_x, gamma_h : real numbers >= 0
    variance : "literal" or "independent"

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_choice("variance", variance, VARIANCE_FORMULAS)
    gamma_x = check_real("gamma_x", gamma_x, positive=False)
    gamma_h = check_real("gamma_h", gamma_h, positive=False)
    return gamma_x + gamma_h if variance == "literal" else math.hypot(gamma_x, gamma_h)


def cell_variance(u: float) -> float:
    """Stationary variance of the cell, NP (8), for preactivations of deviation u."""
    share = sigmoid_second_moment(u)
    return tanh_second_moment(u) * share / (1.0 - share)


def hidden_variance(u: float, gamma_c: float) -> float:
    """Variance of the hidden state before it is scaled, NP (12), for an output gate of deviation u."""
    return tanh_second_moment(gamma_c) * sigmoid_second_moment(u)


def sigmoid_second_moment(u: float) -> float:
    """E s(u z)^2 for z ~ N(0, 1), NP (10): mean 1/2, variance V(u / 2) / 4. It is the ratio B of the cell's variance.

    For gh = 0 and independent inputs the variance of the cell at step t = 1, 2, ... is Var c (1 - B^t).
    """
    return (1.0 + tanh_second_moment(u / 2.0)) / 4.0


def tanh_second_moment(u: float) -> float:
    """V(u) = E tanh(u z)^2 for z ~ N(0, 1), NP (9).

    By the trapezoidal rule on [-12, 12], whose error falls exponentially: tanh(u z) has its poles pi/(2u) beside the
    real line, so that 400 intervals give rounding alone up to u = 4, and 100 u do beyond. (Gauss-Hermite with 80 nodes
    is wrong by 6e-4 at u = 2.83.)

    Parameters
    ----------
    u : real number >= 0

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    u = check_real("u", u, positive=False)
    intervals = max(400, math.ceil(100.0 * u))
    z = np.linspace(-12.0, 12.0, intervals + 1)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return float((density * np.tanh(u * z) ** 2).sum() * (24.0 / intervals))
