"""Problems at sizes where a slip hides from most others; what is drawn may miss them, so tests run them always.

One step, one case, windows of one step, up to the sequence's length, of just that, of one more and of far more, and
rows that are constant over the features.
"""

import dataclasses
from typing import NamedTuple, get_args

from atn.choices import Base
from tests.support.problems import HiddenCell, HiddenProblem, LSTMProblem, NormProblem


class Edge(NamedTuple):
    """Sizes of a problem."""

    T: int
    B: int
    k: int
    constant_row: bool = False


EDGES = (
    Edge(T=1, B=1, k=1),
    Edge(T=1, B=3, k=2),
    Edge(T=5, B=1, k=1),
    Edge(T=5, B=2, k=4),
    Edge(T=5, B=1, k=5),
    Edge(T=5, B=2, k=6),
    Edge(T=5, B=1, k=11),
    Edge(T=5, B=2, k=1, constant_row=True),
    Edge(T=5, B=1, k=3, constant_row=True),
)

NORM_EDGES = [
    NormProblem(
        T=T, B=B, N=4, k=k, base=base, affine=True, eps=1e-2, offset=0.0, constant_row=constant_row,
        seed=T + k,
    )
    for T, B, k, constant_row in EDGES
    for base in get_args(Base)
]  # fmt: skip

LSTM_EDGES = [
    LSTMProblem(
        T=T, B=B, I=3, H=4, layers=1, directions=1, norm="atn", k=k, eps=1e-1, bias_placement="outside", bias=True,
        affine=True, initial_state=False, seed=T + k, constant_row=constant_row,
    )
    for T, B, k, constant_row in EDGES
]  # fmt: skip
"""The first product with W_hh, of no initial state, is a constant row in each."""

HIDDEN_EDGES = [
    HiddenProblem(**dataclasses.asdict(problem), cell=cell) for problem in LSTM_EDGES for cell in get_args(HiddenCell)
]
