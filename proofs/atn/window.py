"""Window statistics, Eqs. (7)-(9), for symbolic n and k, and consequences of their definition."""

from typing import Any, NamedTuple

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity
from proofs.sums import j, k, n, over_units, over_window, residual, s

a = sp.IndexedBase("a")
"""Leaves: `a[j, s]` is the paper's a_s^(t-j)."""

eps = sp.Symbol("eps", nonnegative=True)


def window_mean(term: Any = None) -> Any:
    """Eq. (7): the mean of a term in `j` and `s` over the window, of the leaves themselves by default."""
    return over_window(a[j, s] if term is None else term) / (n * k)


def window_variance(term: Any = None) -> Any:
    """Eq. (8): the biased variance of a term in `j` and `s` over the window, of the leaves themselves by default."""
    entry = a[j, s] if term is None else term
    return over_window((entry - window_mean(entry)) ** 2) / (n * k)


def deviations_sum_to_zero() -> tuple[Evidence, ...]:
    """The deviations of a window from its mean sum to 0, for any n and k."""
    return (Identity("sum of a - mu over the window", residual(over_window(a[j, s] - window_mean()), sp.S.Zero)),)


def layer_norm_is_k_one() -> tuple[Evidence, ...]:
    """With k = 1 Eqs. (7)-(8) are Eq. (5); Eq. (6) leaves mean 0 and variance sigma^2 / (sigma^2 + eps)."""
    mean = over_units(a[0, s]) / n
    variance = over_units((a[0, s] - mean) ** 2) / n
    V, E = sp.symbols("V E", positive=True)
    of_output = over_units(((a[0, s] - mean) / sp.sqrt(V + E)) ** 2) / n
    return (
        Identity("mean at k = 1", residual(window_mean().subs(k, 1), mean)),
        Identity("variance at k = 1", residual(window_variance().subs(k, 1), variance)),
        Identity("mean of LN's output", residual(over_units((a[0, s] - mean) / sp.sqrt(V + E)) / n, sp.S.Zero)),
        Identity("variance of LN's output", residual(of_output - variance / (V + E), sp.S.Zero)),
    )


def cheap_form() -> tuple[Evidence, ...]:
    """The window's statistics from the mean m_j and variance q_j of each step.

    mu = mean_j m_j and sigma^2 = mean_j (q_j + (m_j - mu)^2): exact, and a sum of squares, so never negative.
    """
    m = over_units(a[j, s]) / n
    q = over_units((a[j, s] - m) ** 2) / n
    mean = sp.Sum(m, (j, 0, k - 1)) / k
    variance = sp.Sum(q + (m - mean) ** 2, (j, 0, k - 1)) / k
    return (
        Identity("mean of the step means", residual(mean, window_mean())),
        Identity("variance from step means and variances", residual(variance, window_variance())),
    )


def affine_lemma() -> tuple[Evidence, ...]:
    """A pool of statistics that goes to delta a + c has mean delta mu + c and variance delta^2 sigma^2.

    So, with delta > 0 and eps = 0, (a - mu)/sigma is unchanged; with eps scaled by delta^2 as well. This is every "yes"
    of Table B.1 but weight normalization's.
    """
    delta, c = sp.symbols("delta c", real=True)
    scaled = delta * a[j, s] + c
    i = sp.Symbol("i", integer=True)
    deviation, new_deviation = a[0, i] - window_mean(), delta * a[0, i] + c - window_mean(scaled)
    size, V, E = sp.symbols("delta V eps", positive=True)
    return (
        Identity("mean of delta a + c", residual(window_mean(scaled), delta * window_mean() + c)),
        Identity("deviation of delta a + c", residual(new_deviation, delta * deviation)),
        Identity("variance of delta a + c", residual(window_variance(scaled), delta**2 * window_variance())),
        Identity("root of the scaled variance", sp.simplify(size / sp.sqrt(size**2 * V) - 1 / sp.sqrt(V))),
        Identity(
            "with eps scaled by delta^2",
            sp.simplify(size / sp.sqrt(size**2 * V + size**2 * E) - 1 / sp.sqrt(V + E)),
        ),
    )


