"""Inference keeps nothing for a backward pass, and gives the numbers of training to the bit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm
from atn.backend.fused import backend, fallback

CELLS: dict[str, tuple[Any, int]] = {
    "LSTM": (ATNLSTM, 260),
    "RNN_TANH": (ATNRNN, 516),
    "RNN_RELU": (partial(ATNRNN, nonlinearity="relu"), 516),
    "GRU": (ATNGRU, 300),
}
"""By mode: the module, and a hidden size at which all cases take a step together."""

NORMS: list[dict[str, Any]] = [
    {"norm": "atn", "k": 3},
    {"norm": "atn", "k": 100},
    {"norm": "atn", "k": 3, "bias_placement": "inside", "affine": False},
    {"norm": "ln"},
    {"norm": "none"},
]


@pytest.fixture(params=["compiled", "fallback"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the compiled kernels, and with the loop that serves where nothing can be compiled."""
    name: str = request.param
    if name == "fallback":
        monkeypatch.setattr(backend, "kernels", lambda: fallback)
    return name


def layer(inputs: int = 3, hidden: int = 5, cell: str = "LSTM", **settings: Any) -> Any:
    torch.manual_seed(0)
    return CELLS[cell][0](inputs, hidden, **{"k": 3, **settings} if settings.get("norm", "atn") == "atn" else settings)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("settings", NORMS)
@pytest.mark.parametrize("inputs", [3, 70])  # few, whose preactivations are computed again, and many
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_inference_is_training_to_the_bit(*, cell: str, settings: dict[str, Any], inputs: int, joint: bool) -> None:
    hidden, layers = (CELLS[cell][1], 1) if joint else (5, 2)
    module = layer(inputs, hidden, cell, num_layers=layers, bidirectional=not joint, **settings)
    x = torch.randn(7, 3, inputs)
    trained = module(x)
    with torch.no_grad():
        inferred = module(x)
    frozen = module.requires_grad_(requires_grad=False)(x)
    for found in (inferred, frozen):
        for result, expected in zip(tree_leaves(found), tree_leaves(trained), strict=True):
            assert torch.equal(result, expected)


@pytest.mark.parametrize("settings", NORMS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_stream_in_inference_is_the_whole_to_the_bit(cell: str, settings: dict[str, Any]) -> None:
    lstm = layer(cell=cell, num_layers=2, **settings)
    x = torch.randn(9, 2, 3)
    whole, _ = lstm(x)
    state, parts = None, []
    with torch.inference_mode():
        for chunk in torch.split(x, [1, 1, 4, 1, 2]):
            part, state = lstm.stream(chunk, state)
            parts.append(part)
    assert torch.equal(torch.cat(parts), whole)


def test_packed_cases_end_with_their_own_cell() -> None:
    """C of a shorter case is that of its own last step, which inference must not forget."""
    lstm = layer(bidirectional=True)
    cases = [torch.randn(length, 3) for length in (2, 5, 1)]
    packed = pack_sequence(cases, enforce_sorted=False)
    assert isinstance(packed, PackedSequence)
    _, (_, trained) = lstm(packed)
    with torch.no_grad():
        _, (_, inferred) = lstm(packed)
        alone = torch.cat([lstm(case)[1][1].unsqueeze(1) for case in cases], 1)
    assert torch.equal(inferred, trained)
    assert torch.equal(inferred, alone)


class Calls(dict[str, int]):
    """Counts the calls of each kernel."""

    def of(self, kernels: Any) -> Any:
        def counted(name: str) -> Callable[[Any], Any]:
            def call(given: Any) -> Any:
                self[name] = self.get(name, 0) + 1
                return getattr(kernels, name)(given)

            return call

        names = [f"{kind}_{name}" for kind in ("lstm", "hidden") for name in ("forward", "inference", "backward")]
        names += ["norm_forward", "norm_backward"]
        return type("Counted", (), {name: staticmethod(counted(name)) for name in names})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Calls of the fused kernels."""
    counted = Calls()
    kernels = counted.of(backend.kernels())
    monkeypatch.setattr(backend, "kernels", lambda: kernels)
    return counted


@pytest.mark.parametrize(
    ("wanted", "expected"), [("parameter", "forward"), ("input", "forward"), ("nothing", "inference")]
)
@pytest.mark.parametrize("cell", CELLS)
def test_the_kernel_follows_what_asks_for_a_gradient(calls: Calls, cell: str, wanted: str, expected: str) -> None:
    module = layer(cell=cell).requires_grad_(requires_grad=wanted == "parameter")
    module(torch.randn(4, 2, 3, requires_grad=wanted == "input"))
    assert calls == {f"{'lstm' if cell == 'LSTM' else 'hidden'}_{expected}": 1}


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Number of elements of the largest tensor that an operator returns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        found = [tensor for tensor in tree_leaves(result) if isinstance(tensor, Tensor)]
        self.numbers = max([self.numbers, *(tensor.numel() for tensor in found)])
        return result


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_larger_than_the_output_comes_back(cell: str) -> None:
    lstm, x = layer(3, 16, cell), torch.randn(30, 4, 3)
    with torch.no_grad(), Largest() as largest:
        output, _ = lstm(x)
    assert largest.numbers == output.numel()


def test_a_norm_alone_in_inference_is_that_of_training(calls: Calls) -> None:
    norm, a = AssortedTimeNorm(6, 3, backend="fused"), torch.randn(5, 2, 6)
    trained = norm(a)
    with torch.no_grad():
        assert torch.equal(norm(a), trained)
    assert calls == {"norm_forward": 2}


@pytest.mark.one_graph
@pytest.mark.parametrize("settings", [{"norm": "atn", "k": 3}, {"norm": "none"}])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_inference_is_compiled_and_exported_whole(cell: str, settings: dict[str, Any]) -> None:
    lstm: torch.nn.Module = layer(cell=cell, **settings).eval()
    x = torch.randn(6, 2, 3)
    with torch.no_grad():
        expected, _ = lstm(x)
        compiled, _ = torch.compile(lstm, fullgraph=True, backend="aot_eager")(x)
        exported, _ = torch.export.export(lstm, (x,)).module()(x)
    assert torch.equal(compiled, expected)
    assert torch.equal(exported, expected)
