"""Table B.1, appendix B: the paper's cells and the truth, by identity or exact rational counterexample.

Preactivation a[t, b] = H x[t, b] without bias, eps = 0, delta > 0, k = 2, T = 3 > k, training statistics. A cell says
"yes" if every output stays the same. The paper's last row can be read in two ways, so this table has two rows for it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import sympy as sp

from proofs.atn.normalizers import NORMALIZERS, Entries, Problem
from proofs.evidence import Difference, Evidence, Identity

T, B, N, D = 3, 2, 2, 2
CASE, STEP, UNIT = 0, 1, 0
"""The case, the step and the unit that rows 3, 6, 7 and 8 change."""


class Row(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    name : the middle of the claim ids `b1-<name>-<norm>`
    transform : transforms a problem by a scale `delta` and shifts `c`, one per input
    scale : power of delta by which numerator and root of an output [t, b, i] scale where the cell says yes
    paper, truth : one letter per column, in the order of `NORMALIZERS`: Y or N
    """

    name: str
    transform: Callable[[Problem, Any, tuple[Any, ...]], Problem]
    scale: Callable[[int, int, int], bool]
    paper: str
    truth: str


def _scaled(entries: Entries, delta: Any, which: Callable[..., bool]) -> Entries:
    return {index: delta * value if which(*index) else value for index, value in entries.items()}


def _shifted(entries: Entries, c: tuple[Any, ...]) -> Entries:
    return {index: value + c[index[-1]] for index, value in entries.items()}


def _everywhere(*_index: int) -> bool:
    return True


def _nowhere(*_index: int) -> bool:
    return False


def _scale_weights(which: Callable[..., bool]) -> Callable[[Problem, Any, tuple[Any, ...]], Problem]:
    return lambda problem, delta, _c: problem._replace(H=_scaled(problem.H, delta, which))


def _scale_inputs(which: Callable[..., bool]) -> Callable[[Problem, Any, tuple[Any, ...]], Problem]:
    return lambda problem, delta, _c: problem._replace(x=_scaled(problem.x, delta, which))


def _of_case(_t: int, b: int, _l: int) -> bool:
    return b == CASE


def _of_case_at_step(t: int, b: int, _l: int) -> bool:
    return (t, b) == (STEP, CASE)


def _of_step(t: int, _b: int, _l: int) -> bool:
    return t == STEP


ROWS = (
    Row("weight-matrix-rescaling", _scale_weights(_everywhere), _everywhere, paper="YYYYY", truth="YYYYY"),
    Row(
        "weight-matrix-recentering",
        lambda problem, _delta, c: problem._replace(H=_shifted(problem.H, c)),
        _nowhere,
        paper="NNYNN",
        truth="NNYNN",
    ),
    Row(
        "weight-vector-rescaling",
        _scale_weights(lambda i, _l: i == UNIT),
        lambda _t, _b, i: i == UNIT,
        paper="YYNYN",
        truth="YYNYN",
    ),
    Row("dataset-rescaling", _scale_inputs(_everywhere), _everywhere, paper="YNYYY", truth="YNYYY"),
    Row(
        "dataset-recentering",
        lambda problem, _delta, c: problem._replace(x=_shifted(problem.x, c)),
        _nowhere,
        paper="YNNYN",
        truth="YNNYN",
    ),
    Row("single-case-rescaling", _scale_inputs(_of_case), _of_case, paper="NNYNY", truth="NNYNY"),
    Row("single-time-one-case", _scale_inputs(_of_case_at_step), _of_case_at_step, paper="NNYNN", truth="NNYNN"),
    Row("single-time-whole-batch", _scale_inputs(_of_step), _of_step, paper="NNYNN", truth="YNYNN"),
)


class Cell(NamedTuple):
    """One cell: its row, its column, the paper's answer and the true answer."""

    row: Row
    norm: str
    paper: bool
    truth: bool

    @property
    def claim(self) -> str:
        """The id of its claim."""
        return f"b1-{self.row.name}-{self.norm}"


CELLS = tuple(
    Cell(row, norm, paper == "Y", truth == "Y")
    for row in ROWS
    for norm, paper, truth in zip(NORMALIZERS, row.paper, row.truth, strict=True)
)
"""The 40 cells."""


def prove(cell: Cell) -> tuple[Evidence, ...]:
    """The evidence for the true answer of a cell."""
    return identities(cell) + gradient_law(cell) if cell.truth else (counterexample(cell),)


# ---- Yes: an identity for symbolic entries -----------------------------------------------------------------------

H_INDEX = tuple(product(range(N), range(D)))
X_INDEX = tuple(product(range(T), range(B), range(D)))
OUTPUTS = tuple(product(range(T), range(B), range(N)))

RING, *_GENERATORS = sp.ring(
    [f"H{i}_{l}" for i, l in H_INDEX]
    + [f"x{t}_{b}_{l}" for t, b, l in X_INDEX]
    + ["delta"]
    + [f"c{l}" for l in range(D)],
    sp.QQ,
)
"""Polynomials in every entry of H and x, the scale and the shifts: the SymPy domain in which equality is cheap."""

VARIABLES = _GENERATORS[: len(H_INDEX) + len(X_INDEX)]
DELTA, *SHIFTS = _GENERATORS[len(VARIABLES) :]


