"""Inference by one call for all layers: to the bit the numbers of the general way, which serves all that is unusual."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from atn import ATNLSTM, LSTMState
from atn.backend.fused import backend as fused
from atn.backend.fused.backend import CompiledKernels
from tests.support.lstms import with_random_parameters

SETTINGS: dict[str, dict[str, Any]] = {
    "atn": {"k": 3},
    "long window": {"k": 100},
    "no parameters but weights": {"k": 3, "affine": False, "bias": False},
    "inside": {"k": 3, "bias_placement": "inside"},
    "inside, no gains": {"k": 3, "bias_placement": "inside", "affine": False},
    "ln": {"norm": "ln"},
    "none": {"norm": "none"},
    "none, no biases": {"norm": "none", "bias": False},
    "two layers": {"k": 3, "num_layers": 2, "dropout": 0.5},
    "batch first": {"k": 3, "batch_first": True},
    "float64": {"k": 3, "dtype": torch.float64},
}


@pytest.fixture
def direct_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of steps at each call of all layers at once."""
    calls: list[int] = []
    run = CompiledKernels.lstm_stack_inference

    def counted(self: CompiledKernels, x: Tensor, *rest: Any) -> Any:
        calls.append(x.shape[0])
        return run(self, x, *rest)

    monkeypatch.setattr(CompiledKernels, "lstm_stack_inference", counted)
    return calls


def module(**settings: Any) -> ATNLSTM:
    """A module that wants no gradient and drops nothing; where gradients are on, it takes the general way."""
    lstm = with_random_parameters(ATNLSTM(3, 5, backend="fused", **settings))
    return lstm.eval().requires_grad_(requires_grad=False)


