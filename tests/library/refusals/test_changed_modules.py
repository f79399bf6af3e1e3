"""Modules that were changed after they were made: a change takes effect, or is refused by name."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from atn import ATNGRU, ATNLSTM, ATNRNN

A = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))

CELLS: list[Any] = [ATNLSTM, ATNGRU, ATNRNN]

pytestmark = pytest.mark.usefixtures("auto_backend")


def calls(module: nn.Module) -> None:
    """In training and in inference, which take different ways through a module."""
    for training in (True, False):
        with torch.set_grad_enabled(training):
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
