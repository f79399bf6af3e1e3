"""The operators of the GPU kernels, called directly under Triton's interpreter.

What a layer of the library does not ask of them yet, or would not let through: an inference form, a gain on the cell of
a layer without a norm, and arguments that do not fit.
"""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

import atn.functional as F
from atn.backend.custom_ops.signatures import LSTMBackward, LSTMForward, NormBackward, NormForward
from atn.backend.triton import blocks, launch
from atn.backend.triton.long_windows import gradients_of_steps
from atn.backend.triton.norm import sums_over_rows
from atn_reference import assorted_time_norm_backward, assorted_time_norm_forward
from tests.support.comparison import assert_close

T, B, I, H, M = 3, 2, 3, 5, 2


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers."""
    return torch.randn(shape, dtype=dtype)


def layer(k: int = 3, dtype: torch.dtype = torch.float64, **changes: Any) -> LSTMForward:
    """A layer that has everything which it may have with a norm, or without one (k = 0)."""
    torch.manual_seed(0)
    wide = blocks.accumulator(dtype)

    def of_norm(*shape: int) -> Tensor | None:
        return draw(*shape, dtype=dtype) if k > 0 else None

    given = LSTMForward(
        x=draw(T, B, I, dtype=dtype),
        weight_ih=draw(4 * H, I, dtype=dtype),
        weight_hh=draw(4 * H, H, dtype=dtype),
        bias_ih=draw(4 * H, dtype=dtype),
        bias_hh=draw(4 * H, dtype=dtype),
        bias=of_norm(4 * H),
        gamma_ih=of_norm(4 * H),
        gamma_hh=of_norm(4 * H),
        gamma_c=of_norm(H),
        beta_c=of_norm(H),
        h_0=draw(B, H, dtype=dtype),
        c_0=draw(B, H, dtype=wide),
        memory=torch.rand(3, 2, M if k > 0 else 0, B, dtype=wide),
        k=k,
        eps=0.1,
    )
    return given._replace(**changes)


def norm(k: int = 3, **changes: Any) -> NormForward:
    """A norm that has everything."""
    torch.manual_seed(0)
    memory = torch.rand(2, M, B, dtype=torch.float64)
    return NormForward(a=draw(T, B, H), gamma=draw(H), beta=draw(H), memory=memory, k=k, eps=0.1)._replace(**changes)


def layer_backward(given: LSTMForward) -> LSTMBackward:
    """The arguments of the backward pass of a loss of h, c and the statistics by step."""
    h, c, steps, kept_ih, kept_hh, gates, windows = launch.lstm_forward(given)
    torch.manual_seed(1)
    wide = c.dtype
    return LSTMBackward(
        dh=draw(*h.shape, dtype=h.dtype),
        dc=draw(*c.shape, dtype=wide),
        dsteps=draw(*steps.shape, dtype=wide),
        x=given.x,
        weight_ih=given.weight_ih,
        weight_hh=given.weight_hh,
        bias_ih=given.bias_ih,
        bias_hh=given.bias_hh,
        bias=given.bias,
        gamma_ih=given.gamma_ih,
        gamma_hh=given.gamma_hh,
        gamma_c=given.gamma_c,
        beta_c=given.beta_c,
        h_0=given.h_0,
        c_0=given.c_0,
        h=h,
        c=c,
        steps=steps,
        kept_ih=kept_ih,
        kept_hh=kept_hh,
        gates=gates,
        windows=windows,
        k=given.k,
        eps=given.eps,
        needs_x=True,
        needs_weights=True,
    )


def norm_backward(given: NormForward) -> NormBackward:
    """The same for a norm."""
    y, steps, windows = launch.norm_forward(given)
    return NormBackward(
        dy=draw(*y.shape),
        dsteps=draw(*steps.shape),
        a=given.a,
        gamma=given.gamma,
        steps=steps,
        windows=windows,
        k=given.k,
        eps=given.eps,
    )


@pytest.fixture(params=["all steps at once", "step by step"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of the time loop."""
    if request.param == "step by step":
        monkeypatch.setattr(blocks, "LARGEST_AT_ONCE", 0)


# ---------------------------------------------------------------------------------------------------------- inference


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
@pytest.mark.parametrize("k", [0, 1, 3, 9])
def test_inference_gives_the_bits_of_training(k: int, dtype: torch.dtype) -> None:
    given = layer(k, dtype)
    h, c, steps, *_ = launch.lstm_forward(given)
    h_only, c_n, memory = launch.lstm_inference(given)
    assert torch.equal(h_only, h)
    assert torch.equal(c_n, c[-1])
    count = min(M + T, k - 1) if k > 0 else 0
    assert memory.shape == (3, 2, count, B)
    assert torch.equal(memory, steps[:, :, steps.shape[2] - count :])


