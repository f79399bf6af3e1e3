"""The compiled operators called directly: every wrong argument is refused before memory is touched."""

from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
import torch
from torch import Tensor

from atn import ATNLSTM, AssortedTimeNorm
from atn.backend.custom_ops.signatures import (
    HiddenBackward,
    HiddenForward,
    LSTMBackward,
    LSTMForward,
    LSTMGradients,
    NormBackward,
    NormForward,
)
from atn.backend.fused import backend as fused
from atn.backend.fused import build, fallback
from tests.support.comparison import assert_close

T, B, I, H, N, M = 5, 3, 2, 4, 6, 2

OPERATORS: dict[str, Any] = {
    "norm_forward": NormForward,
    "norm_backward": NormBackward,
    "lstm_forward": LSTMForward,
    "lstm_inference": LSTMForward,
    "lstm_backward": LSTMBackward,
    "hidden_forward": HiddenForward,
    "hidden_inference": HiddenForward,
    "hidden_backward": HiddenBackward,
}

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "norm_forward": {"a": (T, B, N), "gamma": (N,), "beta": (N,), "memory": (2, M, B)},
    "norm_backward": {
        "a": (T, B, N), "dy": (T, B, N), "dsteps": (2, M + T, B), "gamma": (N,), "steps": (2, M + T, B),
        "windows": (2, T, B),
    },
    "lstm_forward": {
        "x": (T, B, I), "weight_ih": (4 * H, I), "weight_hh": (4 * H, H), "bias_ih": (4 * H,), "bias_hh": (4 * H,),
        "bias": (4 * H,), "gamma_ih": (4 * H,), "gamma_hh": (4 * H,), "gamma_c": (H,), "beta_c": (H,), "h_0": (B, H),
        "c_0": (B, H), "memory": (3, 2, M, B),
    },
    "lstm_backward": {
        "h": (T, B, H), "dh": (T, B, H), "dc": (T, B, H), "dsteps": (3, 2, M + T, B), "x": (T, B, I),
        "weight_ih": (4 * H, I), "weight_hh": (4 * H, H), "bias_ih": (4 * H,), "bias_hh": (4 * H,), "bias": (4 * H,),
        "gamma_ih": (4 * H,), "gamma_hh": (4 * H,), "gamma_c": (H,), "beta_c": (H,), "h_0": (B, H), "c_0": (B, H),
        "c": (T, B, H),
        "steps": (3, 2, M + T, B), "kept_ih": (0, B, 4 * H), "kept_hh": (T, B, 4 * H), "gates": (0, B, 4 * H),
        "windows": (3, 2, T, B),
    },
    "hidden_forward": {
        "x": (T, B, I), "weight_ih": (3 * H, I), "weight_hh": (3 * H, H), "bias_ih": (3 * H,), "bias_hh": (3 * H,),
        "gamma_ih": (3 * H,), "beta_ih": (3 * H,), "gamma_hh": (3 * H,), "beta_hh": (3 * H,), "h_0": (B, H),
        "memory": (2, 2, M, B),
    },
    "hidden_backward": {
        "h": (T, B, H), "dh": (T, B, H), "dsteps": (2, 2, M + T, B), "x": (T, B, I), "weight_ih": (3 * H, I),
        "weight_hh": (3 * H, H), "bias_ih": (3 * H,), "gamma_ih": (3 * H,), "beta_ih": (3 * H,), "gamma_hh": (3 * H,),
        "beta_hh": (3 * H,), "h_0": (B, H), "steps": (2, 2, M + T, B), "kept_ih": (0, B, 3 * H),
        "kept_hh": (T, B, 3 * H), "gates": (0, B, 4 * H), "windows": (2, 2, T, B),
    },
}  # fmt: skip
SHAPES["lstm_inference"] = SHAPES["lstm_forward"]
SHAPES["hidden_inference"] = SHAPES["hidden_forward"]
"""Shape of every tensor that an operator takes, for a GRU those of "hidden_...". The first one decides the sizes that
the others are held to."""


FREE = {
    ("norm_forward", "a", 0),
    ("norm_forward", "memory", 1),
    ("lstm_forward", "x", 0),
    ("lstm_forward", "memory", 2),
    ("lstm_inference", "x", 0),
    ("lstm_inference", "memory", 2),
    ("hidden_forward", "x", 0),
    ("hidden_forward", "memory", 2),
    ("hidden_inference", "x", 0),
    ("hidden_inference", "memory", 2),
}


