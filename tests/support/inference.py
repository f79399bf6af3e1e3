"""Whether a layer infers, whole and in a stream, what it computes while training."""

from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from tests.support.hidden_cells import make_hidden_module
from tests.support.problems import HiddenProblem, LSTMProblem
from tests.support.runners import DTYPES, make_module

STREAMED_TO_THE_BIT = frozenset({"fused"})
"""Backends whose products do not depend on the number of steps in a call."""


def wrong_inferences(problem: LSTMProblem | HiddenProblem, backend: str, dtype: str) -> list[str]:
    """Ways to infer, of those that the problem has, whose results are not those of training to the bit."""
    if isinstance(problem, LSTMProblem):
        module: Any = make_module(problem, backend, dtype)
    else:
        module = make_hidden_module(problem, backend, dtype)
    x, *states = (
        torch.tensor(problem.arrays[name], dtype=DTYPES[dtype])
        for name in ("x", "h_0", "c_0")
        if name in problem.arrays and (name == "x" or problem.initial_state)
    )
    hx = None if not states else tuple(states) if len(states) > 1 else states[0]
    output, last = module(x, hx)
    with torch.no_grad():
        found = {"forward": module(x, hx)}
        # The state of Norm-Prop is scaled where a chunk ends and begins, which rounds.
        streams = backend in STREAMED_TO_THE_BIT and problem.norm != "prop"
        if streams and problem.directions == 1 and hx is None:
            found["stream"] = _streamed(module, x)
    expected = tree_leaves((output, last))
    return [
        way
        for way, results in found.items()
        if not all(_same(a, b) for a, b in zip(tree_leaves(results), expected, strict=True))
    ]


def _streamed(module: Any, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Output and last states of a stream of a step, then one of the others together."""
    chunks = [chunk for chunk in (x[:1], x[1:]) if len(chunk)]
    state, parts = None, []
    for chunk in chunks:
        part, state = module.stream(chunk, state)
        parts.append(part)
    assert state is not None
    return torch.cat(parts), tuple(state[: len(module.state_names)])


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have the same numbers, or are not numbers at the same places."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
