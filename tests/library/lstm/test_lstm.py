"""`ATNLSTM` against torch: the plain LSTM, the LN-LSTM built of LayerNorm, derivatives, dtypes, parameters."""

import copy
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from atn import ATNLSTM
from atn.choices import BiasPlacement, Init, Norm
from atn.window import LONGEST_KEPT_WINDOW
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, pair, random, with_random_parameters
from tests.support.operations import CountOperations

pytestmark = pytest.mark.usefixtures("auto_backend")

PLACEMENTS: tuple[BiasPlacement, ...] = ("outside", "inside")


def assert_same_results(ours: ATNLSTM, theirs: nn.LSTM, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> None:
    """Same outputs, states and gradients of everything, for a random upstream gradient on every output."""
    results = []
    for module in (ours, theirs):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, *(hx or ()))]
        output, (h_n, c_n) = module(leaves[0], tuple(leaves[1:]) if hx else None)
        upstream = [random(*value.shape, seed=7 + i) for i, value in enumerate((output, h_n, c_n))]
        gradients = torch.autograd.grad((output, h_n, c_n), [*leaves, *module.parameters()], upstream)
        results.append(((output, h_n, c_n), gradients))
    (outputs, gradients), (their_outputs, their_gradients) = results
    for actual, expected in zip(outputs, their_outputs, strict=True):
        assert_close(actual, expected, quantity="output", backend="eager")
    for actual, expected in zip(gradients, their_gradients, strict=True):
        assert_close(actual, expected, quantity="gradient", backend="eager")


class TestPlain:
    """`norm="none"` is the function of `torch.nn.LSTM`."""

    @pytest.mark.claim("eq-15", "eq-16")
    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("bias", [False, True])
    def test_every_shape(self, layers: int, bidirectional: bool, batch_first: bool, bias: bool) -> None:  # noqa: FBT001 - parametrized
        ours, theirs = pair(3, 4, layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias)
        states = (layers * (1 + bidirectional), 2, 4)
        x = random(2, 5, 3) if batch_first else random(5, 2, 3)
        assert_same_results(ours, theirs, x)
        assert_same_results(ours, theirs, x, (random(*states, seed=1), random(*states, seed=2)))

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_without_a_batch(self, bidirectional: bool) -> None:  # noqa: FBT001 - parametrized
        ours, theirs = pair(3, 4, 2, bidirectional=bidirectional)
        states = (2 * (1 + bidirectional), 4)
        assert_same_results(ours, theirs, random(5, 3))
        assert_same_results(ours, theirs, random(5, 3), (random(*states, seed=1), random(*states, seed=2)))

    def test_dropout_acts_between_layers_while_training(self) -> None:
        ours, theirs = pair(3, 4, 3, dropout=0.5, bidirectional=True)
        x = random(5, 2, 3)
        drawn = []
        for module in (ours, theirs):
            torch.manual_seed(0)
            drawn.append(module(x)[0])
        assert_close(drawn[0], drawn[1], quantity="output", backend="eager")
        assert not torch.equal(ours(x)[0], ours(x)[0])
        assert_same_results(ours.eval(), theirs.eval(), x)

    def test_weights_move_back(self) -> None:
        ours, theirs = pair(3, 4, 2, bidirectional=True)
        with_random_parameters(ours, seed=5)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        assert_same_results(ours, theirs, random(5, 2, 3))

    def test_bias_placement_does_not_matter(self) -> None:
        inside, outside = (
            with_random_parameters(ATNLSTM(3, 4, norm="none", bias_placement=placement, **DOUBLE))
            for placement in PLACEMENTS
        )
        assert torch.equal(inside(random(5, 2, 3))[0], outside(random(5, 2, 3))[0])


Statistics = Callable[[Tensor], Tensor]
"""Takes the rows (B, N) of one step after the other and normalizes each."""


def layer_norm(eps: float) -> Statistics:
    """Layer normalization of torch, which looks at the step alone."""
    return lambda a: nn.functional.layer_norm(a, a.shape[-1:], eps=eps)


