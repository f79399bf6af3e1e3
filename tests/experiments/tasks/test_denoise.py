"""The denoise task: its data, its settings, the lowest loss that it allows, and that training learns."""

import collections
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch

from experiments.tasks.denoise import LENGTH, PRESETS, Denoise, DenoiseSettings, baseline, draw_places, make_batch
from experiments.tasks.denoise_floor import floor, lost_entropy
from experiments.tasks.synthetic import generator
from experiments.training.settings import ModelName, run_name

CPU = torch.device("cpu")
TINY = dataclasses.replace(PRESETS["smoke"], T=3, batch=4, hidden=6, k=2)


def with_field(settings: DenoiseSettings, name: str, value: Any) -> DenoiseSettings:
    """The settings with another value of one field."""
    return dataclasses.replace(settings, **{name: value})


def test_a_batch_is_symbols_among_blanks_a_marker_and_blanks() -> None:
    symbols = torch.tensor([[1, 9], [2, 8], [3, 7], [4, 6], [5, 5], [6, 4], [7, 3], [8, 2], [9, 1], [1, 9]])
    places = torch.tensor([[0, 0], [2, 1], [3, 2], [4, 3], [5, 4], [6, 5], [7, 6], [8, 7], [9, 8], [13, 9]])
    x, y = make_batch(symbols, places, 5)
    assert (x.shape, x.dtype) == ((25, 2, 10), torch.float32)
    assert (y.shape, y.dtype) == ((25, 2), torch.int64)
    assert torch.equal(x.sum(2), torch.ones(25, 2).index_fill(0, torch.tensor([14]), 0))
    assert x.argmax(2)[:14, 0].tolist() == [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 1]
    assert x.argmax(2)[:14, 1].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0]
    assert torch.equal(x[15:, :, 0], torch.ones(10, 2))
    assert y[:, 1].tolist() == [*[0] * 15, 9, 8, 7, 6, 5, 4, 3, 2, 1, 9]


def test_of_symbols_at_one_place_the_last_is_seen_and_all_are_asked_for() -> None:
    symbols = torch.arange(1, 11).remainder(9).add(1)[:, None]
    places = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])[:, None]
    x, y = make_batch(symbols, places, 1)
    assert x.argmax(2)[:10, 0].tolist() == [4, 5, 7, 2, 0, 0, 0, 0, 0, 0]
    assert y[11:, 0].tolist() == symbols[:, 0].tolist()


def test_places_with_replacement_are_uniform_and_collide_as_often_as_they_must() -> None:
    places = draw_places(generator(0, "train", 1), 100, 20_000, replace=True)
    assert torch.equal(places, places.sort(0).values)
    shares = torch.bincount(places.flatten(), minlength=109) / places.numel()
    assert shares.shape == (109,)
    assert torch.all((shares - 1 / 109).abs() < 0.0012)
    free = (places.diff(dim=0) > 0).all(0).double().mean().item()
    assert free == pytest.approx(math.perm(109, 10) / 109**10, abs=0.015)


def test_places_without_replacement_never_collide() -> None:
    places = draw_places(generator(0, "train", 1), 3, 5000, replace=False)
    assert (places.diff(dim=0) > 0).all()
    shares = torch.bincount(places.flatten(), minlength=12) / places.shape[1]
    assert torch.all((shares - 10 / 12).abs() < 0.03)


def test_symbols_are_uniform_from_1_to_9() -> None:
    _, y = Denoise(with_field(TINY, "batch", 8000), "lstm", CPU).batch("train", 1)
    shares = torch.bincount(y[-LENGTH:].flatten(), minlength=10) / (8000 * LENGTH)
    assert shares[0] == 0
    assert torch.all((shares[1:] - 1 / 9).abs() < 0.01)


def entropy_by_enumeration(places: int, length: int, symbols: int) -> float:
    """What is unknown of each symbol when all is seen, from the joint distribution of everything, case by case."""
    targets: dict[tuple[int, ...], list[tuple[int, ...]]] = collections.defaultdict(list)
    for drawn in itertools.product(range(places), repeat=length):
        for sequence in itertools.product(range(1, symbols + 1), repeat=length):
            seen = [0] * places
            for place, symbol in zip(sorted(drawn), sequence, strict=True):
                seen[place] = symbol
            targets[tuple(seen)].append(sequence)
    total = 0.0
    for sequences in targets.values():
        for column in zip(*sequences, strict=True):
            total -= sum(n * math.log(n / len(column)) for n in collections.Counter(column).values())
    cases: int = (places * symbols) ** length
    return total / cases


