"""Modules that were changed after they were made: a change takes effect, or is refused by name."""

import copy
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm, NormalizedLinear, PerStepReadout

A = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))

CELLS: list[Any] = [ATNLSTM, ATNGRU, ATNRNN]

OTHER_SIZES = {
    "input_size": 4,
    "hidden_size": 5,
    "num_layers": 2,
    "bias": False,
    "bidirectional": True,
    "mode": "LSTMP",
}
OTHER_NORMS = {"num_features": 4, "k": 3, "base": "batch", "eps": 1.0, "affine": False}

pytestmark = pytest.mark.usefixtures("auto_backend")


def calls(module: nn.Module) -> None:
    """In training and in inference, which take different ways through a module."""
    for training in (True, False):
        with torch.set_grad_enabled(training):
            module(A)


@pytest.mark.parametrize("cell", CELLS)
def test_a_module_for_a_property_is_refused(cell: Any) -> None:
    """Assigned as torch does it, it would have the name, and the setting would stay."""
    module = cell(3, 4, 2, k=2, dropout=0.25)
    with pytest.raises(TypeError, match=r"^dropout must be a number in \[0, 1\], got Dropout"):
        module.dropout = nn.Dropout(0.5)
    with pytest.raises(AttributeError, match="norm"):
        module.norm = nn.LayerNorm(4)
    assert module.dropout == 0.25
    assert [type(child) for child in module.children() if isinstance(child, nn.Dropout | nn.LayerNorm)] == []


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("value", "error"), [(-0.5, ValueError), (1.5, ValueError), ("0.1", TypeError)])
def test_a_dropout_that_is_no_probability_is_refused(cell: Any, value: Any, error: type[Exception]) -> None:
    module = cell(3, 4, 2, k=2, dropout=0.25)
    with pytest.raises(error, match=r"^dropout must be a number in \[0, 1\]"):
        module.dropout = value
    assert module.dropout == 0.25
    module.dropout = 0
    calls(module)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("training", [True, False])
def test_a_backend_that_is_no_name_is_refused(cell: Any, *, training: bool) -> None:
    module = cell(3, 4, k=2)
    module.backend = ["eager"]
    with torch.set_grad_enabled(training), pytest.raises((TypeError, ValueError), match=r"^backend must"):
        module(A)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("name", "value"), [("norm", "none"), ("k", 1), ("eps", 1.0), ("affine", False), ("bias_placement", "inside")]
)
def test_settings_of_the_norm_cannot_change(cell: Any, name: str, value: object) -> None:
    """A module is made with them: assigned later they would change nothing."""
    module = cell(3, 4, k=2)
    before = getattr(module, name)
    with pytest.raises(AttributeError, match=rf"property '{name}' of '{cell.__name__}' object has no setter"):
        setattr(module, name, value)
    assert getattr(module, name) == before


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        *((cell(3, 4, k=2), name, value) for cell in CELLS for name, value in OTHER_SIZES.items()),
        (ATNRNN(3, 4, k=2), "nonlinearity", "relu"),
        (ATNGRU(3, 4, k=2), "init", "bad"),
        (ATNLSTM(3, 4, k=2), "forget_bias", 1.0),
        *((AssortedTimeNorm(3, 2), name, value) for name, value in OTHER_NORMS.items()),
        (NormalizedLinear(3, 4, k=2), "out_features", 5),
        (NormalizedLinear(3, 4, k=2), "bias_placement", "inside"),
        (PerStepReadout(4, 3, 2), "steps", 5),
    ],
)
def test_sizes_and_norms_that_the_parameters_were_made_for_cannot_change(
    module: nn.Module, name: str, value: object
) -> None:
    before = getattr(module, name)
    message = f"{name} must stay {before!r}, with which this {type(module).__name__} was made, got {value!r}"
    with pytest.raises(AttributeError, match=f"^{re.escape(message)}; make another module$"):
        setattr(module, name, value)
    setattr(module, name, before)
    assert getattr(module, name) == before


CAST: list[tuple[nn.Module, str]] = [
    *((cell(3, 4, k=2, eps=1e-100, dtype=torch.float64), "eps must be 0 or from .* got 1e-100") for cell in CELLS),
    (ATNLSTM(3, 4, k=2, eps=1e100, dtype=torch.float64), "eps must be 0 or from .* got 1e[+]100"),
    (AssortedTimeNorm(3, 2, eps=1e-100, dtype=torch.float64), "eps must be 0 or from .* got 1e-100"),
    (NormalizedLinear(3, 4, k=2, eps=1e-100, dtype=torch.float64), "eps must be 0 or from .* got 1e-100"),
    (
        ATNLSTM(3, 4, norm="prop", variance=(1e-50, 1.0), dtype=torch.float64),
        "var_c, by gamma and variance, must be from 1.18e-38 to .* got 1e-50",
    ),
    (ATNLSTM(3, 4, norm="ada", scale=1e39, dtype=torch.float64), "scale must be from 1.18e-38 to 3.4e[+]38"),
    (ATNLSTM(3, 4, norm="ada", slope=1e-50, dtype=torch.float64), "slope must be from 1.18e-38 to 3.4e[+]38"),
]


