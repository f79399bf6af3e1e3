"""What code written for `nn.LSTM` reads of a module, and does to its parameters."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence

from atn import ATNLSTM
from atn.choices import Norm
from atn.norms.gain_shift import GainShift
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, pair, random, with_random_parameters


@pytest.mark.parametrize("bias", [False, True])
def test_attributes_are_those_of_torch(bias: bool) -> None:  # noqa: FBT001 - parametrized
    ours, theirs = pair(3, 4, 2, bidirectional=True, bias=bias)
    assert (ours.mode, ours.proj_size) == (theirs.mode, theirs.proj_size) == ("LSTM", 0)
    for actual, expected in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert [weight.shape for weight in actual] == [weight.shape for weight in expected]
        assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    for mine_flat, their_flat in zip(ours._flat_weights, theirs._flat_weights, strict=True):
        assert isinstance(their_flat, Tensor)
        assert torch.equal(mine_flat, their_flat)
    assert ours.all_weights[3][0] is ours.weight_ih_l1_reverse


def test_the_input_has_the_name_of_torch() -> None:
    ours, theirs = pair(3, 4)
    x, hx = random(5, 2, 3), (random(1, 2, 4, seed=1), random(1, 2, 4, seed=2))
    assert_close(ours(input=x, hx=hx)[0], theirs(input=x, hx=hx)[0], quantity="output", backend="eager")
    assert torch.equal(ours.stream(input=x)[0], ours.stream(x)[0])


@pytest.mark.usefixtures("auto_backend")
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("norm", "k"), [("none", None), ("ln", None), ("atn", 3)])
def test_a_batch_without_cases(norm: Norm, k: int | None, *, batch_first: bool, bidirectional: bool) -> None:
    settings: dict[str, Any] = {"batch_first": batch_first, "bidirectional": bidirectional, **DOUBLE}
    ours, theirs = ATNLSTM(3, 4, 2, norm=norm, k=k, **settings), nn.LSTM(3, 4, 2, **settings)
    results = []
    for module in (ours, theirs):
        x = (torch.zeros(0, 5, 3) if batch_first else torch.zeros(5, 0, 3)).double().requires_grad_()
        output, (h_n, c_n) = module(x)
        gradients = torch.autograd.grad(output.sum() + h_n.sum() + c_n.sum(), [x, *module.parameters()])
        assert not any(gradient.any() for gradient in gradients)
        results.append([output.shape, h_n.shape, c_n.shape])
    assert results[0] == results[1]
    if not bidirectional:
        output, state = ours.stream(x)
        again, _ = ours.stream(x, state.reset(torch.ones(0).bool()), torch.ones(x.shape[:2]).bool())
        assert output.shape == again.shape == results[0][0]


def test_packed_input_does_not_ask_for_the_default_device() -> None:
    module, x = with_random_parameters(ATNLSTM(3, 4, k=3, bidirectional=True, **DOUBLE)), random(5, 3, 3)
    packed = pack_padded_sequence(x, torch.tensor([5, 2, 3]), enforce_sorted=False)
    expected, _ = module(packed)
    with torch.device("meta"):
        output, (h_n, _) = module(packed)
    assert torch.equal(output.data, expected.data)
    assert h_n.device.type == "cpu"


@pytest.mark.usefixtures("auto_backend")
def test_dropout_of_everything_is_torchs() -> None:
    """The bound dropout = 1: what a layer after the first reads is 0."""
    ours, theirs = pair(3, 4, 3, dropout=1.0)
    x = random(5, 2, 3)
    results = []
    for module in (ours, theirs):
        output, states = module(x)
        gradients = torch.autograd.grad(output.sum(), list(module.parameters()))
        results.append([output, *states, *gradients])
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, quantity="gradient", backend="eager")
    assert not results[0][3].any()  # the gradient of W_ih of the first layer


def test_dropout_acts_once_between_two_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities: list[float] = []
    dropout = nn.functional.dropout

    def watched(x: Tensor, p: float, **rest: Any) -> Tensor:
        probabilities.append(p)
        return dropout(x, p, **rest)

    monkeypatch.setattr(nn.functional, "dropout", watched)
    module = ATNLSTM(3, 4, 3, k=2, dropout=0.25)
    module(torch.zeros(5, 2, 3))
    assert probabilities == [0.25, 0.25]
    module.eval()(torch.zeros(5, 2, 3))
    assert set(probabilities[2:]) <= {0.0}


class TestStarting:
    """Parameters at first, and anew."""

    @pytest.mark.parametrize("init", ["torch", "paper"])
    def test_the_forget_bias_is_set_and_the_rest_is_not(self, init: Any) -> None:
        torch.manual_seed(0)
        plain = ATNLSTM(3, 4, 2, k=2, init=init, bidirectional=True)
        torch.manual_seed(0)
        module = ATNLSTM(3, 4, 2, k=2, init=init, bidirectional=True, forget_bias=1.5)
        for name, parameter in module.named_parameters():
            expected = plain.get_parameter(name).detach().clone()
            if name.startswith("bias"):
                expected[4:8] = 1.5 if name.startswith("bias_ih") else 0.0
            assert torch.equal(parameter, expected), name
        assert "forget_bias=1.5" in repr(module)

    def test_the_loop_of_the_docstring_leaves_the_norms_alone(self) -> None:
        module = ATNLSTM(3, 4, k=2)
        for name, parameter in module.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter)
            elif name.startswith("bias"):
                nn.init.zeros_(parameter)
        for norm in (module.norm_ih_l0, module.norm_hh_l0, module.norm_c_l0):
            assert isinstance(norm, GainShift)
            assert norm.weight.eq(1).all()
            assert norm.bias.eq(0).all()

    def started_anew(self, module: ATNLSTM) -> dict[str, Tensor]:
        """State after `reset_parameters` from numbers that no start gives."""
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(7)
        torch.manual_seed(1)
        module.reset_parameters()
        return module.state_dict()

    def expected(self) -> dict[str, Tensor]:
        """State of a plain module after the same."""
        return self.started_anew(ATNLSTM(3, 4, k=2))

    def test_what_is_behind_a_parametrization_starts_anew(self) -> None:
        class Halved(nn.Module):
            def forward(self, weight: Tensor) -> Tensor:
                return weight / 2

        module = ATNLSTM(3, 4, k=2)
        parametrize.register_parametrization(module, "weight_hh_l0", Halved())
        parametrize.register_parametrization(module.get_submodule("norm_c_l0"), "weight", Halved())
        state, expected = self.started_anew(module), self.expected()
        assert torch.equal(state.pop("parametrizations.weight_hh_l0.original"), expected.pop("weight_hh_l0"))
        assert torch.equal(state.pop("norm_c_l0.parametrizations.weight.original"), expected.pop("norm_c_l0.weight"))
        assert all(torch.equal(value, expected[name]) for name, value in state.items())

    @pytest.mark.parametrize("axis", [0, 1, None])
    def test_weight_normalization_starts_anew(self, axis: Any) -> None:
        hooked, parametrized, expected = ATNLSTM(3, 4, k=2), ATNLSTM(3, 4, k=2), self.expected()
        with pytest.warns(FutureWarning, match="weight_norm"):
            nn.utils.weight_norm(hooked, "weight_hh_l0", dim=axis)
        parametrizations.weight_norm(parametrized, "weight_hh_l0", dim=-1 if axis is None else axis)
        for module in (hooked, parametrized):
            self.started_anew(module)
            module(torch.zeros(1, 1, 3))
            assert_close(module.weight_hh_l0, expected["weight_hh_l0"], quantity="output", backend="eager")

    def test_pruned_and_spectrally_normalized_weights_start_anew(self) -> None:
        module, expected = ATNLSTM(3, 4, k=2), self.expected()
        prune.random_unstructured(module, "weight_hh_l0", amount=0.5)  # type: ignore[no-untyped-call]  # torch's own
        nn.utils.spectral_norm(module, "weight_ih_l0")
        state = self.started_anew(module)
        for name in ("weight_hh_l0", "weight_ih_l0"):
            assert torch.equal(state[f"{name}_orig"], expected[name])

    def test_a_tensor_in_a_parameters_place_is_refused(self) -> None:
        module = ATNLSTM(3, 4, k=2)
        raw = module.get_parameter("weight_hh_l0")
        del module.weight_hh_l0
        module.weight_hh_l0 = raw * 1
        with pytest.raises(RuntimeError, match="weight_hh_l0 must be a parameter to be reset, got Tensor"):
            module.reset_parameters()

    @pytest.mark.parametrize("norm", get_args(Norm))
    def test_resetting_every_module_restores_parameters_and_buffers(self, norm: Norm) -> None:
        """As a deferred initialization does it, whatever the memory held."""
        settings: dict[str, Any] = {"atn": {"k": 2}, "bn": {"max_steps": 3}}.get(norm, {})
        torch.manual_seed(3)
        fresh = ATNLSTM(3, 4, norm=norm, **settings)
        module = ATNLSTM(3, 4, norm=norm, device="meta", **settings).to_empty(device="cpu")
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.detach().fill_(7)
        torch.manual_seed(3)
        for part in reversed([*module.modules()]):
            if callable(reset := getattr(part, "reset_parameters", None)):
                reset()
        for name, value in fresh.state_dict().items():
            assert torch.equal(module.state_dict()[name], value), name

    @pytest.mark.parametrize("norm", ["atn", "none"])
    def test_to_empty_and_reset_of_every_module(self, norm: Norm) -> None:
        module = ATNLSTM(3, 4, 2, norm=norm, k=2 if norm == "atn" else None, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(7)
        # As FSDP does it: each module resets what it holds.
        for part in module.modules():
            if isinstance(part, GainShift):
                part.reset_parameters()
        gains = [p for name, p in module.named_parameters() if name.startswith("norm") and name.endswith("weight")]
        assert len(gains) == (6 if norm == "atn" else 0)
        assert all(gain.eq(1).all() for gain in gains)
        module.reset_parameters()
        assert all(parameter.abs().max() <= 1 for parameter in module.parameters())
