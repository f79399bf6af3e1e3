"""Hypothesis strategies of whole problems, which `problems.py` draws."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hypothesis import example
from hypothesis import strategies as st

from tests.support.problems import (
    LARGEST_SEED,
    AnyProblem,
    HiddenProblem,
    LSTMProblem,
    NormProblem,
    draw_eager_hidden_problem,
    draw_eager_lstm_problem,
    draw_hidden_problem,
    draw_lstm_problem,
    draw_norm_problem,
)

S = TypeVar("S")
Test = TypeVar("Test", bound=Callable[..., Any])

seeds = st.integers(0, LARGEST_SEED)


class HypothesisDraw:
    """Draws by hypothesis, which shrinks what fails."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, least: int, most: int) -> int:
        """An integer from `least` to `most`, both included."""
        return self._draw(st.integers(least, most))

    def choice(self, options: Sequence[S]) -> S:
        """One of `options`."""
        return self._draw(st.sampled_from(options))


@st.composite
def norm_problems(draw: st.DrawFn, *, offset: float = 0.0) -> NormProblem:
    """Draw one call of assorted-time normalization, base layer or batch."""
    return draw_norm_problem(HypothesisDraw(draw), offset=offset)


@st.composite
def lstm_problems(draw: st.DrawFn) -> LSTMProblem:
    """Draw one forward and backward pass of an LSTM, normalized or plain."""
    return draw_lstm_problem(HypothesisDraw(draw))


@st.composite
def hidden_problems(draw: st.DrawFn) -> HiddenProblem:
    """Draw one forward and backward pass of an RNN or a GRU, normalized or plain."""
    return draw_hidden_problem(HypothesisDraw(draw))


@st.composite
def eager_lstm_problems(draw: st.DrawFn) -> LSTMProblem:
    """Draw one pass of an LSTM with batch statistics, detached statistics or AdaNorm."""
    return draw_eager_lstm_problem(HypothesisDraw(draw))


@st.composite
def eager_hidden_problems(draw: st.DrawFn) -> HiddenProblem:
    """Draw one pass of an RNN or a GRU with batch statistics, detached statistics or AdaNorm."""
    return draw_eager_hidden_problem(HypothesisDraw(draw))


def with_edges(problems: Iterable[AnyProblem]) -> Callable[[Test], Test]:
    """Decorator of a test of a drawn `problem`: it runs these too, whatever is drawn."""

    def decorate(test: Test) -> Test:
        for problem in problems:
            test = example(problem=problem)(test)
        return test

    return decorate
