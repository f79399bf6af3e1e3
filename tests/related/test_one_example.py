"""Training on one example: that the networks are the oracle's, and what a run measures and keeps."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atn_reference import (
    CirculantLayer,
    CirculantParameters,
    circulant_network_backward,
    circulant_network_forward,
    squared_error_backward,
    squared_error_forward,
)
from experiments.cli.main import main
from experiments.related.channel_norm.network import EPS, Networks
from experiments.related.channel_norm.one_example import (
    INITS,
    MODELS,
    PRESETS,
    OneExample,
    final_loss,
    largest_gradient,
    plan,
    smallest_gradient,
)
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import load_record
from experiments.training.settings import ModelName
from tests.support.comparison import assert_close
from tests.support.complex_step import Array
from tests.support.interruptions import assert_kill_changes_nothing

CPU = torch.device("cpu")
TINY = dataclasses.replace(PRESETS["smoke"], depths=(1, 2, 4), samples=9, taps=3, steps=6, validate_every=3)


def problem(model: ModelName, **fields: Any) -> OneExample:
    """The tiny problem in float64, with random shifts."""
    found = OneExample(dataclasses.replace(TINY, **{"init": "preserving", **fields}), model, CPU)
    found.model.double()
    found.x, found.target = found.x.double(), found.target.double()
    with torch.no_grad():
        found.model.shifts.normal_(generator=torch.Generator().manual_seed(5))
    return found


def parameters(networks: Networks, index: int) -> CirculantParameters:
    """Parameters of one of the networks in the oracle's form."""

    def own(tensor: torch.Tensor) -> list[Array]:
        rows = torch.split(tensor.detach(), networks.counts)[: networks.depths[index]]
        return [row[index - len(networks.depths)].numpy() for row in rows]

    layers = zip(own(networks.filters), own(networks.shifts), strict=True)
    return CirculantParameters(
        tuple(CirculantLayer(w[None, None], beta) for w, beta in layers),
        networks.weight[index].detach().numpy(),
        networks.bias[index].detach().numpy(),
    )


@pytest.mark.parametrize("samples", [9, 10])
@pytest.mark.parametrize("model", MODELS)
def test_the_networks_are_the_oracle_s(model: ModelName, samples: int) -> None:
    """Losses, gradients and their smallest and largest norms, each network alone; an odd and an even length."""
    found = problem(model, samples=samples)
    torch.autograd.backward(found.loss(1))
    norms = found.model.gradient_norms()
    for index, depth in enumerate(TINY.depths):
        own = parameters(found.model, index)
        y, cache = circulant_network_forward(found.x.numpy()[None], own, EPS if model == "cn" else None)
        loss, loss_cache = squared_error_forward(y, found.target.numpy())
        assert_close(found.losses()[index].detach().numpy(), loss, quantity="output")
        _, gradients = circulant_network_backward(squared_error_backward(np.array(1.0), loss_cache), cache)
        lengths = [np.linalg.norm(layer.w) for layer in gradients.layers]
        assert len(lengths) == depth
        # The loss is a mean over the networks.
        actual = torch.stack(norms[index]).numpy() * len(TINY.depths)
        assert_close(actual, np.array([min(lengths), max(lengths)]), quantity="gradient")


def test_a_network_trains_as_it_would_alone() -> None:
    together = problem("cn")
    alone = problem("cn", depths=(2,))
    with torch.no_grad():
        own = parameters(together.model, 1)
        alone.model.filters.copy_(torch.from_numpy(np.concatenate([layer.w[0] for layer in own.layers])))
        alone.model.shifts.copy_(torch.from_numpy(np.stack([layer.beta for layer in own.layers])))
        alone.model.weight.copy_(torch.from_numpy(own.weight)[None])
        alone.model.bias.copy_(torch.from_numpy(own.bias)[None])
    alone.x = together.x
    for step in range(1, 4):
        for each in (together, alone):
            each.optimizer.zero_grad()
            torch.autograd.backward(each.loss(step))
            each.update(step)
    assert_close(together.losses()[1:2].detach().numpy(), alone.losses().detach().numpy(), quantity="gradient")


def test_the_initializations_differ_in_their_scale_alone() -> None:
    default, preserving = (OneExample(dataclasses.replace(TINY, taps=9, init=init), "cn", CPU).model for init in INITS)
    torch.testing.assert_close(preserving.filters, 3**0.5 * default.filters)
    torch.testing.assert_close(preserving.weight, 3**0.5 * default.weight)
    assert default.filters.abs().max() <= 1 / 3
    assert torch.equal(default.bias, preserving.bias)
    networks = Networks((40,), 100, norm=False, init="preserving", generator=torch.Generator().manual_seed(0))
    # 4,000 uniform draws: the standard error of the variance is sqrt(4/5) of it over their root.
    assert abs(networks.filters.var().item() * 100 - 1) < 4 * (4 / 5 / 4000) ** 0.5


