"""A linear map of all hidden states to the logits of classes: what its weights say of the steps, and what not.

Letters: T steps, H units, C classes. logits_c = sum over t of s_ct, plus b_c, with s_ct = <w_ct, h_t>.
"""

from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity, Positive

T, H, C = 3, 2, 2
"""Sizes that are written out."""

R = sp.Rational

h = [sp.Matrix(sp.symbols(f"h{t}_:{H}", real=True)) for t in range(T)]
w = [[sp.Matrix(sp.symbols(f"w{c}_{t}_:{H}", real=True)) for t in range(T)] for c in range(C)]
b = sp.symbols(f"b:{C}", real=True)


def relu(unit: Any) -> Any:
    """The positive part."""
    return (unit + sp.Abs(unit)) / 2


def contributions(weights: Any, states: Any) -> list[list[Any]]:
    """s[c][t] = <w_ct, h_t>."""
    return [[weight.dot(state) for weight, state in zip(of_class, states, strict=True)] for of_class in weights]


def logits(weights: Any, states: Any) -> list[Any]:
    """The linear map of the concatenated states."""
    flat = sp.Matrix.vstack(*states)
    return [sp.Matrix.vstack(*of_class).dot(flat) + bias for of_class, bias in zip(weights, b, strict=True)]


def completeness() -> tuple[Evidence, ...]:
    """The contributions of a class sum to its logit less the bias."""
    found = zip(contributions(w, h), logits(w, h), b, strict=True)
    return tuple(Identity(f"class {c}", sp.expand(sum(s) + bias - logit)) for c, (s, logit, bias) in enumerate(found))


def derived_from_standard() -> tuple[Evidence, ...]:
    """w_ct = 0 before the last step reads the last state alone, and w_ct = w_c / T the mean of all states."""
    zero = sp.zeros(H, 1)
    last = logits([[zero] * (T - 1) + [of_class[-1]] for of_class in w], h)
    pooled = logits([[of_class[0] / T] * T for of_class in w], h)
    mean = sum(h, zero) / T
    return (
        *(Identity(f"last state, class {c}", sp.expand(last[c] - w[c][-1].dot(h[-1]) - b[c])) for c in range(C)),
        *(Identity(f"mean state, class {c}", sp.expand(pooled[c] - w[c][0].dot(mean) - b[c])) for c in range(C)),
    )


def direct_gradient() -> tuple[Evidence, ...]:
    """Softmax cross-entropy of class 0 has the derivative sum over c of (p_c - y_c) w_ct in the state of every step."""
    z = logits(w, h)
    loss = sp.log(sum(sp.exp(logit) for logit in z)) - z[0]
    total = sum(sp.exp(logit) for logit in z)
    residuals = [sp.exp(logit) / total - (1 if c == 0 else 0) for c, logit in enumerate(z)]
    return tuple(
        Identity(
            f"step {t}, unit {unit}",
            sp.simplify(
                sp.diff(loss, h[t][unit]) - sum(p * w[c][t][unit] for c, p in enumerate(residuals)),
            ),
        )
        for t in range(T)
        for unit in range(H)
    )


def rescaled_states() -> tuple[Evidence, ...]:
    """h_t -> D_t h_t with w_ct -> D_t^-1 w_ct leaves every contribution, whatever the positive D_t.

    One D for all steps is another network with the same function if the units are positively homogeneous, as ReLU's
    are: W_hh -> D W_hh D^-1, W_ih -> D W_ih. With w_1 = (2, 0), w_2 = (0, 1) and D = diag(4, 1) the first step weighs
    twice as much as the second before, and half as much after.
    """
    scales = [sp.diag(*sp.symbols(f"d{t}_:{H}", positive=True)) for t in range(T)]
    scaled = contributions(
        [[scale.inv() * weight for scale, weight in zip(scales, of_class, strict=True)] for of_class in w],
        [scale * state for scale, state in zip(scales, h, strict=True)],
    )
    kept = contributions(w, h)
    unit, scale = sp.Symbol("u", real=True), sp.Symbol("d", positive=True)
    D, first, second = sp.diag(4, 1), sp.Matrix([2, 0]), sp.Matrix([0, 1])
    return (
        *(
            Identity(f"contribution of step {t} to class {c}", sp.expand(scaled[c][t] - kept[c][t]))
            for c in range(C)
            for t in range(T)
        ),
        Identity("ReLU is positively homogeneous", sp.expand(relu(scale * unit) - scale * relu(unit))),
        Difference(
            "|w_1| / |w_2|, before and after",
            first.norm() / second.norm(),
            (D.inv() * first).norm() / (D.inv() * second).norm(),
        ),
    )


def running_sum() -> tuple[Evidence, ...]:
    """h_t = h_{t-1} + x_t with a weight at the last step alone: every input counts alike, and only one step has weight.

    It is an RNN with the identity, or ReLU and x > 0. The contribution of the last step is the whole logit.
    """
    x = sp.symbols(f"x:{T}", positive=True)
    states = [sum(x[: t + 1]) for t in range(T)]
    weights = [0] * (T - 1) + [1]
    s = [weight * state for weight, state in zip(weights, states, strict=True)]
    slopes = [sp.diff(sum(s), entry) for entry in x]
    return (
        *(Identity(f"contribution of step {t}", s[t]) for t in range(T - 1)),
        *(
            Identity(f"derivative in the input of step {t}, less that of the last", slopes[t] - slopes[-1])
            for t in range(T)
        ),
        Difference("share of step 0: of the weights, of the derivatives", R(weights[0]), R(slopes[0], sum(slopes))),
    )


def interpolation() -> tuple[Evidence, ...]:
    """N cases in general position, N <= T H + 1, are fitted with any logits: X X^+ z = z where X has the rank N.

    X has a row (states, 1) for each case. It has the rank N but where det X X^T vanishes, which is a polynomial that is
    not 0 everywhere: for cases x, y and the bias it is (x - y)^2.
    """
    X = sp.Matrix(2, 3, [*sp.symbols("x1 x2", real=True), 1, *sp.symbols("y1 y2", real=True), 1])
    z = sp.Matrix(sp.symbols("z1 z2", real=True))
    weights = X.T * (X * X.T).inv() * z
    one, other = sp.symbols("x y", real=True)
    square = sp.Matrix([[one, 1], [other, 1]])
    gap = sp.Symbol("g", positive=True)
    gram = (square * square.T).det()
    return (
        *(Identity(f"logit of case {case}", sp.simplify((X * weights - z)[case])) for case in range(2)),
        Identity("determinant for one unit", sp.expand(gram - (one - other) ** 2)),
        Positive("which is not 0 for two different cases", sp.expand(gram.subs(one, other + gap))),
    )
