"""Recurrent Normalization Propagation: its constants, its gradients, and its other claims.

V(u) = E tanh(u z)^2 for z ~ N(0, 1) is a symbol; the proofs use only that tanh is odd.
"""

from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity, NonNegative, Positive

V, v = sp.symbols("V v", positive=True)
"""V(u) and V(u/2)."""

B = (1 + v) / 4
"""E s(u z)^2, the ratio of the geometric series of the cell's variance."""

VAR_C = V * (1 + v) / (3 - v)


def product_rule() -> tuple[Evidence, ...]:
    """NP (7): E[X^2] E[Y^2] - E[X]^2 E[Y]^2 in terms of means and variances."""
    mean_x, mean_y = sp.symbols("m_X m_Y", real=True)
    var_x, var_y = sp.symbols("v_X v_Y", nonnegative=True)
    of_product = (var_x + mean_x**2) * (var_y + mean_y**2) - mean_x**2 * mean_y**2
    printed = var_x * var_y + var_x * mean_y**2 + var_y * mean_x**2
    return (Identity("variance of a product", sp.expand(of_product - printed)),)


def sigmoid_moments() -> tuple[Evidence, ...]:
    """s(a) + s(-a) = 1, so that E s = 1/2; (s(a) - 1/2)^2 = tanh(a/2)^2 / 4, so that Var s(u z) = V(u/2)/4."""
    a = sp.Symbol("a", real=True)

    def sigmoid(argument: Any) -> Any:
        return 1 / (1 + sp.exp(-argument))

    by_tanh = (1 + sp.tanh(a / 2)) / 2
    return (
        Identity("the sigmoid by tanh", sp.simplify((by_tanh - sigmoid(a)).rewrite(sp.exp))),
        Identity("symmetry", sp.simplify(sigmoid(a) + sigmoid(-a) - 1)),
        Identity("square of the deviation", sp.expand((by_tanh - sp.Rational(1, 2)) ** 2 - sp.tanh(a / 2) ** 2 / 4)),
        Identity("second moment", sp.expand(v / 4 + sp.Rational(1, 4) - B)),
    )


def cell_variance() -> tuple[Evidence, ...]:
    """NP (8) with these moments; it solves v = B v + V B, and Var c (1 - B^t) solves the recursion from 0."""
    printed = V * (v / 4 + sp.Rational(1, 4)) / (1 - v / 4 - sp.Rational(1, 4))
    t = sp.Symbol("t", integer=True, nonnegative=True)
    ratio = sp.Symbol("B", positive=True)
    stationary = V * ratio / (1 - ratio)
    at_t = stationary * (1 - ratio**t)
    after = stationary * (1 - ratio ** (t + 1))
    return (
        Identity("NP (8) in V and v", sp.simplify(printed - VAR_C)),
        Identity("stationary", sp.simplify(B * VAR_C + V * B - VAR_C)),
        Identity("Var c by B", sp.simplify(stationary.subs(ratio, B) - VAR_C)),
        Identity("at the start", at_t.subs(t, 0)),
        Identity("step", sp.simplify(after - (ratio * at_t + V * ratio))),
    )


def hidden_variance() -> tuple[Evidence, ...]:
    """NP (12): tanh(gamma_c z) has mean 0 and variance V(gamma_c), so NP (7) leaves V(gamma_c) (Var s + E[s]^2)."""
    of_c = sp.Symbol("V_c", positive=True)
    var_s, mean_s = v / 4, sp.Rational(1, 2)
    return (Identity("NP (12)", sp.expand(of_c * var_s + of_c * mean_s**2 - of_c * B)),)


def first_step() -> tuple[Evidence, ...]:
    """Var c_1 is (1 - B) Var c, which is less: no preserved variance from a cell of zeros. For v = 1/3: 2/3 of it."""
    first = V * B
    return (
        Identity("Var c_1", sp.simplify(first - (1 - B) * VAR_C)),
        Positive("B", B),
        Difference("Var c_1 / Var c and 1, v = 1/3", (1 - B).subs(v, sp.Rational(1, 3)), 1),
    )


def deviation_of_a_sum() -> tuple[Evidence, ...]:
    """(gamma_x + gamma_h)^2, NP (9)-(10), exceeds gamma_x^2 + gamma_h^2, NP (22)-(23), by 2 gamma_x gamma_h."""
    gamma_x, gamma_h = sp.symbols("gamma_x gamma_h", positive=True)
    literal, independent = (gamma_x + gamma_h) ** 2, gamma_x**2 + gamma_h**2
    excess = sp.expand(literal - independent)
    at = {gamma_x: 2, gamma_h: 2}
    return (
        Identity("excess", sp.expand(excess - 2 * gamma_x * gamma_h)),
        Positive("which is positive", excess),
        Difference("variance for gains of 2 and 2", literal.subs(at), independent.subs(at)),
    )


w1, w2, x1, x2 = sp.symbols("w1 w2 x1 x2", real=True)
gamma = sp.Symbol("gamma", real=True)
LENGTH = sp.sqrt(w1**2 + w2**2)


def normalized() -> Any:
    """Y = <W, x>/|W| of a row of two entries, before the gain."""
    return (w1 * x1 + w2 * x2) / LENGTH


def row_gradient(x: Any, w: Any) -> Any:
    """NP (18) with its gain: gamma (x - y w/|W|)/|W|."""
    return gamma * (x - normalized() * w / LENGTH) / LENGTH


