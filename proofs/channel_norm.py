"""Channel normalization in a linear convolutional network of one channel that is fitted to one example.

Circular convolutions are circulant matrices. Proofs about these are for every entry symbolic and several sizes; what
concerns the norm alone is for any number n of samples.
"""

from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity, NonNegative, Positive
from proofs.sums import n, over_units, residual, s

SIZES = (2, 3, 4, 5)
"""Numbers of samples for which circulants are written out."""

FREQUENCIES = ((5, 1), (5, 2), (8, 1), (8, 3), (12, 5))
"""Numbers of samples N and frequencies f, 0 < f < N/2."""

z = sp.IndexedBase("z", real=True)
scale = sp.Symbol("s", positive=True)
w1, w2, w3, y1, y2, y3 = sp.symbols("w1 w2 w3 y1 y2 y3", real=True)


def circulant(column: Any) -> Any:
    """Matrix of the circular convolution with these entries."""
    size = len(column)
    return sp.Matrix(size, size, lambda t, j: column[(t - j) % size])


def centering(size: int) -> Any:
    """Matrix I - 1 1^T / N, which takes the mean off."""
    return sp.eye(size) - sp.ones(size) / size


def _variance(term: Any) -> Any:
    mean = over_units(term) / n
    return over_units((term - mean) ** 2) / (n - 1)


def collapse() -> tuple[Evidence, ...]:
    """CN(w * CN(v)) = CN(w * v), from the innermost norm to the last, whatever the depth.

    Circulants commute with one another and with centering, so CN(v) = P v / sd leaves w * CN(v) = P (w * v) / sd. The
    next norm takes the mean and the factor 1/sd off: its variance is blind to the one, and homogeneous in the other.
    """
    offset = sp.Symbol("m", real=True)
    evidence: list[Evidence] = []
    for size in SIZES:
        w, v = (sp.symbols(f"{name}:{size}") for name in ("w", "v"))
        P, C = centering(size), circulant(w)
        evidence += [
            Identity(f"centering and a convolution commute, N = {size}", _largest(P * C - C * P)),
            Identity(f"two convolutions commute, N = {size}", _largest(C * circulant(v) - circulant(v) * C)),
        ]
    return (
        *evidence,
        Identity("variance of a scaled channel", residual(_variance(scale * z[s]), scale**2 * _variance(z[s]))),
        Identity("variance of a shifted channel", residual(_variance(z[s] + offset), _variance(z[s]))),
    )


def _largest(matrix: Any) -> Any:
    """0 if every entry expands to 0, and otherwise an entry that does not."""
    return next((entry for entry in map(sp.expand, matrix) if entry != 0), sp.S.Zero)


def _direction() -> tuple[Any, Any, Any]:
    """V = X w, u = v/|v|, and y."""
    v, y = sp.Matrix([w1, w2, w3]), sp.Matrix([y1, y2, y3])
    return v, v / sp.sqrt(v.dot(v)), y


def projected_gradient() -> tuple[Evidence, ...]:
    """The gradient of <u, y> in v is (I - u u^T) y / |v|, which has no part along v.

    With v = X w the chain rule gives X^T (I - u u^T) y / |X w| in the filter, and <w, dw> = <v, dv> = 0.
    """
    v, u, y = _direction()
    derivative = sp.Matrix([sp.diff(u.dot(y), entry) for entry in v])
    formula = (sp.eye(3) - u * u.T) * y / sp.sqrt(v.dot(v))
    parts = [Identity(f"entry {place}", sp.simplify(part)) for place, part in enumerate(derivative - formula, start=1)]
    return (*parts, Identity("<v, dv>", sp.simplify(v.dot(formula))))