@pytest.mark.parametrize(("places", "length", "symbols"), [(3, 3, 2), (2, 4, 2), (4, 4, 2), (3, 3, 4), (5, 2, 3)])
def test_the_lost_entropy_is_that_of_the_enumerated_joint_distribution(places: int, length: int, symbols: int) -> None:
    expected = entropy_by_enumeration(places, length, symbols)
    assert lost_entropy(places, length, symbols) == pytest.approx(expected, rel=1e-12)


def test_nothing_is_lost_of_a_single_symbol_and_all_but_the_last_on_a_single_place() -> None:
    assert lost_entropy(7, 1, 9) == 0
    assert lost_entropy(1, 4, 9) == pytest.approx(3 * math.log(9), rel=1e-12)


def test_the_floor_of_the_paper_s_lengths_stands_between_nothing_and_the_baseline() -> None:
    assert (round(floor(100), 5), round(floor(200), 5)) == (0.02351, 0.00701)
    assert 0 < floor(1000) < floor(200) < floor(100) < baseline(100)


def test_the_preset_is_the_paper_s() -> None:
    paper = PRESETS["paper"]
    assert (paper.T, paper.batch, paper.hidden, paper.lr, paper.steps) == (100, 128, 100, 1e-2, 10_000)
    assert paper.bias_placement == "inside"
    assert paper.replace
    assert [with_field(paper, "T", T).window() for T in (100, 200)] == [20, 60]
    assert set(PRESETS) == {"paper", "smoke"}


@pytest.mark.parametrize("field", ["beta1", "beta2"])
def test_a_decay_of_one_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is 1.0; it must be below 1"):
        with_field(TINY, field, 1.0)


def test_every_setting_gives_the_run_another_name() -> None:
    preset = PRESETS["paper"]
    changed: dict[str, float | str] = {
        "replace": False,
        "bias_placement": "outside",
        "init": "torch",
        "lstm_init": "paper",
        "T": 200,
    }
    names = {run_name("denoise", "paper", "atn", preset, preset)}
    for field in dataclasses.fields(DenoiseSettings):
        value = changed.get(field.name, getattr(preset, field.name) / 2 if field.type is float else 7)
        names.add(run_name("denoise", "paper", "atn", with_field(preset, field.name, value), preset))
    assert len(names) == len(dataclasses.fields(DenoiseSettings)) + 1
    assert "denoise-paper-T100-replaceTrue-atn-seed5544" in names
    assert "denoise-paper-T100-replaceFalse-atn-seed5544" in names
    assert "denoise-paper-T200-replaceTrue-atn-seed5544" in names


@pytest.mark.parametrize(
    ("model", "field", "value", "matters"),
    [
        ("lstm", "replace", False, True),
        ("lstm", "hidden", 7, True),
        ("atn", "k", 5, True),
        ("ln", "k", 5, False),
        ("ln", "eps", 0.1, True),
        ("atn", "init", "torch", True),
        ("atn", "lstm_init", "paper", False),
        ("lstm", "lstm_init", "paper", True),
    ],
)
def test_a_setting_reaches_what_it_belongs_to(
    model: ModelName, field: str, value: float | str, *, matters: bool
) -> None:
    changed = with_field(TINY, field, value)
    losses = [Denoise(settings, model, CPU).loss(1).item() for settings in (TINY, changed)]
    assert (losses[0] != losses[1]) is matters


def test_the_optimizer_is_adam_with_the_settings() -> None:
    settings = dataclasses.replace(TINY, lr=3e-3, beta1=0.8, beta2=0.9)
    optimizer = Denoise(settings, "lstm", CPU).optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (3e-3, (0.8, 0.9))


@pytest.mark.parametrize(("clip", "norm"), [(None, 10.0), (1.0, 1.0), (20.0, 10.0)])
def test_gradients_are_clipped_where_the_settings_say_so(clip: float | None, norm: float) -> None:
    problem = Denoise(dataclasses.replace(TINY, clip=clip), "lstm", CPU)
    parameters = list(problem.model.parameters())
    number = sum(parameter.numel() for parameter in parameters)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 10.0 / math.sqrt(number))
    problem.update(1)
    assert math.sqrt(
        sum(float(parameter.grad.square().sum()) for parameter in parameters if parameter.grad is not None)
    ) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.inf, math.nan])
def test_a_clip_that_is_no_positive_number_is_refused(clip: float) -> None:
    with pytest.raises(ValueError, match=r"clip is .*; it must be a (positive|finite) number"):
        dataclasses.replace(TINY, clip=clip)
