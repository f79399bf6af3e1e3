"""Proposition 1 in a recurrence (errata, items 2 and 3): the terms that it drops, and the result of backpropagation.

A recurrence a^(t) = F_t(y^(t-1)) with local Jacobian R_t = dF_t / dy^(t-1) around ATN with explicit Jacobian
J[t, r] = dy^(t) / da^(r) (leaves, r in the window of t). Total derivatives, as matrices over units:

    D[s, s] = 1,  D[t, s] = R_t E[t-1, s]  (t > s),  E[t, s] = sum over r of J[t, r] D[r, s],  s <= r <= t

with D[t, s] = da^(t)/da^(s) and E[t, s] = dy^(t)/da^(s): the corrected Proposition 1. Written out for one entry,
with every sum over units s kept and K_t the size of the window:

    dmu/da_p^(t-m)    = 1/(n K_t) sum_{j <= m} sum_s da_s^(t-j)/da_p^(t-m)
    dvar/da_p^(t-m)   = 2/(n K_t) sum_{j <= m} sum_s (a_s^(t-j) - mu) da_s^(t-j)/da_p^(t-m)
    dy_i/da_p^(t-m)   = gamma_i ((da_i^(t)/da_p^(t-m) - dmu) r - (a_i^(t) - mu) r^3 dvar / 2)
    da_s^(t)/da_p^(t-m) = [s = p] if m = 0, else sum_q dF_t,s/dy_q^(t-1) dy_q^(t-1)/da_p^(t-m)

where j also stays below K_t.
"""

from functools import cache
from typing import Any, NamedTuple

import sympy as sp

from atn_reference.printed.proposition1 import mean_derivative, output_derivative, variance_derivative_eq13
from proofs.evidence import Difference, Evidence, Identity

Row = tuple[Any, ...]

# ---- A concrete recurrence, differentiated directly --------------------------------------------------------------


class Recurrence(NamedTuple):
    """a^(t) = W y^(t-1) + u^(t) with ATN (gamma = 1, beta = 0) over windows of k steps.

    The first rows are leaves. u^(t) is chosen such that each later row has the value in `rows`. All rows are then exact
    rational numbers, and so is every root if var + eps is a square.
    """

    rows: tuple[tuple[int | sp.Rational, ...], ...]
    leaves: int
    weight: tuple[tuple[int, ...], ...]
    k: int
    eps: int | sp.Rational

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.rows[0])

    def window(self, t: int) -> range:
        """Steps of the window at t, counted from 0."""
        return range(max(0, t - self.k + 1), t + 1)


LAG_ONE = Recurrence(rows=((0, 0), (2, 2), (0, 0)), leaves=2, weight=((1, 0), (0, 1)), k=2, eps=3)
"""For errata item 2: a diagonal recurrence, n = 2, k = 2; the first window has mu = 1, var = 1, var + eps = 4."""

CROSSED = Recurrence(rows=((0, 0), (2, 2), (0, 0)), leaves=2, weight=((0, 1), (1, 0)), k=2, eps=3)
"""The recurrence `LAG_ONE` with the two units crossed."""

ONE_UNIT = Recurrence(rows=((0,), (0,), (3,), (0,), (1,)), leaves=3, weight=((1,),), k=3, eps=2)
"""For errata item 3: one unit, k = 3, past the warm-up. With one unit only the paths through the windows matter."""


def total_derivative(problem: Recurrence, target: str, t: int, i: int, step: int, p: int) -> Any:
    """Derivative in a_p^(step) of a_i ("a"), mu ("mean"), var ("variance") or y_i ("y") at t, through the recurrence.

    The composed map is written out and differentiated, then evaluated exactly.
    """
    a, y = _composed(problem)
    leaf = sp.Symbol(f"a{step}_{p}")
    expression = {
        "a": lambda: a[t][i],
        "mean": lambda: _mean(problem, a, t),
        "variance": lambda: _variance(problem, a, t),
        "y": lambda: y[t][i],
    }[target]()
    return sp.nsimplify(sp.diff(expression, leaf).subs(_point(problem)))


def explicit_derivative(problem: Recurrence, t: int, i: int, step: int, p: int) -> Any:
    """Derivative d y_i^(t) / d a_p^(step) with every row a leaf: the entry J[t, step][i, p]."""
    every_row = problem._replace(leaves=len(problem.rows))
    return total_derivative(every_row, "y", t, i, step, p)