@pytest.mark.parametrize(("module", "message"), CAST)
def test_a_number_that_the_new_dtype_does_not_have_is_refused(module: nn.Module, message: str) -> None:
    calls_in_its_dtype = copy.deepcopy(module)
    calls_in_its_dtype(A.double())
    changed = copy.deepcopy(module).float()
    for training in (True, False):
        with torch.set_grad_enabled(training), pytest.raises(ValueError, match=f"^{message}"):
            changed(A)


def test_a_norm_of_the_batch_without_its_statistics_is_refused() -> None:
    norm = AssortedTimeNorm(3, 2, base="batch", max_steps=4)
    norm.population = None
    for training in (True, False):
        with pytest.raises(TypeError, match=r"^population must be .*, got NoneType"):
            norm.train(training)(A)


def test_a_subclass_may_have_attributes_of_any_name() -> None:
    class Subclass(ATNLSTM):
        def __init__(self) -> None:
            super().__init__(3, 4, k=2)
            self.fixed = True
            self.scale = 1

    assert Subclass().fixed


OTHER_SHAPES: list[tuple[Any, str, object, str]] = [
    (PerStepReadout(4, 3, 2), "weight", torch.zeros(2, 3), "weight must have shape (C, T, H) = (2, 4, 3), got (2, 3)"),
    (PerStepReadout(4, 3, 2), "weight", None, "weight must be a tensor, got NoneType"),
    (PerStepReadout(4, 3, 2), "bias", torch.zeros(7, 1, 1), "bias must have shape (C,) = (2,), got (7, 1, 1)"),
    (PerStepReadout(4, 3, 2), "bias", torch.zeros(2).double(), "bias must have weight's dtype torch.float32, got"),
    (NormalizedLinear(3, 4, k=2), "weight", torch.zeros(5, 3), "weight must have shape (N, H) = (4, 3), got (5, 3)"),
    (NormalizedLinear(3, 4, k=2), "weight", None, "weight must be a tensor, got NoneType"),
    (NormalizedLinear(3, 4, k=2), "bias", torch.zeros(7, 1, 1), "bias must have shape (N,) = (4,), got (7, 1, 1)"),
    (NormalizedLinear(3, 4, k=2), "bias", torch.zeros(4).double(), "bias must have weight's dtype torch.float32, got"),
    (AssortedTimeNorm(3, 2), "weight", None, "weight must be a tensor, got NoneType"),
    (AssortedTimeNorm(3, 2), "bias", None, "bias must be a tensor, got NoneType"),
    (AssortedTimeNorm(3, 2), "bias", torch.zeros(2), "bias must have shape (num_features,) = (3,), got (2,)"),
]


@pytest.mark.parametrize(("module", "name", "value", "message"), OTHER_SHAPES)
def test_a_parameter_of_another_kind_is_refused(module: nn.Module, name: str, value: Any, message: str) -> None:
    changed = copy.deepcopy(module)
    setattr(changed, name, None if value is None else nn.Parameter(value))
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        changed(A)


def test_another_module_in_the_place_of_the_norm_of_a_linear_map_is_refused() -> None:
    module = NormalizedLinear(3, 4, k=2)
    module.norm = nn.LayerNorm(4)  # type: ignore[assignment]  # refused
    with pytest.raises(TypeError, match=r"^norm must be the AssortedTimeNorm that the module made, got LayerNorm$"):
        module(A)


def test_a_subclass_may_have_an_array_among_its_arguments() -> None:
    class Scaled(ATNLSTM):
        def __init__(self, input_size: int, hidden_size: int, scale: Any = None) -> None:
            super().__init__(input_size, hidden_size, k=2)
            self.scale = scale

    assert "scale=array([0, 1, 2])" in repr(Scaled(3, 4, np.arange(3)))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("other", [nn.Identity(), nn.LayerNorm(3, eps=1.0), None], ids=["identity", "norm", "none"])
