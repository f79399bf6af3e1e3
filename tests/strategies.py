"""Hypothesis strategies: the one place where problems are drawn. A new feature extends these.

Lengths 1, windows of one step and windows longer than the sequence are drawn on purpose, not by luck.
"""

from hypothesis import strategies as st

from tests.problems import Base, LSTMProblem, NormProblem

seeds = st.integers(0, 2**32 - 1)


def windows(T: int) -> st.SearchStrategy[int]:
    """Window lengths k: 1 (no memory), inside the sequence, and at least as long as the sequence."""
    return st.one_of(st.just(1), st.integers(1, T), st.integers(T, 2 * T + 1))


@st.composite
def norm_problems(draw: st.DrawFn, *, offset: float = 0.0) -> NormProblem:
    """Draw one call of assorted-time normalization, base layer or batch.

    Rows that are constant over the features are drawn for base layer, with eps large enough that 1/sqrt(var + eps)
    stays below 30: dividing by a smaller root amplifies rounding without bound, which is the problem's condition and
    not the implementation's error.
    """
    T = draw(st.integers(1, 12))
    constant_row = draw(st.booleans())
    base: Base = draw(st.sampled_from(("layer", "batch")))
    return NormProblem(
        T=T,
        B=draw(st.integers(1 if base == "layer" else 2, 5)),
        N=draw(st.integers(2 if base == "layer" else 1, 9)),
        k=draw(windows(T)),
        base=base,
        affine=draw(st.booleans()),
        eps=1e-2 if constant_row else draw(st.sampled_from((1e-5, 1e-3, 1.0))),
        offset=offset,
        constant_row=constant_row,
        seed=draw(seeds),
    )


@st.composite
def lstm_problems(draw: st.DrawFn) -> LSTMProblem:
    """Draw one forward and backward pass of an LSTM, normalised or plain.

    eps keeps 1/sqrt(var + eps) at 10 or below and H keeps more than two cells in a pool: each norm of each layer and
    step passes a rounding on times its root, and what is tested is the arithmetic, not the problem's condition.
    """
    T = draw(st.integers(1, 9))
    return LSTMProblem(
        T=T,
        B=draw(st.integers(1, 4)),
        I=draw(st.integers(1, 5)),
        H=draw(st.integers(3, 6)),
        layers=draw(st.integers(1, 3)),
        directions=draw(st.integers(1, 2)),
        norm=draw(st.sampled_from(("atn", "atn", "ln", "none"))),
        k=draw(windows(T)),
        eps=draw(st.sampled_from((1e-2, 1e-1, 1.0))),
        bias_placement=draw(st.sampled_from(("outside", "inside"))),
        bias=draw(st.booleans()),
        affine=draw(st.booleans()),
        initial_state=draw(st.booleans()),
        seed=draw(seeds),
    )
