"""What a run trains on and what it measures, where a slip would leave every loss plausible."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from experiments.catalog.registry import TASKS
from experiments.cli.main import main
from experiments.models.awd_lstm import Reading
from experiments.tasks import char_ptb, copying, pixel_mnist, wikitext2
from experiments.training import distributed, run
from experiments.training.checkpoint import Checkpoint, Times, capture, load_checkpoint, save_checkpoint
from experiments.training.records.metrics import VALIDATION
from experiments.training.records.record import load_record
from tests.support.experiment_runs import SYNTHETIC
from tests.support.interruptions import Died, dying
from tests.support.tiny_run import tiny_run

CPU = torch.device("cpu")
SMOKE = wikitext2.SMOKE


def words(**changes: Any) -> wikitext2.WikiText2:
    """A small WikiText-2 problem on the generated text."""
    return wikitext2.WikiText2(dataclasses.replace(SMOKE, **changes), "atn", CPU)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_no_validation_batch_is_a_training_batch(name: str) -> None:
    task = TASKS[name]
    settings = task.presets["smoke"].completed()
    if name == "adding":
        # As many sequences as a training batch: else the same draws would be other sequences.
        settings = dataclasses.replace(settings, validation_sequences=settings.batch)
    problem: Any = task.problem(settings, "lstm", CPU)
    for validated in (1, 10, 20):
        x, _ = problem.batch("validation", validated)
        for trained in range(1, 25):
            other, _ = problem.batch("train", trained)
            assert x.shape == other.shape
            assert not torch.equal(x, other)


def test_the_noise_on_an_image_is_another_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = pixel_mnist.PixelMnist(pixel_mnist.SMOKE, "lstm", CPU)
    monkeypatch.setattr(pixel_mnist, "training_indices", lambda *_: np.arange(8))
    losses = [problem.loss(step).item() for step in (1, 2, 3, 65, 66)]
    assert len(set(losses)) == len(losses)
    assert problem.loss(1).item() == losses[0]


def test_all_dropouts_act_at_once_each_with_its_own_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    chances = {"words": 0.1, "inputs": 0.2, "between": 0.3, "output": 0.4, "weights": 0.5}
    problem = words(depth=3, **{f"dropout_{name}": value for name, value in chances.items()})
    used: list[float] = []
    dropout = functional.dropout

    def note(x: Tensor, p: float, training: bool = True) -> Tensor:  # noqa: FBT001, FBT002 - as PyTorch has it
        if training:
            used.append(p)
        return dropout(x, p, training)

    monkeypatch.setattr(functional, "dropout", note)
    problem.loss(1)
    assert sorted(used) == [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.5, 0.5]
    used.clear()
    problem.model.eval()
    with torch.no_grad():
        problem.validation(1)
    assert used == []


def test_the_penalties_are_of_the_output_after_dropout_and_of_the_change_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = words(activation=2.0, slowness=3.0)
    hidden = torch.tensor([[[1.0, 4.0]], [[2.0, 0.0]]], requires_grad=True)
    output = torch.tensor([[[10.0, 0.0]], [[0.0, 20.0]]], requires_grad=True)
    monkeypatch.setattr(problem, "read", lambda _: (torch.tensor(5.0), Reading(hidden, output, ())))
    loss = problem.loss(1)
    assert loss.item() == 5
    torch.autograd.backward(loss)
    # Derivatives of 2 (10^2 + 20^2) / 4 and of 3 ((2 - 1)^2 + (0 - 4)^2) / 2.
    assert output.grad is not None
    assert hidden.grad is not None
    assert output.grad.flatten().tolist() == [10, 0, 0, 20]
    assert hidden.grad.flatten().tolist() == [-3, 12, 3, -12]


def test_weights_decay_by_their_setting() -> None:
    problem = words(weight_decay=0.25, vary_bptt=False)
    before = {name: value.detach().clone() for name, value in problem.model.named_parameters()}
    for value in problem.model.parameters():
        value.grad = torch.zeros_like(value)
    problem.update(1)
    for name, value in problem.model.named_parameters():
        torch.testing.assert_close(value.detach(), before[name] * (1 - SMOKE.lr * 0.25))


def test_each_text_is_measured_under_its_own_name() -> None:
    problem = words()
    problem.model.eval()
    with torch.no_grad():
        first = problem.validation(1)
        problem.columns["test"] = problem.columns["test"].flip(0)
        second = problem.validation(1)
        problem.columns["validation"] = problem.columns["validation"].flip(0)
        third = problem.validation(1)
    assert first[VALIDATION] == second[VALIDATION] != third[VALIDATION]
    assert first[wikitext2.TEST] != second[wikitext2.TEST] == third[wikitext2.TEST]


def test_characters_are_measured_on_the_validation_text() -> None:
    problem = char_ptb.CharPtb(char_ptb.SMOKE, "atn", CPU)
    problem.model.eval()
    with torch.no_grad():
        first = problem.validation(1)
        for split in ("test", "train"):
            problem.columns[split] = problem.columns[split].flip(0)
        assert problem.validation(1) == first
        problem.columns["validation"] = problem.columns["validation"].flip(0)
        assert all(problem.validation(1)[name] != value for name, value in first.items())


def test_words_are_measured_with_the_carried_state() -> None:
    problem = words()
    problem.model.eval()
    with torch.no_grad():
        measured = problem.validation(1)
        for name, split in ((VALIDATION, "validation"), (wikitext2.TEST, "test")):
            carried, empty = (problem.evaluate(problem.model, split, carry=carry) for carry in (True, False))  # type: ignore[arg-type] # names of splits
            assert measured[name] == carried != empty


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_validation_is_after_the_update_and_in_the_precision_of_training(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, bool]] = []
    for name in ("loss", "update", "validation"):
        original = getattr(copying.Copying, name)

        def note(self: Any, step: int, name: str = name, original: Any = original) -> Any:
            seen.append((name, step, torch.is_autocast_enabled("cpu")))
            return original(self, step)

        monkeypatch.setattr(copying.Copying, name, note)
    assert main(tiny_run(tmp_path, dtype=dtype)) == 0
    half = dtype == "bfloat16"
    of_step_5 = [call for call in seen if call[1] == 5]
    assert of_step_5 == [("loss", 5, half), ("update", 5, False), ("validation", 5, half)]


def test_a_resumed_second_process_goes_on_with_its_own_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream, from which dropout is drawn, is the one in the checkpoint and not one that begins again."""
    settings = copying.SMOKE.completed()
    which = run.Run(TASKS["copying"], "smoke", "atn", settings)
    saved = capture(1, Times(1.0, 0.5), which.task.problem(settings, "atn", CPU))
    states = [torch.Generator().manual_seed(seed).get_state() for seed in (11, 22)]
    saved.tensors.update({"random.cpu": states[0], "random.cpu.1": states[1]})
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        run._problem(which, CPU, saved)
        assert torch.equal(torch.get_rng_state(), states[rank])


def test_the_time_of_a_resumed_run_has_the_time_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(copying.Copying, "loss", dying(copying.Copying, 7))
        with pytest.raises(Died):
            main(tiny_run(tmp_path, checkpoint_seconds=0))
    (folder,) = tmp_path.iterdir()
    checkpoint, _ = load_checkpoint(folder, folder.name)
    assert checkpoint is not None
    assert 0 < checkpoint.times.validation < checkpoint.times.all < 100
    save_checkpoint(folder, folder.name, Checkpoint(checkpoint.step, Times(5000.0, 2000.0), checkpoint.tensors))
    assert main(tiny_run(tmp_path)) == 0
    record = load_record(folder)
    assert record is not None
    assert record.validation_seconds is not None
    assert 5000 < record.seconds < 5100
    assert 2000 < record.validation_seconds < 2100