def filters_grow() -> tuple[Evidence, ...]:
    """A filter times s > 0 leaves the output, so <w, dw> = 0 and the gradient is 1/s of it; a step lengthens w."""
    v, u, y = _direction()
    scaled = {entry: scale * entry for entry in v}
    lr = sp.Symbol("lr", real=True)
    gradient = (sp.eye(3) - u * u.T) * y / sp.sqrt(v.dot(v))
    after = v - lr * gradient
    growth = sp.simplify(after.dot(after) - v.dot(v) - lr**2 * gradient.dot(gradient))
    inverse = sp.simplify(gradient[0].subs(scaled, simultaneous=True) - gradient[0] / scale)
    return (
        Identity("output", sp.simplify(u.dot(y).subs(scaled, simultaneous=True) - u.dot(y))),
        Identity("gradient", inverse),
        Identity("squared length after a step, less lr^2 |dw|^2", growth),
        NonNegative("growth", (lr * sp.Symbol("d", real=True)) ** 2),
    )


def gradient_bound() -> tuple[Evidence, ...]:
    """|y|^2 less |(I - u u^T) y|^2 is <u, y>^2: a projection lengthens nothing, so |dw| <= |X| |y| / |X w|.

    Where a filter nearly annuls the signal, |X w| near 0, that bound is no bound: the gradient grows as its inverse.
    """
    v, u, y = _direction()
    projected = (sp.eye(3) - u * u.T) * y
    near = {w1: sp.Rational(1, 100), w2: 0, w3: 0, y1: 0, y2: 1, y3: 0}
    far = {**near, w1: 1}
    second = (projected / sp.sqrt(v.dot(v)))[1]
    return (
        Identity("what a projection takes", sp.simplify(y.dot(y) - projected.dot(projected) - u.dot(y) ** 2)),
        Difference("dv at |v| = 1 and at |v| = 1/100", second.subs(far), second.subs(near)),
    )


def released_projection() -> tuple[Evidence, ...]:
    """With the scalar <u, u> = 1 for u u^T, I - 1 is I less a matrix of ones, whose part X^T 1 <1, y> is 0.

    So X^T y / |X w| is plotted, whose product with w is <u, y> and not 0: for x = (1, -1), w = (1, 0), y = (1, 0) it
    is 1/|X w|.
    """
    evidence: list[Evidence] = []
    for size in SIZES:
        entries = sp.symbols(f"x:{size - 1}")
        X = circulant((*entries, -sum(entries)))
        evidence.append(Identity(f"X^T 1, N = {size}", _largest(X.T * sp.ones(size, 1))))
    X, w, y = circulant((1, -1)), sp.Matrix([1, 0]), sp.Matrix([1, 0])
    v = X * w
    right = w.dot(X.T * (y - v * v.dot(y) / v.dot(v)))
    released = w.dot(X.T * (sp.eye(2) - sp.ones(2)) * y)
    return (*evidence, Difference("<w, dw> |X w|: released, and right", released, right))


def fourier_law() -> tuple[Evidence, ...]:
    """At 0 < f < N/2 a filter of N entries N(0, 1/N) has |what(f)|^2 ~ Exp(1).

    Real and imaginary part are uncorrelated and each has the variance 1/2; the sum of their squares exceeds r with
    probability e^-r. For the product of d such filters log|.|^2 has the mean -d gamma and the variance d pi^2/6: what
    is typical vanishes though the mean square stays 1.
    """
    t, r = sp.symbols("t r", positive=True)
    evidence: list[Evidence] = []
    for size, f in FREQUENCIES:
        angles = [2 * sp.pi * f * place / size for place in range(size)]
        real, imaginary = [sp.cos(angle) for angle in angles], [sp.sin(angle) for angle in angles]
        moments = {
            "E Re^2 - 1/2": sum(value**2 for value in real) / size - sp.Rational(1, 2),
            "E Im^2 - 1/2": sum(value**2 for value in imaginary) / size - sp.Rational(1, 2),
            "E Re Im": sum(a * b for a, b in zip(real, imaginary, strict=True)) / size,
        }
        evidence += [
            Identity(f"{name}, N = {size}, f = {f}", _roots_of_unity(moment)) for name, moment in moments.items()
        ]
    # In polar coordinates the density of two N(0, 1/2) is e^(-t^2)/pi, and a ring has the length 2 pi t.
    beyond = sp.integrate(2 * t * sp.exp(-(t**2)), (t, sp.sqrt(r), sp.oo))
    depth = sp.Symbol("d", positive=True)
    power = sp.Symbol("p", positive=True)
    cumulants = depth * sp.loggamma(1 + power)
    return (
        *evidence,
        Identity("survival function", sp.simplify(beyond - sp.exp(-r))),
        Identity("E X^p", sp.simplify(sp.integrate(t**power * sp.exp(-t), (t, 0, sp.oo)) - sp.gamma(1 + power))),
        Identity("mean square", sp.gamma(2) - 1),
        Identity("mean of the log", sp.simplify(sp.diff(cumulants, power).subs(power, 0) + depth * sp.EulerGamma)),
        Identity(
            "variance of the log", sp.simplify(sp.diff(cumulants, power, 2).subs(power, 0) - depth * sp.pi**2 / 6)
        ),
    )


