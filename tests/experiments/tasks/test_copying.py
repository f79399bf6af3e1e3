"""The copying experiment: its data, its settings, its model, and that training learns."""

import dataclasses
from typing import Any

import pytest
import torch

from experiments.tasks.copying import PRESETS, Copying, CopyingSettings, draw_symbols, make_batch
from experiments.training.settings import MODELS, ModelName, run_name

CPU = torch.device("cpu")
TINY = dataclasses.replace(PRESETS["smoke"], T=3, batch=4, hidden=6, k=2)


def with_field(settings: CopyingSettings, name: str, value: Any) -> CopyingSettings:
    """The settings with another value of one field."""
    return dataclasses.replace(settings, **{name: value})


@pytest.mark.parametrize("T", [1, 3, 100])
def test_a_batch_is_symbols_blanks_marker_blanks(T: int) -> None:
    symbols = torch.tensor([[1, 8], [2, 7], [3, 6], [4, 5], [5, 4], [6, 3], [7, 2], [8, 1], [1, 1], [8, 8]])
    x, y = make_batch(symbols, T)
    assert x.shape == (T + 20, 2, 10)
    assert x.dtype == torch.float32
    assert torch.equal(x.sum(2), torch.ones(T + 20, 2))
    assert x.argmax(2)[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 1, 8, *[0] * T, 9, *[0] * 9]
    assert y[:, 1].tolist() == [*[0] * (T + 10), 8, 7, 6, 5, 4, 3, 2, 1, 1, 8]
    assert y.dtype == torch.int64


def test_symbols_are_uniform_from_1_to_8() -> None:
    symbols = draw_symbols(dataclasses.replace(TINY, batch=8000), "train", 1)
    shares = torch.bincount(symbols.flatten(), minlength=10) / symbols.numel()
    assert shares[0] == shares[9] == 0
    assert torch.all((shares[1:9] - 1 / 8).abs() < 0.01)


def test_the_presets_are_the_paper_s_and_the_script_s() -> None:
    paper, released = PRESETS["paper"], PRESETS["released"]
    assert (paper.batch, paper.hidden, paper.k, paper.lr, paper.momentum) == (128, 68, 45, 1e-4, 0)
    assert paper.bias_placement == "inside"
    assert released.differences(paper) == {"lr": [1e-4, 2e-4], "momentum": [0.0, 0.9]}
    assert (released.steps, released.seed, released.validate_every) == (4000, 5544, 100)


def test_every_setting_gives_the_run_another_name() -> None:
    preset = PRESETS["released"]
    changed: dict[str, float | str] = {"bias_placement": "outside", "init": "torch", "lstm_init": "paper"}
    names = {run_name("copying", "released", "atn", preset, preset)}
    for field in dataclasses.fields(CopyingSettings):
        value = changed.get(field.name, getattr(preset, field.name) / 2 if field.type is float else 7)
        names.add(run_name("copying", "released", "atn", with_field(preset, field.name, value), preset))
    assert len(names) == len(dataclasses.fields(CopyingSettings)) + 1
    assert "copying-released-T100-atn-seed5544" in names
    assert "copying-released-T100-atn-seed5544-steps=7" in names
    assert "copying-released-T7-atn-seed5544" in names


def test_ln_and_atn_begin_alike_and_the_lstm_as_pytorch_has_it() -> None:
    lstm, ln, atn = (Copying(TINY, model, CPU).model for model in MODELS)
    for (name, left), (_, right) in zip(ln.named_parameters(), atn.named_parameters(), strict=True):
        assert torch.equal(left, right), name
    identity = torch.eye(TINY.hidden).repeat(4, 1)
    assert torch.equal(atn.get_parameter("lstm.weight_hh_l0"), identity)
    assert not torch.equal(lstm.get_parameter("lstm.weight_hh_l0"), identity)
    assert lstm.get_parameter("lstm.bias_ih_l0").abs().max() > 0
    assert torch.equal(atn.get_parameter("head.bias"), torch.zeros(9))


@pytest.mark.parametrize(
    ("model", "field", "value", "matters"),
    [
        ("atn", "k", 5, True),
        ("ln", "k", 5, False),
        ("atn", "eps", 0.1, True),
        ("ln", "eps", 0.1, True),
        ("lstm", "eps", 0.1, False),
        ("atn", "init", "torch", True),
        ("atn", "lstm_init", "paper", False),
        ("lstm", "init", "torch", False),
        ("lstm", "lstm_init", "paper", True),
    ],
)
def test_a_setting_reaches_the_model_it_belongs_to(
    model: ModelName, field: str, value: float | str, *, matters: bool
) -> None:
    changed = with_field(TINY, field, value)
    losses = [Copying(settings, model, CPU).loss(1).item() for settings in (TINY, changed)]
    assert (losses[0] != losses[1]) is matters


@pytest.mark.parametrize("model", ["ln", "atn"])
def test_the_bias_placement_reaches_the_norms(model: ModelName) -> None:
    losses = []
    for placement in ("inside", "outside"):
        problem = Copying(dataclasses.replace(TINY, bias_placement=placement), model, CPU)
        # The biases begin at 0, where their place makes no difference.
        torch.nn.init.normal_(problem.model.get_parameter("lstm.bias_ih_l0"), generator=torch.manual_seed(1))
        losses.append(problem.loss(1).item())
    assert losses[0] != losses[1]


def test_the_detached_model_is_atn_going_forward_and_not_going_back() -> None:
    losses, heads, shifts = [], [], []
    for model in ("atn", "detached"):
        problem = Copying(TINY, model, CPU)
        loss = problem.loss(1)
        parameters = [problem.model.get_parameter(name) for name in ("head.weight", "lstm.bias_ih_l0")]
        head, bias = torch.autograd.grad(loss, parameters)
        losses.append(loss.item())
        heads.append(head)
        shifts.append((bias.sum() / bias.abs().sum()).abs().item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert torch.linalg.vector_norm(heads[0] - heads[1]) < 1e-5 * torch.linalg.vector_norm(heads[0])
    # An equal bias inside, at all rows, moves the mean alone: the derivative by it is 0 unless the mean is a constant.
    assert shifts[0] < 1e-5
    assert shifts[1] > 1e-3


@pytest.mark.parametrize(("field", "value"), [("lr", 1e-2), ("momentum", 0.0), ("alpha", 0.5)])
def test_the_optimizer_has_the_settings_of_rmsprop(field: str, value: float) -> None:
    group = Copying(with_field(TINY, field, value), "lstm", CPU).optimizer.param_groups[0]
    assert group[field] == value
