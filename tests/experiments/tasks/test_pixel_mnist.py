"""Noisy pixel-by-pixel MNIST: its sequences, its settings, its model, and that training learns."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atn.choices import BiasPlacement
from atn.functional import assorted_time_norm
from experiments.cli.main import main
from experiments.datasets.generated import generated_images
from experiments.datasets.mnist import SIDE
from experiments.tasks.pixel_mnist import (
    ACCURACY,
    CONTRAST,
    GENERATED_IMAGES,
    GRAY,
    PRESETS,
    PixelMnist,
    PixelMnistSettings,
    contrast,
    make_sequences,
    training_indices,
)
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import MODELS, ModelName, run_name
from tests.support.interruptions import assert_interruption_changes_nothing

CPU = torch.device("cpu")
TINY = dataclasses.replace(PRESETS["smoke"], batch=4, hidden=4, k=2)
PIXELS = generated_images(6, 1).pixels


def with_field(name: str, value: Any) -> PixelMnistSettings:
    """The tiny settings with another value of one field."""
    return dataclasses.replace(TINY, **{name: value})


def test_an_image_is_its_pixels_row_by_row_from_0_to_1() -> None:
    x = make_sequences(PIXELS, 0.0, [1])
    assert (x.shape, x.dtype) == ((784, 6, 1), torch.float32)
    assert torch.equal(x[:, 3, 0].reshape(SIDE, SIDE), torch.from_numpy(PIXELS[3] / np.float32(255)))
    assert (x.min().item(), x.max().item()) == (0, 1)


def test_the_noise_has_its_variance_and_the_same_for_the_same_key() -> None:
    clean, noisy = make_sequences(PIXELS, 0.0, [1]), make_sequences(PIXELS, 0.1, [1])
    noise = noisy - clean
    assert abs(noise.mean().item()) < 0.02
    assert noise.var().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(noisy, make_sequences(PIXELS, 0.1, [1]))
    assert not torch.equal(noisy, make_sequences(PIXELS, 0.1, [2]))


def test_an_epoch_has_each_image_once_in_an_order_of_its_own() -> None:
    epochs = [[training_indices(TINY, step, 14) for step in steps] for steps in (range(1, 4), range(4, 7))]
    for epoch in epochs:
        chosen = np.concatenate(epoch).tolist()
        assert len(chosen) == len(set(chosen)) == 12
        assert set(chosen) <= set(range(14))
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(training_indices(TINY, 2, 14), epochs[0][1])
    assert not np.array_equal(training_indices(with_field("seed", 1), 2, 14), epochs[0][1])


def test_every_image_has_noise_of_its_own() -> None:
    """Of 784 independent pairs the correlation has a standard error of 0.036."""
    noise = (make_sequences(PIXELS, 0.1, [1]) - make_sequences(PIXELS, 0.0, [1]))[:, :, 0]
    assert (torch.corrcoef(noise.T) - torch.eye(noise.shape[1])).abs().max() < 0.18


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    problem = PixelMnist(TINY, "atn", CPU)
    first = problem.loss(5)
    problem.loss(6)
    torch.manual_seed(0)
    assert torch.equal(problem.loss(5), first)
    assert not torch.equal(problem.loss(6), first)


def test_the_presets_are_the_paper_s() -> None:
    paper = PRESETS["paper"]
    assert (paper.noise_variance, paper.k, paper.eps, paper.bias_placement) == (0.1, 10, 1.0, "outside")
    assert (paper.corpus, paper.steps * paper.batch // 60_000) == ("mnist", 2)
    assert PRESETS.keys() == {"paper", "smoke"}  # there is no released script
    assert PRESETS["smoke"].corpus == "generated"


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 0), ("eval_batch", 0), ("hidden", 0), ("k", 0), ("noise_variance", -1), ("eps", math.nan), ("lr", -1)],
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*; it must be (at least|a finite number)"):
        with_field(field, value)


def test_every_setting_gives_the_run_another_name() -> None:
    changed: dict[str, Any] = {
        "corpus": "mnist",
        "bias_placement": "inside",
        "init": "torch",
        "lstm_init": "paper",
        "dtype": "bfloat16",
        "compile": True,
        "chrono": False,
        "chrono_at": "shift",
    }
    fields = [field.name for field in dataclasses.fields(TINY)]
    names = {run_name("pixel-mnist", "smoke", "atn", with_field(name, changed.get(name, 7)), TINY) for name in fields}
    assert len(names) == len(fields)
    assert run_name("pixel-mnist", "smoke", "atn", TINY, TINY) == "pixel-mnist-smoke-atn-seed5544"


def test_ln_and_atn_begin_alike_and_all_with_long_memories() -> None:
    lstm, ln, atn = (PixelMnist(TINY, model, CPU).model for model in MODELS)
    for (name, left), (_, right) in zip(ln.named_parameters(), atn.named_parameters(), strict=True):
        assert torch.equal(left, right), name
    for model in (lstm, atn):
        enter, forget = model.get_parameter("lstm.bias_ih_l0").detach()[:8].chunk(2)
        assert torch.equal(enter, -forget)
        assert forget.min() >= 0
        assert forget.max() <= math.log(783)
        assert len(set(forget.tolist())) == 4
    plain = PixelMnist(with_field("chrono", value=False), "atn", CPU).model
    assert torch.equal(plain.get_parameter("lstm.bias_ih_l0"), torch.zeros(16))


@pytest.mark.parametrize("model", MODELS)
def test_chrono_initialization_at_the_shift_is_that_at_the_bias_outside(model: ModelName) -> None:
    """The shift acts after the norm wherever the biases stand; a norm with the biases inside undoes it in the bias."""
    outside, shifted = TINY, with_field("chrono_at", "shift")
    inside = dataclasses.replace(shifted, bias_placement="inside")
    undone = dataclasses.replace(inside, chrono_at="bias")
    losses = [PixelMnist(settings, model, CPU).loss(1).item() for settings in (outside, shifted, inside, undone)]
    assert losses[1] == losses[0]
    assert losses[2] == pytest.approx(losses[0], rel=1e-6)
    assert (losses[3] == losses[0]) is (model == "lstm")


@pytest.mark.parametrize(
    ("model", "field", "value", "matters"),
    [
        ("atn", "k", 5, True),
        ("ln", "k", 5, False),
        ("ln", "eps", 0.1, True),
        ("lstm", "eps", 0.1, False),
        ("ln", "bias_placement", "inside", True),
        ("atn", "noise_variance", 0.2, True),
        ("lstm", "init", "torch", False),
        ("lstm", "lstm_init", "paper", True),
    ],
)
def test_a_setting_reaches_the_model_it_belongs_to(
    model: ModelName, field: str, value: float | str, *, matters: bool
) -> None:
    losses = [PixelMnist(settings, model, CPU).loss(1).item() for settings in (TINY, with_field(field, value))]
    assert (losses[0] != losses[1]) is matters


def test_the_gradient_s_norm_is_cut_before_adam_sees_it() -> None:
    problem = PixelMnist(with_field("clip", 0.01), "lstm", CPU)
    assert isinstance(problem.optimizer, torch.optim.Adam)
    torch.autograd.backward(100 * problem.loss(1))
    problem.update(1)
    gradients = [parameter.grad for parameter in problem.model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


@torch.no_grad()
def test_validation_is_of_all_images_whatever_their_batches() -> None:
    problem = PixelMnist(TINY, "ln", CPU)
    measured = problem.validation(1)
    logits = problem.model(problem.test_sequences)[-1]
    assert len(logits) == GENERATED_IMAGES["validation"]
    loss = torch.nn.functional.cross_entropy(logits, problem.test_labels)
    right = (logits.argmax(1) == problem.test_labels).float().mean()
    assert measured[VALIDATION].item() == pytest.approx(loss.item(), rel=1e-5)
    assert measured[ACCURACY].item() == pytest.approx(right.item())
    assert torch.equal(problem.validation(2)[VALIDATION], measured[VALIDATION])


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("eps", [0.0, 1e-5, 1.0])
def test_contrast_is_that_of_the_norm(window: int, eps: float) -> None:
    """Of two features with the same bias, whose difference the norm multiplies by its gain alone."""
    rng = torch.Generator().manual_seed(1)
    weight, bias = (torch.randn(8, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    bias[1] = bias[0]

    def difference(last: float) -> float:
        pixels = torch.tensor([GRAY] * (window - 1) + [last], dtype=torch.float64)
        y = assorted_time_norm((pixels[:, None] * weight.T + bias.T)[:, None], k=window, eps=eps)
        return (y[-1, 0, 1] - y[-1, 0, 0]).item()

    found = contrast(weight, bias.flatten(), window, eps).item()
    assert found == pytest.approx(difference(1.0) / difference(GRAY), rel=1e-12)


def test_contrast_where_brightness_is_erased_and_where_it_passes() -> None:
    weight, nothing = torch.randn(8, 1, generator=torch.Generator().manual_seed(1)), torch.zeros(8)
    assert contrast(weight, nothing, 1, 0.0).item() == pytest.approx(1)
    assert contrast(weight, nothing, 1, 1e6).item() == pytest.approx(1 / GRAY)
    assert 1 < contrast(weight, nothing, 10, 0.0).item() < 1 / GRAY


@pytest.mark.parametrize(("model", "placement"), [("ln", "outside"), ("atn", "inside"), ("atn", "outside")])
def test_a_validation_measures_the_contrast_of_its_model(model: ModelName, placement: BiasPlacement) -> None:
    settings = dataclasses.replace(TINY, bias_placement=placement, k=3, eps=1e-3)
    problem = PixelMnist(settings, model, CPU)
    lstm = problem.model.lstm
    bias = lstm.get_parameter("bias_ih_l0") * (placement == "inside")
    expected = contrast(lstm.get_parameter("weight_ih_l0"), bias, {"ln": 1, "atn": 3}[model], 1e-3)
    with torch.no_grad():
        assert torch.equal(problem.validation(0)[CONTRAST], expected)
        assert CONTRAST not in PixelMnist(settings, "lstm", CPU).validation(0)


def test_processes_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PixelMnist(TINY, "atn", CPU)
    whole = problem.loss(1)
    halves = []
    for rank in range(2):
        with monkeypatch.context() as patch:
            patch.setattr("experiments.training.distributed.count", lambda: 2)
            patch.setattr("experiments.training.distributed.rank", lambda rank=rank: rank)
            halves.append(problem.loss(1))
    assert halves[0].item() != halves[1].item()
    assert torch.stack(halves).mean().item() == pytest.approx(whole.item(), rel=1e-6)


@pytest.mark.parametrize("model", ["ln", "atn"])
def test_a_batch_can_be_learned_by_heart(model: ModelName) -> None:
    problem = PixelMnist(dataclasses.replace(TINY, batch=8, hidden=16, k=10, lr=5e-2), model, CPU)
    losses = []
    for _ in range(40):
        loss = problem.loss(1)
        problem.optimizer.zero_grad()
        torch.autograd.backward(loss)
        problem.update(1)
        losses.append(loss.item())
    assert losses[0] > 2
    # Without looking at the images one would learn how often each digit is there, which is worth 1.5.
    assert losses[-1] < 0.8


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["pixel-mnist", "--preset", "smoke", "--model", "atn", "--hidden", "3", "--batch", "2"]
    assert_interruption_changes_nothing(PixelMnist, arguments, 3, tmp_path, monkeypatch)


def test_a_batch_of_more_images_than_there_are_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pixel-mnist", "--preset", "smoke", "--batch", "513", "--unverified", "--runs", str(tmp_path)]
    assert main(words) == 2
    assert capsys.readouterr().err == "experiments: --batch is 513; it must be at most 512, the number of images\n"
    assert not list(tmp_path.rglob("record.json"))
