"""Bounds on statistics and outputs: the claims of sections 1, 3 and 5.2 about control and change."""

from itertools import product
from typing import Any

import sympy as sp

from proofs.atn.scaling import output
from proofs.atn.window import a, window_mean, window_variance
from proofs.evidence import Difference, Evidence, Identity, NonNegative, Positive
from proofs.sums import distribute, j, k, n, over_window, residual, s


def largest_deviation() -> tuple[Evidence, ...]:
    """One of N numbers lies at most sqrt((N - 1) V) from their mean; so |xhat_i| <= sqrt(n K - 1), for any N.

    With deviations d_1, ..., d_N that sum to 0, (N - 1) V - d_1^2 = (N - 1)/N sum_{s >= 2} (d_s + d_1/(N - 1))^2 >= 0.
    The bound is attained if all entries but one are equal.
    """
    N = sp.Symbol("N", integer=True, positive=True)
    d = sp.IndexedBase("d")
    others = (s, 2, N)
    squares = distribute(sp.Sum((d[s] + d[1] / (N - 1)) ** 2, others)).subs(sp.Sum(d[s], others), -d[1])
    variance = (d[1] ** 2 + sp.Sum(d[s] ** 2, others)) / N
    example = output((sp.Integer(3), -1, -1, -1), 0)
    return (
        Identity("(N - 1) V - d_1^2 as squares", residual((N - 1) * variance - d[1] ** 2, (N - 1) / N * squares)),
        Identity("attained at N = 4", example**2 - 3),
    )


def mean_square_of_output() -> tuple[Evidence, ...]:
    """The mean over units of xhat^2 is at most K: the current step is part of its window.

    With c = sum_s (a_s^(t) - mu)^2, if it is not 0, and q >= 0 the same sum over the earlier steps,
    sigma^2 = (c + q)/(n K). The bound is attained if all entries of the earlier steps equal the mean.
    """
    units, steps = sp.symbols("n K", positive=True)
    c, (q, E) = sp.Symbol("c", positive=True), sp.symbols("q eps", nonnegative=True)
    root = (c + q) / (units * steps) + E
    gap = (q + units * steps * E) / (units * root)
    first, second = output((1, -1, 0, 0), 0), output((-1, 1, 0, 0), 0)
    return (
        Identity("K less the mean square", sp.simplify(steps - c / (units * root) - gap)),
        NonNegative("K less the mean square", gap),
        Identity("attained at n = 2, K = 2", (first**2 + second**2) / 2 - 2),
    )


def mean_of_output() -> tuple[Evidence, ...]:
    """The mean over units of xhat is at most sqrt(K - 1) in size.

    sigma^2 = mean_j q_j + variance of the K step means (`window.cheap_form`), and `largest_deviation` with N = K bounds
    the deviation of a step mean: (K - 1) sigma^2 - (m_t - mu)^2 = (K - 1) mean q + squares >= 0. Attained by constant
    rows.
    """
    steps_less_one, mean_q, squares = sp.symbols("K1 q e", nonnegative=True)
    rows = (1, 1, -1, -1)
    return (
        NonNegative("(K - 1) sigma^2 - (m_t - mu)^2", steps_less_one * mean_q + squares),
        Identity("attained at n = 2, K = 2", output(rows, 0) - 1),
    )