def problem_of(entries: Sequence[Any]) -> Problem:
    """A problem from the entries of H, then of x."""
    H, x = entries[: len(H_INDEX)], entries[len(H_INDEX) :]
    return Problem(dict(zip(H_INDEX, H, strict=True)), dict(zip(X_INDEX, x, strict=True)), T, B, N, D)


def entries_of(problem: Problem) -> list[Any]:
    """The entries of H, then of x."""
    return [*problem.H.values(), *problem.x.values()]


def identities(cell: Cell) -> tuple[Evidence, ...]:
    """Every output: the numerator scales by delta or 1, what is under the root by its square, so the quotient stays."""
    normalize, problem = NORMALIZERS[cell.norm], problem_of(VARIABLES)
    changed = cell.row.transform(problem, DELTA, tuple(SHIFTS))
    evidence: list[Evidence] = []
    for index in OUTPUTS:
        before, after = normalize(problem, *index), normalize(changed, *index)
        factor = DELTA if cell.row.scale(*index) else RING.one
        evidence += [
            Identity(f"numerator {index}", (after.numerator - factor * before.numerator).as_expr()),
            Identity(f"under the root {index}", (after.square - factor**2 * before.square).as_expr()),
        ]
    return tuple(evidence)


def gradient_law(cell: Cell) -> tuple[Evidence, ...]:
    """Where y(z) = y(A z + c) for every z, dy/dz at z is A^T times dy/dz at A z + c: there 1/delta in a scaled entry.

    It follows by differentiating the identity. Here it is checked at one rational point z, for every output and every
    entry of H and x, with y = p/sqrt(q) and dy = (2 q dp - p dq)/(2 q^(3/2)), whose q scales as `identities` says.
    """
    normalize = NORMALIZERS[cell.norm]
    point = [sp.QQ(3 * place + 1, 2 + place % 5) for place in range(len(VARIABLES))]
    delta, shifts = sp.QQ(5, 3), tuple(sp.QQ(l + 2, 7) for l in range(D))
    moved = entries_of(cell.row.transform(problem_of(point), delta, shifts))
    scaled = entries_of(cell.row.transform(problem_of(point), delta, tuple(sp.QQ(0) for _ in SHIFTS)))
    slopes = [new / old for new, old in zip(scaled, point, strict=True)]
    gap = sp.QQ(0)
    for index in OUTPUTS:
        p, q = normalize(problem_of(VARIABLES), *index)
        factor = delta if cell.row.scale(*index) else sp.QQ(1)
        for variable, slope in zip(VARIABLES, slopes, strict=True):
            derivative = 2 * q * p.diff(variable) - p * q.diff(variable)
            if derivative:
                gap += abs(_at(derivative, moved) * slope - factor**3 * _at(derivative, point))
    return (Identity("gradient law at a rational point", sp.Rational(gap)),)


def _at(polynomial: Any, point: list[Any]) -> Any:
    unused = [sp.QQ(0)] * (len(RING.gens) - len(point))
    return polynomial.evaluate([*zip(RING.gens, [*point, *unused], strict=True)])


# ---- No: one exact output that changes ---------------------------------------------------------------------------


class Example(NamedTuple):
    """Integer weights and inputs, with the scale of the rows that scale; the shifts of the others are 1 and 1."""

    H: tuple[tuple[int, ...], ...]
    x: tuple[tuple[tuple[int, ...], ...], ...]
    delta: int

    @property
    def problem(self) -> Problem:
        """The example as a `Problem`, with entries by index."""
        H: Entries = {(i, l): sp.Integer(self.H[i][l]) for i, l in product(range(N), range(D))}
        x: Entries = {(t, b, l): sp.Integer(self.x[t][b][l]) for t, b, l in product(range(T), range(B), range(D))}
        return Problem(H, x, T, B, N, D)


EXAMPLES = (
    Example(((3, 4), (-1, 0)), (((-3, 2), (6, -5)), ((-4, 6), (-6, -3)), ((-6, 4), (-4, -2))), delta=4),
    Example(((3, 4), (1, -2)), (((1, -5), (-6, 2)), ((0, 6), (0, 0)), ((-6, 4), (-2, -3))), delta=4),
    Example(((1, -1), (-1, -1)), (((4, 3), (1, 2)), ((4, -3), (2, 1)), ((1, 0), (0, 1))), delta=4),
)
"""Problems some of whose roots are rational before and after each change; every "no" cell has an example among them."""


@cache
def counterexample(cell: Cell) -> Difference:
    """The first output of the examples that is rational before and after the row's change, and differs.

    Raises
    ------
    ValueError
        If there is none.
    """
    normalize, shifts = NORMALIZERS[cell.norm], (sp.S.One, sp.S.One)
    for number, example in enumerate(EXAMPLES, start=1):
        problem = example.problem
        changed = cell.row.transform(problem, sp.Integer(example.delta), shifts)
        for index in OUTPUTS:
            before, after = normalize(problem, *index), normalize(changed, *index)
            if before.square == 0 or after.square == 0:
                continue
            difference = Difference(f"example {number}, output {index}", before.value, after.value)
            if difference.established:
                return difference
    raise ValueError(f"{cell.claim}: no example has an output that changes")
