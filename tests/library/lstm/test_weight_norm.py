"""`norm="wn"`, weight normalization (Salimans and Kingma 2016), against the oracle and the one of torch."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from atn import ATNGRU, ATNLSTM
from atn.norms.rows import with_lengths
from atn.norms.wn import RowGain
from atn_reference import weight_norm_backward, weight_norm_forward
from tests.support.against_oracle import PAPER_LIKE, assert_results_close, round_to
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters
from tests.support.runners import BACKENDS, run_lstm_oracle, run_lstm_torch

PROBLEM = dataclasses.replace(PAPER_LIKE, norm="wn", layers=2, directions=2, T=6)


def compare_with_the_oracle(backend: str) -> None:
    """Two layers in both directions, gradients included."""
    assert_results_close(run_lstm_torch(PROBLEM, backend, "float64"), run_lstm_oracle(PROBLEM), backend)


@pytest.mark.claim("np-13")
@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_and_directions(backend: str) -> None:
    compare_with_the_oracle(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16(backend: str) -> None:
    problem = round_to(dataclasses.replace(PAPER_LIKE, norm="wn"), "bfloat16")
    assert_results_close(run_lstm_torch(problem, backend, "bfloat16"), run_lstm_oracle(problem), backend)


def started(norm: str, seed: int = 5, dtype: torch.dtype = torch.float64, backend: str = "auto") -> ATNLSTM:
    """LSTM of 3 features and 6 hidden, drawn from a seed."""
    torch.manual_seed(seed)
    return ATNLSTM(3, 6, 2, norm=norm, bidirectional=True, backend=backend, dtype=dtype)  # type: ignore[arg-type]  # a name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_rows_of_zeros_stay_zero(cell: str, backend: str) -> None:
    """A plain cell with such a row computes the same, and nothing becomes NaN."""
    if backend == "triton" and cell == "GRU":
        backend = "eager"  # it has the LSTM alone
    plain, ours = getattr(nn, cell)(3, 4), {"LSTM": ATNLSTM, "GRU": ATNGRU}[cell](3, 4, norm="wn", backend=backend)
    with torch.no_grad():
        plain.weight_hh_l0[0] = 0
        plain.weight_ih_l0[5] = 0
    ours.load_state_dict(plain.state_dict())
    x = random(5, 2, 3).float()
    assert_close(ours(x)[0].detach(), plain(x)[0].detach(), quantity="output", backend="eager")
    ours(x)[0].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in ours.parameters())
    ours.project_rows_()
    lengths = torch.linalg.vector_norm(ours.get_parameter("weight_hh_l0").detach(), dim=1)
    assert_close(lengths, (torch.arange(len(lengths)) > 0).float(), quantity="output")


def test_rows_of_zeros_are_those_of_the_oracle() -> None:
    v, gamma, upstream = random(4, 3), random(4), random(4, 3, seed=1)
    v[2] = 0
    expected, cache = weight_norm_forward(v.numpy(), gamma.numpy())
    gradients = weight_norm_backward(upstream.numpy(), cache)
    v.requires_grad_(), gamma.requires_grad_()
    weight = with_lengths(v, gamma)
    assert_close(weight.detach(), expected, quantity="output")
    assert not weight[2].any()
    for found, of_oracle in zip(torch.autograd.grad(weight, (v, gamma), upstream), gradients, strict=True):
        assert_close(found, of_oracle, quantity="gradient")


@pytest.mark.parametrize("norm", ["wn", "prop"])
def test_whole_rows_can_be_pruned(norm: Any) -> None:
    ours = started(norm)
    prune.ln_structured(ours, "weight_hh_l0", amount=0.25, n=2, dim=0)  # type: ignore[no-untyped-call]  # torch does not annotate it
    pruned: Any = ours.weight_hh_l0
    assert int((pruned == 0).all(1).sum()) == 6
    assert ours(random(5, 2, 3))[0].isfinite().all()


@pytest.mark.parametrize("parents_first", [True, False])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_starting_every_module_anew_gives_the_lengths_in_either_order(device: str, *, parents_first: bool) -> None:
    """As FSDP starts modules that were made on the device meta, and code that goes through `modules()`."""
    with torch.device(device):
        ours = ATNLSTM(3, 6, 2, norm="wn", dtype=torch.float64)
    ours.to_empty(device="cpu")
    for module in list(ours.modules())[:: 1 if parents_first else -1]:
        if isinstance(module, ATNLSTM | RowGain):
            module.reset_parameters()
    for site in ("ih_l0", "hh_l0", "ih_l1", "hh_l1"):
        lengths = torch.linalg.vector_norm(ours.get_parameter(f"weight_{site}"), dim=1)
        assert_close(ours.get_parameter(f"norm_{site}.weight").detach(), lengths.detach(), quantity="output")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_starts_as_the_plain_lstm_to_the_last_bit(backend: str, dtype: torch.dtype) -> None:
    x = random(5, 2, 3).to(dtype)
    ours, plain = (started(norm, dtype=dtype, backend=backend) for norm in ("wn", "none"))
    if dtype == torch.bfloat16:  # the lengths are rounded to 16 bits
        assert_close(ours(x)[0], plain(x)[0], quantity="output", dtype="bfloat16")
    else:
        assert torch.equal(ours(x)[0], plain(x)[0])


def torch_weight_norm(plain: ATNLSTM) -> dict[str, Tensor]:
    """Put torch's parametrization on every weight; its parameters by the names that `norm="wn"` has for them."""
    named: dict[str, Tensor] = {}
    for name, _ in list(plain.named_parameters()):
        if name.startswith("weight"):
            parametrizations.weight_norm(plain, name, dim=0)
            behind = plain.get_submodule(f"parametrizations.{name}")
            named[name.replace("weight", "norm") + ".weight"] = behind.get_parameter("original0").flatten()
            named[name] = behind.get_parameter("original1")
    return named


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_the_parametrization_of_torch(backend: str) -> None:
    """Output, and the gradients of gains and directions, from random gains on."""
    plain, ours = started("none", backend=backend), with_random_parameters(started("wn", backend=backend), 8)
    theirs = torch_weight_norm(plain)
    with torch.no_grad():
        for name, bias in plain.named_parameters():
            if name.startswith("bias"):
                bias.copy_(ours.get_parameter(name))
        for name, parameter in theirs.items():
            parameter.copy_(ours.get_parameter(name))
    x = random(5, 2, 3)
    outputs = ours(x)[0], plain(x)[0]
    assert_close(outputs[0], outputs[1], quantity="output", backend=backend)
    upstream = random(*outputs[0].shape, seed=2)
    actual = torch.autograd.grad(outputs[0], [ours.get_parameter(name) for name in theirs], upstream)
    behind = [plain.get_parameter(name) for name in originals(theirs)]
    expected = torch.autograd.grad(outputs[1], behind, upstream)
    for name, result, reference in zip(theirs, actual, expected, strict=True):
        assert_close(result, reference.reshape(result.shape), quantity="gradient", backend=backend, what=name)