# ------------------------------------------------------------------------------------- a gain on the cell, no norm


def plain_loop(given: LSTMForward) -> tuple[Tensor, Tensor]:
    """Eqs. (15)-(16) with z = gamma_c * c + beta_c in the place of the normalized cell, by autograd: h and c."""
    state, cell, h, c = given.h_0, given.c_0, [], []
    for x in given.x:
        a = torch.nn.functional.linear(x, given.weight_ih, given.bias_ih)
        a = a + torch.nn.functional.linear(state, given.weight_hh, given.bias_hh)
        i, f, g, o = a.chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        z = cell if given.gamma_c is None else given.gamma_c * cell
        z = z if given.beta_c is None else z + given.beta_c
        state = o.sigmoid() * z.tanh()
        h.append(state)
        c.append(cell)
    return torch.stack(h), torch.stack(c)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("present", [("gamma_c",), ("gamma_c", "beta_c"), ("beta_c",)], ids="+".join)
def test_a_gain_on_the_cell_without_a_norm(present: tuple[str, ...]) -> None:
    given = layer(0)
    names = ["x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0", *present]
    gains: dict[str, Any] = {name: draw(H) for name in present}
    given = given._replace(**gains)
    leaves = [getattr(given, name).requires_grad_() for name in names]
    expected = plain_loop(given)
    ours = torch.ops.atn.triton_lstm_forward(*given)[:2]
    upstream = [draw(T, B, H), draw(T, B, H)]
    for name, actual, reference in zip(("h", "c"), ours, expected, strict=True):
        assert_close(actual.detach(), reference.detach(), quantity="output", backend="triton", what=name)
    gradients = (torch.autograd.grad(outputs, leaves, upstream) for outputs in (ours, expected))
    for name, actual, reference in zip(names, *gradients, strict=True):
        assert_close(actual, reference, quantity="gradient", backend="triton", what=name)


# ------------------------------------------------------------------------------------------------------ long windows


def test_every_past_step_is_a_window_like_any_other() -> None:
    """With k = sys.maxsize it gives what the shortest window that holds all steps gives, gradients too."""
    shortest, longest = norm(M + T), norm(sys.maxsize)
    of_norm = [
        launch.norm_backward(norm_backward(given)._replace(dsteps=None, dy=given.a)) for given in (shortest, longest)
    ]
    assert_close(launch.norm_forward(longest)[0], launch.norm_forward(shortest)[0], quantity="output", backend="triton")
    of_layer = [launch.lstm_backward(layer_backward(layer(k))) for k in (M + T, sys.maxsize)]
    for ours, expected in (of_norm[::-1], of_layer[::-1]):
        for actual, reference in zip(ours, expected, strict=True):
            assert_close(actual, reference, quantity="gradient", backend="triton")