def change_of_statistics() -> tuple[Evidence, ...]:
    """One step on, the mean changes by (m_new - m_old)/k, and by at most 2A/k if entries lie in [-A, A].

    `shared` is the sum of the k - 1 step means that stay. The variance is the mean of squares less mu^2: its change is
    (s_new - s_old)/k - (mu' - mu)(mu' + mu), at most A^2/k + 2A/k * 2A = 5A^2/k. At a given step the mean may still
    change more than LN's: step means 4, 0, 0 with k = 2.
    """
    shared, new, old = sp.symbols("shared m_new m_old")
    A, steps = sp.symbols("A k", positive=True)
    above, below = sp.symbols("u v", nonnegative=True)
    bounded = 2 * A / steps - ((A - above) - (-A + below)) / steps
    bounded_square = A**2 / steps - ((A**2 - above) - below) / steps
    return (
        Identity(
            "change of the mean", sp.simplify((shared + new) / steps - (shared + old) / steps - (new - old) / steps)
        ),
        NonNegative("2A/k less the change of the mean", sp.simplify(bounded)),
        Identity(
            "variance as mean of squares", residual(window_variance(), window_mean(a[j, s] ** 2) - window_mean() ** 2)
        ),
        NonNegative("A^2/k less the change of the mean square", sp.simplify(bounded_square)),
        Difference(
            "change of the mean at the third step: k = 2 against LN", sp.Rational(0 + 0, 2) - sp.Rational(4 + 0, 2), 0
        ),
    )


def change_over_all_steps() -> tuple[Evidence, ...]:
    """The mean mu over t steps changes by (m_new - mu)/(t + 1) with the next step.

    Let the step means be uncorrelated and of variance v. Then mu has variance v/t, and its change
    (v + v/t)/(t + 1)^2 = v/(t (t + 1)), which falls with t. If the step means are only bounded, the change itself need
    not fall: step means 0, 0, 1.
    """
    mu, new = sp.symbols("mu m_new")
    t, v = sp.Symbol("t", integer=True, positive=True), sp.Symbol("v", positive=True)
    change = v / (t * (t + 1))
    means = (sp.S.Zero, sp.S.Zero, sp.S.One)
    first, second = ((means[at] - sum(means[:at]) / sp.Integer(at)) / (at + 1) for at in (1, 2))
    return (
        Identity("change of the mean", sp.simplify((t * mu + new) / (t + 1) - mu - (new - mu) / (t + 1))),
        Identity("variance of the change", sp.simplify((v + v / t) / (t + 1) ** 2 - change)),
        Positive("variance of the change less that of the next", sp.factor(change - change.subs(t, t + 1))),
        Difference("step means 0, 0, 1: change at the second step against the third", first, second),
    )


def dilution() -> tuple[Evidence, ...]:
    """One entry moves the mean over t steps by 1/(n t), which tends to 0; that over k steps by 1/(n k)."""
    leaf = a[sp.Symbol("m", integer=True), sp.Symbol("i", integer=True)]
    t = sp.Symbol("t", integer=True, positive=True)
    slope = distribute(sp.diff(window_mean(), leaf))
    return (
        Identity("slope over k steps", residual(slope, 1 / (n * k))),
        Identity("limit over all steps", sp.limit(slope.subs(k, t), t, sp.oo)),
    )


def larger_sample() -> tuple[Evidence, ...]:
    """The mean of uncorrelated entries of variance v has variance v/(n k); if the steps are copies it stays v/n."""
    v = sp.Symbol("v", positive=True)
    l, p = sp.symbols("l p", integer=True)

    def variance_of_mean(covariance: Any) -> Any:
        return over_window(sp.Sum(covariance, (p, 1, n), (l, 0, k - 1))) / (n * k) ** 2

    same_unit, same_step = sp.KroneckerDelta(s, p), sp.KroneckerDelta(j, l)
    return (
        Identity("uncorrelated", residual(variance_of_mean(v * same_unit * same_step), v / (n * k))),
        Identity("steps are copies", residual(variance_of_mean(v * same_unit), v / n)),
    )