def window_norm(k: int, eps: float) -> Statistics:
    """Eqs. (7)-(9) on the last k rows, kept as they are."""
    rows: list[Tensor] = []

    def normalized(a: Tensor) -> Tensor:
        rows.append(a)
        var, mean = torch.var_mean(torch.stack(rows[-k:]), (0, 2), correction=0)
        return (a - mean.unsqueeze(1)) / torch.sqrt(var.unsqueeze(1) + eps)

    return normalized


def written_out_lstm(module: ATNLSTM, x: Tensor, norms: dict[str, Statistics]) -> Tensor:
    """Eqs. (14)-(16), cell by cell, from zero states."""
    H = module.hidden_size
    p = dict(module.named_parameters())
    zero = torch.zeros(4 * H, dtype=torch.float64)
    biases, zeros = (p["bias_ih_l0"], p["bias_hh_l0"]), (zero, zero)
    inside, outside = (biases, zeros) if module.bias_placement == "inside" else (zeros, biases)

    def norm(a: Tensor, name: str) -> Tensor:
        return norms[name](a) * p[f"{name}_l0.weight"] + p[f"{name}_l0.bias"]

    h = c = x.new_zeros(x.shape[1], H)
    outputs = []
    for step in x:
        gates = (
            norm(h @ p["weight_hh_l0"].T + inside[1], "norm_hh")
            + norm(step @ p["weight_ih_l0"].T + inside[0], "norm_ih")
            + sum(outside)
        )
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * norm(c, "norm_c").tanh()
        outputs.append(h)
    return torch.stack(outputs)


def assert_written_out(module: ATNLSTM, norms: dict[str, Statistics]) -> None:
    """The module and the written-out cell agree, in output and in the gradient of every parameter."""
    x = random(9, 2, 3)
    ours, theirs = module(x)[0], written_out_lstm(module, x, norms)
    assert_close(ours, theirs, quantity="output", backend="eager")
    upstream = random(*ours.shape, seed=1)
    parameters = list(module.parameters())
    gradients = zip(
        torch.autograd.grad(ours, parameters, upstream), torch.autograd.grad(theirs, parameters, upstream), strict=True
    )
    for actual, expected in gradients:
        scale = max(float(expected.abs().max()), 1e-2)  # what stands in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)


NORM_NAMES = ("norm_ih", "norm_hh", "norm_c")


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("norm", "k"), [("ln", None), ("atn", 1)])
def test_one_step_is_the_layer_normalized_lstm(norm: Norm, k: int | None, placement: BiasPlacement) -> None:
    module = with_random_parameters(ATNLSTM(3, 4, norm=norm, k=k, bias_placement=placement, **DOUBLE))
    assert_written_out(module, {name: layer_norm(module.eps) for name in NORM_NAMES})


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("k", [2, 3, 8, 9, 100])
def test_longer_windows_are_the_equations(k: int, placement: BiasPlacement) -> None:
    module = with_random_parameters(ATNLSTM(3, 4, k=k, bias_placement=placement, **DOUBLE))
    assert_written_out(module, {name: window_norm(k, module.eps) for name in NORM_NAMES})


@pytest.mark.parametrize(
    ("norm", "k", "affine", "placement"),
    [
        ("none", None, False, "outside"),
        *(
            (norm, k, affine, placement)
            for norm, k in (("ln", None), ("atn", 2), ("atn", 9))
            for affine, placement in ((False, "outside"), (True, "inside"))
        ),
        ("atn", 2, False, "inside"),
        ("atn", 2, True, "outside"),
    ],
)
def test_first_and_second_derivatives(
    *, auto_backend: str, norm: Norm, k: int | None, affine: bool, placement: BiasPlacement
) -> None:
    settings: dict[str, Any] = {"norm": norm, "k": k, "affine": affine, "bias_placement": placement, "eps": 1e-2}
    module = with_random_parameters(ATNLSTM(2, 3, **settings, **DOUBLE))
    names = [name for name, _ in module.named_parameters()]

    def run(x: Tensor, h_0: Tensor, c_0: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, (h_n, c_n) = torch.func.functional_call(
            module, dict(zip(names, parameters, strict=True)), (x, (h_0, c_0))
        )
        return output, h_n, c_n

    inputs = [random(4, 2, 2), random(1, 2, 3, seed=1), random(1, 2, 3, seed=2)]
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (*inputs, *module.parameters())]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    if auto_backend == "eager":
        assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("norm", ["atn", "none"])