def arguments(operator: str) -> dict[str, Any]:
    """Right arguments of an operator."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.rand(shape, generator=generator) + 0.1 for name, shape in SHAPES[operator].items()}
    others = {"mode": "GRU", "needs_x": True, "needs_weights": True}
    named = {name: value for name, value in others.items() if name in OPERATORS[operator]._fields}
    return {**tensors, **named, "k": 3, "eps": 1e-2}


def call(operator: str, **changes: Any) -> Any:
    """Call a compiled operator with some arguments changed."""
    operators = build.compiled().operators
    assert operators is not None, build.compiled().reason
    return getattr(operators, operator)(**{**arguments(operator), **changes})


def reshaped(operator: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """Every tensor of an operator with each of its axes longer and shorter by one, with one axis more, and scalar."""
    cases = []
    for name, shape in SHAPES[operator].items():
        for axis, size in enumerate(shape):
            for wrong in (size + 1, size - 1)[: 1 + (size > 0)]:
                changed = (*shape[:axis], wrong, *shape[axis + 1 :])
                # The number of steps is free in a forward pass, both of the memory and of the sequence.
                if (operator, name, axis) not in FREE:
                    cases.append((operator, name, changed))
        cases += [(operator, name, (1, *shape)), (operator, name, ())]
    return cases


RESHAPED = [case for operator in OPERATORS for case in reshaped(operator)]
TENSORS = [(operator, name) for operator, shapes in SHAPES.items() for name in shapes]


@pytest.mark.parametrize("operator", OPERATORS)
def test_right_arguments_are_taken(operator: str) -> None:
    assert all(isinstance(result, Tensor) for result in call(operator))


@pytest.mark.parametrize("operator", OPERATORS)
def test_names_are_those_of_the_signatures(operator: str) -> None:
    """Python passes by name, so a name out of its place in the schema would pass one tensor for another."""
    schema = getattr(torch.ops.atn_compiled, operator).default._schema
    assert [argument.name for argument in schema.arguments] == list(OPERATORS[operator]._fields)
    hints = get_type_hints(OPERATORS[operator])
    optional = [name for name, hint in hints.items() if hint == Tensor | None]
    assert [argument.name for argument in schema.arguments if "Optional" in str(argument.type)] == optional


@pytest.mark.parametrize(("operator", "name", "shape"), RESHAPED)
def test_a_wrong_shape_is_refused(operator: str, name: str, shape: tuple[int, ...]) -> None:
    """The message names the argument, or where it decides the sizes, the first that no longer fits."""
    with pytest.raises(ValueError, match=r"^\w+ must have .*, got ") as raised:
        call(operator, **{name: torch.ones(shape)})
    decides = {"x", "a", "h", "h_0", "steps"}
    assert name in decides or str(raised.value).startswith(f"{name} must have")


@pytest.mark.parametrize(("operator", "name"), TENSORS)
def test_a_wrong_dtype_device_or_layout_is_refused(operator: str, name: str) -> None:
    right = arguments(operator)[name]
    for wrong in (right.half(), right.long()):
        with pytest.raises(TypeError, match=rf"^{name} must "):
            call(operator, **{name: wrong})
    with pytest.raises(TypeError, match=r"^\w+ must have \w+'s dtype (Double|Float), got (Double|Float)"):
        call(operator, **{name: right.double()})
    if right.numel() == 0:
        return  # a tensor without numbers is contiguous, whatever its strides
    strided = torch.stack((right, right), -1)[..., 0]
    with pytest.raises(ValueError, match=rf"^{name} must be contiguous, got strides"):
        call(operator, **{name: strided})


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_wrong_number_is_refused(operator: str) -> None:
    least = 1 if operator.startswith("norm") else 0
    for k in (-1, -(2**63), least - 1):
        with pytest.raises(ValueError, match=rf"^k must be at least {least}, got {k}"):
            call(operator, k=k)
    for eps in (-1e-9, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^eps must be a finite number of at least 0, got "):
            call(operator, eps=eps)
    for eps in (1e-40, 1e39):
        with pytest.raises(ValueError, match=r"^eps must be 0 or from 1.17\d*e-38 to 3.4\d*e\+38 for float32, got "):
            call(operator, eps=eps)


@pytest.mark.parametrize("name", ["gamma_ih", "gamma_hh", "bias_hh", "bias"])
def test_a_plain_layer_has_no_parameter_of_a_norm_of_the_gates(name: str) -> None:
    without: dict[str, Any] = dict.fromkeys(("gamma_ih", "gamma_hh", "bias_hh", "bias"))
    given = {**without, name: torch.ones(4 * H)}
    with pytest.raises(ValueError, match=f"^{name} must be None for k = 0"):
        call("lstm_forward", k=0, memory=torch.ones(3, 2, 0, B), **given)


@pytest.mark.parametrize("name", ["gamma_ih", "beta_ih", "gamma_hh", "beta_hh"])
def test_a_plain_cell_has_no_parameter_of_a_norm(name: str) -> None:
    without: dict[str, Any] = dict.fromkeys(("gamma_ih", "beta_ih", "gamma_hh", "beta_hh"))
    given = {**without, name: torch.ones(3 * H)}
    with pytest.raises(ValueError, match=f"^{name} must be None for k = 0"):
        call("hidden_forward", k=0, memory=torch.ones(2, 2, 0, B), **given)


def test_a_plain_layer_has_no_memory() -> None:
    with pytest.raises(ValueError, match=r"^memory must have shape \(3, 2, M, B\) = \[3, 2, 0, 3\], got"):
        call("lstm_forward", k=0, gamma_ih=None, gamma_hh=None, bias_hh=None, bias=None)
    without: dict[str, Any] = dict.fromkeys(("gamma_ih", "beta_ih", "gamma_hh", "beta_hh"))
    with pytest.raises(ValueError, match=r"^memory must have shape \(2, 2, M, B\) = \[2, 2, 0, 3\], got"):
        call("hidden_forward", k=0, **without)


@pytest.mark.parametrize("operator", ["hidden_forward", "hidden_inference", "hidden_backward"])
def test_an_unknown_cell_is_refused(operator: str) -> None:
    for mode in ("LSTM", "", "gru"):
        with pytest.raises(ValueError, match=f"^mode must be 'RNN_TANH', 'RNN_RELU' or 'GRU', got '{mode}'$"):
            call(operator, mode=mode)
    with pytest.raises(ValueError, match=r"^weight_ih must have shape \(G\*H, I\) = \[4, 2\], got \[12, 2\]"):
        call(operator, mode="RNN_RELU")


@pytest.mark.parametrize("kernels", ["compiled", "fallback"])
@pytest.mark.parametrize("hidden", [H, 256])
def test_gradients_of_products_are_computed_where_they_are_wanted(kernels: str, hidden: int) -> None:
    """Of a small layer in the loop over time, of a large one after it; the others are the same to the bit."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        name: tuple({H: hidden, 4 * H: 4 * hidden}.get(size, size) for size in shape)
        for name, shape in SHAPES["lstm_backward"].items()
    }
    tensors = {name: torch.rand(shape, generator=generator) + 0.1 for name, shape in shapes.items()}

    def run(**changes: Any) -> dict[str, Tensor]:
        given = LSTMBackward(**{**tensors, "k": 3, "eps": 1e-2, "needs_x": True, "needs_weights": True, **changes})
        running = fused.kernels() if kernels == "compiled" else fallback
        return LSTMGradients._make(running.lstm_backward(given))._asdict()

    every = run()
    sizes = {"x": "x", "weight_ih": "weight_ih", "weight_hh": "weight_hh", "bias_ih": "bias_ih", "bias_hh": "bias_hh"}
    assert {name: every[name].shape for name in sizes} == {name: tensors[of].shape for name, of in sizes.items()}
    unwanted: dict[str, tuple[dict[str, Any], set[str]]] = {
        "x": ({"needs_x": False}, {"x"}),
        "weights": ({"needs_weights": False}, {"weight_ih", "weight_hh"}),
        "bias_hh": ({"bias_hh": None}, {"bias_hh"}),
    }
    for changes, names in unwanted.values():
        found = run(**changes)
        assert {name for name, value in found.items() if value.shape == (0,)} == names
        assert all(torch.equal(value, every[name]) for name, value in found.items() if name not in names)