@pytest.mark.parametrize("k", [5, 7, 8, 40])
def test_merged_windows_are_those_of_the_oracle(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eqs. (7)-(8) where a window is longer than a program holds; with memory, one chunk against the whole."""
    monkeypatch.setattr(blocks, "LONGEST_WINDOW", 4)
    torch.manual_seed(0)
    a, dy, gamma = draw(12, 2, 3), draw(12, 2, 3), draw(3)
    leaves = [a.requires_grad_(), gamma.requires_grad_()]
    y, cache = assorted_time_norm_forward(a.detach().numpy(), k, gamma=gamma.detach().numpy(), eps=1e-5)
    backward = assorted_time_norm_backward(dy.numpy(), cache)
    parts, memory = [], torch.empty(2, 0, 2, dtype=torch.float64)
    for chunk in (a[:5], a[5:10], a[10:]):
        part, memory, _ = torch.ops.atn.triton_norm_forward(chunk, gamma, None, memory, k, 1e-5)
        parts.append(part)
    ours = torch.cat(parts)
    whole = F.assorted_time_norm(a, k, gamma, eps=1e-5, backend="triton")
    assert_close(ours.detach(), whole.detach(), quantity="exact", backend="triton")
    assert_close(ours.detach(), y, quantity="output", backend="triton")
    da, dgamma = torch.autograd.grad(ours, leaves, dy)
    assert_close(da, backward.a, quantity="gradient", backend="triton")
    assert_close(dgamma, backward.gamma, quantity="parameter_gradient", backend="triton")


def test_a_long_window_at_a_large_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 steps around 1e4 in float32, added one by one: only the mean itself is rounded at that size.

    A plain sum of the means is off by .006.
    """
    monkeypatch.setattr(blocks, "LONGEST_WINDOW", 1)
    torch.manual_seed(0)
    N = 8  # a power of two: what pads another H would overflow, unseen by the GPU, in the interpreter
    memory = torch.rand(3, 2, 600, 1)
    memory[1, 0] = 1e4 + draw(600, 1, dtype=torch.float32)
    given = LSTMForward(
        x=draw(1, 1, 2, dtype=torch.float32),
        weight_ih=draw(4 * N, 2, dtype=torch.float32),
        weight_hh=draw(4 * N, N, dtype=torch.float32),
        bias_ih=None,
        bias_hh=torch.full((4 * N,), 1e4 + 1.5),
        bias=None,
        gamma_ih=None,
        gamma_hh=None,
        gamma_c=None,
        beta_c=None,
        h_0=torch.zeros(1, N),
        c_0=torch.zeros(1, N),
        memory=memory,
        k=601,
        eps=1e-5,
    )
    _, _, steps, *_, windows = launch.lstm_forward(given)
    means = steps[1, 0].double()
    ours, last = windows[1, 0].double(), means[-1]
    mean = means.mean(0, keepdim=True) - last
    assert_close((ours - last).float(), mean, quantity="offset", backend="triton", dtype="float32")


def test_gradients_of_merged_windows_at_a_large_offset() -> None:
    """In float32 against the sums written out in float64; what the means share takes no digits."""
    torch.manual_seed(0)
    steps, k = 203, 150
    step_mean, mean = (1e4 + draw(rows, 2, dtype=torch.float32) for rows in (steps, 200))
    dwindows = draw(2, 200, 2, dtype=torch.float32)
    dmean, dvar = dwindows.double()
    dm, dq = torch.zeros(2, steps, 2, dtype=torch.float64)
    for s in range(steps):
        inside = slice(max(s - 3, 0), max(s - 3 + k, 0))
        distance = step_mean[s].double() - mean[inside].double()
        dm[s] = (dmean[inside] + 2 * dvar[inside] * distance).sum(0)
        dq[s] = dvar[inside].sum(0)
    ours = gradients_of_steps(dwindows, mean, step_mean, k)
    assert_close(ours, torch.stack((dm, dq)), quantity="gradient", backend="triton", dtype="float32")


# ----------------------------------------------------------------------------------------------- sums of 16-bit data


def test_gradients_of_16_bit_data_are_summed_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 equal sums of eight rows: with 16 bits, adding them would stop at 256."""
    monkeypatch.setattr(blocks, "ROWS_OF_A_SUM", 8)
    dy = torch.full((2048, 2, 3), 0.5, dtype=torch.bfloat16)
    windows = torch.stack((torch.full((2048, 2), 1.0), torch.full((2048, 2), 2.0)))
    dgamma, dbeta = sums_over_rows(dy, torch.full_like(dy, 1.5), windows)
    assert torch.equal(dgamma.float(), torch.full((3,), 2048.0))
    assert torch.equal(dbeta.float(), torch.full((3,), 2048.0))


# ---------------------------------------------------------------------------------------- what torch asks of operators


@pytest.mark.parametrize("k", [0, 3])
def test_backward_operators_change_no_argument(k: int) -> None:
    """Schema (nothing changed in place, nothing returned that an argument holds) and fake kernel."""
    utilities = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.atn.triton_lstm_backward.default, layer_backward(layer(k)), test_utils=utilities)
    if k > 0:
        given = norm_backward(norm(k))
        torch.library.opcheck(torch.ops.atn.triton_norm_backward.default, given, test_utils=utilities)


# -------------------------------------------------------------------------------------------- arguments that do not fit

WRONG_LAYER: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "weight_hh too small": (
        {"weight_hh": torch.zeros(16, 16)},
        ValueError,
        r"^weight_hh must have shape \(4H, H\) with H = 5, got \(16, 16\)$",
    ),
    "gain too short": ({"gamma_hh": torch.zeros(4)}, ValueError, r"^gamma_hh must have shape \(4H\) with H = 5, got"),
    "shift of rank 2": ({"beta_c": torch.zeros(1, 5)}, ValueError, r"^beta_c must have shape \(H\)"),
    "another batch": ({"c_0": torch.zeros(3, 5)}, ValueError, r"^c_0 must have shape \(B, H\)"),
    "memory of two norms": ({"memory": torch.zeros(2, 2, 2, 2)}, ValueError, r"^memory must have shape \(3, 2, M, B\)"),
    "no features": ({"h_0": torch.zeros(2, 0)}, ValueError, "^h_0 must have at least one feature, got H = 0$"),
    "gain of another dtype": ({"gamma_c": torch.zeros(5, dtype=torch.float32)}, TypeError, "^gamma_c must be of torch"),
    "integers": ({"x": torch.zeros(3, 2, 3, dtype=torch.int64)}, TypeError, "^x must be a floating-point tensor"),
    "bias elsewhere": (
        {"bias": torch.zeros(20, device="meta")},
        ValueError,
        "^bias must be on cpu, as x is, got meta$",
    ),
    "k negative": ({"k": -1}, ValueError, "^k must be at least 0, got -1$"),
    "eps negative": ({"eps": -1.0}, ValueError, "^eps must be a finite number of at least 0, got -1.0$"),
    "eps not a number": ({"eps": float("nan")}, ValueError, "^eps must be a finite number of at least 0, got nan$"),
    "no norm, yet memory": ({"k": 0, "gamma_ih": None}, ValueError, r"^memory must have shape \(3, 2, 0, B\)"),
    "no norm, yet a gain": (
        {"k": 0, "bias": None, "gamma_ih": None, "memory": torch.zeros(3, 2, 0, 2)},
        ValueError,
        r"^gamma_hh must be None without a norm \(k = 0\), got a tensor$",
    ),
}
"""What is changed in a layer that fits, and the error. Tensors have float64 unless said."""


def in_float64(value: Any) -> Any:
    """A float32 tensor of zeros in float64, unless it is the one of another dtype."""
    return value.double() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


@pytest.mark.parametrize(("changes", "error", "message"), WRONG_LAYER.values(), ids=WRONG_LAYER)
def test_a_layer_s_argument_that_does_not_fit_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    keeps_dtype = error is TypeError
    given = layer(
        **{name: value if keeps_dtype else in_float64(value) for name, value in changes.items() if name != "k"}
    )
    given = given._replace(k=changes.get("k", given.k))
    for compute in (launch.lstm_forward, launch.lstm_inference):
        with pytest.raises(error, match=message):
            compute(given)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gamma": draw(2)}, ValueError, r"^gamma must have shape \(N\) with N = 5, got \(2,\)$"),
        (
            {"memory": draw(2, 1, 3)},
            ValueError,
            r"^memory must have shape \(2, M, B\) with M = 1, B = 2, got \(2, 1, 3\)$",
        ),
        ({"memory": draw(2, 1, 2).float()}, TypeError, "^memory must be of torch.float64 where a is of torch.float64"),
        ({"a": draw(2, 3, 5).transpose(0, 1)}, ValueError, "^a must be contiguous, got strides"),
        ({"k": 0}, ValueError, "^k must be at least 1, got 0$"),
        ({"eps": float("inf")}, ValueError, "^eps must be a finite number"),
        ({"a": torch.zeros(3, 2, 0), "memory": torch.zeros(2, 0, 2)}, ValueError, "^a must have at least one feature"),
    ],
)
def test_a_norm_s_argument_that_does_not_fit_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        launch.norm_forward(norm(**changes))


def test_every_tensor_of_a_backward_pass_is_checked() -> None:
    """A row too many in each tensor in turn, which the error names; k tells which tensors there are."""
    passes: list[tuple[Any, Any]] = [
        (layer_backward(layer()), launch.lstm_backward),
        (layer_backward(layer(0)._replace(gamma_c=draw(H))), launch.lstm_backward),
        (norm_backward(norm()), launch.norm_backward),
    ]
    for given, compute in passes:
        tensors = [name for name, value in given._asdict().items() if isinstance(value, Tensor)]
        first = "h" if isinstance(given, LSTMBackward) else "a"
        for name in tensors:
            tensor = getattr(given, name)
            longer = given._replace(**{name: torch.cat((tensor, tensor.new_zeros(1, *tensor.shape[1:])))})
            with pytest.raises(ValueError, match="^dh|^dy must" if name == first else f"^{name} must have shape"):
                compute(longer)
        for name in tensors:
            with pytest.raises(
                TypeError, match=" must be of " if name == first else f"^{name} must be of torch.float64"
            ):
                compute(given._replace(**{name: getattr(given, name).float()}))
        with pytest.raises(ValueError, match=r"^eps must be"):
            compute(given._replace(eps=-1.0))
        with pytest.raises(ValueError, match=r"^k must be at least"):
            compute(given._replace(k=-1))