@cache
def _composed(problem: Recurrence) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Rows and outputs as expressions in the leaves."""
    a: list[Row] = [tuple(sp.Symbol(f"a{t}_{i}") for i in range(problem.n)) for t in range(problem.leaves)]
    y = [_output(problem, a, t) for t in range(problem.leaves)]
    for t in range(problem.leaves, len(problem.rows)):
        carried = tuple(sum(w * y_q for w, y_q in zip(row, y[-1], strict=True)) for row in problem.weight)
        offsets = [value - term.subs(_point(problem)) for value, term in zip(problem.rows[t], carried, strict=True)]
        a.append(tuple(term + offset for term, offset in zip(carried, offsets, strict=True)))
        y.append(_output(problem, a, t))
    return tuple(a), tuple(y)


def _point(problem: Recurrence) -> dict[Any, Any]:
    leaves = problem.rows[: problem.leaves]
    return {sp.Symbol(f"a{t}_{i}"): sp.Rational(value) for t, row in enumerate(leaves) for i, value in enumerate(row)}


def _mean(problem: Recurrence, a: Any, t: int) -> Any:
    window = [entry for r in problem.window(t) for entry in a[r]]
    return sum(window) / sp.Integer(len(window))


def _variance(problem: Recurrence, a: Any, t: int) -> Any:
    window, mean = [entry for r in problem.window(t) for entry in a[r]], _mean(problem, a, t)
    return sum((entry - mean) ** 2 for entry in window) / sp.Integer(len(window))


def _output(problem: Recurrence, a: Any, t: int) -> Row:
    mean, root = _mean(problem, a, t), sp.sqrt(_variance(problem, a, t) + problem.eps)
    return tuple((entry - mean) / root for entry in a[t])


# ---- The printed formulas, with the true derivatives of unit i ---------------------------------------------------


def printed_mean_derivative(problem: Recurrence, t: int, i: int, m: int) -> Any:
    """Eq. (12), as the oracle prints it, with the true total derivatives d a_i^(t-j) / d a_i^(t-m) of unit i."""
    return mean_derivative(_newest_first(problem, t), _table(problem, t, i, m))


def printed_variance_derivative(problem: Recurrence, t: int, i: int, m: int) -> Any:
    """Eq. (13), as the oracle prints it, with the true total derivatives of unit i."""
    dmean = printed_mean_derivative(problem, t, i, m)
    return variance_derivative_eq13(_newest_first(problem, t), i, _table(problem, t, i, m), dmean)


def printed_output_derivative(problem: Recurrence, t: int, i: int, m: int) -> Any:
    """Eq. (11), as the oracle prints it, with (12), (13) and both factors of (A.13), gamma = 1."""
    da_dy, dy_da = _chain_factors(problem, t, i, m)
    dmean, dvariance = printed_mean_derivative(problem, t, i, m), printed_variance_derivative(problem, t, i, m)
    return output_derivative(_newest_first(problem, t), i, da_dy, dy_da, dmean, dvariance, sp.S.One, problem.eps)


def _newest_first(problem: Recurrence, t: int) -> list[list[Any]]:
    return [[sp.Rational(entry) for entry in problem.rows[r]] for r in reversed(problem.window(t))]


def _table(problem: Recurrence, t: int, i: int, m: int) -> list[Any]:
    return [total_derivative(problem, "a", t - lag, i, t - m, i) for lag in range(m + 1)]


def printed_chain(problem: Recurrence, t: int, i: int, m: int) -> Any:
    """Eq. (A.13): d a_i^(t)/d y_i^(t-m) times d y_i^(t-m)/d a_i^(t-m), both exact."""
    da_dy, dy_da = _chain_factors(problem, t, i, m)
    return da_dy * dy_da


def _chain_factors(problem: Recurrence, t: int, i: int, m: int) -> tuple[Any, Any]:
    """Both factors of (A.13), d a_i^(t)/d y_i^(t-m) and d y_i^(t-m)/d a_i^(t-m).

    The first moves y_i^(t-m), holds the rows up to a^(t-m) fixed and recomputes the later rows. It is therefore 0 for
    m = 0: a^(t) does not depend on y^(t).
    """
    da_dy = path_derivatives(problem)[t, t - m][i, i] if m else sp.S.Zero
    return da_dy, explicit_derivative(problem, t - m, i, t - m, i)


def path_derivatives(problem: Recurrence) -> dict[tuple[int, int], Any]:
    """G[t, l] = d a^(t) / d y^(l), l < t: move y^(l), hold the rows up to l fixed, recompute the later rows."""
    weight = sp.Matrix(problem.weight)
    G: dict[tuple[int, int], Any] = {}
    for t in range(problem.leaves, len(problem.rows)):
        G[t, t - 1] = weight
        for l in range(problem.leaves - 1, t - 1):
            rows = [r for r in problem.window(t - 1) if r > l]
            G[t, l] = weight * sum((explicit_jacobian(problem, t - 1, r) * G[r, l] for r in rows), sp.zeros(problem.n))
    return G


@cache
def explicit_jacobian(problem: Recurrence, t: int, step: int) -> Any:
    """J[t, step] as an exact matrix."""
    return sp.Matrix(problem.n, problem.n, lambda i, p: explicit_derivative(problem, t, i, step, p))


# ---- Errata, items 2 and 3 ---------------------------------------------------------------------------------------


def coupled_units() -> tuple[Evidence, ...]:
    """Errata, item 2, for a^(2) = y^(1) + u: (12) and (13) drop the other unit, (A.5) and (A.9) do not."""
    problem, t, i, m = LAG_ONE, 2, 0, 1
    return (
        Difference("d a_2^(t) / d a_1^(t-1), dropped", total_derivative(problem, "a", t, 1, 1, i), sp.S.Zero),
        Difference(
            "d mu / d a_1^(t-1): differentiation against (12)",
            total_derivative(problem, "mean", t, i, 1, i),
            printed_mean_derivative(problem, t, i, m),
        ),
        Difference(
            "d sigma^2 / d a_1^(t-1): differentiation against (13)",
            total_derivative(problem, "variance", t, i, 1, i),
            printed_variance_derivative(problem, t, i, m),
        ),
        Difference(
            "d y_1 / d a_1^(t-1): differentiation against (11)",
            total_derivative(problem, "y", t, i, 1, i),
            printed_output_derivative(problem, t, i, m),
        ),
    )


def coupling_in_general() -> tuple[Evidence, ...]:
    """Errata, item 2, for any n, k: at lag 1 of a diagonal recurrence (12) drops w/(nk) times the other units' J.

    The off-diagonal entry -gamma_s (r + r xhat_s xhat_i)/(nk) is 0 only where gamma_s = 0 or xhat_s xhat_i = -1.
    """
    w, r, gamma, xs, xi, n, k = sp.symbols("w r gamma_s xhat_s xhat_i n k", positive=True)
    off_diagonal = gamma * (-r / (n * k) - xs * (xi / r) * r**2 / (n * k))
    return (Identity("off-diagonal entry", sp.simplify(w * off_diagonal + w * gamma * r * (1 + xs * xi) / (n * k))),)


def paths() -> tuple[Evidence, ...]:
    """Errata, item 3: (A.13) is wrong at lag 0, at lag 1 with coupled units, and at lag 2 even for one unit."""
    return (
        Difference("lag 0: 1 against (A.13)", sp.S.One, printed_chain(ONE_UNIT, 2, 0, 0)),
        Difference(
            "lag 1, crossed units: differentiation against (A.13)",
            total_derivative(CROSSED, "a", 2, 0, 1, 0),
            printed_chain(CROSSED, 2, 0, 1),
        ),
        Identity(
            "lag 1, diagonal recurrence: (A.13) is right",
            total_derivative(LAG_ONE, "a", 2, 0, 1, 0) - printed_chain(LAG_ONE, 2, 0, 1),
        ),
        Difference(
            "lag 2, one unit: differentiation against (A.13)",
            total_derivative(ONE_UNIT, "a", 4, 0, 2, 0),
            printed_chain(ONE_UNIT, 4, 0, 2),
        ),
    )


def corrected_formula_at_points() -> tuple[Evidence, ...]:
    """The corrected formulas against differentiation of the composed recurrence, at exact rational points."""
    evidence: list[Evidence] = []
    for name, problem in (("diagonal", LAG_ONE), ("crossed", CROSSED), ("one unit", ONE_UNIT)):
        last, source = len(problem.rows) - 1, problem.leaves - 1
        D, E = total_by_recursion(problem, source)
        G = path_derivatives(problem)
        by_paths = sum(
            (G[last, l] * explicit_jacobian(problem, l, source) for l in range(source, last)), sp.zeros(problem.n)
        )
        for i in range(problem.n):
            for p in range(problem.n):
                entry = f"{name}, {i + 1}, {p + 1}"
                true_a = total_derivative(problem, "a", last, i, source, p)
                true_y = total_derivative(problem, "y", last, i, source, p)
                evidence += [
                    Identity(f"d a^(t) by recursion ({entry})", true_a - D[last][i, p]),
                    Identity(f"d a^(t) by paths ({entry})", true_a - by_paths[i, p]),
                    Identity(f"d y^(t) by recursion ({entry})", true_y - E[last][i, p]),
                ]
    return tuple(evidence)


def total_by_recursion(problem: Recurrence, source: int) -> tuple[dict[int, Any], dict[int, Any]]:
    """D[t, source] and E[t, source] for every t from `source` on, by the corrected formula."""
    weight = sp.Matrix(problem.weight)
    D: dict[int, Any] = {}
    E: dict[int, Any] = {}
    for t in range(source, len(problem.rows)):
        D[t] = sp.eye(problem.n) if t == source else weight * E[t - 1]
        rows = [r for r in problem.window(t) if r >= source]
        E[t] = sum((explicit_jacobian(problem, t, r) * D[r] for r in rows), sp.zeros(problem.n))
    return D, E


# ---- Any recurrence, any n: matrices as noncommuting symbols -----------------------------------------------------

STEPS = 5


def _jacobian(t: int, r: int) -> Any:
    return sp.Symbol(f"J_{t}_{r}", commutative=False)


def _recurrent(t: int) -> Any:
    return sp.Symbol(f"R_{t}", commutative=False)


@cache
def _total(source: int) -> dict[int, Any]:
    """D[t, source] for every t >= source; every window is as long as it can be."""
    D: dict[int, Any] = {source: sp.S.One}
    for t in range(source + 1, STEPS):
        D[t] = sp.expand(_recurrent(t) * sum(_jacobian(t - 1, r) * D[r] for r in D))
    return D


def sum_over_paths() -> tuple[Evidence, ...]:
    """(A.13) corrected: d a^(t)/d a^(s) = sum over l = s..t-1 of G[t, l] J[l, s]; (A.13) keeps only l = s.

    a^(s) enters y^(l) for every window l that holds it, and leaves y^(l) towards a^(t) by the recurrence. For any n and
    any recurrence, with windows over all steps (a shorter window sets some J to 0), T = 5. By induction for any T.
    """
    evidence: list[Evidence] = []
    for source in range(STEPS - 1):
        D = _total(source)
        for t in range(source + 1, STEPS):
            paths = sum(_through(l)[t] * _jacobian(l, source) for l in range(source, t))
            evidence.append(Identity(f"from step {source} to step {t}", sp.expand(D[t] - paths)))
    return tuple(evidence)


@cache
def _through(l: int) -> dict[int, Any]:
    """G[t, l] for every t > l: the recurrence after y^(l) is moved by 1, with the rows up to l held fixed."""
    G: dict[int, Any] = {l + 1: _recurrent(l + 1)}
    for t in range(l + 2, STEPS):
        G[t] = sp.expand(_recurrent(t) * sum(_jacobian(t - 1, r) * G[r] for r in G))
    return G


def backpropagation() -> tuple[Evidence, ...]:
    """BPTT with the explicit Jacobian computes the total derivative: sum over t of dy[t] E[t, s] for every s.

    Reverse loop: dy_total[t] = dy[t] + da[t+1] R_{t+1} and da[s] = sum over t >= s of dy_total[t] J[t, s], the windows
    that contain s. For any n and any recurrence, T = 5.
    """
    dy = [sp.Symbol(f"dy_{t}", commutative=False) for t in range(STEPS)]
    total = dict(enumerate(dy))
    da: dict[int, Any] = {}
    for s in reversed(range(STEPS)):
        if s + 1 < STEPS:
            total[s] = sp.expand(dy[s] + da[s + 1] * _recurrent(s + 1))
        da[s] = sp.expand(sum(total[t] * _jacobian(t, s) for t in range(s, STEPS)))
    evidence: list[Evidence] = []
    for source in range(STEPS):
        D = _total(source)
        E = {t: sum(_jacobian(t, r) * D[r] for r in range(source, t + 1)) for t in range(source, STEPS)}
        true = sum(dy[t] * E[t] for t in E)
        evidence.append(Identity(f"loss in a^({source})", sp.expand(da[source] - true)))
    return tuple(evidence)


# ---- The backward pass of one ATN layer --------------------------------------------------------------------------


class Layer(NamedTuple):
    """One ATN layer in symbols: any a, dy and gain, and r_t = (var + eps)^(-1/2) as a symbol, whatever eps is."""

    a: Any
    dy: Any
    gamma: Row
    r: Row
    mean: Row
    windows: tuple[range, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Steps and units."""
        return self.a.shape[0], self.a.shape[1]

    def count(self, t: int) -> int:
        """Entries of the window at t, n K_t."""
        return self.shape[1] * len(self.windows[t])


