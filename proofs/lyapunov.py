"""Lyapunov exponents of recurrent networks: sums, orders of products, and directions that a step forgets."""

from functools import reduce
from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity

PERIOD_3 = tuple(sp.Matrix(rows) for rows in ([[0, 1], [1, 0]], [[2, 1], [0, 1]], [[1, 0], [3, 1]]))
"""A_1, A_2, A_3."""


def sum_of_all() -> tuple[Evidence, ...]:
    """For p = D = 2, R_11 R_22 = |det J|: R_11 is the length of the first column, R_22 what it leaves of the second."""
    a, b, c, d = sp.symbols("a b c d", real=True)
    first, second = sp.Matrix([a, c]), sp.Matrix([b, d])
    squared = first.dot(first)
    rest = second - first * first.dot(second) / squared
    return (Identity("squared product of the diagonal", sp.simplify(squared * rest.dot(rest) - (a * d - b * c) ** 2)),)


def order() -> tuple[Evidence, ...]:
    """A_3 A_2 A_1 and A_1 A_2 A_3 have one determinant and different traces, so different exponents.

    With transposes in the order forward in time, the product is (A_1 A_2 A_3)^T.
    """
    A1, A2, A3 = PERIOD_3
    right, wrong = A3 * A2 * A1, A1 * A2 * A3
    return (
        Identity("transposes forward in time", sp.Matrix(A3.T * A2.T * A1.T - wrong.T).norm()),
        Identity("both determinants", right.det() - wrong.det()),
        Difference("traces", right.trace(), wrong.trace()),
    )


def adjoint() -> tuple[Evidence, ...]:
    """A gradient goes back by J_1^T ... J_T^T, which is (J_T ... J_1)^T and has the same eigenvalues."""
    matrices = [sp.Matrix(2, 2, sp.symbols(f"{name}:4")) for name in "ABC"]
    forward = reduce(lambda product, J: J * product, matrices)
    backward = reduce(lambda product, J: product * J.T, matrices, sp.eye(2))
    z = sp.Symbol("z")
    polynomials = [sp.expand((z * sp.eye(2) - product).det()) for product in (forward, backward)]
    return (
        Identity("the transposed product", sp.Matrix(sp.expand(forward.T - backward)).norm()),
        Identity("characteristic polynomial", sp.expand(polynomials[0] - polynomials[1])),
    )


def determinant() -> tuple[Evidence, ...]:
    """The Jacobian of an LSTM's step in (h, c), any H: rows of h less (o z') times those of c leave (tanh(z) o') W_ho.

    Diagonal matrices stand for the gates: `di` is the derivative of i by its preactivation, `T` is tanh(z) and `dT` its
    derivative by c. What is left is block triangular, so that its determinant is det(T do W_ho) det(f).
    """
    H = sp.Symbol("H", integer=True, positive=True)
    i, f, g, o, di, df, dg, do, c, T, dT = (
        sp.MatrixSymbol(name, H, H) for name in ("i", "f", "g", "o", "di", "df", "dg", "do", "c", "T", "dT")
    )
    W = {gate: sp.MatrixSymbol(f"W_{gate}", H, H) for gate in "ifgo"}
    dc_dh = df * c * W["f"] + di * g * W["i"] + i * dg * W["g"]
    dc_dc = f
    dh_dh = T * do * W["o"] + o * dT * dc_dh
    dh_dc = o * dT * dc_dc
    left = (dh_dh - o * dT * dc_dh).expand().doit() - T * do * W["o"]
    return (
        Identity("rows of h, by h", _zero(left.doit())),
        Identity("rows of h, by c", _zero((dh_dc - o * dT * dc_dc).doit())),
        Identity("one unit", _one_unit()),
    )


def _zero(matrix: Any) -> Any:
    """0 for a zero matrix of any size, otherwise the matrix."""
    return sp.S.Zero if matrix.is_ZeroMatrix else matrix


def _one_unit() -> Any:
    """The step of one unit, differentiated as a whole, for any gates as functions of h."""
    h, c = sp.symbols("h c", real=True)
    i, f, g, o = (sp.Function(name)(h) for name in "ifgo")
    c_new = f * c + i * g
    jacobian = sp.Matrix([o * sp.tanh(c_new), c_new]).jacobian([h, c])
    return sp.expand(jacobian.det() - sp.tanh(c_new) * sp.diff(o, h) * f)