def originals(names: dict[str, Tensor]) -> list[str]:
    """The names of torch's parameters."""
    found = []
    for name in names:
        weight = name.removesuffix(".weight").replace("norm", "weight")
        found.append(f"parametrizations.{weight}.original{0 if name.startswith('norm') else 1}")
    return found


def test_gains_are_the_lengths_and_the_names_those_of_the_other_norms() -> None:
    module = started("wn")
    names = {name for name, _ in module.named_parameters() if name.startswith("norm") and "l0" in name}
    assert names == {f"norm_{site}_l0{way}.weight" for site in ("ih", "hh") for way in ("", "_reverse")}
    assert_close(
        module.get_parameter("norm_hh_l1.weight"), module.get_parameter("weight_hh_l1").norm(dim=1), quantity="output"
    )


def test_a_gradient_is_orthogonal_to_its_row() -> None:
    module, x = with_random_parameters(started("wn")), random(5, 2, 3)
    module(x)[0].square().sum().backward()
    weight = module.get_parameter("weight_hh_l0")
    assert weight.grad is not None
    products = weight.detach() * weight.grad
    along, scale = products.sum(1), float(products.abs().sum(1).max())
    assert_close(along, torch.zeros(24, **DOUBLE), quantity="gradient", scale=scale)
    assert float(weight.grad.abs().max()) > 1e-3