def symbolic_layer(T: int, N: int, k: int) -> Layer:
    """A layer of T steps of N units with windows of k steps."""
    a, dy = (sp.Matrix(T, N, sp.symbols(f"{name}:{T * N}")) for name in ("a", "dy"))
    windows = tuple(range(max(0, t - k + 1), t + 1) for t in range(T))
    mean = tuple(sum(a[row, i] for row in rows for i in range(N)) / sp.Integer(N * len(rows)) for rows in windows)
    return Layer(a, dy, sp.symbols(f"gamma:{N}"), sp.symbols(f"r:{T}", positive=True), mean, windows)


def backward_by_hand(layer: Layer) -> list[Any]:
    """The hand-written backward pass, entry by entry of da.

    With g = gamma dy: dmu = -r sum g, dvar = -r^2 sum g xhat / 2 and
    da[s] = r[s] g[s] + sum over the windows that contain s of (dmu + 2 dvar (a[s] - mu))/(n K_t).
    """
    (T, N), (a, dy, gamma, r, mean, windows) = layer.shape, layer
    g = [[dy[t, i] * gamma[i] for i in range(N)] for t in range(T)]
    dmu = [-r[t] * sum(g[t]) for t in range(T)]
    dvar = [-(r[t] ** 3) * sum(g[t][i] * (a[t, i] - mean[t]) for i in range(N)) / 2 for t in range(T)]

    def entry(step: int, p: int) -> Any:
        containing = [t for t in range(T) if step in windows[t]]
        through = ((dmu[t] + 2 * dvar[t] * (a[step, p] - mean[t])) / layer.count(t) for t in containing)
        return r[step] * g[step][p] + sum(through)

    return [entry(step, p) for step in range(T) for p in range(N)]


