"""`ATNRNN` and `ATNGRU` without a norm are `nn.RNN` and `nn.GRU`, and with one the equations written out."""

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from atn import ATNGRU, ATNRNN
from atn.choices import BiasPlacement, Init, Norm
from tests.support.cells import CELLS
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters

PLACEMENTS: tuple[BiasPlacement, ...] = ("outside", "inside")
LENGTHS = [3, 6, 1, 4]

pytestmark = pytest.mark.parametrize("cell", CELLS)


def assert_same_results(ours: nn.Module, theirs: nn.Module, x: Tensor, hx: Tensor | None = None) -> None:
    """Same output, state and gradients of everything, for a random upstream gradient on both."""
    results = []
    for module in (ours, theirs):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, *(() if hx is None else (hx,)))]
        output, h_n = module(leaves[0], None if hx is None else leaves[1])
        upstream = [random(*value.shape, seed=7 + i) for i, value in enumerate((output, h_n))]
        gradients = torch.autograd.grad((output, h_n), [*leaves, *module.parameters()], upstream)
        results.append(((output, h_n), gradients))
    (outputs, gradients), (their_outputs, their_gradients) = results
    for actual, expected in zip(outputs, their_outputs, strict=True):
        assert_close(actual, expected, quantity="output", backend="eager")
    for actual, expected in zip(gradients, their_gradients, strict=True):
        assert_close(actual, expected, quantity="gradient", backend="eager")


