"""Zeros of counts from one population and from several: what HIPPO's zero-share test rests on.

Letters: n cells, S total count of a gene, l rate.
"""

import itertools
from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity, Positive

l, a, b = sp.symbols("l a b", positive=True)


def jensen() -> tuple[Evidence, ...]:
    """Cells of several rates have more zeros than Poisson counts of their mean rate.

    e^-l is above its tangent at the mean rate m, and the mean of the tangent is e^-m. The gap
    e^-m (e^-(l - m) - 1 + (l - m)) is convex in l and vanishes with its derivative at l = m, and so there alone.
    """
    m = sp.Symbol("m", positive=True)
    p = sp.Symbol("p", positive=True)
    gap = sp.exp(-l) - sp.exp(-m) * (1 - (l - m))
    tangent = p * (1 - (a - m)) + (1 - p) * (1 - (b - m))
    return (
        Identity("mean of the tangent at the mean rate of two", sp.expand(tangent.subs(m, p * a + (1 - p) * b)) - 1),
        Positive("second derivative of the gap", sp.diff(gap, l, 2)),
        Identity("the gap at l = m", gap.subs(l, m)),
        Identity("its derivative there", sp.diff(gap, l).subs(l, m)),
    )


def null_variance() -> tuple[Evidence, ...]:
    """Of n Poisson counts of one rate, z has the variance (1 - e^-l (1 + l)) / (1 - e^-l) for large n, not 1.

    z is the mean of 1[x = 0] - e^-(mean of x). By the delta method it moves with 1[x = 0] + e^-l x, whose variance in
    units of e^-l (1 - e^-l) is that. It is below 1 by l e^-l / (1 - e^-l).
    """
    x = sp.Symbol("x", integer=True, nonnegative=True)
    s = sp.Symbol("s", positive=True)
    # The mean of s^x, whose derivatives at 1 are the means of x and of x (x - 1).
    generating = sp.exp(-l) * sp.summation((l * s) ** x / sp.factorial(x), (x, 0, sp.oo))
    mean, pairs = (sp.simplify(sp.diff(generating, s, order).subs(s, 1)) for order in (1, 2))
    square = pairs + mean
    zero = sp.exp(-l)
    slope = sp.diff(-sp.exp(-l), l)
    variance = zero * (1 - zero) + slope**2 * (square - mean**2) + 2 * slope * (0 - zero * mean)
    formula = (1 - zero * (1 + l)) / (1 - zero)
    shortfall = l * zero / (1 - zero)
    return (
        Identity("mean of a Poisson count", mean - l),
        Identity("variance of a Poisson count", sp.simplify(square - mean**2 - l)),
        Identity("variance of z", sp.simplify(variance / (zero * (1 - zero)) - formula)),
        Identity("what 1 exceeds it by", sp.simplify(1 - formula - shortfall)),
        Positive("which is positive, (1 - e^-l) being so", shortfall.subs(1 - zero, sp.Symbol("q", positive=True))),
    )


def occupancy() -> tuple[Evidence, ...]:
    """Given the total S, the zeros are the empty boxes of S balls in n: mean and variance are exact.

    Poisson counts of one rate are multinomial given their sum, whatever the rate. A box stays empty with probability
    (1 - 1/n)^S, and two with (1 - 2/n)^S; every placing of up to four balls in up to four boxes is counted as well.
    """
    evidence: list[Evidence] = []
    x, y = sp.symbols("x y", integer=True, nonnegative=True)

    def poisson(count: Any, rate: Any) -> Any:
        return sp.exp(-rate) * rate**count / sp.factorial(count)

    given = poisson(x, l) * poisson(y, l) / poisson(x + y, 2 * l)
    binomial = sp.factorial(x + y) / (sp.factorial(x) * sp.factorial(y)) / sp.Integer(2) ** (x + y)
    evidence.append(Identity("two cells given their sum", sp.simplify(given - binomial)))
    for n, S in itertools.product((2, 3, 4), (0, 1, 2, 3, 4)):
        empty = [n - len(set(boxes)) for boxes in itertools.product(range(n), repeat=S)]
        mean = sp.Rational(sum(empty), len(empty))
        variance = sp.Rational(sum(value**2 for value in empty), len(empty)) - mean**2
        one, two = sp.Rational(n - 1, n) ** S, sp.Rational(n - 2, n) ** S
        evidence += [
            Identity(f"mean, n = {n}, S = {S}", mean - n * one),
            Identity(f"variance, n = {n}, S = {S}", variance - (n * one + n * (n - 1) * two - n**2 * one**2)),
        ]
    return tuple(evidence)


def negative_binomial() -> tuple[Evidence, ...]:
    """The zero share (1 + l th)^(-1/th) of counts of variance l + th l^2 tends to e^-l, and is above it.

    It is the mean of e^-L for a rate L that is gamma distributed with mean l and variance th l^2: heterogeneity without
    types.
    """
    th, rate = sp.symbols("th L", positive=True)
    shape, size = 1 / th, l * th
    # The gamma's Laplace transform at 1, by the integral for one exponential rate and by its formula in general.
    exponential = sp.integrate(sp.exp(-rate) * sp.exp(-rate / l) / l, (rate, 0, sp.oo))
    share = (1 + size) ** (-shape)
    return (
        Identity("th = 1", sp.simplify(exponential - share.subs(th, 1))),
        Identity("limit", sp.simplify(sp.limit(-sp.log(1 + l * th) / th, th, 0) + l)),
        Identity("mean of L", sp.simplify(shape * size - l)),
        Identity("variance of L", sp.simplify(shape * size**2 - th * l**2)),
    )


def unequal_depth() -> tuple[Evidence, ...]:
    """Cells of one type, half of them sequenced to depth 1 + d and half to 1 - d, have more zeros than their mean says.

    The excess e^-l (cosh(l d) - 1) = 2 e^-l sinh(l d / 2)^2 does not depend on n, so z grows as the root of n: to the
    test unequal depth is heterogeneity.
    """
    d, n = sp.symbols("d n", positive=True)
    share = (sp.exp(-l * (1 + d)) + sp.exp(-l * (1 - d))) / 2
    excess = 2 * sp.exp(-l) * sp.sinh(l * d / 2) ** 2
    z = excess / sp.sqrt(sp.exp(-l) * sp.Symbol("q", positive=True) / n)
    return (
        Identity("mean rate", sp.expand((l * (1 + d) + l * (1 - d)) / 2 - l)),
        Identity("excess", sp.simplify((share - sp.exp(-l) - excess).rewrite(sp.exp))),
        Positive("which is positive", excess),
        Identity("z at four times the cells", sp.simplify(z.subs(n, 4 * n) / z - 2)),
    )


def normalizing_first() -> tuple[Evidence, ...]:
    """Dividing by the totals of cells whose types have unequal totals makes equal genes unequal.

    A gene of rate 1 in both types beside one of rate 1 in the first and 3 in the second: its share of the total is 1/2
    in the first and 1/4 in the second.
    """
    shared, first, second = sp.Integer(1), sp.Integer(1), sp.Integer(3)
    return (Difference("share of the equal gene by type", shared / (shared + first), shared / (shared + second)),)