class Layer(NamedTuple):
    """Eq. (9) written out for one window: its symbols and its outputs, one for each unit."""

    entries: tuple[Any, ...]
    gamma: tuple[Any, ...]
    beta: tuple[Any, ...]
    normalized: tuple[Any, ...]
    output: tuple[Any, ...]


def layer(steps: int, units: int = 2) -> Layer:
    """Eq. (9) with symbolic entries for a window of `steps` steps, lag 0 first."""
    gamma, beta = (sp.symbols(f"{name}1:{units + 1}") for name in ("gamma", "beta"))
    entries = tuple(entry for lag in range(steps) for entry in sp.symbols(f"a{lag}_1:{units + 1}"))
    mean = sum(entries) / sp.Integer(len(entries))
    variance = sum((entry - mean) ** 2 for entry in entries) / sp.Integer(len(entries))
    normalized = tuple((entry - mean) / sp.sqrt(variance + eps) for entry in entries[:units])
    output = tuple(g * value + b for g, value, b in zip(gamma, normalized, beta, strict=True))
    return Layer(entries, gamma, beta, normalized, output)


def parameters(steps: int) -> set[Any]:
    """Symbols of Eq. (9) other than a and eps."""
    written = layer(steps)
    return set().union(*(y.free_symbols for y in written.output)) - {eps} - set(written.entries)


def no_new_parameters() -> tuple[Evidence, ...]:
    """Eq. (9) holds as many parameters for k = 2, 3 as for k = 1, which is LN."""
    return tuple(
        Identity(f"parameters at k = {steps} beyond those of LN", len(parameters(steps) ^ parameters(1)))
        for steps in (2, 3)
    )


def gain_and_shift() -> tuple[Evidence, ...]:
    """Gain and shift: dy_i/dgamma_p = [i = p] xhat_i and dy_i/dbeta_p = [i = p], for a window of 2 steps of 2 units."""
    written = layer(2)
    return tuple(
        Identity(f"d y_{i + 1} / d {name}_{p + 1}", sp.diff(written.output[i], symbol[p]) - (value if i == p else 0))
        for i in range(2)
        for p in range(2)
        for name, symbol, value in (
            ("gamma", written.gamma, written.normalized[i]),
            ("beta", written.beta, sp.S.One),
        )
    )


def warm_up() -> tuple[Evidence, ...]:
    """Errata, item 6: at t = 1 with k = 3, a^(1) = (1, 3), Figure 1 means LN; k itself as the count differs from LN.

    LN's mean is 2. With k = 3 in Eq. (7) the mean is (1 + 3)/(2 * 3) = 2/3. Padding with rows of zeros has the same
    mean, but another variance.
    """
    row = [sp.Integer(1), sp.Integer(3)]
    padded = row + 4 * [sp.Integer(0)]
    layer_mean = sum(row) / sp.Integer(2)
    literal_mean = sum(row) / sp.Integer(6)

    def variance(entries: list[Any], mean: Any, count: int) -> Any:
        return sum((entry - mean) ** 2 for entry in entries) / sp.Integer(count)

    return (
        Identity("mean with K_1 = 1", _figure_1_mean([row], steps=3) - layer_mean),
        Identity(
            "mean at t = 4 from steps 2-4 of (1, 3), (2, 4), (3, 5), (4, 6)",
            _figure_1_mean([[sp.Integer(b), sp.Integer(b + 2)] for b in (1, 2, 3, 4)], steps=3) - 4,
        ),
        Difference("mean: LN against k as the count", layer_mean, literal_mean),
        Difference("variance: LN against k as the count", variance(row, layer_mean, 2), variance(row, literal_mean, 6)),
        Difference("variance: LN against zeros before the start", 1, variance(padded, literal_mean, 6)),
    )


def _figure_1_mean(rows: list[list[Any]], steps: int) -> Any:
    window = [entry for row in rows[-steps:] for entry in row]
    return sum(window) / sp.Integer(len(window))
