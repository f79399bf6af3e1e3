"""States passed between the windows of a series by MPTT's policies, with frozen weights; and what a window cannot know.

Letters: mu mean of earlier epochs, hbar mean of what this epoch wrote, c its count, delta weight of mu, n length of a
window, a retention of a linear cell or of the reservoir.
"""

from typing import Any

import sympy as sp

from proofs.evidence import Difference, Evidence, Identity, Positive

a, delta, c = sp.symbols("a delta c", positive=True)
n = sp.Symbol("n", integer=True, positive=True)


def _passed(mu: Any, hbar: Any, count: Any, weight: Any = delta) -> Any:
    """What is read, and what the mean becomes where it is passed on."""
    return (weight * mu + count * hbar) / (weight + count)


def _reads(epochs: int, least: int, written: Any, weight: Any) -> list[Any]:
    """What is read after each epoch, of an entry that starts at 0 and is written once an epoch."""
    mu, total, count = sp.S.Zero, sp.S.Zero, 0
    found = []
    for epoch in range(1, epochs + 1):
        total, count = total + written(epoch), count + 1
        found.append(_passed(mu, total / count, count, weight))
        if count >= least:
            mu, total, count = found[-1], sp.S.Zero, 0
    return found


def keeper() -> tuple[Evidence, ...]:
    """A pass leaves of the distance to what is written the factor delta/(delta + c).

    With one write an epoch, delta = 1 and passes from c = 1 on the initial zero keeps 1/2, 1/4, 1/8, ...; with the
    released code's c > 1 it keeps 1/2, 1/3, 1/6, 1/9, 1/18, ...
    """
    mu, exact = sp.symbols("mu h", real=True)
    sequences = {
        1: [sp.Rational(1, 2**epoch) for epoch in range(1, 7)],
        2: [sp.Rational(1, 2 ** (epoch % 2) * 3 ** (epoch // 2)) for epoch in range(1, 7)],
    }
    evidence: list[Evidence] = [
        Identity(
            "distance after a pass", sp.simplify(exact - _passed(mu, exact, c) - delta / (delta + c) * (exact - mu))
        )
    ]
    for least, expected in sequences.items():
        found = _reads(6, least, lambda _: exact, sp.S.One)
        evidence += [
            Identity(f"passes from c = {least} on, epoch {epoch}", sp.expand(exact - read - left * exact))
            for epoch, (read, left) in enumerate(zip(found, expected, strict=True), start=1)
        ]
    return (*evidence, Difference("after two epochs by the two rules", sequences[1][1], sequences[2][1]))


def stale() -> tuple[Evidence, ...]:
    """With delta = 0 and passes from c = 1 on, what is read was written in the last epoch.

    With the released c > 1 and one write an epoch, in every second epoch half of it is of the epoch before.
    """
    h = [sp.Symbol(f"h_{epoch}") for epoch in range(5)]
    newest, mixed = (_reads(4, least, lambda epoch: h[epoch], sp.S.Zero) for least in (1, 2))
    expected = [h[1], (h[1] + h[2]) / 2, h[3], (h[3] + h[4]) / 2]
    return (
        *(Identity(f"passes from c = 1 on, epoch {epoch}", newest[epoch - 1] - h[epoch]) for epoch in range(1, 5)),
        *(
            Identity(f"c > 1, epoch {i}", sp.expand(read - value))
            for i, (read, value) in enumerate(zip(mixed, expected, strict=True), 1)
        ),
    )


def _messages(window: Any, windows: int, epochs: int) -> list[list[Any]]:
    """What each window reads after 0, 1, ... epochs: all at once, delta = 0, s = n, passes from c = 1 on."""
    reads = [[sp.S.Zero] * windows]
    for _ in range(epochs):
        reads.append([sp.S.Zero, *(window(place, state) for place, state in enumerate(reads[-1][:-1]))])
    return reads


def exact_heads() -> tuple[Evidence, ...]:
    """With any cell, after e epochs the heads 0, 1, ..., e have the state of one pass from the beginning.

    F_i is window i as a function of its initial state. One epoch in order, one window at a time, is enough.
    """
    windows = 6
    cell = [sp.Function(f"F_{place}") for place in range(windows)]
    exact = [sp.S.Zero]
    for place in range(windows - 1):
        exact.append(cell[place](exact[-1]))
    reads = _messages(lambda place, state: cell[place](state), windows, windows - 1)
    in_order = [sp.S.Zero] * windows
    for place in range(windows - 1):
        in_order[place + 1] = cell[place](in_order[place])
    return (
        *(
            Identity(f"head {place} after {epoch} epochs", reads[epoch][place] - exact[place])
            for epoch in range(windows)
            for place in range(epoch + 1)
        ),
        *(Identity(f"head {place} in order", in_order[place] - exact[place]) for place in range(windows)),
    )


def contraction() -> tuple[Evidence, ...]:
    """Of a linear cell the other heads lack a^(n e) times the exact state e windows before.

    A window is h -> a^n h + b_i. The largest Lyapunov exponent is log a, so an epoch multiplies by e^(n log a).
    """
    windows = 6
    b = sp.symbols(f"b_:{windows}")

    def window(place: int, state: Any) -> Any:
        return a**n * state + b[place]

    exact = [sp.S.Zero]
    for place in range(windows - 1):
        exact.append(window(place, exact[-1]))
    reads = _messages(window, windows, windows - 1)
    return (
        *(
            Identity(
                f"head {place} after {epoch} epochs",
                sp.expand(exact[place] - reads[epoch][place] - a ** (n * epoch) * exact[place - epoch]),
            )
            for epoch in range(windows)
            for place in range(epoch, windows)
        ),
        Identity("as an exponent", sp.simplify(sp.exp(n * sp.log(a)) - a**n)),
    )


def floor() -> tuple[Evidence, ...]:
    """S_t = a S_{t-1} + sqrt(1 - a^2) u_t: beginning anew in a window costs a^2 (1 - a^(2n)) / (n (1 - a^2)) of Var S.

    After j steps all but a^j S of the level S before the window is known, and S is independent of the window's inputs,
    so that no function of them has a smaller mean square error than the variance of a^j S.
    """
    j = sp.Symbol("j", integer=True, positive=True)
    q = sp.Symbol("q", positive=True)  # a^2, below 1
    inputs = sp.symbols("u_1:5")
    level = start = sp.Symbol("S")
    for u in inputs:
        level = a * level + sp.sqrt(1 - a**2) * u
    known = sum(a ** (4 - place) * sp.sqrt(1 - a**2) * u for place, u in enumerate(inputs, 1))
    # The error of a guess g of S, which has mean 0 and variance 1: its powers by their means.
    guess = sp.Symbol("g", real=True, nonzero=True)
    square = sp.Poly((start - guess) ** 2, start)
    moments = {0: 1, 1: 0, 2: 1}
    mean_square = sum(square.coeff_monomial(start**power) * moment for power, moment in moments.items())
    # The sum over j, by its telescoping: each term is the difference of neighboring values of the closed form.
    closed = q * (1 - q**j) / (1 - q)
    return (
        Identity("the variance is 1", sp.expand(a**2 * 1 + (1 - a**2) - 1)),
        Identity("what is not known after 4 steps", sp.expand(level - known - a**4 * start)),
        Identity("sum of the first term", sp.simplify(closed.subs(j, 1) - q)),
        Identity("one term more", sp.simplify(closed.subs(j, j + 1) - closed - q ** (j + 1))),
        Identity("mean square error of a guess", sp.expand(mean_square - 1 - guess**2)),
        Positive("which is least for the guess 0", guess**2),
    )
