"""The adding problem: its data, its fixed training set, its settings, and that training learns."""

import dataclasses
from typing import Any

import pytest
import torch

from experiments.tasks import adding
from experiments.tasks.adding import CHANCE, PRESETS, Adding, AddingSettings, draw_sequences
from experiments.tasks.synthetic import generator
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import MODELS, ModelName, run_name

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    PRESETS["smoke"], T=6, batch=4, hidden=6, k=2, training_sequences=23, validation_sequences=11
)


def with_field(settings: AddingSettings, name: str, value: Any) -> AddingSettings:
    """The settings with another value of one field."""
    return dataclasses.replace(settings, **{name: value})


def sequences(T: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Some sequences and their sums."""
    return draw_sequences(generator(0, "train", 1), T, count)


@pytest.mark.parametrize("T", [3, 4, 100])
def test_the_target_is_the_sum_of_the_two_marked_numbers(T: int) -> None:
    x, y = sequences(T, 50)
    assert (x.shape, x.dtype) == ((T, 50, 2), torch.float32)
    assert (y.shape, y.dtype) == ((1, 50), torch.float32)
    numbers, marks = x.unbind(2)
    assert torch.all((marks == 0) | (marks == 1))
    assert torch.equal(marks.sum(0), torch.full((50,), 2.0))
    assert torch.equal((numbers * marks).sum(0, keepdim=True), y)


@pytest.mark.parametrize(("T", "half"), [(7, 3), (8, 3), (100, 49)])
def test_one_number_is_marked_in_each_half_uniformly(T: int, half: int) -> None:
    x, _ = sequences(T, 30_000)
    shares = x[:, :, 1].mean(1)
    assert shares[:half].sum().item() == pytest.approx(1)
    assert torch.all((shares[:half] * half - 1).abs() < 0.2)
    assert torch.all((shares[half:] * (T - half) - 1).abs() < 0.2)


def test_numbers_are_uniform_in_the_unit_interval_and_always_saying_1_costs_a_sixth() -> None:
    x, y = sequences(10, 100_000)
    numbers = x[:, :, 0]
    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    shares = torch.histc(numbers, 10, 0, 1) / numbers.numel()
    assert torch.all((shares - 0.1).abs() < 0.002)
    assert (y - 1).square().mean().item() == pytest.approx(CHANCE, rel=0.02)


def test_training_goes_through_the_same_batches_in_each_epoch() -> None:
    problem = Adding(TINY, "lstm", CPU)
    sums = [problem.batch("train", step)[1] for step in range(1, 16)]
    # 23 sequences are five whole batches of 4.
    assert all(torch.equal(sums[step], sums[step % 5]) for step in range(15))
    assert not any(torch.equal(sums[one], sums[other]) for one in range(5) for other in range(one))
    assert PRESETS["released"].steps == 10 * PRESETS["released"].training_sequences / PRESETS["released"].batch


def test_a_validation_goes_through_the_whole_set_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Adding(TINY, "atn", CPU)
    x, y = problem.batch("validation", 1)
    assert y.shape == (1, 11)
    with torch.no_grad():
        expected = (problem.model(x)[-1, :, 0] - y[0]).square().mean().item()
        whole = problem.validation(1)[VALIDATION].item()
        monkeypatch.setattr(adding, "VALIDATED_AT_ONCE", 4)
        parts = problem.validation(10)[VALIDATION].item()
    assert whole == pytest.approx(expected, rel=1e-6)
    assert parts == pytest.approx(expected, rel=1e-6)


def test_only_the_last_step_counts() -> None:
    problem = Adding(TINY, "lstm", CPU)
    x, y = problem.batch("train", 1)
    last = problem.model(x)[-1, :, 0]
    assert problem.loss(1).item() == pytest.approx((last - y[0]).square().mean().item(), rel=1e-6)


def test_the_presets_are_the_paper_s_and_the_script_s() -> None:
    paper, released = PRESETS["paper"], PRESETS["released"]
    assert (paper.T, paper.batch, paper.hidden, paper.lr, paper.bias_placement) == (100, 50, 60, 1e-3, "inside")
    assert released.differences(paper) == {}
    assert (released.steps, released.validate_every, released.momentum, released.alpha) == (20_000, 200, 0, 0.99)
    assert (released.training_sequences, released.validation_sequences) == (100_000, 10_000)


def test_k_is_the_paper_s_at_its_lengths_and_has_to_be_given_at_others() -> None:
    released = PRESETS["released"]
    assert [with_field(released, "T", T).completed().k for T in (100, 200)] == [25, 5]
    with pytest.raises(ValueError, match=r"^k is not given; the paper has one for T = 100, 200 and none for T = 150$"):
        with_field(released, "T", 150)
    assert dataclasses.replace(released, T=150, k=9).completed().k == 9


def test_k_counts_as_different_only_where_it_is_not_the_paper_s() -> None:
    released = PRESETS["released"]
    names = {
        (T, k): run_name("adding", "released", "atn", dataclasses.replace(released, T=T, k=k), released)
        for T, k in [(100, None), (100, 25), (100, 5), (200, None), (200, 5), (200, 25), (150, 25)]
    }
    assert names[100, None] == names[100, 25] == "adding-released-T100-atn-seed5544"
    assert names[200, None] == names[200, 5] == "adding-released-T200-atn-seed5544"
    assert names[100, 5] == "adding-released-T100-atn-seed5544-k=5"
    assert names[200, 25] == "adding-released-T200-atn-seed5544-k=25"
    assert names[150, 25] == "adding-released-T150-atn-seed5544-k=25"
    assert dataclasses.replace(released, T=200, k=25).differences(released) == {"k": [5, 25]}


@pytest.mark.parametrize(
    ("model", "field", "value", "matters"),
    [
        ("lstm", "T", 7, True),
        ("lstm", "batch", 5, True),
        ("lstm", "hidden", 7, True),
        ("atn", "k", 5, True),
        ("ln", "k", 5, False),
        ("ln", "eps", 0.1, True),
        ("atn", "init", "torch", True),
        ("atn", "lstm_init", "paper", False),
        ("lstm", "lstm_init", "paper", True),
        ("lstm", "training_sequences", 8, True),
    ],
)
def test_a_setting_reaches_what_it_belongs_to(
    model: ModelName, field: str, value: float | str, *, matters: bool
) -> None:
    changed = with_field(TINY, field, value)
    # Step 8 is batch 3 of the second epoch of five, or batch 2 of the fourth of two.
    losses = [Adding(settings, model, CPU).loss(8).item() for settings in (TINY, changed)]
    assert (losses[0] != losses[1]) is matters


@pytest.mark.parametrize(("field", "value"), [("lr", 1e-2), ("momentum", 0.5), ("alpha", 0.5)])
def test_the_optimizer_is_rmsprop_with_the_settings(field: str, value: float) -> None:
    optimizer = Adding(with_field(TINY, field, value), "lstm", CPU).optimizer
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert optimizer.param_groups[0][field] == value


@pytest.mark.parametrize("model", MODELS)
def test_training_gets_below_chance(model: ModelName) -> None:
    settings = dataclasses.replace(
        TINY, T=3, hidden=16, batch=50, training_sequences=500, validation_sequences=200, lr=1e-2
    )
    problem = Adding(settings, model, CPU)
    for step in range(1, 151):
        loss = problem.loss(step)
        problem.optimizer.zero_grad()
        torch.autograd.backward(loss)
        problem.update(step)
    with torch.no_grad():
        assert problem.validation(150)[VALIDATION].item() < CHANCE / 2
