"""NeuroView-RNN: the definition of its readout, what it contains, and what its weights do and do not say."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atn import PerStepReadout
from atn_reference import (
    per_step_readout_backward,
    per_step_readout_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from experiments.models.recurrent_layer import Recurrence
from experiments.models.sequence_model import SequenceModel
from experiments.training.settings import MODELS, ModelName
from tests.support.comparison import assert_all_close, assert_close
from tests.support.complex_step import Array, Tree, assert_gradients
from tests.support.lstms import DOUBLE, random, with_random_parameters
from tests.support.oracle_calls import WrongCall, assert_refused

T, B, H, C = 7, 5, 4, 3


def arrays(seed: int = 0) -> dict[str, Array]:
    """Hidden states and parameters."""
    rng = np.random.default_rng([seed, 41])
    return {
        "h": rng.standard_normal((T, B, H)),
        "weight": rng.standard_normal((C, T, H)),
        "bias": rng.standard_normal(C),
    }


def head(**settings: Any) -> PerStepReadout:
    return with_random_parameters(PerStepReadout(T, H, C, **{**DOUBLE, **settings}))


def network(model: ModelName) -> SequenceModel:
    """A layer of the experiments with a linear map of its states."""
    found = SequenceModel(Recurrence(model, 3, 1e-3, "outside", "torch"), 2, H, C).double()
    return with_random_parameters(found)


class TestDefinition:
    """The oracle from its equation."""

    @pytest.mark.claim("nv-definition")
    def test_written_out(self) -> None:
        given = arrays()
        out, _ = per_step_readout_forward(**given)
        h, weight, bias = given.values()
        for case in range(B):
            for c in range(C):
                s = [sum(weight[c, t, unit] * h[t, case, unit] for unit in range(H)) for t in range(T)]
                assert_close(out.s[case, c], np.array(s), quantity="output")
                assert_close(out.logits[case, c], np.array(sum(s) + bias[c]), quantity="output")

    @pytest.mark.claim("nv-definition")
    def test_gradients(self) -> None:
        def forward(tree: Tree) -> tuple[Tree, Any]:
            out, cache = per_step_readout_forward(**tree)
            return out.logits, cache

        assert_gradients(forward, per_step_readout_backward, arrays())

    @pytest.mark.claim("nv-complete")
    def test_contributions_sum_to_the_logit_exactly(self) -> None:
        """Whole numbers, of which float64 has every sum."""
        rng = np.random.default_rng(0)
        h, weight, bias = (rng.integers(-9, 10, shape).astype(float) for shape in ((T, B, H), (C, T, H), (C,)))
        out, _ = per_step_readout_forward(h, weight, bias)
        assert (out.s.sum(axis=2) == out.logits - bias).all()
        module = PerStepReadout(T, H, C, **DOUBLE)
        module.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        states = torch.from_numpy(h)
        assert (module.contributions(states).detach().numpy() == out.s).all()
        assert (module(states).detach().numpy() == out.logits).all()

    WRONG: dict[str, WrongCall] = {  # noqa: RUF012 - the table of a test
        "steps": (
            lambda: per_step_readout_forward(**{**arrays(), "h": arrays()["h"][1:]}),
            ValueError,
            "weight: shape was (3, 7, 4), must be (C, T, H) with T = 6, H = 4",
        ),
        "classes": (
            lambda: per_step_readout_forward(**{**arrays(), "bias": np.ones(2)}),
            ValueError,
            "bias: shape was (2,), must be (C,) with C = 3",
        ),
        "integers": (
            lambda: per_step_readout_forward(**{**arrays(), "h": np.ones((T, B, H), int)}),
            TypeError,
            "h: dtype was int64, must be a real or complex floating-point dtype",
        ),
        "gradient": (
            lambda: per_step_readout_backward(np.ones((B, C + 1)), per_step_readout_forward(**arrays())[1]),
            ValueError,
            "dlogits: shape was (5, 4), must be (5, 3)",
        ),
        "cache": (
            lambda: per_step_readout_backward(np.ones((B, C)), arrays()),  # type: ignore[arg-type]  # the slip
            TypeError,
            "cache: was dict, must be PerStepCache",
        ),
    }

    @pytest.mark.parametrize("call", WRONG)
    def test_a_wrong_call_is_refused(self, call: str) -> None:
        assert_refused(self.WRONG[call])


class TestFamily:
    """A standard RNN is the same model with other weights: logits and gradients of every parameter."""

    @pytest.mark.claim("nv-family")
    @pytest.mark.parametrize("model", MODELS)
    def test_last_state(self, model: ModelName) -> None:
        standard, x = network(model), random(T, B, 2)
        weight = torch.zeros(C, T, H, **DOUBLE)
        weight[:, -1] = standard.head.weight.detach()
        logits, found = self.trained(standard, x, weight)
        assert_close(logits, standard(x)[-1], quantity="output", backend="eager")
        assert_all_close(found, self.gradients(standard, standard(x)[-1]), backend="eager")

    @pytest.mark.claim("nv-family")
    @pytest.mark.parametrize("model", MODELS)
    def test_mean_state(self, model: ModelName) -> None:
        standard, x = network(model), random(T, B, 2)
        weight = (standard.head.weight.detach() / T)[:, None].expand(C, T, H)
        logits, found = self.trained(standard, x, weight)
        assert_close(logits, standard(x).mean(0), quantity="output", backend="eager")
        assert_all_close(found, self.gradients(standard, standard(x).mean(0)), backend="eager")

    def trained(self, standard: SequenceModel, x: Tensor, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of the readout with these weights on the layer, and gradients of the layer's parameters."""
        module = head()
        module.load_state_dict({"weight": weight, "bias": standard.head.bias.detach()})
        logits = module(standard.lstm(x)[0])
        return logits, self.gradients(standard, logits)

    @staticmethod
    def gradients(standard: SequenceModel, logits: Tensor) -> dict[str, Tensor]:
        loss = nn.functional.cross_entropy(logits, torch.arange(B) % C)
        names, parameters = zip(*standard.lstm.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


class TestDirectGradient:
    """Every state has the gradient sum over c of (p_c - y_c) w_ct."""

    @pytest.mark.claim("nv-direct-gradient")
    def test_of_the_states(self) -> None:
        given, targets = arrays(), np.arange(B) % C
        out, cache = per_step_readout_forward(**given)
        loss, loss_cache = softmax_cross_entropy_forward(out.logits, targets)
        found = per_step_readout_backward(softmax_cross_entropy_backward(np.ones_like(loss), loss_cache), cache)
        p = np.exp(out.logits) / np.exp(out.logits).sum(axis=1, keepdims=True)
        excess = (p - np.eye(C)[targets]) / B
        for t in range(T):
            assert_close(found.h[t], excess @ given["weight"][:, t], quantity="gradient")

    @pytest.mark.claim("nv-direct-gradient")
    @pytest.mark.parametrize("model", MODELS)
    def test_it_is_all_that_enters_the_recurrence(self, model: ModelName) -> None:
        """Sent back from every step through the layer it gives the gradient of the input."""
        layer, module, x = network(model).lstm, head(), random(T, B, 2).requires_grad_()
        h, _ = layer(x)
        logits = module(h)
        targets = torch.arange(B) % C
        (expected,) = torch.autograd.grad(nn.functional.cross_entropy(logits, targets), x, retain_graph=True)
        excess = (logits.detach().softmax(1) - nn.functional.one_hot(targets, C)) / B
        direct = torch.einsum("bc,ctn->tbn", excess, module.weight.detach())
        (found,) = torch.autograd.grad(h, x, direct)
        assert_close(found, expected, quantity="gradient", backend="eager")


class TestImportance:
    """What the size of a weight does not say."""

    @pytest.mark.claim("nv-quantify")
    def test_scaled_units_have_other_weights_and_the_same_contributions(self) -> None:
        """ReLU and powers of two: the same function to the bit, |w_1| : |w_2| = 2 before and 1/2 after."""
        D = torch.tensor([4.0, 1.0], **DOUBLE)
        layer, scaled = (nn.RNN(3, 2, nonlinearity="relu", **DOUBLE) for _ in range(2))
        with_random_parameters(layer)
        state = dict(layer.state_dict())
        state["weight_ih_l0"] = D[:, None] * state["weight_ih_l0"]
        state["weight_hh_l0"] = D[:, None] * state["weight_hh_l0"] / D
        for name in ("bias_ih_l0", "bias_hh_l0"):
            state[name] = D * state[name]
        scaled.load_state_dict(state)
        module, other = (PerStepReadout(2, 2, 1, bias=False, **DOUBLE) for _ in range(2))
        weight = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]], **DOUBLE)
        module.load_state_dict({"weight": weight})
        other.load_state_dict({"weight": weight / D})
        x = random(2, 50, 3)
        before, after = module.contributions(layer(x)[0]), other.contributions(scaled(x)[0])
        assert before.count_nonzero() > 20
        assert torch.equal(before, after)
        assert torch.equal(module(layer(x)[0]), other(scaled(x)[0]))
        first, second = (each.weight.detach()[0].norm(dim=1) for each in (module, other))
        ratios = [float(sizes[0] / sizes[1]) for sizes in (first, second)]
        assert ratios == [2.0, 0.5]

    @pytest.mark.claim("nv-quantify")
    def test_any_scale_of_the_states_at_each_step(self) -> None:
        given = arrays()
        scales = np.random.default_rng(1).uniform(0.1, 10, (T, H))
        scaled = {**given, "h": given["h"] * scales[:, None], "weight": given["weight"] / scales}
        out, other = (per_step_readout_forward(**each)[0] for each in (given, scaled))
        assert_close(other.s, out.s, quantity="output")
        sizes = [np.linalg.norm(each["weight"][0], axis=1) for each in (given, scaled)]
        assert sizes[0].argmax() != sizes[1].argmax()

    @pytest.mark.claim("nv-quantify")
    def test_a_running_sum_has_one_weight_and_needs_every_input(self) -> None:
        layer = nn.RNN(1, 1, nonlinearity="relu", **DOUBLE)
        layer.load_state_dict(
            {name: torch.ones_like(value) * (name[0] == "w") for name, value in layer.state_dict().items()}
        )
        module = PerStepReadout(T, 1, 1, bias=False, **DOUBLE)
        module.load_state_dict({"weight": nn.functional.one_hot(torch.tensor([T - 1]), T)[..., None].double()})
        x = torch.arange(1.0, T + 1, **DOUBLE)[:, None].requires_grad_()
        h, _ = layer(x)
        (slopes,) = torch.autograd.grad(module(h).sum(), x, retain_graph=True)
        assert slopes.flatten().tolist() == [1.0] * T
        assert module.contributions(h).flatten().tolist() == [0.0] * (T - 1) + [T * (T + 1) / 2]