def test_directions_and_layers_have_derivatives_too(norm: Norm) -> None:
    settings: dict[str, Any] = {"norm": norm, "k": 2 if norm == "atn" else None, "bidirectional": True}
    module = with_random_parameters(ATNLSTM(2, 2, 2, **settings, **DOUBLE))
    x = random(3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x)[0], x)


@pytest.mark.claim("s3-fixed-cost")
@pytest.mark.parametrize("auto_backend", ["eager"], indirect=True)
def test_operations_of_a_step_do_not_depend_on_k() -> None:
    """Beyond the window, one more step costs the same number of operations for every k, and sequences add log k.

    A window longer than `LONGEST_KEPT_WINDOW` takes at most 5 operations for each of its 2 log2(k) merges, in each of
    the two norms of the recurrence.
    """

    def operations(T: int, k: int) -> int:
        module, x, counter = ATNLSTM(3, 4, k=k, backend="eager"), torch.zeros(T, 2, 3), CountOperations()
        with counter:
            module(x)
        return counter.count

    assert {operations(41, k) - operations(40, k) for k in (2, 3, 10, 16, 35)} == {
        operations(41, 7) - operations(40, 7)
    }
    short = operations(11, 30) - operations(10, 30)
    assert {operations(11, k) - operations(10, k) for k in (12, 100, LONGEST_KEPT_WINDOW)} == {short}
    for T, k in ((10, 5000), (280, 260), (280, LONGEST_KEPT_WINDOW + 1)):
        assert 0 < operations(T + 1, k) - operations(T, k) - short <= 2 * 5 * 2 * math.log2(k)


@pytest.mark.claim("s2-ln-needs-no-batch")
@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 2), (4, 1, 2)])
def test_axes_of_one(shape: tuple[int, int, int], k: int) -> None:
    """Each case alone is the case in the batch, and each prefix the beginning of the whole."""
    T, B, I = shape
    module = with_random_parameters(ATNLSTM(I, 3, k=k, **DOUBLE))
    x = random(T + 1, B + 1, I)
    whole = module(x)[0]
    assert_close(module(x[:T, :B])[0], whole[:T, :B], quantity="output", backend="eager")


def test_strides_do_not_matter() -> None:
    module = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE))
    x = random(6, 4, 6)
    for view in (x[::2, :, :3], x[:, :, ::2], x[:, :1, :3].expand(6, 4, 3), x.permute(2, 1, 0)[:, :, :3]):
        assert not view.is_contiguous()
        assert_close(module(view)[0], module(view.contiguous())[0], quantity="output", backend="eager")


@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32_and_rounded_once(dtype: torch.dtype, norm: Norm) -> None:
    settings: dict[str, Any] = {"norm": norm, "k": 3 if norm == "atn" else None, "bidirectional": True}
    half = with_random_parameters(ATNLSTM(3, 4, 2, **settings, dtype=dtype))
    full = ATNLSTM(3, 4, 2, **settings)
    full.load_state_dict(half.state_dict())
    results = []
    for module, x in ((half, random(7, 2, 3).to(dtype)), (full, random(7, 2, 3).to(dtype).float())):
        output, (h_n, c_n) = module(x.requires_grad_())
        assert {value.dtype for value in (output, h_n, c_n)} == {x.dtype}
        upstream = random(*output.shape, seed=3).to(dtype).to(x.dtype)
        gradients = torch.autograd.grad(output, [x, *module.parameters()], upstream)
        results.append([output, h_n, c_n, *gradients])
    for narrow, wide in zip(*results, strict=True):
        assert torch.equal(narrow, wide.to(dtype))