def numbers(result: Any) -> list[Tensor]:
    """Every tensor in what a call returns."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def equal(result: Any, other: Any) -> bool:
    """Whether two calls return the same types and numbers, to the bit."""
    pairs = zip(numbers(result), numbers(other), strict=True)
    return torch.utils._pytree.tree_structure(result) == torch.utils._pytree.tree_structure(other) and all(
        torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs
    )


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_direct_inference_is_the_general_one_to_the_bit(
    settings: dict[str, Any], direct_calls: list[int], *, batched: bool
) -> None:
    lstm = module(**settings)
    dtype = settings.get("dtype", torch.float32)
    x = torch.randn((2, 7, 3) if batched and lstm.batch_first else (7, 2, 3) if batched else (7, 3), dtype=dtype)
    shape = (lstm.num_layers, 2, 5) if batched else (lstm.num_layers, 5)
    states = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
    _, state = lstm.stream(x)
    axis = 1 if batched and lstm.batch_first else 0
    step = x.narrow(axis, 0, 1)
    calls: list[Callable[[], Any]] = [lambda: lstm(x), lambda: lstm(x, states), lambda: lstm.stream(step, state)]
    for call in calls:
        general = call()
        assert not direct_calls
        with torch.no_grad():
            assert equal(call(), general)
        assert len(direct_calls) == 1
        direct_calls.clear()


def test_a_direct_stream_owns_its_windows(direct_calls: list[int]) -> None:
    """What a state holds is no view of what the step computed, and a step leaves the state before it as it was."""
    lstm = module(k=4)
    with torch.no_grad():
        _, before = lstm.stream(torch.randn(9, 2, 3))
        kept = [tensor.clone() for tensor in numbers(before)]
        _, after = lstm.stream(torch.randn(1, 2, 3), before)
    assert isinstance(after, LSTMState)
    assert direct_calls == [1]
    assert all(map(torch.equal, numbers(before), kept))
    storages = {tensor.untyped_storage().data_ptr() for tensor in numbers(after)}
    assert len(storages) == len(numbers(after))
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in numbers(after))


def replaced(name: str, tensor: Tensor) -> Callable[[ATNLSTM, Tensor], Any]:
    """A call with one parameter replaced."""
    return lambda lstm, x: torch.func.functional_call(lstm, {name: tensor}, (x,))


def with_weight_norm(lstm: ATNLSTM, x: Tensor) -> Any:
    parametrizations.weight_norm(lstm, "weight_hh_l0")
    with torch.no_grad():
        lstm.parametrizations.weight_hh_l0.original0.mul_(2)  # type: ignore[union-attr, operator]  # the lengths
    return lstm(x)


def by_eager(lstm: ATNLSTM, x: Tensor) -> Any:
    lstm.backend = "eager"
    return lstm(x)


UNUSUAL: dict[str, Callable[[ATNLSTM, Tensor], Any]] = {
    "a parametrization": with_weight_norm,
    "float16": lambda lstm, x: lstm.half()(x.half()),
    "autocast": lambda lstm, x: torch.autocast("cpu", torch.bfloat16)(lstm)(x.bfloat16()),
    "a transform": lambda lstm, x: torch.func.jvp(lambda x: lstm(x)[0], (x,), (x,)),
    "a restart": lambda lstm, x: lstm.stream(x, lstm.stream(x)[1], torch.eye(7, 2).bool()),
    "another backend": by_eager,
    "windows of several lengths": lambda lstm, x: lstm.stream(
        x[:1], lstm.stream(x)[1].reset(torch.tensor([True, False]))
    ),
}


@pytest.mark.parametrize("call", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_goes_the_general_way(call: Callable[[ATNLSTM, Tensor], Any]) -> None:
    x = torch.randn(7, 2, 3)
    general = call(module(k=3), x)
    with torch.no_grad():
        assert equal(call(module(k=3), x), general)


def test_dropout_acts_in_training_without_gradients(direct_calls: list[int]) -> None:
    """Monte Carlo dropout: the same draws as with gradients, and others in the next call."""
    lstm, x = module(k=3, num_layers=2, dropout=0.5).train(), torch.randn(7, 2, 3)
    torch.manual_seed(0)
    general = lstm(x)
    with torch.no_grad():
        torch.manual_seed(0)
        assert equal(lstm(x), general)
        assert not equal(lstm(x), general)
    assert not direct_calls


WRONG: dict[str, Callable[[ATNLSTM, Tensor], Any]] = {
    "features": lambda lstm, x: lstm(x[..., :2]),
    "axes": lambda lstm, x: lstm(x[None]),
    "no step": lambda lstm, x: lstm(x[:0]),
    "dtype": lambda lstm, x: lstm(x.double()),
    "weight": replaced("weight_hh_l0", torch.zeros(20, 4)),
    "bias of one number": replaced("bias_hh_l0", torch.zeros(1)),
    "half a shift": replaced("norm_ih_l0.bias", torch.zeros(20, dtype=torch.float16)),
    "device": replaced("norm_c_l0.weight", torch.zeros(5, device="meta")),
    "state": lambda lstm, x: lstm(x, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 5))),
    "a state of a stream": lambda lstm, x: lstm(x, lstm.stream(x)[1]),
    "a state of another window": lambda lstm, x: lstm.stream(x, module(k=4).stream(x)[1]),
    "a state of another epsilon": lambda lstm, x: lstm.stream(x, module(k=3, eps=1e-2).stream(x)[1]),
    "cases of the windows": lambda lstm, x: lstm.stream(
        x[:, :1], lstm.stream(x)[1]._replace(h=torch.zeros(1, 1, 5), c=torch.zeros(1, 1, 5))
    ),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_in_the_same_words(call: Callable[[ATNLSTM, Tensor], Any]) -> None:
    lstm, x = module(k=3), torch.randn(7, 2, 3)
    said = []
    for context in (nullcontext(), torch.no_grad()):
        with context, pytest.raises((TypeError, ValueError)) as raised:
            call(lstm, x)
        said.append((raised.type, str(raised.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["weight_hh_l0", "norm_c_l0.weight", "input"])
def test_a_view_whose_sign_is_implied_is_read_with_its_sign(name: str) -> None:
    """`torch.imag` of a conjugate is such a view, whose memory holds the opposite numbers."""
    lstm, x = module(k=3), torch.randn(7, 2, 3)
    values = x if name == "input" else dict(lstm.named_parameters())[name].detach()
    implied = torch._neg_view(-values)
    with torch.no_grad():
        expected = lstm(x)
        actual = lstm(implied) if name == "input" else replaced(name, implied)(lstm, x)
    assert equal(actual, expected)


class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Names of the operators that a call runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_the_registered_operator(direct_calls: list[int]) -> None:
    lstm = module(k=3)
    with torch.no_grad(), Seen() as seen:
        lstm(torch.randn(7, 2, 3))
    assert "atn::fused_lstm_inference" in seen.names
    assert not direct_calls


def stack_arguments() -> dict[str, Any]:
    """Right arguments of the compiled operator, for two layers of 4 units on 3 features, with gains and biases."""
    sizes = [(16, 3), (16, 4), (16,), (16,), (16,), (16,), (16,), (16,), (4,), (4,)]
    parameters = [torch.ones(size) for size in (*sizes, (16, 4), *sizes[1:])]
    return {
        "x": torch.ones(5, 2, 3), "parameters": parameters, "h_0": torch.ones(2, 2, 4), "c_0": torch.ones(2, 2, 4),
        "memory": [torch.ones(2, 2)] * 12, "H": 4, "k": 3, "eps": 1e-5, "biased": True, "affine": True, "inside": False,
    }  # fmt: skip


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no parameters": ({"parameters": []}, "parameters must be 10 of each layer, got 0"),
    "one too few": ({"parameters": stack_arguments()["parameters"][1:]}, "parameters must be 10 of each layer, got 19"),
    "other parameters": ({"affine": False, "biased": False}, "h_0 must have shape"),
    "hidden size": ({"H": 0}, "H must be at least 1, got 0"),
    "window": ({"k": -1}, "k must be at least 0, got -1"),
    "states of one layer": ({"h_0": torch.ones(1, 2, 4)}, "h_0 must have shape"),
    "no layer's cells": ({"c_0": torch.ones(0, 2, 4)}, "c_0 must have shape"),
    "windows of one layer": ({"memory": [torch.ones(2, 2)] * 6}, "memory must have mean and variance"),
    "windows without a norm": ({"k": 0}, "memory must have mean and variance"),
    "k steps in memory": ({"memory": [torch.ones(3, 2)] * 12}, "memory must have at most k - 1 = 2 steps, got 3"),
    "other steps": ({"memory": [torch.ones(2, 2)] * 11 + [torch.ones(1, 2)]}, "memory must have shape"),
    "one number": ({"memory": [torch.ones(2, 2)] * 11 + [torch.ones(())]}, "memory must have 2 axes"),
    "implied sign": ({"h_0": torch._neg_view(torch.ones(2, 2, 4))}, "h_0 must lie in memory as it is"),
    "eps": ({"eps": -1.0}, "eps must be a finite number"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_argument_of_the_operator_is_refused(changes: dict[str, Any], message: str) -> None:
    assert isinstance(fused.kernels(), CompiledKernels)
    run = torch.ops.atn_compiled.lstm_stack_inference
    assert torch.isfinite(run(**stack_arguments())[0]).all()
    with pytest.raises(ValueError, match=f"^{message}"):
        run(**{**stack_arguments(), **changes})