def test_projection_changes_no_output() -> None:
    module, x = with_random_parameters(started("wn")), random(5, 2, 3)
    before = module(x)[0]
    module.project_rows_()
    assert_close(module.get_parameter("weight_ih_l1").norm(dim=1), torch.ones(24, **DOUBLE), quantity="output")
    assert_close(module(x)[0], before, quantity="output")


def test_stream_equals_the_whole() -> None:
    module, x = with_random_parameters(ATNLSTM(3, 5, norm="wn", **DOUBLE)), random(7, 2, 3)
    first, state = module.stream(x[:3])
    second, _ = module.stream(x[3:], state)
    assert_close(torch.cat((first, second)), module(x)[0], quantity="output")


@pytest.mark.parametrize("strict", [True, False])
def test_a_state_dict_of_torch_loads_as_the_same_function(*, strict: bool) -> None:
    """The gains, which it lacks, are the lengths of its rows."""
    theirs = torch.nn.LSTM(3, 6, 2, bidirectional=True, **DOUBLE)
    ours, x = started("wn"), random(5, 2, 3)
    found = ours.load_state_dict(theirs.state_dict(), strict=strict)
    assert (found.missing_keys, found.unexpected_keys) == ([], [])
    assert_close(ours(x)[0], theirs(x)[0], quantity="output", backend="eager")


def test_a_state_dict_with_gains_keeps_them() -> None:
    source = with_random_parameters(started("wn"))
    loaded = started("wn", seed=6)
    loaded.load_state_dict(source.state_dict())
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in loaded.state_dict().items())
    partial = {name: value for name, value in source.state_dict().items() if "weight_ih_l0" not in name}
    before = loaded.norm_ih_l0.weight.clone()  # type: ignore[operator, union-attr]  # a gain
    loaded.load_state_dict({name: value for name, value in partial.items() if "norm" not in name}, strict=False)
    assert torch.equal(loaded.norm_ih_l0.weight, before)  # type: ignore[union-attr, arg-type]  # as above


@pytest.mark.parametrize("change", ["parametrized", "pruned"])
def test_a_gain_behind_something_else_loads_strictly(change: str) -> None:
    def changed(seed: int) -> ATNLSTM:
        module = started("wn", seed)
        gain: torch.nn.Module = module.get_submodule("norm_ih_l0")
        if change == "pruned":
            prune.l1_unstructured(gain, "weight", 1)  # type: ignore[no-untyped-call]  # torch's own
        else:
            parametrize.register_parametrization(gain, "weight", torch.nn.Softplus())
        return module

    source, loaded, x = changed(5), changed(6), random(5, 2, 3)
    loaded.load_state_dict(source.state_dict())
    assert torch.equal(loaded(x)[0], source(x)[0])


@pytest.mark.parametrize("weight", [torch.zeros(3), torch.zeros(3, 4), 1.5])
def test_a_weight_that_does_not_fit_gets_the_error_of_torch(weight: object) -> None:
    with pytest.raises(RuntimeError, match=r"size mismatch for weight_ih_l0|expected torch.Tensor"):
        started("wn").load_state_dict({"weight_ih_l0": weight}, strict=False)


def test_gains_are_loaded_in_the_dtype_of_their_weight() -> None:
    module = started("wn")
    theirs = torch.nn.LSTM(3, 6, 2, bidirectional=True, dtype=torch.float16)
    module.load_state_dict(theirs.state_dict(), assign=True)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}