def test_autocast_computes_in_float32_and_answers_in_the_dtype_of_the_input() -> None:
    module = with_random_parameters(ATNLSTM(3, 4, k=3).float())
    x = random(5, 2, 3).float()
    plain, (plain_h, _) = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        output, (h_n, _) = module(x)
        half, (half_h, _) = module(x.bfloat16())
    assert torch.equal(output, plain)
    assert torch.equal(h_n, plain_h)
    whole = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE))(x.double())[0]
    assert_close(plain, whole, quantity="output", dtype="float32")
    rounded, _ = module(x.bfloat16().float())
    assert torch.equal(half, rounded.bfloat16())
    assert half_h.dtype == torch.bfloat16


class TestParameters:
    """Names, shapes and first values."""

    @pytest.mark.claim("s1-no-new-parameters")
    @pytest.mark.parametrize("norm", ["atn", "ln"])
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_norms_without_gain_and_shift_add_none(self, norm: Norm, bidirectional: bool) -> None:  # noqa: FBT001 - parametrized
        k = 3 if norm == "atn" else None
        ours = ATNLSTM(3, 4, 2, norm=norm, k=k, bidirectional=bidirectional, affine=False)
        theirs = nn.LSTM(3, 4, 2, bidirectional=bidirectional)
        shapes = [(name, parameter.shape) for name, parameter in ours.named_parameters()]
        assert shapes == [(name, parameter.shape) for name, parameter in theirs.named_parameters()]
        ours.load_state_dict(theirs.state_dict(), strict=True)

    @pytest.mark.claim("s1-no-new-parameters")
    def test_atn_has_the_parameters_of_the_layer_normalized_lstm(self) -> None:
        atn, ln = ATNLSTM(3, 4, 2, k=45), ATNLSTM(3, 4, 2, norm="ln")
        assert {n: p.shape for n, p in atn.named_parameters()} == {n: p.shape for n, p in ln.named_parameters()}

    def test_an_lstm_loads_with_the_norms_parameters_missing(self) -> None:
        ours, theirs = ATNLSTM(3, 4, k=3, bidirectional=True), nn.LSTM(3, 4, bidirectional=True)
        missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
        assert unexpected == []
        assert sorted(missing) == sorted(
            f"{norm}_l0{direction}.{part}"
            for norm, direction, part in itertools.product(
                ("norm_ih", "norm_hh", "norm_c"), ("", "_reverse"), ("weight", "bias")
            )
        )
        assert {name: tuple(ours.state_dict()[name].shape) for name in missing if "_c_" in name} == {
            name: (4,) for name in missing if "_c_" in name
        }

    @pytest.mark.parametrize("norm", ["atn", "none"])
    def test_one_seed_gives_the_numbers_of_torch(self, norm: Norm) -> None:
        settings: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
        torch.manual_seed(3)
        theirs = nn.LSTM(3, 4, **settings)
        torch.manual_seed(3)
        ours = ATNLSTM(3, 4, norm=norm, k=2 if norm == "atn" else None, **settings)
        for name, parameter in theirs.named_parameters():
            assert torch.equal(ours.get_parameter(name), parameter), name
        for name, parameter in ours.named_parameters():
            if name.startswith("norm"):
                assert torch.equal(parameter, torch.full_like(parameter, float(name.endswith("weight")))), name

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("input_size", [3, 40])
    def test_the_papers_start(self, input_size: int, dtype: torch.dtype) -> None:
        module = ATNLSTM(input_size, 5, k=2, init="paper", dtype=dtype)
        parameters = {name: parameter.detach().float() for name, parameter in module.named_parameters()}
        weight = parameters["weight_ih_l0"]
        smaller = weight.T @ weight if input_size < 20 else weight @ weight.T
        # The QR decomposition and this product err by at most m n u each, whatever LAPACK there is (Higham 2002,
        # theorem 19.4 and section 3.5); rounding the rows to a half type by 2 of its u.
        atol = weight.numel() * torch.finfo(torch.float32).eps + torch.finfo(dtype).eps
        torch.testing.assert_close(smaller, torch.eye(len(smaller)), atol=atol, rtol=0)
        assert torch.equal(parameters["weight_hh_l0"], torch.cat([torch.eye(5)] * 4))
        for name, values in parameters.items():
            if name.startswith(("bias", "norm")):
                assert values.eq(float(name.endswith(".weight"))).all(), name

    @pytest.mark.parametrize("init", ["torch", "paper"])
    def test_reset_parameters_starts_anew(self, init: Init) -> None:
        module = ATNLSTM(3, 4, k=2, init=init)
        torch.manual_seed(1)
        module.reset_parameters()
        first = copy.deepcopy(module.state_dict())
        with_random_parameters(module)
        torch.manual_seed(1)
        module.reset_parameters()
        assert all(torch.equal(value, first[name]) for name, value in module.state_dict().items())