def weight_gradient() -> tuple[Evidence, ...]:
    """The derivative is NP (18) times the gain; without it 16/125 where 32/125 is right."""
    derivative = [sp.diff(gamma * normalized(), w) for w in (w1, w2)]
    residuals = [d - row_gradient(x, w) for d, x, w in zip(derivative, (x1, x2), (w1, w2), strict=True)]
    at = {w1: 3, w2: 4, x1: 1, x2: 0}
    right, printed = (derivative[0].subs(gamma, value).subs(at) for value in (2, 1))
    return (
        *(Identity(f"entry {place}", sp.simplify(found)) for place, found in enumerate(residuals, start=1)),
        Difference("with the gain 2, and without it", right, printed),
    )


def scaling_of_a_row() -> tuple[Evidence, ...]:
    """W -> a W with a > 0: the same y, and 1/a of the gradient. a = -1 turns the sign of y."""
    scale = sp.Symbol("a", positive=True)
    scaled = {w1: scale * w1, w2: scale * w2}
    gradient = row_gradient(x1, w1)
    at = {w1: 3, w2: 4, x1: 1, x2: 0}
    turned = normalized().subs({w1: -w1, w2: -w2}, simultaneous=True)
    return (
        Identity("output", sp.simplify(normalized().subs(scaled, simultaneous=True) - normalized())),
        Identity("gradient", sp.simplify(gradient.subs(scaled, simultaneous=True) - gradient / scale)),
        Difference("y for W and -W", normalized().subs(at), turned.subs(at)),
    )


def growth_of_a_row() -> tuple[Evidence, ...]:
    """<W, dW> = 0, so a step of length lr along -dW gives |W|^2 + lr^2 |dW|^2."""
    lr, upstream = sp.symbols("lr g", real=True)
    d1, d2 = (upstream * row_gradient(x, w) for x, w in ((x1, w1), (x2, w2)))
    after = (w1 - lr * d1) ** 2 + (w2 - lr * d2) ** 2
    return (
        Identity("<W, dW>", sp.simplify(w1 * d1 + w2 * d2)),
        Identity("length after the step", sp.simplify(after - (w1**2 + w2**2) - lr**2 * (d1**2 + d2**2))),
        NonNegative("growth of the squared length, for real lr and dW", lr**2 * (sp.Symbol("d", real=True) ** 2)),
    )


def folded() -> tuple[Evidence, ...]:
    """With h' = sqrt(Var h) h the constants fold: gates read (gamma_h/sqrt(Var h)) What h', and h' = s(o) tanh(r c)."""
    gamma_h, row, h, var_h, var_c, gamma_c, c, gate = sp.symbols("gamma_h What h V_h V_c gamma_c c o", positive=True)
    h_inner = sp.sqrt(var_h) * h
    folded_gamma_c = gamma_c / sp.sqrt(var_c)
    printed_h = gate * sp.tanh(gamma_c * c / sp.sqrt(var_c)) / sp.sqrt(var_h)
    return (
        Identity("recurrent product", sp.simplify(gamma_h * row * h - (gamma_h / sp.sqrt(var_h)) * row * h_inner)),
        Identity("state", sp.simplify(sp.sqrt(var_h) * printed_h - gate * sp.tanh(folded_gamma_c * c))),
    )


def determinant() -> tuple[Evidence, ...]:
    """The Jacobian of a step of two units in (h, c) has determinant prod(sh tanh(sc c) o') prod(f) det W_ho.

    `di` stands for the derivative of the gate i by its preactivation, and so on; `T` for sh tanh(sc c) and `dT` for its
    derivative by c. A multiple of the rows of c, taken from those of h, leaves T o' W_ho and zeros.
    """
    units = range(2)
    W = {gate: sp.Matrix(2, 2, sp.symbols(f"W_{gate}:4")) for gate in "ifgo"}
    i, f, g, o, di, df, dg, do, c, T, dT = (
        sp.diag(*sp.symbols(f"{name}:2")) for name in ("i", "f", "g", "o", "di", "df", "dg", "do", "c", "T", "dT")
    )
    dc_dh = df * c * W["f"] + di * g * W["i"] + i * dg * W["g"]
    dh_dh = T * do * W["o"] + o * dT * dc_dh
    jacobian = sp.Matrix(sp.BlockMatrix([[dh_dh, o * dT * f], [dc_dh, f]]))
    closed = sp.prod(T[n, n] * do[n, n] * f[n, n] for n in units) * W["o"].det()
    return (Identity("two units", sp.expand(jacobian.det(method="berkowitz") - closed)),)


def through_the_cell() -> tuple[Evidence, ...]:
    """dh_2/dh_0 is A_2 A_1 + B_2 C_1, where A = dh/dh, B = dh/dc, C = dc/dh of one step; NP (20)-(26) keep A_2 A_1."""
    steps = [sp.Matrix(2, 2, sp.symbols(f"A_{t} B_{t} C_{t} D_{t}")) for t in (1, 2)]
    total = (steps[1] * steps[0])[0, 0]
    partial = steps[1][0, 0] * steps[0][0, 0]
    ones = dict.fromkeys(total.free_symbols, sp.Rational(1, 2))
    return (
        Identity("the term left out is B_2 C_1", sp.expand(total - partial - steps[1][0, 1] * steps[0][1, 0])),
        Difference("all derivatives 1/2", total.subs(ones), partial.subs(ones)),
    )
