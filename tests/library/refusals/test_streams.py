"""States and restarts of a stream that are refused."""

import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from atn.carried import map_memory
from atn.state import HiddenMemory, LayerMemory, LSTMState
from tests.support.wrong_calls import A, Case, lstm, memory, module, pair, state, wrong_calls

WINDOWS = cast("LayerMemory", state().memory[0])
WITHOUT_AXES = memory().steps._replace(mean=torch.tensor(0.0), var=torch.tensor(0.0))


def in_two_layers() -> LSTMState:
    """A state whose layers hold one step and three."""
    long, short = state(T=4, k=4, num_layers=2), state(T=1, k=4, num_layers=2)
    return long._replace(memory=(short.memory[0], long.memory[1]))


def mapped(call: Callable[[Any, Tensor], object], given: Any) -> object:
    """The call on something made outside vmap, and on masks of two cases that vmap maps over."""
    return torch.func.vmap(lambda mask: call(given, mask))(torch.ones(3, 2).bool())


def gradient_of_a_reset(given: LSTMState, mask: Tensor) -> Tensor:
    gradient: Tensor = torch.func.grad(lambda h: given._replace(h=h).reset(mask).h.sum())(given.h)
    return gradient


CASES: list[Case] = [
    (
        "windows of unequal layers",
        lambda: lstm(k=4, num_layers=2).stream(A, in_two_layers()),
        ValueError,
        r"state.memory\[1\] must hold 1 steps as the first windows do, got 3",
    ),
    (
        "reset of unequal layers",
        lambda: in_two_layers().reset(torch.ones(2).bool()),
        ValueError,
        r"state.memory\[1\] must hold 1 steps as the first windows do, got 3",
    ),
    (
        "mask inside vmap",
        lambda: mapped(lambda given, mask: given.reset(mask).h, state()),
        ValueError,
        "mask must have the same values for all that vmap maps, got a tensor that it maps over",
    ),
    (
        "mask inside grad inside vmap",
        lambda: mapped(gradient_of_a_reset, state()),
        ValueError,
        "mask must have the same values for all that vmap maps",
    ),
    (
        "indices inside vmap",
        lambda: mapped(lambda given, mask: given.select(mask.long()).h, state()),
        ValueError,
        "indices must have the same values for all that vmap maps",
    ),
    (
        "reset inside vmap",
        lambda: mapped(lambda given, mask: given.stream(A, reset=mask.expand(4, 2))[0], lstm()),
        ValueError,
        "reset must have the same values for all that vmap maps",
    ),
    (
        "mask without values",
        lambda: state().reset(torch.zeros(2, dtype=torch.bool, device="meta")),
        ValueError,
        "mask must have values, got a tensor on the device meta",
    ),
    (
        "indices without values",
        lambda: state().select(torch.zeros(2, dtype=torch.int64, device="meta")),
        ValueError,
        "indices must have values, got a tensor on the device meta",
    ),
    (
        "reset sparse",
        lambda: lstm().stream(A, reset=torch.ones(4, 2).bool().to_sparse()),
        TypeError,
        "reset must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    (
        "mask nested",
        lambda: state().reset(torch.nested.nested_tensor([torch.ones(2).bool()], layout=torch.jagged)),
        TypeError,
        "mask must be a dense tensor, got a nested tensor",
    ),
    (
        "indices sparse",
        lambda: memory().select(torch.tensor([1, 0]).to_sparse()),
        TypeError,
        "indices must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    (
        "windows of a state numbers",
        lambda: state()._replace(memory=cast("Any", (1,))).reset(torch.ones(2).bool()),
        TypeError,
        r"state.memory\[0\] must be a LayerMemory, got int",
    ),
    (
        "windows of a norm none",
        lambda: state()._replace(memory=(WINDOWS._replace(hh=cast("Any", None)),)).detach(),
        TypeError,
        r"state.memory\[0\].hh must be a StepStatistics, got NoneType",
    ),
    (
        "windows without a variance",
        lambda: state()._replace(memory=(WINDOWS._replace(c=WINDOWS.c._replace(var=cast("Any", None))),)).to("cpu"),
        TypeError,
        r"state.memory\[0\].c.var must be a tensor, got NoneType",
    ),
    (
        "memory without steps",
        lambda: memory()._replace(steps=cast("Any", None)).reset(torch.ones(2).bool()),
        TypeError,
        "memory.steps must be a StepStatistics, got NoneType",
    ),
    (
        "memory without steps, detached",
        lambda: memory()._replace(steps=cast("Any", None)).detach(),
        TypeError,
        "memory.steps must be a StepStatistics, got NoneType",
    ),
    (
        "memory without a mean",
        lambda: memory()._replace(steps=memory().steps._replace(mean=cast("Any", 0.0))).to("cpu"),
        TypeError,
        "memory.steps.mean must be a tensor, got float",
    ),
    (
        "memory without an origin",
        lambda: memory()._replace(origin=cast("Any", None)).select(torch.tensor([0])),
        TypeError,
        "memory.origin must be a NormOrigin, got NoneType",
    ),
    (
        "stream in both directions",
        lambda: lstm(bidirectional=True).stream(A),
        ValueError,
        "stream needs bidirectional=False, got True",
    ),
    (
        "stream of a packed sequence",
        lambda: lstm().stream(pack_sequence([A[:, 0]])),
        TypeError,
        "input must be a tensor, got PackedSequence",
    ),
    ("stream of nothing", lambda: lstm().stream(A[:0]), ValueError, "input must have at least one element"),
    (
        "state a pair",
        lambda: lstm().stream(A, pair(1, 2, 5)),
        TypeError,
        "state must be the LSTMState of the call before, got tuple",
    ),
    (
        "state of another batch",
        lambda: lstm().stream(A, state(B=3)),
        ValueError,
        r"state.h must have shape .* = \(1, 2, 5\), got \(1, 3, 5\)",
    ),
    (
        "state of more layers",
        lambda: lstm().stream(A, state(num_layers=2)),
        ValueError,
        r"state.h must have shape .* got \(2, 2, 5\)",
    ),
    (
        "state, memory of more layers",
        lambda: lstm().stream(A, state()._replace(memory=state(num_layers=2).memory)),
        ValueError,
        "state.memory must have num_layers = 1 entries, got 2",
    ),
    (
        "state of a longer window",
        lambda: lstm().stream(A, state(k=4)),
        ValueError,
        "state must be of a module with k=2, got one of k=4",
    ),
    (
        "state of a shorter window",
        lambda: lstm(k=5).stream(A, state()),
        ValueError,
        "state must be of a module with k=5, got one of k=2",
    ),
    (
        "state of another norm",
        lambda: lstm(norm="none", k=None).stream(A, state()),
        ValueError,
        "state must be of a module with norm='none', got one of norm='atn'",
    ),
    (
        "state of another eps",
        lambda: lstm(eps=1e-3).stream(A, state()),
        ValueError,
        "state must be of a module with eps=0.001, got one of eps=1e-05",
    ),
    (
        "state of another bias_placement",
        lambda: lstm(bias_placement="inside").stream(A, state()),
        ValueError,
        "state must be of a module with bias_placement='inside', got one of bias_placement='outside'",
    ),
    (
        "state of no module",
        lambda: lstm().stream(A, state()._replace(origin=cast("Any", ("atn", 2)))),
        TypeError,
        "state.origin must be a StreamOrigin, got tuple",
    ),
    (
        "state of another hidden_size",
        lambda: lstm().stream(A, state(hidden_size=4)),
        ValueError,
        r"state.h must have shape .* = \(1, 2, 5\), got \(1, 2, 4\)",
    ),
    (
        "state, a window too long",
        lambda: lstm().stream(A, state()._replace(memory=state(k=4).memory)),
        ValueError,
        r"state.memory\[0\] must hold at most k-1 = 1 steps, got 3",
    ),
    (
        "state with windows",
        lambda: lstm(norm="none", k=None).stream(A, state(norm="none", k=None)._replace(memory=state().memory)),
        ValueError,
        r"state.memory\[0\] must be None for norm='none'",
    ),
    (
        "state, lengths of another batch",
        lambda: lstm().stream(A, state()._replace(lengths=(1, 0, 1))),
        ValueError,
        r"state.lengths must be B = 2 numbers from 0 to M = 1, the largest M, got \(1, 0, 1\)",
    ),
    (
        "state, lengths no tuple",
        lambda: lstm().stream(A, state()._replace(lengths=cast("Any", 2))),
        TypeError,
        "state.lengths must be None or a tuple of integers, one for each case, got 2",
    ),
    (
        "state, lengths no integers",
        lambda: lstm().stream(A, state()._replace(lengths=cast("Any", (1.0, 1.0)))),
        TypeError,
        r"state.lengths must be None or a tuple of integers, one for each case, got \(1.0, 1.0\)",
    ),
    (
        "state.reset of a state without h",
        lambda: state()._replace(h=cast("Any", None)).reset(torch.ones(2).bool()),
        TypeError,
        "state.h must be a tensor, got NoneType",
    ),
    (
        "state.select of a state without c",
        lambda: state()._replace(c=cast("Any", None)).select(torch.tensor([0])),
        TypeError,
        "state.c must be a tensor, got NoneType",
    ),
    (
        "state.detach of a state without c",
        lambda: state()._replace(c=cast("Any", None)).detach(),
        TypeError,
        "state.c must be a tensor, got NoneType",
    ),
    (
        "state, lengths beyond the windows",
        lambda: lstm().stream(A, state()._replace(lengths=(2, 0))),
        ValueError,
        r"state.lengths must be B = 2 numbers from 0 to M = 1",
    ),
    (
        "state, lengths below the windows",
        lambda: lstm().stream(A, state()._replace(lengths=(0, 0))),
        ValueError,
        r"state.lengths must be B = 2 numbers from 0 to M = 1, the largest M, got \(0, 0\)",
    ),
    (
        "state, lengths of bools",
        lambda: lstm().stream(A, state()._replace(lengths=(True, False))),
        TypeError,
        r"state.lengths must be None or a tuple of integers, one for each case, got \(True, False\)",
    ),
    (
        "state.reset, lengths of another batch",
        lambda: state()._replace(lengths=(1, 0, 1)).reset(torch.ones(2).bool()),
        ValueError,
        r"state.lengths must be B = 2 numbers from 0 to M = 1, the largest M, got \(1, 0, 1\)",
    ),
    (
        "state.reset of an h without axes",
        lambda: state()._replace(h=torch.tensor(0.0)).reset(torch.ones(2).bool()),
        ValueError,
        r"state.h must have 3 axes \(L, B, H\), got shape \(\)",
    ),
    (
        "state.detach without memory",
        lambda: state()._replace(memory=cast("Any", None)).detach(),
        TypeError,
        "state.memory must be a tuple with an entry for each layer, got NoneType",
    ),
    (
        "state of wn with windows",
        lambda: lstm(norm="wn", k=None).stream(A, state(norm="wn", k=None)._replace(memory=state().memory)),
        ValueError,
        r"state.memory\[0\] must be None for norm='wn', got LayerMemory",
    ),
    (
        "memory.reset of steps without axes",
        lambda: memory()._replace(steps=WITHOUT_AXES).reset(torch.ones(2) > 0),
        ValueError,
        r"memory.steps.mean must have 2 axes \(M, B\), got shape \(\)",
    ),
    (
        "memory, steps without axes",
        lambda: module(k=3).stream(A, memory()._replace(steps=WITHOUT_AXES)),
        ValueError,
        r"memory.steps.mean must have shape \(M, B\) = \(0, 2\), got \(\)",
    ),
    (
        "memory, position below 0",
        lambda: module(k=3).stream(A, memory()._replace(position=-1)),
        ValueError,
        "memory.position must be an integer of at least 0 that leaves room for T = 4 steps below 2[*][*]63, got -1",
    ),
    (
        "memory, position without room",
        lambda: module(k=3).stream(A, memory()._replace(position=2**63 - 4)),
        ValueError,
        "memory.position must be an integer of at least 0 that leaves room for T = 4 steps below 2[*][*]63, got 9",
    ),
    (
        "memory of the batch, lengths",
        lambda: module(base="batch", max_steps=4).stream(
            A, module(base="batch", max_steps=4).stream(A)[1]._replace(lengths=(1, 1, 1))
        ),
        ValueError,
        r"memory.lengths must be None for base='batch', got \(1, 1, 1\)",
    ),
    (
        "state.select, c of another batch",
        lambda: state()._replace(c=torch.zeros(1, 1, 5)).select(torch.tensor([0])),
        ValueError,
        r"state.c must have shape as state.h = \(1, 2, 5\), got \(1, 1, 5\)",
    ),
    (
        "state.reset, windows of another batch",
        lambda: state()._replace(memory=state(B=3).memory).reset(torch.ones(2).bool()),
        ValueError,
        r"state.memory\[0\].ih.mean must have shape \(M, B\) = \(1, 2\), got \(1, 3\)",
    ),
    ("reset a number", lambda: lstm().stream(A, reset=1), TypeError, "reset must be a tensor of bools, got int"),
    (
        "reset of numbers",
        lambda: lstm().stream(A, reset=torch.ones(4, 2)),
        TypeError,
        "reset must be a tensor of bools, got torch.float32",
    ),
    (
        "reset of cases",
        lambda: lstm().stream(A, reset=torch.ones(2).bool()),
        ValueError,
        r"reset must have shape \(T, B\) = \(4, 2\), got \(2,\)",
    ),
    (
        "reset, time first",
        lambda: lstm(batch_first=True).stream(A, reset=torch.ones(2, 4).bool()),
        ValueError,
        r"reset must have shape \(B, T\) = \(4, 2\), got \(2, 4\)",
    ),
    (
        "reset with a batch for input without",
        lambda: lstm().stream(A[:, 0], reset=torch.ones(4, 1).bool()),
        ValueError,
        r"reset must have shape \(T,\) = \(4,\), got \(4, 1\)",
    ),
    (
        "state.reset of steps",
        lambda: state().reset(torch.ones(4, 2).bool()),
        ValueError,
        r"mask must have shape \(B,\) = \(2,\), got \(4, 2\)",
    ),
    (
        "state.reset a list",
        lambda: state().reset(cast("Any", [True, False])),
        TypeError,
        "mask must be a tensor of bools, got list",
    ),
    (
        "state.select of bools",
        lambda: state().select(torch.ones(2).bool()),
        TypeError,
        "indices must be a tensor of int32 or int64, got torch.bool",
    ),
    (
        "state.select, rank",
        lambda: state().select(torch.tensor(0)),
        ValueError,
        r"indices must have one axis, got shape \(\)",
    ),
    (
        "state.select beyond",
        lambda: state().select(torch.tensor([0, 2])),
        ValueError,
        r"indices must be from 0 to 1, got \[0, 2\]",
    ),
    (
        "state.select below",
        lambda: state().select(torch.tensor([-1])),
        ValueError,
        r"indices must be from 0 to 1, got \[-1\]",
    ),
    (
        "state.select without a batch",
        lambda: lstm().stream(A[:, 0])[1].select(torch.tensor([0])),
        ValueError,
        "select needs a state with a batch",
    ),
    (
        "memory.reset of the batch",
        lambda: module(base="batch", max_steps=4).stream(A)[1].reset(torch.ones(2).bool()),
        ValueError,
        "reset needs base='layer', got 'batch'",
    ),
    (
        "memory.select of the batch",
        lambda: module(base="batch", max_steps=4).stream(A)[1].select(torch.tensor([0])),
        ValueError,
        "select needs base='layer', got 'batch'",
    ),
    (
        "norm, reset of the batch",
        lambda: module(base="batch", max_steps=4).stream(A, reset=torch.ones(4, 2).bool()),
        ValueError,
        "reset must be left out for base='batch', whose windows are of the whole batch, got Tensor",
    ),
    (
        "norm, reset of cases",
        lambda: module().stream(A, reset=torch.ones(2).bool()),
        ValueError,
        r"reset must have shape \(T, B\) = \(4, 2\), got \(2,\)",
    ),
    (
        "memory.reset of steps",
        lambda: memory().reset(torch.ones(4).bool()),
        ValueError,
        r"mask must have shape \(B,\) = \(2,\), got \(4,\)",
    ),
    (
        "memory, lengths of another batch",
        lambda: module(k=3).stream(A, memory()._replace(lengths=(2, 0, 0))),
        ValueError,
        "memory.lengths must be B = 2 numbers from 0 to M = 2",
    ),
    (
        "state of another dtype",
        lambda: lstm().stream(A, state().to(torch.float64)),
        TypeError,
        "state.h must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "a state's c alone of another dtype",
        lambda: lstm().stream(A, state()._replace(c=state().c.double())),
        TypeError,
        "^state.c must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "a state's windows alone of another dtype",
        lambda: lstm().stream(A, state()._replace(memory=map_memory(state().memory, torch.Tensor.double))),
        TypeError,
        r"^state.memory\[0\].ih.mean must have the computation's dtype torch.float32, got torch.float64",
    ),
    (
        "windows of another batch",
        lambda: lstm().stream(A, state()._replace(memory=state(B=3).memory)),
        ValueError,
        r"state.memory\[0\].ih.mean must have shape \(M, B\) = \(1, 2\), got \(1, 3\)",
    ),
]