def test_an_empty_batch_is_computed() -> None:
    empty = {
        "x": torch.ones(T, 0, I),
        "h_0": torch.ones(0, H),
        "c_0": torch.ones(0, H),
        "memory": torch.ones(3, 2, M, 0),
    }
    assert call("lstm_forward", **empty)[0].shape == (T, 0, H)
    empty = {"x": torch.ones(T, 0, I), "h_0": torch.ones(0, H), "memory": torch.ones(2, 2, M, 0)}
    assert call("hidden_forward", **empty)[0].shape == (T, 0, H)


def replaced(module: torch.nn.Module, name: str, tensor: Tensor, x: Tensor) -> Callable[[], Any]:
    """Call of a module with one parameter replaced."""
    parameters = {**dict(module.named_parameters()), name: tensor}
    return lambda: torch.func.functional_call(module, parameters, (x,))


@pytest.mark.parametrize("backend", ["eager", "fused"])
def test_a_replaced_parameter_of_another_shape_is_refused_by_its_name(backend: str) -> None:
    lstm = ATNLSTM(3, 5, 2, k=3, backend=backend)
    for name, parameter in lstm.named_parameters():
        shape = list(parameter.shape)
        shape[-1] += 1
        with pytest.raises(ValueError, match=rf"^{name} must have shape .* = .*, got \({shape[0]}, ?"):
            replaced(lstm, name, torch.zeros(shape), torch.zeros(4, 2, 3))()
    norm = AssortedTimeNorm(3, 2, backend=backend)
    for name in ("weight", "bias"):
        with pytest.raises(ValueError, match=rf"^{name} must have shape \(num_features,\) = \(3,\), got \(2,\)"):
            replaced(norm, name, torch.zeros(2), torch.zeros(4, 2, 3))()
    norm.weight = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match=r"^weight must have shape"):
        norm(torch.zeros(4, 2, 3))