@pytest.mark.parametrize("training", [True, False])
def test_another_module_in_the_place_of_a_norm_is_refused(cell: Any, other: Any, *, training: bool) -> None:
    """It would not be called: the norm is a part of the layer, and this module holds its gain and shift alone."""
    module = cell(3, 4, k=2)
    if other is None:
        del module.norm_hh_l0
    else:
        module.norm_hh_l0 = other
    message = f"^norm_hh_l0 must be the GainShift that the module made, got {type(other).__name__}$"
    with torch.set_grad_enabled(training), pytest.raises(TypeError, match=message):
        module(A)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("training", [True, False])
def test_a_norm_without_its_gain_or_shift_is_refused(cell: Any, name: str, *, training: bool) -> None:
    module = cell(3, 4, k=2)
    module.norm_ih_l0.register_parameter(name, None)
    with torch.set_grad_enabled(training), pytest.raises(TypeError, match=f"^norm_ih_l0.{name} must be a tensor, got"):
        module(A)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
@pytest.mark.parametrize("training", [True, False])
def test_a_missing_parameter_is_refused(cell: Any, name: str, *, training: bool) -> None:
    for norm in ("none", "ln"):
        module = cell(3, 4, norm=norm)
        setattr(module, name, None)
        with torch.set_grad_enabled(training), pytest.raises(TypeError, match=f"^{name} must be a tensor, got None$"):
            module(A)


@pytest.mark.parametrize("cell", CELLS)
def test_a_parametrized_norm_is_the_one_that_the_module_made(cell: Any) -> None:
    module = cell(3, 4, k=2)
    expected, _ = module(A)
    parametrize.register_parametrization(module.norm_hh_l0, "weight", nn.Identity())
    calls(module)
    assert torch.equal(module(A)[0], expected)