@wrong_calls(CASES)
def test_wrong_call(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


NO_MEMORY: list[tuple[str, object, str]] = [
    ("nothing", None, "state.memory must be a tuple with an entry for each layer, got NoneType"),
    ("list", [WINDOWS], "state.memory must be a tuple with an entry for each layer, got list"),
    ("layer none", (None,), "state.memory[0] must be the windows of a norm, a LayerMemory, got NoneType"),
    ("layer empty", ((),), "state.memory[0] must be the windows of a norm, a LayerMemory, got tuple"),
    ("layer plain", (tuple(WINDOWS),), "state.memory[0] must be the windows of a norm, a LayerMemory, got tuple"),
    (
        "layer of another cell",
        (HiddenMemory(WINDOWS.ih, WINDOWS.hh),),
        "state.memory[0] must be the windows of a norm, a LayerMemory, got HiddenMemory",
    ),
    (
        "norm plain",
        (WINDOWS._replace(hh=cast("Any", tuple(WINDOWS.hh))),),
        "state.memory[0].hh must be a StepStatistics, got tuple",
    ),
    (
        "no mean",
        (WINDOWS._replace(c=WINDOWS.c._replace(mean=cast("Any", None))),),
        "state.memory[0].c.mean must be a tensor, got NoneType",
    ),
]


@pytest.mark.parametrize(("memory", "message"), [case[1:] for case in NO_MEMORY], ids=[case[0] for case in NO_MEMORY])
@pytest.mark.parametrize("training", [True, False])
def test_no_memory(memory: Any, message: str, *, training: bool) -> None:
    """In training and in inference, which take different ways through a module."""
    with torch.set_grad_enabled(training), pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        lstm().stream(A, state()._replace(memory=memory))
