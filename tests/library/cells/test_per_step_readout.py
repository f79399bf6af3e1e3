"""`PerStepReadout`: a linear map of all hidden states of any recurrent module, in any layout and dtype."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from atn import ATNGRU, ATNLSTM, ATNRNN, PerStepReadout
from atn_reference import per_step_readout_backward, per_step_readout_forward
from tests.support.comparison import assert_all_close, assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters

T, B, H, C = 6, 4, 5, 3

CELLS: dict[str, Any] = {
    "ATN-LSTM": lambda: ATNLSTM(2, H, k=3, **DOUBLE),
    "two layers": lambda: ATNLSTM(2, H, 2, norm="ln", **DOUBLE),
    "both directions": lambda: ATNGRU(2, H, k=2, bidirectional=True, **DOUBLE),
    "ATN-RNN": lambda: ATNRNN(2, H, k=2, **DOUBLE),
    "LSTM of torch": lambda: nn.LSTM(2, H, **DOUBLE),
    "GRU of torch": lambda: nn.GRU(2, H, **DOUBLE),
}


def head(features: int = H, **settings: Any) -> PerStepReadout:
    return with_random_parameters(PerStepReadout(T, features, C, **{**DOUBLE, **settings}))


@pytest.mark.parametrize("cell", CELLS)
def test_any_cell_s_states_are_mapped_together(cell: str) -> None:
    h, _ = CELLS[cell]()(random(T, B, 2))
    module = head(h.shape[2])
    flat = h.transpose(0, 1).reshape(B, -1)
    expected = nn.functional.linear(flat, module.weight.flatten(1), module.bias)
    assert_close(module(h), expected, quantity="output", backend="eager")


def test_outputs_and_gradients_are_the_oracle_s() -> None:
    module, h = head(), random(T, B, H).requires_grad_()
    (dlogits,) = (random(B, C, seed=1),)
    logits = module(h)
    torch.autograd.backward(logits, dlogits)
    assert module.bias is not None
    arrays = [tensor.detach().numpy() for tensor in (h, module.weight, module.bias)]
    out, cache = per_step_readout_forward(*arrays)
    assert_close(logits, out.logits, quantity="output", backend="eager")
    assert_close(module.contributions(h), out.s, quantity="output", backend="eager")
    expected = per_step_readout_backward(dlogits.numpy(), cache)
    actual = {"h": h.grad, "weight": module.weight.grad, "bias": module.bias.grad}
    assert_all_close(actual, expected._asdict(), backend="eager", parameters=frozenset({"weight", "bias"}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_the_logits_are_the_sum_of_the_contributions_to_the_bit(dtype: torch.dtype, *, bias: bool) -> None:
    module = head(37, bias=bias, dtype=dtype)
    h = random(T, B, 37).to(dtype)
    total = module.contributions(h).sum(-1)
    assert torch.equal(module(h), total if module.bias is None else total + module.bias)


def test_layouts() -> None:
    module, by_batch, h = head(), head(batch_first=True), random(T, B, H)
    assert_close(by_batch(h.transpose(0, 1)), module(h), quantity="output", backend="eager")
    for each in (module, by_batch):
        assert_close(each(h[:, 1]), module(h)[1], quantity="output", backend="eager")
        assert_close(each.contributions(h[:, 1]), module.contributions(h)[1], quantity="output", backend="eager")
    assert module.contributions(h).shape == (B, C, T)


def test_a_batch_may_be_empty() -> None:
    module, h = head(), torch.zeros(T, 0, H, **DOUBLE)
    logits = module(h)
    assert logits.shape == (0, C)
    torch.autograd.backward(logits.sum())
    assert module.weight.grad is not None
    assert not module.weight.grad.any()


def test_one_seed_gives_the_numbers_of_torch() -> None:
    torch.manual_seed(3)
    theirs = nn.Linear(T * H, C)
    torch.manual_seed(3)
    ours = PerStepReadout(T, H, C)
    assert ours.bias is not None
    assert torch.equal(ours.weight.flatten(1), theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert PerStepReadout(T, H, C, bias=False).bias is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_rounded_once(dtype: torch.dtype) -> None:
    module, h = head(dtype=dtype), random(T, B, H).to(dtype)
    wide = copy.deepcopy(module).float()
    assert torch.equal(module(h), wide(h.float()).to(dtype))
    assert torch.equal(module.contributions(h), wide.contributions(h.float()).to(dtype))


def test_autocast_does_not_round_the_products() -> None:
    module, h = head(dtype=torch.float32), random(T, B, H).float()
    with torch.autocast("cpu", torch.bfloat16):
        actual = module(h)
    assert_close(actual, module(h), quantity="output", backend="eager")


def test_derivatives() -> None:
    module, h = head(), random(T, 2, H).requires_grad_()
    assert torch.autograd.gradcheck(module, h, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(module, h)
    assert torch.autograd.gradcheck(module.contributions, h)


def test_it_names_its_sizes() -> None:
    assert repr(head()) == "PerStepReadout(steps=6, hidden_size=5, classes=3, bias=True, batch_first=False)"


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_contributions_run_the_hooks_of_the_module() -> None:
    """So that weights that a hook computes are fresh after a step of an optimizer."""
    module, h, seen = PerStepReadout(T, H, C), random(T, B, H).float(), []
    nn.utils.weight_norm(module)
    module.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    torch.autograd.backward(module.contributions(h).square().sum())
    optimizer.step()
    s = module.contributions(h)
    assert seen[-1][0] is h
    assert seen[-1][1] is s
    assert module.bias is not None
    assert torch.equal(s.sum(-1) + module.bias, module(h))


def test_reset_parameters_reaches_what_stands_behind_the_weight() -> None:
    torch.manual_seed(3)
    fresh = PerStepReadout(T, H, C)
    pruned, parametrized = PerStepReadout(T, H, C), PerStepReadout(T, H, C)
    prune.identity(pruned, "weight")  # type: ignore[no-untyped-call]  # torch's own
    parametrize.register_parametrization(parametrized, "weight", nn.Identity())
    for module in (pruned, parametrized):
        torch.manual_seed(3)
        module.reset_parameters()
        assert torch.equal(module(random(T, B, H).float()), fresh(random(T, B, H).float()))


def test_anything_beside_the_states_is_refused() -> None:
    call: Any = PerStepReadout(T, H, C)
    with pytest.raises(TypeError, match=r"^forward takes one tensor, got int beside it$"):
        call(random(T, B, H).float(), 3)
