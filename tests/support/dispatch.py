"""Runs a problem of any kind."""

from collections.abc import Callable

from torch import Tensor

from tests.support.hidden_cells import HIDDEN_BACKENDS, run_hidden_oracle, run_hidden_torch
from tests.support.problems import AnyProblem, HiddenProblem, LSTMProblem
from tests.support.runners import (
    BACKENDS,
    Result,
    as_it_is,
    run_lstm_oracle,
    run_lstm_torch,
    run_norm_oracle,
    run_norm_torch,
)


def backends_of(problem: AnyProblem) -> tuple[str, ...]:
    """Backends that have what the problem needs, and that the suite holds to the oracle."""
    return HIDDEN_BACKENDS if isinstance(problem, HiddenProblem) else BACKENDS


def run_oracle(problem: AnyProblem) -> Result:
    """Forward and backward of `problem` by the oracle."""
    if isinstance(problem, HiddenProblem):
        return run_hidden_oracle(problem)
    return run_lstm_oracle(problem) if isinstance(problem, LSTMProblem) else run_norm_oracle(problem)


def run_torch(
    problem: AnyProblem,
    backend: str,
    dtype: str,
    device: str = "cpu",
    *,
    arrange: Callable[[Tensor], Tensor] = as_it_is,
) -> Result:
    """Forward and backward of `problem` by the library, with every tensor but the parameters through `arrange`."""
    if isinstance(problem, HiddenProblem):
        return run_hidden_torch(problem, backend, dtype, device, arrange=arrange)
    if isinstance(problem, LSTMProblem):
        return run_lstm_torch(problem, backend, dtype, device, arrange=arrange)
    return run_norm_torch(problem, backend, dtype, device, arrange=arrange)