def without_recurrent_product() -> tuple[Evidence, ...]:
    """With W_hh = 0 a unit's Jacobian in (h, c) is ((0, o dT f), (0, f)): rank 1, and T steps multiply c by prod f."""
    f1, f2, s1, s2 = sp.symbols("f_1 f_2 s_1 s_2", positive=True)
    first, second = (sp.Matrix([[0, s * f], [0, f]]) for f, s in ((f1, s1), (f2, s2)))
    eigenvalues = (second * first).eigenvals()
    return (
        Identity("product of two steps", (second * first)[1, 1] - f1 * f2),
        Identity("one direction is forgotten", second.det()),
        Identity("its eigenvalues are 0 and f_1 f_2", sp.simplify(sum(eigenvalues) - f1 * f2)),
    )


def window_rows() -> tuple[Evidence, ...]:
    """The rows of the input's window move up by one each step: k - 1 such steps leave nothing, for k = 2 to 9.

    The newest row of the cell's window is the cell: the rows of the Jacobian for its mean and variance are multiples of
    those for c, so that two more directions are forgotten at once.
    """
    moves = [(k, sp.Matrix(k - 1, k - 1, lambda i, j: int(j == i + 1))) for k in range(2, 10)]
    c = sp.symbols("c:3", real=True)
    mean = sum(c) / 3
    variance = sum((one - mean) ** 2 for one in c) / 3
    jacobian = sp.Matrix([*c, mean, variance]).jacobian(c)
    left = sp.Matrix([[sp.Rational(1, 3)] * 3, [2 * (one - mean) / 3 for one in c]])
    return (
        *(Identity(f"after k - 1 steps, k = {k}", (moved ** (k - 1)).norm()) for k, moved in moves),
        Identity("mean and variance of c", sp.Matrix(sp.simplify(jacobian[3:, :] - left * jacobian[:3, :])).norm()),
    )


def layer_norm_forgets() -> tuple[Evidence, ...]:
    """LN(a + s a) and LN(a + s 1) do not depend on s at eps = 0; with eps the first has the slope eps/(var + eps).

    So W_hh (dh = h), and for blocks of identities W_hh (dh = 1) too, change no gate. With an older row in the window
    the scale of the newest stays visible.
    """
    eps = sp.Symbol("eps", nonnegative=True)
    scale = sp.Symbol("s", real=True)
    a = sp.symbols("a:3", real=True)
    plain = _normalized(a, eps)
    variance = _variance(a)
    along = [sp.diff(y, scale).subs(scale, 0) for y in _normalized([(1 + scale) * one for one in a], eps)]
    along_ones = [sp.diff(y, scale) for y in _normalized([one + scale for one in a], eps)]
    residuals = [sp.simplify(slope - y * eps / (variance + eps)) for slope, y in zip(along, plain, strict=True)]
    windows = [sp.Rational(scaled) / sp.sqrt((scaled**2 + 1) / sp.Integer(2)) for scaled in (1, 7)]
    return (
        *(Identity(f"along a, unit {unit}", residual) for unit, residual in enumerate(residuals)),
        *(Identity(f"along 1, unit {unit}", sp.simplify(slope)) for unit, slope in enumerate(along_ones)),
        Difference("k = 2 after a row (1, -1): (1, -1) against (7, -7)", *windows),
    )


def _variance(a: Any) -> Any:
    mean = sum(a) / len(a)
    return sum((one - mean) ** 2 for one in a) / len(a)


def _normalized(a: Any, eps: Any) -> list[Any]:
    mean = sum(a) / len(a)
    return [(one - mean) / sp.sqrt(_variance(a) + eps) for one in a]


def through_the_memory() -> tuple[Evidence, ...]:
    """dh_t/dh_{t-1} at fixed c_{t-1} loses the memory: with W_hh = 0 it is 0, while the cell keeps f of a change."""
    f, slope = sp.Rational(9, 10), sp.Rational(1, 2)
    step = sp.Matrix([[0, slope * f], [0, f]])
    kept = (step**10)[1, 1]
    return (
        Identity("h by h at fixed c", step[0, 0]),
        Difference("what ten steps leave of a change of c, and of one of h", kept, step[0, 0] ** 10),
    )