class TestInterpolation:
    """T H + 1 weights a class."""

    @pytest.mark.claim("nv-interpolates")
    def test_random_labels_are_fitted(self) -> None:
        """As many cases as weights, labels by a coin: the equations have a solution, and new cases are guessed."""
        count = T * H + 1
        layer = with_random_parameters(nn.LSTM(2, H, **DOUBLE))
        x, new = random(T, count, 2), random(T, 2000, 2, seed=1)
        labels, others = (
            torch.randint(0, 2, (size,), generator=torch.Generator().manual_seed(size)) for size in (count, 2000)
        )
        states = layer(x)[0].detach().numpy()
        design = np.concatenate([states.transpose(1, 0, 2).reshape(count, -1), np.ones((count, 1))], axis=1)
        solution = np.linalg.solve(design, 2.0 * labels.numpy() - 1)
        module = PerStepReadout(T, H, 1, **DOUBLE)
        module.load_state_dict(
            {"weight": torch.from_numpy(solution[:-1].reshape(1, T, H)), "bias": torch.from_numpy(solution[-1:])}
        )
        assert torch.equal(module(layer(x)[0])[:, 0] > 0, labels == 1)
        accuracy = float(((module(layer(new)[0])[:, 0] > 0) == (others == 1)).double().mean())
        # A coin's share of 2,000 has the standard error 0.011.
        assert abs(accuracy - 0.5) < 0.05