class TestModule:
    """What a module of torch can do."""

    def test_copies_and_pickles_are_the_same_module(self) -> None:
        module, x = with_random_parameters(ATNLSTM(3, 4, 2, k=3, **DOUBLE)), random(5, 2, 3)
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 - our own bytes
            assert torch.equal(other(x)[0], module(x)[0])

    def test_a_state_dict_loads_into_another(self) -> None:
        module, other, x = (
            with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE)), ATNLSTM(3, 4, k=3, **DOUBLE), random(5, 2, 3),
        )  # fmt: skip
        other.load_state_dict(module.state_dict())
        assert torch.equal(other(x)[0], module(x)[0])

    def test_a_parametrization_of_the_recurrent_weight_is_used(self) -> None:
        class Halved(nn.Module):
            def forward(self, weight: Tensor) -> Tensor:
                return weight / 2

        module, halved, x = (
            with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE)), ATNLSTM(3, 4, k=3, **DOUBLE), random(5, 2, 3),
        )  # fmt: skip
        halved.load_state_dict(module.state_dict())
        with torch.no_grad():
            halved.get_parameter("weight_hh_l0").div_(2)
        parametrize.register_parametrization(module, "weight_hh_l0", Halved())
        output = module(x)[0]
        assert torch.equal(output, halved(x)[0])
        output.sum().backward()
        assert module.get_parameter("parametrizations.weight_hh_l0.original").grad is not None

    def test_a_plain_tensor_may_stand_in_a_weights_place(self) -> None:
        """Weight drop deletes the parameter and sets a tensor computed from another one before every call."""
        module, x = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE)), random(5, 2, 3)
        before, raw = module(x)[0], nn.Parameter(module.get_parameter("weight_hh_l0").detach().clone())
        del module.weight_hh_l0
        module.weight_hh_l0 = raw * 1
        assert torch.equal(module(x)[0], before)
        module.weight_hh_l0 = nn.functional.dropout(raw, 1.0)
        assert not torch.equal(module(x)[0], before)

    def test_flatten_parameters_changes_nothing(self) -> None:
        module, x = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE)), random(5, 2, 3)
        before = module(x)[0]
        module.flatten_parameters()
        assert torch.equal(module(x)[0], before)

    def test_repr_names_what_differs_from_the_defaults(self) -> None:
        assert (
            ATNLSTM(3, 4, norm="ln", bidirectional=True, affine=False).extra_repr()
            == "input_size=3, hidden_size=4, bidirectional=True, norm='ln', affine=False"
        )

    @pytest.mark.parametrize("setting", [{"eps": 0.5}, {"k": 2}, {"bias_placement": "inside"}])
    def test_each_setting_changes_the_function(self, setting: dict[str, Any]) -> None:
        base: dict[str, Any] = {"k": 3, **DOUBLE}
        plain, changed = with_random_parameters(ATNLSTM(3, 4, **base)), ATNLSTM(3, 4, **{**base, **setting})
        changed.load_state_dict(plain.state_dict())
        difference = (plain(random(6, 2, 3))[0] - changed(random(6, 2, 3))[0]).abs().max()
        assert difference > 1e-3

    def test_runs_without_data(self) -> None:
        """Shapes on the meta device."""
        output, (h_n, c_n) = ATNLSTM(3, 4, k=3, device="meta")(torch.zeros(5, 2, 3, device="meta"))
        assert (output.shape, h_n.shape, c_n.shape) == ((5, 2, 4), (1, 2, 4), (1, 2, 4))