@pytest.mark.usefixtures("auto_backend")
class TestPlain:
    """`norm="none"`."""

    @pytest.mark.claim("eq-1")
    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("bias", [False, True])
    def test_every_shape(self, *, cell: str, layers: int, bidirectional: bool, batch_first: bool, bias: bool) -> None:
        settings: dict[str, Any] = {"bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
        ours, theirs = CELLS[cell].pair(3, 4, layers, **settings)
        x = random(2, 5, 3) if batch_first else random(5, 2, 3)
        assert_same_results(ours, theirs, x)
        assert_same_results(ours, theirs, x, random(layers * (1 + bidirectional), 2, 4, seed=1))

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_without_a_batch(self, *, cell: str, bidirectional: bool) -> None:
        ours, theirs = CELLS[cell].pair(3, 4, 2, bidirectional=bidirectional)
        assert_same_results(ours, theirs, random(5, 3))
        assert_same_results(ours, theirs, random(5, 3), random(2 * (1 + bidirectional), 4, seed=1))

    @pytest.mark.parametrize("with_state", [False, True])
    @pytest.mark.parametrize("enforce_sorted", [False, True])
    def test_packed(self, *, cell: str, enforce_sorted: bool, with_state: bool) -> None:
        lengths = torch.tensor(sorted(LENGTHS, reverse=True) if enforce_sorted else LENGTHS)
        ours, theirs = CELLS[cell].pair(3, 4, 2, bidirectional=True)
        results = []
        for module in (ours, theirs):
            x, h_0 = random(6, 4, 3).requires_grad_(), random(4, 4, 4, seed=1).requires_grad_()
            packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
            output, h_n = module(packed, h_0 if with_state else None)
            assert isinstance(output, PackedSequence)
            leaves = [x, *([h_0] if with_state else []), *module.parameters()]
            upstream = [random(*output.data.shape, seed=2), random(*h_n.shape, seed=3)]
            results.append([output.data, h_n, *torch.autograd.grad((output.data, h_n), leaves, upstream)])
        for actual, expected in zip(*results, strict=True):
            assert_close(actual, expected, quantity="gradient", backend="eager")

    def test_dropout_acts_between_layers_while_training(self, cell: str) -> None:
        ours, theirs = CELLS[cell].pair(3, 4, 3, dropout=0.5, bidirectional=True)
        x = random(5, 2, 3)
        drawn = []
        for module in (ours, theirs):
            torch.manual_seed(0)
            drawn.append(module(x)[0])
        assert_close(drawn[0], drawn[1], quantity="output", backend="eager")
        assert_same_results(ours.eval(), theirs.eval(), x)

    def test_attributes_and_weights_are_those_of_torch(self, cell: str) -> None:
        ours, theirs = CELLS[cell].pair(3, 4, 2, bidirectional=True)
        assert ours.mode == theirs.mode == cell
        assert ours.proj_size == theirs.proj_size == 0
        for actual, expected in zip(ours.all_weights, theirs.all_weights, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
        with_random_parameters(ours, seed=5)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        assert_same_results(ours, theirs, random(5, 2, 3))

    def test_a_batch_without_cases(self, cell: str) -> None:
        ours, theirs = CELLS[cell].pair(3, 4, 2)
        shapes = [[value.shape for value in module(torch.zeros(5, 0, 3).double())] for module in (ours, theirs)]
        assert shapes[0] == shapes[1]

    @pytest.mark.parametrize("norm", ["atn", "wn", "none"])
    def test_one_seed_gives_the_numbers_of_torch(self, cell: str, norm: Norm) -> None:
        torch.manual_seed(3)
        theirs = CELLS[cell].torchs(3, 4, 2, bidirectional=True, **CELLS[cell].arguments, **DOUBLE)
        torch.manual_seed(3)
        ours = CELLS[cell].module(3, 4, 2, bidirectional=True, norm=norm, k=2 if norm == "atn" else None)
        for name, parameter in theirs.named_parameters():
            assert torch.equal(ours.get_parameter(name), parameter), name


def written_out(module: ATNRNN | ATNGRU, x: Tensor, window: int) -> Tensor:
    """Eq. (3), or the GRU's equations, step by step on rows that are kept as they are, from zero states."""
    p, zero = dict(module.named_parameters()), torch.zeros((), dtype=x.dtype)
    inside = module.bias_placement == "inside"
    rows: dict[str, list[Tensor]] = {"ih": [], "hh": []}

    def row(name: str, value: Tensor) -> Tensor:
        bias = p[f"bias_{name}_l0"]
        rows[name].append(value @ p[f"weight_{name}_l0"].T + (bias if inside else zero))
        var, mean = torch.var_mean(torch.stack(rows[name][-window:]), (0, 2), correction=0)
        xhat = (rows[name][-1] - mean.unsqueeze(1)) / torch.sqrt(var.unsqueeze(1) + module.eps)
        return xhat * p[f"norm_{name}_l0.weight"] + p[f"norm_{name}_l0.bias"] + (zero if inside else bias)

    h, outputs = x.new_zeros(x.shape[1], module.hidden_size), []
    for step in x:
        a_ih, a_hh = row("ih", step), row("hh", h)
        if module.mode == "GRU":
            (r_ih, z_ih, n_ih), (r_hh, z_hh, n_hh) = a_ih.chunk(3, 1), a_hh.chunk(3, 1)
            n, z = torch.tanh(n_ih + torch.sigmoid(r_ih + r_hh) * n_hh), torch.sigmoid(z_ih + z_hh)
            h = (1 - z) * n + z * h
        else:
            h = (torch.tanh if module.mode == "RNN_TANH" else torch.relu)(a_ih + a_hh)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.claim("eq-3")
@pytest.mark.usefixtures("auto_backend")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("norm", "k"), [("ln", None), ("atn", 1), ("atn", 3), ("atn", 100), ("atn", 300)])
def test_normalized_cells_are_the_equations(cell: str, norm: Norm, k: int | None, placement: BiasPlacement) -> None:
    module = with_random_parameters(CELLS[cell].module(3, 4, norm=norm, k=k, bias_placement=placement))
    x = random(9, 2, 3)
    ours, theirs, parameters = module(x)[0], written_out(module, x, k or 1), list(module.parameters())
    assert_close(ours, theirs, quantity="output", backend="eager")
    upstream = random(*ours.shape, seed=1)
    gradients = (torch.autograd.grad(output, parameters, upstream) for output in (ours, theirs))
    for actual, expected in zip(*gradients, strict=True):
        scale = max(float(expected.abs().max()), 1e-2)  # what stands in front of a norm may vanish by symmetry
        assert_close(actual, expected, quantity="gradient", backend="eager", scale=scale)


@pytest.mark.usefixtures("auto_backend")
def test_what_is_not_a_number_passes_gradients_on_as_in_torch(cell: str) -> None:
    """A relu of NaN has the slope 1 in torch; the slope of a tanh, and the gates, are NaN themselves."""
    ours, theirs = CELLS[cell].pair(3, 4)
    x = random(4, 2, 3)
    x[1, 0, 0] = torch.nan
    found = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        found.append(torch.autograd.grad(module(leaf)[0], leaf, random(4, 2, 4, seed=1))[0])
    actual, expected = found
    assert torch.equal(actual.isnan(), expected.isnan())
    assert_close(actual.nan_to_num(), expected.nan_to_num(), quantity="gradient", backend="eager")


@pytest.mark.usefixtures("auto_backend")
def test_weight_norm_is_the_parametrization_of_torch(cell: str) -> None:
    ours = with_random_parameters(CELLS[cell].module(3, 4, norm="wn"))
    _, theirs = CELLS[cell].pair(3, 4)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        parametrizations.weight_norm(theirs, name)
    parameters: dict[str, Tensor] = dict(ours.named_parameters())
    states: dict[str, Tensor] = {f"bias_{name}_l0": parameters[f"bias_{name}_l0"] for name in ("ih", "hh")}
    for name in ("ih", "hh"):
        states[f"parametrizations.weight_{name}_l0.original0"] = parameters[f"norm_{name}_l0.weight"].unsqueeze(1)
        states[f"parametrizations.weight_{name}_l0.original1"] = parameters[f"weight_{name}_l0"]
    theirs.load_state_dict(states)
    x, upstream = random(5, 2, 3), random(5, 2, 4, seed=2)
    results = []
    for module, weight in ((ours, "weight_hh_l0"), (theirs, "parametrizations.weight_hh_l0.original1")):
        output = module(x)[0]
        results.append([output, *torch.autograd.grad(output, module.get_parameter(weight), upstream)])
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, quantity="gradient", backend="eager")