def test_the_target_is_a_step_and_the_input_is_not_centered() -> None:
    found = OneExample(dataclasses.replace(PRESETS["paper"], init="default"), "cn", CPU)
    assert found.target.tolist() == [1.0] * 64 + [0.0] * 64
    assert 0 <= found.x.min() < 0.1
    assert 0.9 < found.x.max() < 1


def test_the_plan_is_both_initializations_with_and_without_the_norm() -> None:
    parts = plan("paper", PRESETS["paper"], MODELS)
    assert [(part.task, part.model, part.settings.init) for part in parts if hasattr(part.settings, "init")] == [
        ("one-example", model, init) for init in INITS for model in MODELS
    ]
    assert [part.model for part in plan("paper", dataclasses.replace(PRESETS["paper"], init="default"), ["cn"])] == [
        "cn"
    ]


OPTIONS = {
    "--preset": ("smoke",),
    "--depths": ("1", "2", "4"),
    "--samples": ("9",),
    "--taps": ("3",),
    "--steps": ("6",),
    "--validate-every": ("3",),
}


def tiny(*more: str) -> list[str]:
    """Arguments of a tiny run: `OPTIONS` without those that `more` has, and `more`."""
    words = [word for option, values in OPTIONS.items() if option not in more for word in (option, *values)]
    return ["one-example", *words, *more]


def command(runs: Path, *more: str) -> list[str]:
    return tiny("--unverified", "--runs", str(runs), *more)


def measured(folder: Path) -> Mapping[int, Mapping[str, float]]:
    """What each validation of a run measured."""
    return {row.step: row.measured for row in read_metrics(folder / METRICS, 6) if row.measured}


def test_a_command_makes_a_run_of_each_model_and_initialization(tmp_path: Path) -> None:
    assert main(command(tmp_path)) == 0
    stems = [f"one-example-smoke-init{init}-{model}-seed0" for init in INITS for model in MODELS]
    assert sorted(folder.name.partition("-steps")[0] for folder in tmp_path.iterdir()) == sorted(stems)
    for folder in tmp_path.iterdir():
        record = load_record(folder)
        assert record is not None
        assert record.status == "finished"
        found = measured(folder)
        losses = {VALIDATION, *(final_loss(depth) for depth in (1, 2, 4))}
        gradients = {name(depth) for depth in (1, 2, 4) for name in (smallest_gradient, largest_gradient)}
        assert {step: set(names) for step, names in found.items()} == {3: losses | gradients, 6: losses}
        assert found[3][smallest_gradient(4)] < found[3][largest_gradient(4)]
        assert found[3][smallest_gradient(1)] == found[3][largest_gradient(1)]


def test_a_run_goes_on_with_the_gradients_of_its_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = tiny("--model", "cn", "--init", "default")
    assert_kill_changes_nothing(OneExample, arguments, 2, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--depths", "2", "1"), "depths is (2, 1); it must be one or more integers from 1 on, ascending"),
        (("--depths", "0", "1"), "depths is (0, 1); it must be one or more integers from 1 on, ascending"),
        (("--depths",), "depths is (); it must be one or more integers from 1 on, ascending"),
        (("--taps", "10"), "taps is 10; it must be at most samples, 9"),
        (("--samples", "1"), "samples is 1; it must be at least 2"),
        (("--lr", "-0.1"), "lr is -0.1; it must be at least 0"),
        (("--init", "orthogonal"), "orthogonal"),
        (("--model", "lstm"), "invalid choice 'lstm' for argument '--model'. Expected one of ('shift', 'cn', 'all')"),
        (
            ("--preset", "released"),
            "invalid choice 'released' for argument '--preset'. Expected one of ('paper', 'demo', 'smoke')",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, *arguments)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_gradient_norms_before_a_backward_pass() -> None:
    with pytest.raises(ValueError, match="there are no gradients, must come after a backward pass"):
        problem("cn").model.gradient_norms()


def test_gradients_are_kept_as_of_each_network_s_own_loss() -> None:
    """The loss is the mean over the depths, whose number does not divide them."""
    found = OneExample(dataclasses.replace(PRESETS["smoke"], init="default", validate_every=1), "shift", CPU)
    torch.autograd.backward(found.losses()[1])
    least, most = found.model.gradient_norms()[1]
    found.optimizer.zero_grad()
    torch.autograd.backward(found.loss(1))
    found.update(1)
    measured = found.validation(1)
    torch.testing.assert_close(measured[smallest_gradient(3)], least)
    torch.testing.assert_close(measured[largest_gradient(3)], most)