@pytest.mark.parametrize("kernels", ["compiled", "fallback"])
@pytest.mark.parametrize(("has_gamma", "has_beta"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("normed", [True, False])
def test_gain_and_shift_of_the_cell_each_alone(
    *, normed: bool, has_gamma: bool, has_beta: bool, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output h = o tanh(gamma_c ATN(c) + beta_c), with or without each of the three, against autograd."""
    if kernels == "fallback":
        monkeypatch.setattr(fused, "kernels", lambda: fallback)
    generator = torch.Generator().manual_seed(1)
    names = {"x", "weight_ih", "weight_hh", "h_0", "c_0", "bias" if normed else "bias_ih"}
    names |= {name for name, present in (("gamma_c", has_gamma), ("beta_c", has_beta)) if present}
    given = {
        name: (
            torch.rand(SHAPES["lstm_forward"][name], generator=generator, dtype=torch.float64) - 0.3
        ).requires_grad_()
        for name in sorted(names)
    }
    memory = torch.zeros(3, 2, 0, B, dtype=torch.float64)
    k, eps = (1, 1e-2) if normed else (0, 0.0)
    absent: dict[str, Any] = dict.fromkeys(LSTMForward._fields)
    h, c, *_ = fused.OPERATORS.lstm_forward(*LSTMForward(**{**absent, **given, "memory": memory, "k": k, "eps": eps}))
    expected_h, expected_c = by_autograd(given, eps, normed=normed)
    assert_close(h, expected_h, quantity="output", backend="fused")
    upstream = torch.rand(h.shape, generator=generator, dtype=torch.float64), torch.rand_like(c)
    actual = torch.autograd.grad((h, c), list(given.values()), upstream)
    expected = torch.autograd.grad((expected_h, expected_c), list(given.values()), upstream)
    for name, result, reference in zip(given, actual, expected, strict=True):
        assert_close(result, reference, quantity="gradient", backend="fused", what=name)


def by_autograd(given: dict[str, Tensor], eps: float, *, normed: bool) -> tuple[Tensor, Tensor]:
    """States h and c of a layer with k = 1 or without a norm."""

    def norm(a: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(a, a.shape[-1:], eps=eps) if normed else a

    h, c = given["h_0"], given["c_0"]
    h_all, c_all = [], []
    for x in given["x"]:
        a = norm(x @ given["weight_ih"].t()) + norm(h @ given["weight_hh"].t()) + given["bias" if normed else "bias_ih"]
        i, f, g, o = a.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * (norm(c) * given.get("gamma_c", 1.0) + given.get("beta_c", 0.0)).tanh()
        h_all.append(h)
        c_all.append(c)
    return torch.stack(h_all), torch.stack(c_all)
