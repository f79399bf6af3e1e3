"""torch.export and torch.compile: the number of steps and of cases stays free, and packed input is no break."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm
from atn.functional import assorted_time_norm
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates

BACKENDS = ["eager", "fused"]
LAYERS: dict[str, dict[str, Any]] = {
    "atn, both directions": {"k": 3, "num_layers": 2, "bidirectional": True},
    "atn, a window longer than the example": {"k": 20},
    "none": {"norm": "none"},
}


def lstm(backend: str, **settings: Any) -> ATNLSTM:
    """A layer of 3 inputs and 4 hidden."""
    return with_random_parameters(ATNLSTM(3, 4, backend=backend, **settings, **DOUBLE))


def norm(backend: str, k: int, *, population: bool) -> AssortedTimeNorm:
    """A norm of 3 features; over the batch it evaluates by its population statistics."""
    settings: dict[str, Any] = {"base": "batch", "max_steps": 5} if population else {}
    module = AssortedTimeNorm(3, k, backend=backend, **settings, **DOUBLE)
    module(random(5, 4, 3, seed=8))
    return module.eval()


def assert_exported(module: nn.Module, free: dict[int, Any], shapes: list[tuple[int, ...]], T: int = 6) -> None:
    """Exported with these axes free, it is the module on inputs of other shapes."""
    exported = torch.export.export(module, (random(T, 4, 3),), dynamic_shapes=(free,)).module()
    for shape in shapes:
        x = random(*shape, seed=1)
        for actual, expected in zip(_tensors(exported(x)), _tensors(module(x)), strict=True):
            assert_close(actual, expected, quantity="output", backend="eager")


def _tensors(results: Any) -> list[Tensor]:
    return torch.utils._pytree.tree_leaves(results)


STEPS, CASES = torch.export.Dim("T", max=99), torch.export.Dim("B", max=99)


@pytest.mark.one_graph
@pytest.mark.parametrize("settings", LAYERS.values(), ids=LAYERS)
def test_an_exported_layer_takes_any_number_of_steps_and_cases(settings: dict[str, Any]) -> None:
    assert_exported(lstm("fused", **settings), {0: STEPS, 1: CASES}, [(9, 2, 3), (2, 5, 3), (30, 4, 3)])


@pytest.mark.one_graph
@pytest.mark.parametrize("settings", [{"k": 3}, {"norm": "none"}], ids=str)
@pytest.mark.parametrize("cell", [ATNRNN, ATNGRU])
def test_an_exported_cell_takes_any_number_of_steps_and_cases(cell: Any, settings: dict[str, Any]) -> None:
    assert_exported(
        with_random_parameters(cell(3, 4, **settings, **DOUBLE)), {0: STEPS, 1: CASES}, [(9, 2, 3), (2, 5, 3)]
    )


@pytest.mark.one_graph
def test_an_exported_eager_layer_takes_any_number_of_cases() -> None:
    """Its loop over the steps is written out in the graph."""
    assert_exported(lstm("eager", k=2), {1: CASES}, [(3, 2, 3), (3, 7, 3)], T=3)
    with pytest.raises(torch._dynamo.exc.UserError, match=r"marked T as dynamic but your code specialized it"):
        torch.export.export(lstm("eager", norm="none"), (random(2, 4, 3),), dynamic_shapes=({0: STEPS},))


@pytest.mark.one_graph
@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exported_norm_takes_any_number_of_steps_and_cases(backend: str, k: int, *, population: bool) -> None:
    module = norm(backend, k, population=population)
    assert_exported(module, {0: STEPS, 1: CASES}, [(9, 2, 3), (2, 5, 3), (30, 4, 3)])


@pytest.mark.one_graph
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_window_and_an_epsilon_that_change_are_no_break(backend: str) -> None:
    """From the second value on the compiler makes a number of a call symbolic."""
    torch._dynamo.reset()

    def function(a: Tensor, k: int, eps: float) -> Tensor:
        return assorted_time_norm(a, k, eps=eps, backend=backend)

    compiled, a = torch.compile(function, fullgraph=True, backend="eager"), random(9, 2, 3)
    for k, eps in ((2, 1e-5), (3, 1e-5), (5, 1e-5), (5, 1e-3), (7, 0.1)):
        assert_close(compiled(a, k, eps), function(a, k, eps), quantity="output", backend="eager")


@pytest.mark.one_graph
@pytest.mark.parametrize("module", [lstm("fused", k=3), norm("eager", 3, population=False)], ids=["layer", "norm"])
def test_other_sizes_are_not_compiled_anew(module: nn.Module) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for T, B in ((6, 4), (9, 2), (5, 7)):
        x = random(T, B, 3)
        for actual, expected in zip(_tensors(compiled(x)), _tensors(module(x)), strict=True):
            assert_close(actual, expected, quantity="output", backend="eager")
    assert counter.frame_count == 1


@pytest.mark.one_graph
@pytest.mark.parametrize(
    ("enforce_sorted", "fullgraph", "graphs"), [(False, False, 1), (False, True, 1), (True, True, 1), (True, False, 2)]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_packed_input_is_one_graph(backend: str, graphs: int, *, enforce_sorted: bool, fullgraph: bool) -> None:
    """Other lengths in the same graph give other results: none is taken for a constant.

    Of cases that the caller has sorted, no shape holds their number, and torch reads it between two graphs.
    """
    torch._dynamo.reset()
    module = lstm(backend, k=2, bidirectional=backend == "fused")
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=fullgraph, backend=counter)
    for lengths in ([4, 2, 2], [4, 3, 1]):  # the same number of steps and of rows, not the same batch sizes
        order = [0, 1, 2] if enforce_sorted else [1, 2, 0]
        packed = pack_padded_sequence(random(4, 3, 3), torch.tensor(lengths)[order], enforce_sorted=enforce_sorted)
        results = []
        for run in (compiled, module):
            output, (h_n, _) = run(packed)
            assert isinstance(output, PackedSequence)
            gradients = torch.autograd.grad(output.data.square().sum(), list(module.parameters()))
            results.append([output.data, h_n, *gradients])
        for actual, expected in zip(*results, strict=True):
            assert_close(actual, expected, quantity="gradient", backend="eager")
    assert counter.frame_count == graphs


@pytest.mark.one_graph
@pytest.mark.parametrize("cell", [ATNLSTM, ATNRNN, ATNGRU])
@pytest.mark.parametrize("grad", [True, False])
def test_a_plain_compilation_has_no_break(cell: Any, *, grad: bool) -> None:
    """Of packed input, of a whole sequence, and of a stream; in inference too, which no compiler runs directly."""
    module = with_random_parameters(cell(3, 4, k=2, backend="fused", **DOUBLE)).requires_grad_(grad)
    x = random(4, 3, 3)
    packed = pack_padded_sequence(x, torch.tensor([2, 4, 1]), enforce_sorted=False)
    state = module.stream(x)[1].detach()
    for call in (lambda: module(x), lambda: module(packed), lambda: module.stream(x, state)):
        torch._dynamo.reset()
        explained = torch._dynamo.explain(call)()
        assert (explained.graph_count, explained.break_reasons) == (1, [])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("make", [ATNLSTM, ATNGRU, ATNRNN, None])
def test_jit_trace_is_refused_where_there_are_windows(make: Any, backend: str, *, gradients: bool) -> None:
    module = AssortedTimeNorm(3, 2, backend=backend) if make is None else make(3, 4, k=2, backend=backend)
    message = r"^torch.jit.trace must not trace a norm with windows, .* torch.export and"
    with torch.set_grad_enabled(gradients), pytest.raises(RuntimeError, match=message):
        torch.jit.trace(module, (torch.randn(5, 2, 3),))  # type: ignore[no-untyped-call]  # torch's own