def backward_by_jacobian(layer: Layer) -> list[Any]:
    """The sum over t of dy[t] J[t, s], entry by entry, with the explicit Jacobian of `proposition1.jacobian`."""
    (T, N), (a, dy, gamma, r, mean, windows) = layer.shape, layer

    def jacobian(t: int, i: int, step: int, p: int) -> Any:
        coupling = 1 + (a[t, i] - mean[t]) * (a[step, p] - mean[t]) * r[t] ** 2
        return gamma[i] * (r[t] * int((t, i) == (step, p)) - r[t] * coupling / layer.count(t))

    def entry(step: int, p: int) -> Any:
        containing = [t for t in range(T) if step in windows[t]]
        return sum(dy[t, i] * jacobian(t, i, step, p) for t in containing for i in range(N))

    return [entry(step, p) for step in range(T) for p in range(N)]


def backward_passes() -> tuple[Evidence, ...]:
    """The hand-written backward pass is dy J at T = 4, n = 2 for k = 2 and 3, warm-up included."""
    return tuple(
        Identity(f"da[{place // 2}, {place % 2}] at k={k}", sp.expand(one - other))
        for k in (2, 3)
        for place, (one, other) in enumerate(
            zip(backward_by_hand(symbolic_layer(4, 2, k)), backward_by_jacobian(symbolic_layer(4, 2, k)), strict=True)
        )
    )