class TestParameters:
    """Names, shapes and first values."""

    @pytest.mark.claim("s1-no-new-parameters")
    @pytest.mark.parametrize("norm", ["atn", "ln"])
    def test_a_cell_of_torch_loads_with_the_norms_parameters_missing(self, cell: str, norm: Norm) -> None:
        k = 3 if norm == "atn" else None
        _, theirs = CELLS[cell].pair(3, 4, bidirectional=True)
        plain = CELLS[cell].module(3, 4, norm=norm, k=k, bidirectional=True, affine=False)
        plain.load_state_dict(theirs.state_dict(), strict=True)
        missing, unexpected = (
            CELLS[cell]
            .module(3, 4, norm=norm, k=k, bidirectional=True)
            .load_state_dict(theirs.state_dict(), strict=False)
        )
        parts = itertools.product(("norm_ih", "norm_hh"), ("", "_reverse"), ("weight", "bias"))
        assert sorted(missing) == sorted(f"{norm}_l0{direction}.{part}" for norm, direction, part in parts)
        assert unexpected == []

    @pytest.mark.parametrize("init", ["paper", "orthogonal"])
    def test_starts_of_the_recurrent_weight(self, cell: str, init: Init) -> None:
        module = CELLS[cell].module(3, 5, k=2, init=init)
        for block in torch.split(module.get_parameter("weight_hh_l0").detach(), 5):
            assert_close(block @ block.T, torch.eye(5).double(), quantity="output", backend="eager")
            assert torch.equal(block, torch.eye(5).double()) == (init == "paper")
        assert not module.get_parameter("bias_hh_l0").any()

    def test_gains_start_where_gamma_says(self, cell: str) -> None:
        module = CELLS[cell].module(3, 4, k=2, gamma=(0.5, 2.0))
        assert module.get_parameter("norm_ih_l0.weight").eq(0.5).all()
        assert module.get_parameter("norm_hh_l0.weight").eq(2.0).all()
        assert CELLS[cell].module(3, 4, k=2, gamma=0.1).get_parameter("norm_hh_l0.weight").eq(0.1).all()

    def test_copies_pickles_and_repr(self, cell: str) -> None:
        module, x = with_random_parameters(CELLS[cell].module(3, 4, 2, k=3)), random(5, 2, 3)
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 - our own bytes
            assert torch.equal(other(x)[0], module(x)[0])
        shown = ", nonlinearity='relu'" if cell == "RNN_RELU" else ""
        assert module.extra_repr() == f"input_size=3, hidden_size=4, num_layers=2{shown}, k=3"


@pytest.mark.usefixtures("auto_backend")
@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32_and_rounded_once(cell: str, dtype: torch.dtype, norm: Norm) -> None:
    settings: dict[str, Any] = {"norm": norm, "k": 3 if norm == "atn" else None, "bidirectional": True}
    half = with_random_parameters(CELLS[cell].module(3, 4, 2, **settings, dtype=dtype))
    full = CELLS[cell].module(3, 4, 2, **settings, dtype=torch.float32)
    full.load_state_dict(half.state_dict())
    x = random(7, 2, 3).to(dtype)
    for narrow, wide in zip(half(x), full(x.float()), strict=True):
        assert torch.equal(narrow, wide.to(dtype))
    plain = full(x.float())[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(full(x.float())[0], plain)