def shared_factor() -> tuple[Evidence, ...]:
    """Uncorrelated entries of one distribution, of which N give a variance that does not tend to theirs as N grows.

    The entries are R e: e is 1 or -1, independently, and all share R, which is 1 or 7; every choice is equally likely.
    An entry has variance 25. For a given R the window variance has the mean R^2 (1 - 1/N), so that its own variance is
    at least (1 - 1/N)^2 times that of R^2, 576.
    """
    factors = (sp.Integer(1), sp.Integer(7))
    entries = [(factor * one, factor * other) for factor in factors for one, other in product((1, -1), repeat=2)]
    squares = [factor**2 for factor in factors]
    N = sp.Symbol("N", integer=True, positive=True)
    least = (1 - 1 / N) ** 2 * (_mean([square**2 for square in squares]) - _mean(squares) ** 2)
    of_two = [((one - other) / 2) ** 2 for one, other in entries]
    return (
        Identity("mean of an entry", _mean([one for one, _ in entries])),
        Identity("variance of an entry", _mean([one**2 for one, _ in entries]) - 25),
        Identity("covariance of two entries", _mean([one * other for one, other in entries])),
        Identity("window variance of N = 2, R = 7", _mean(of_two[4:]) - squares[1] * (1 - sp.Rational(1, 2))),
        Difference("limit of its variance, against 0", sp.limit(least, N, sp.oo), 0),
    )


def _mean(values: list[Any]) -> Any:
    return sum(values) / sp.Integer(len(values))


def higher_moments() -> tuple[Evidence, ...]:
    """LN fixes mean and variance, not the distribution: fourth moments of LN(1, 1, -1, -1) and LN(1, -1, 7, -7)."""

    def fourth_moment(row: tuple[int, ...]) -> Any:
        return sum(output((row[i], *row[:i], *row[i + 1 :]), 0) ** 4 for i in range(4)) / 4

    return (Difference("fourth moment", fourth_moment((1, 1, -1, -1)), fourth_moment((1, -1, 7, -7))),)


def statistics_of_output(rows: list[tuple[int, int]], steps: int) -> tuple[Any, Any]:
    """Mean and variance over the two units of ATN's output at the last of the rows, eps = 0."""
    window = rows[-steps:][::-1]
    earlier = tuple(entry for row in window[1:] for entry in row)
    first, second = window[0]
    y = (output((first, second, *earlier), 0), output((second, first, *earlier), 0))
    mean = (y[0] + y[1]) / 2
    return mean, ((y[0] - mean) ** 2 + (y[1] - mean) ** 2) / 2


def statistics_vary() -> tuple[Evidence, ...]:
    """ATN with k = 2 on the rows (-7, -1), (1, 7): mean and variance of the output at the two steps; LN's stay."""
    rows = [(-7, -1), (1, 7)]
    first, second = statistics_of_output(rows[:1], 2), statistics_of_output(rows, 2)
    layer = [statistics_of_output([row], 1) for row in rows]
    return (
        Difference("mean at t = 1 against t = 2", first[0], second[0]),
        Difference("variance at t = 1 against t = 2", first[1], second[1]),
        Identity("mean under LN", layer[0][0] - layer[1][0]),
        Identity("variance under LN", layer[0][1] - layer[1][1]),
    )


def bias_inside() -> tuple[Evidence, ...]:
    """LN(w x + b) sees the size of x: w = (1, 0, 0, -1), b = (0, 7, -7, 0), x = 1 and x = 7.

    A constant b changes nothing, since the mean takes it away (`window.affine_lemma`).
    """

    def first_unit(x: int, b: tuple[int, ...]) -> Any:
        return output(tuple(sp.Integer(weight * x + bias) for weight, bias in zip((1, 0, 0, -1), b, strict=True)), 0)

    return (
        Difference("b = (0, 7, -7, 0), x = 1 against 7", first_unit(1, (0, 7, -7, 0)), first_unit(7, (0, 7, -7, 0))),
        Identity("b = (5, 5, 5, 5), x = 1 against 7", first_unit(1, (5, 5, 5, 5)) - first_unit(7, (5, 5, 5, 5))),
    )


def one_element() -> tuple[Evidence, ...]:
    """Two units, k = 2, rows (1, 5) and (1, 5): scaling the second alone by 2 changes its output under ATN."""
    before, after = output((1, 5, 1, 5), 0), output((2, 10, 1, 5), 0)
    return (Difference("first unit before and after", before, after),)