def _roots_of_unity(expression: Any) -> Any:
    """The expression in exponentials, whose minimal polynomial is x if and only if it is 0."""
    x = sp.Symbol("x")
    return sp.S.Zero if sp.minimal_polynomial(expression, x) == x else expression


def exponential_time() -> tuple[Evidence, ...]:
    """L = (w_1 ... w_d - 1)^2/2 from w_i = a < 1: the time of gradient flow to w_i = b is at least exponential in d.

    All w_i stay equal, with dw/dt = w^(d-1) (1 - w^d), so the time is the integral of w^(1-d)/(1 - w^d) from a to b.
    Without the denominator, which only lengthens it, it is (a^(2-d) - b^(2-d))/(d - 2), and one layer more multiplies
    a^(2-d) by 1/a.
    """
    a, b, w, depth, rest = sp.symbols("a b w d q", positive=True)
    weights = sp.symbols("w_1:4")
    loss = (sp.prod(weights) - 1) ** 2 / 2
    equal = dict.fromkeys(weights, w)
    rates = [-sp.diff(loss, weight).subs(equal) for weight in weights]
    bound = (a ** (2 - depth) - b ** (2 - depth)) / (depth - 2)
    excess = w ** (1 - depth) / rest - w ** (1 - depth)
    return (
        *(
            Identity(f"rate of w_{place}, d = 3", sp.expand(rate - w**2 * (1 - w**3)))
            for place, rate in enumerate(rates, 1)
        ),
        Identity("the lower bound is the integral of w^(1-d)", sp.simplify(sp.diff(bound, b) - b ** (1 - depth))),
        Identity("from a on", bound.subs(b, a)),
        Identity(
            "what the denominator q = 1 - w^d adds, in w (1 - q = w^d)",
            sp.simplify(excess.subs(rest, 1 - w**depth) - w / (1 - w**depth)),
        ),
        Positive("which is positive", w / rest),
        Identity("one layer more", sp.simplify(a ** (2 - (depth + 1)) / a ** (2 - depth) - 1 / a)),
    )


def default_initialization() -> tuple[Evidence, ...]:
    """PyTorch's uniform(-m, m) with m = sqrt(6/((1 + 5) fan_in)) has the variance 1/(3 fan_in), not 1/fan_in.

    An input of variance 1 then leaves a layer with the amplitude 3^(-1/2), whatever the depth in front of it.
    """
    fan, x = sp.symbols("fan x", positive=True)
    most = sp.sqrt(6 / ((1 + 5) * fan))
    variance = sp.integrate(x**2, (x, -most, most)) / (2 * most)
    return (
        Identity("variance", sp.simplify(variance - 1 / (3 * fan))),
        Identity("amplitude of a layer", sp.simplify(sp.sqrt(fan * variance) - 1 / sp.sqrt(3))),
        Difference("variance of one tap, default and preserving", variance.subs(fan, 1), 1),
    )