class Counting(nn.Module):
    """Counts how often a parametrized tensor is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return values


@pytest.mark.parametrize("cell", CELLS)
def test_a_parametrization_is_computed_once_a_call(cell: Any) -> None:
    """One that draws, or iterates as spectral normalization does, would go on twice."""
    module, weight, gain = cell(3, 4, k=2), Counting(), Counting()
    parametrize.register_parametrization(module, "weight_hh_l0", weight)
    parametrize.register_parametrization(module.norm_hh_l0, "weight", gain)
    weight.count = gain.count = 0
    module(A)
    assert (weight.count, gain.count) == (1, 1)


@pytest.mark.parametrize("cell", CELLS)
def test_a_pruned_gain_follows_the_optimizer(cell: Any) -> None:
    """It is computed by a hook of a module that is never called."""
    module = cell(3, 4, k=2)
    prune.l1_unstructured(module.norm_hh_l0, "weight", 1)  # type: ignore[no-untyped-call]  # torch's own
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(module(A)[0].square().sum())
        optimizer.step()
    output, _ = module(A)
    gain = module.norm_hh_l0.weight_orig * module.norm_hh_l0.weight_mask
    assert torch.equal(module.norm_hh_l0.weight, gain)
    prune.remove(module.norm_hh_l0, "weight")  # type: ignore[no-untyped-call]  # torch's own
    assert torch.equal(module(A)[0], output)


@pytest.mark.parametrize("training", [True, False])
def test_hooks_of_a_norm_run_before_every_call(*, training: bool) -> None:
    """In inference too; one that wants the arguments of a call, of which there is none, does not."""
    seen: list[Any] = []
    module = ATNLSTM(3, 4, k=2)
    site = module.get_submodule("norm_hh_l0")
    site.register_forward_pre_hook(lambda part, given: seen.append((part, given)))
    site.register_forward_pre_hook(lambda *_: seen.append("never"), with_kwargs=True)
    with torch.set_grad_enabled(training):
        module(A)
    assert seen == [(site, ())]


@pytest.mark.parametrize("training", [True, False])
def test_a_hook_of_a_norm_that_wants_the_input_is_refused_by_name(*, training: bool) -> None:
    module = ATNLSTM(3, 4, k=2)
    module.get_submodule("norm_hh_l0").register_forward_pre_hook(lambda _, given: print(given[0].shape))
    with (
        pytest.raises(TypeError, match=r"^norm_hh_l0 must have forward pre-hooks that need no input"),
        torch.set_grad_enabled(training),
    ):
        module(A)


def population_with(**changes: Any) -> AssortedTimeNorm:
    """A norm over the batch whose statistics have changed attributes."""
    norm = AssortedTimeNorm(3, 2, base="batch", max_steps=6)
    for name, value in changes.items():
        setattr(norm.population, name, value)
    return norm


NO_STATISTICS: list[tuple[str, Any, type[Exception], str]] = [
    ("running_mean", torch.zeros(6, 3).long(), TypeError, "must be a floating-point tensor of 16, 32 or 64 bits, got"),
    ("running_mean", torch.zeros(6, 1), ValueError, "must have shape (max_steps, N) = (6, 3), got (6, 1)"),
    ("running_var", torch.ones(2, 3), ValueError, "must have shape (max_steps, N) = (6, 3), got (2, 3)"),
    ("running_var", None, TypeError, "must be a tensor, got NoneType"),
    ("running_var", torch.ones(6, 3, device="meta"), ValueError, "must be on a's device cpu, got meta"),
    ("num_batches_tracked", None, TypeError, "must be a tensor of int64, got NoneType"),
    ("num_batches_tracked", torch.zeros(6), TypeError, "must be a tensor of int64, got torch.float32"),
    ("num_batches_tracked", torch.zeros(2).long(), ValueError, "must have shape (max_steps,) = (6,), got (2,)"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), NO_STATISTICS)
@pytest.mark.parametrize("training", [True, False])
def test_statistics_that_are_none_are_refused_by_name(
    name: str, value: Any, error: type[Exception], message: str, *, training: bool
) -> None:
    norm = population_with(**{name: value}).train(training)
    with pytest.raises(error, match=re.escape(f"population.{name} {message}")):
        norm(A)
    lstm = ATNLSTM(3, 4, norm="bn", max_steps=6).train(training)
    setattr(lstm.get_submodule("norm_hh_l0.population"), name, value)
    with pytest.raises(error, match=rf"^norm_hh_l0\.population\.{name} must "):
        lstm(A)


@pytest.mark.parametrize("cell", CELLS)
def test_a_refused_batch_leaves_no_layer_with_its_statistics(cell: Any) -> None:
    module = cell(3, 4, 2, norm="bn", max_steps=6)
    module.get_submodule("norm_ih_l1").population = None
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(TypeError, match=r"^norm_ih_l1\.population must be the PopulationStatistics of norm='bn'"):
        module(A)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("momentum", [np.float32(0.25), np.float64(0.25), Fraction(1, 4)])
def test_a_momentum_may_be_any_number(momentum: Any) -> None:
    means = []
    for each in (0.25, momentum):
        lstm = ATNLSTM(3, 4, norm="bn", max_steps=6).double()
        with torch.no_grad():
            lstm.get_parameter("weight_ih_l0").fill_(0.5)
        population: Any = lstm.get_submodule("norm_ih_l0.population")
        population.momentum = each
        for scale in (1, 2):
            lstm(scale * A.double())
        means.append(lstm.get_buffer("norm_ih_l0.population.running_mean").clone())
    assert means[0].equal(means[1])


@pytest.mark.parametrize(("momentum", "error"), [(2.0, ValueError), (float("nan"), ValueError), ("x", TypeError)])
def test_a_momentum_that_is_none_is_refused_by_name(momentum: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^population.momentum must be a number in \[0, 1\], got "):
        population_with(momentum=momentum)(A)
    lstm = ATNLSTM(3, 4, 2, norm="bn", max_steps=6, bidirectional=True)
    lstm.get_submodule("norm_c_l1_reverse.population").momentum = momentum
    before = {name: values.clone() for name, values in lstm.named_buffers() if name.startswith("norm_ih_l1_reverse")}
    with pytest.raises(error, match=r"^norm_c_l1_reverse.population.momentum must be a number in \[0, 1\], got "):
        lstm(A)
    assert all(lstm.get_buffer(name).equal(values) for name, values in before.items())


@pytest.mark.parametrize("autocast", [True, False])
def test_parameters_of_another_dtype_are_refused_by_name(*, autocast: bool) -> None:
    module = ATNLSTM(3, 4, k=2).to(torch.float8_e4m3fn)
    message = "^weight_ih_l0 must be a floating-point tensor of 16, 32 or 64 bits, got torch.float8_e4m3fn"
    with torch.autocast("cpu", enabled=autocast), pytest.raises(TypeError, match=message):
        module(A)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, TypeError, "norm_c_l0.var_h must be a tensor, got NoneType"),
        (torch.ones(4), ValueError, r"norm_c_l0.var_h must have shape \(\) = \(\), got \(4,\)"),
        (torch.ones((), device="meta"), ValueError, "norm_c_l0.var_h must be on cpu, got meta"),
    ],
)
def test_constants_of_norm_prop_that_are_none_are_refused_by_name(
    value: Any, error: type[Exception], message: str
) -> None:
    module = ATNLSTM(3, 4, norm="prop")
    module.get_submodule("norm_c_l0").var_h = value
    with pytest.raises(error, match=message):
        module(A)
