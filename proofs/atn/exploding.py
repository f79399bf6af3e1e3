"""The sentences of section 1 about vanishing and exploding gradients, at fixed points of networks of one or two units.

A state that a step maps to itself is a trajectory, along which the gradient is a power of one Jacobian.
"""

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity

STEPS = 10


def gated_cells_explode() -> tuple[Evidence, ...]:
    """At the origin, without biases, the LSTM and the GRU of one unit multiply a gradient by (w + 2)/4 each step.

    There i = f = o = r = z = 1/2 and g = n = 0; w is the weight of g or n.
    """
    w = sp.Symbol("w", real=True)
    half = sp.Rational(1, 2)
    dc_dh, dc_dc = half * w, half
    lstm = sp.Matrix([[half * dc_dh, half * dc_dc], [dc_dh, dc_dc]])
    gru = (1 - half) * half * w + half
    growth = (w + 2) / 4
    return (
        Identity("LSTM: trace", sp.expand(lstm.trace() - growth)),
        Identity("LSTM: determinant", sp.expand(lstm.det())),
        Identity("GRU", sp.expand(gru - growth)),
        Difference(f"growth in {STEPS} steps for w = 6 and w = 2", *(growth.subs(w, v) ** STEPS for v in (6, 2))),
    )


def gates_keep_a_gradient() -> tuple[Evidence, ...]:
    """Without a recurrent product a change of c is multiplied by f each step: it stays for f = 1, or decays."""
    f = sp.Symbol("f", positive=True)
    s = sp.Symbol("s", real=True)
    step = sp.Matrix([[0, s * f], [0, f]])
    return (
        Identity("what T = 3 steps leave of a change of c", (step**3)[1, 1] - f**3),
        Identity("f = 1", (step**3)[1, 1].subs(f, 1) - 1),
        Difference(f"f = 1 and f = 1/2 after {STEPS} steps", sp.Integer(1), sp.Rational(1, 2) ** STEPS),
    )


def norms_do_not_prevent_it() -> tuple[Evidence, ...]:
    """H' = tanh(gain N((h, -h))) of two units has the slope gain/sqrt(eps) at h = 0, for LN and for ATN with any k.

    A window of zeros and of (a, -a) has mean 0 and the variance a^2/K, so that the newest row is divided by
    sqrt(a^2/K + eps). With eps = 1/100 and a gain of 1 the gradient grows tenfold a step, where it is constant without
    the norm.
    """
    a, gamma, eps, K = sp.symbols("a gamma eps K", positive=True)
    at = sp.Symbol("a", real=True)
    normalized = gamma * at / sp.sqrt(at**2 / K + eps)
    slope = sp.diff(sp.tanh(normalized), at).subs(at, 0)
    values = {gamma: 1, eps: sp.Rational(1, 100)}
    rows = [0, 0, a, -a]  # K = 2
    return (
        Identity("mean of the window", sum(rows)),
        Identity("variance of the window", sp.expand(sum(row**2 for row in rows) / 4 - a**2 / 2)),
        Identity("slope", sp.simplify(slope - gamma / sp.sqrt(eps))),
        Difference(f"growth in {STEPS} steps, normalized and plain", slope.subs(values) ** STEPS, sp.Integer(1)),
    )
