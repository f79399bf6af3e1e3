"""The study of NeuroView-RNN: its data, its pairs of classifiers, what it measures of the steps, and its runs."""

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.cli.main import main
from experiments.common.errors import ExperimentError
from experiments.datasets import ucr
from experiments.datasets.sources import DataFile
from experiments.datasets.ucr import SIZES, UCR_NAMES, LabeledSeries, Sizes, UcrName, parse_series, read_ucr
from experiments.models.recurrent_layer import Recurrence
from experiments.related.neuroview import readouts
from experiments.related.neuroview.classifiers import HEADS, Classifier, Shape, pair
from experiments.related.neuroview.importance import MEASURES, importance
from experiments.related.neuroview.planted import Design, planted
from experiments.related.neuroview.readouts import (
    EXAMPLE,
    EXAMPLE_CONTRIBUTIONS,
    PRESETS,
    Readouts,
    accuracy,
    at,
    share_name,
)
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import load_record
from experiments.training.settings import MODELS, ModelName
from tests.support.comparison import assert_close
from tests.support.interruptions import assert_interruption_changes_nothing
from tests.support.lstms import random, with_random_parameters

CPU = torch.device("cpu")
SMOKE = PRESETS["smoke"]

TEXT = """# where it is from
@problemName Made up
@univariate false
@classLabel true b a
@data
1.0,2.0,3.0:-1.0,0.5,0.0:a
4.0,5.0,6.0:1e-3,2.5e1,7:b

0,0,0:0,0,0:a
"""


class TestArchive:
    """The texts of the archives and the wheel that carries them."""

    def test_features_become_the_last_axis_and_classes_are_numbered_as_named(self) -> None:
        found = parse_series(TEXT, "made up")
        assert found.x.shape == (3, 3, 2)
        assert found.x.dtype == np.float32
        assert found.x[0].tolist() == [[1.0, -1.0], [2.0, 0.5], [3.0, 0.0]]
        assert found.x[1, :, 1].tolist() == [np.float32(1e-3), 25.0, 7.0]
        assert found.labels.tolist() == [1, 0, 1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (TEXT.replace("6.0", "6.0,7.0"), "is not a text of labeled series of one length"),
            (TEXT.replace("4.0", "?"), "is not a text of labeled series of one length: could not convert"),
            (TEXT.replace(":b", ":c"), "is not a text of labeled series of one length: 'c' is not in list"),
            (TEXT.replace("@classLabel true b a", "@classLabel false"), "has 0 classes and 3 cases; it must have some"),
            (TEXT.partition("1.0")[0], "has 2 classes and 0 cases; it must have some of both"),
            ("", "has 0 classes and 0 cases"),
        ],
    )
    def test_a_damaged_text_is_refused_by_name(self, text: str, message: str) -> None:
        with pytest.raises(ExperimentError, match=f"^made up {message}"):
            parse_series(text, "made up")

    @staticmethod
    def wheel(folder: Path, monkeypatch: pytest.MonkeyPatch, member: str) -> None:
        """A wheel of one text in the folder of the data sets, and the sizes of that text."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr(f"aeon/datasets/data/{member}.ts", TEXT)
        file = DataFile("ucr", "small.whl", hashlib.sha256(content.getvalue()).hexdigest(), ())
        (folder / "ucr").mkdir()
        (folder / "ucr" / file.name).write_bytes(content.getvalue())
        monkeypatch.setattr(ucr, "WHEEL", file)
        monkeypatch.setitem(SIZES, "GunPoint", Sizes(3, 5, 3, 2, 2))
        monkeypatch.setitem(SIZES, "JapaneseVowels", Sizes(5, 3, 3, 2, 2))

    def test_a_set_is_read_from_the_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wheel(tmp_path, monkeypatch, "GunPoint/GunPoint_TRAIN")
        assert read_ucr("GunPoint", "train", tmp_path).labels.tolist() == [1, 0, 1]

    def test_of_sets_of_several_lengths_the_equal_version_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.wheel(tmp_path, monkeypatch, "JapaneseVowels/JapaneseVowels_eq_TEST")
        assert read_ucr("JapaneseVowels", "test", tmp_path).labels.tolist() == [1, 0, 1]

    def test_another_number_of_cases_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wheel(tmp_path, monkeypatch, "GunPoint/GunPoint_TEST")
        with pytest.raises(
            ExperimentError, match=r"GunPoint_TEST.ts has series of shape \(3, 3, 2\); it must have \(5,"
        ):
            read_ucr("GunPoint", "test", tmp_path)

    def test_a_missing_wheel_is_named_with_its_source(self, tmp_path: Path) -> None:
        with pytest.raises(ExperimentError, match=r"ucr/aeon-1.6.0-py3-none-any.whl is missing: fetch it from https"):
            read_ucr("GunPoint", "train", tmp_path)

    @pytest.mark.ucr
    @pytest.mark.parametrize("name", UCR_NAMES)
    def test_the_real_sets(self, name: UcrName) -> None:
        """Cases, lengths, features and classes."""
        train, test = read_ucr(name, "train", None), read_ucr(name, "test", None)
        _, T, inputs = train.x.shape
        found = Sizes(len(train.x), len(test.x), T, inputs, int(train.labels.max()) + 1)
        assert test.x.shape[1:] == (T, inputs)
        assert found == SIZES[name]
        for split in (train, test):
            assert np.unique(split.labels).tolist() == list(range(found.classes))
            assert np.isfinite(split.x).all()

    @pytest.mark.ucr
    def test_the_first_series_of_a_real_set(self) -> None:
        found = read_ucr("ItalyPowerDemand", "train", None)
        assert found.x[0, :3, 0].tolist() == [np.float32(value) for value in (-0.71051757, -1.1833204, -1.3724416)]
        assert found.labels[:3].tolist() == [0, 0, 1]


class TestPlanted:
    """Noise with a class in known steps."""

    DESIGN = Design(T=9, first=3, last=5, amplitude=2.0)

    def test_the_mean_tells_the_class_in_these_steps_and_nowhere_else(self) -> None:
        found = planted(self.DESIGN, 4000, [1])
        means = [found.x[found.labels == label, :, 0].mean(0) for label in (0, 1)]
        expected = np.where(np.isin(np.arange(1, 10), (3, 4, 5)), 2.0, 0.0)
        # Means of 2,000 normal numbers.
        assert np.abs(means[1] - expected).max() < 4 / 2000**0.5
        assert np.abs(means[0] + expected).max() < 4 / 2000**0.5
        assert abs(found.x[:, 0].var() - 1) < 0.1

    def test_a_key_gives_the_same_cases_again(self) -> None:
        first, again, other = (planted(self.DESIGN, 6, key) for key in ([1, 0], [1, 0], [1, 1]))
        assert np.array_equal(first.x, again.x)
        assert not np.array_equal(first.x, other.x)
        assert first.labels.tolist() == [0, 1] * 3


def recurrence(model: ModelName) -> Recurrence:
    return Recurrence(model, 3, 1e-3, "outside", "torch")


@pytest.mark.parametrize("model", MODELS)
def test_both_classifiers_start_from_the_same_layer(model: ModelName) -> None:
    found = pair(recurrence(model), Shape(5, 2, 3), 4, seed=1)
    last, every = (found[head].lstm.state_dict() for head in HEADS)
    assert all(torch.equal(last[name], every[name]) for name in last)
    other = pair(recurrence(model), Shape(5, 2, 3), 4, seed=2)["last"].lstm.state_dict()
    assert not torch.equal(last["weight_ih_l0"], other["weight_ih_l0"])
    x = torch.randn(5, 6, 2)
    h, _ = found["last"].lstm(x)
    linear = found["last"].head.get_submodule("linear")
    assert torch.equal(found["last"](x), linear(h[-1]))
    assert found["per-step"](x).shape == (6, 3)


class TestImportance:
    """The three measures against their definitions."""

    @staticmethod
    def classifier() -> Classifier:
        return with_random_parameters(Classifier(recurrence("lstm"), Shape(5, 2, 2), 4, "per-step").double())

    def test_written_out(self) -> None:
        classifier, x, labels = self.classifier(), random(5, 6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
        found = importance(classifier, x, labels)
        weight = classifier.head.get_parameter("weight").detach()
        h = classifier.lstm(x)[0].detach()
        s = torch.stack([(h[t] * (weight[1, t] - weight[0, t])).sum(1) for t in range(5)])
        gaps = (s[:, labels == 1].mean(1) - s[:, labels == 0].mean(1)).abs()
        lengths = torch.stack([(weight[1, t] - weight[0, t]).norm() for t in range(5)])

        slopes = torch.zeros(5, dtype=torch.float64)
        for case in range(6):
            one = x[:, case : case + 1].clone().requires_grad_()
            logits = classifier(one)
            (slope,) = torch.autograd.grad(logits[0, 1] - logits[0, 0], one)
            slopes += slope[:, 0].norm(dim=1) / 6
        expected = dict(zip(MEASURES, (gaps, lengths, slopes), strict=True))
        for measure in MEASURES:
            assert_close(found[measure], expected[measure] / expected[measure].sum(), quantity="gradient")

    def test_under_no_grad_as_in_a_validation(self) -> None:
        classifier, x, labels = self.classifier(), random(5, 6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
        with torch.no_grad():
            found = importance(classifier, x, labels)
        assert_close(found["inputs"], importance(classifier, x, labels)["inputs"], quantity="gradient")
        assert all(abs(float(shares.sum()) - 1) < 1e-12 for shares in found.values())


class TestProblem:
    """What a run trains and measures."""

    def test_the_loss_is_the_sum_over_all_classifiers(self) -> None:
        problem = Readouts(SMOKE, "ln", CPU)
        x, labels = problem.x["train"]["planted"], problem.labels["train"]["planted"]
        losses = [torch.nn.functional.cross_entropy(problem.model.classifier("planted", h)(x), labels) for h in HEADS]
        torch.testing.assert_close(problem.loss(1), losses[0] + losses[1])

    def test_the_test_cases_are_other_draws(self) -> None:
        first, again, other = (Readouts(dataclasses.replace(SMOKE, seed=seed), "lstm", CPU).x for seed in (0, 0, 1))
        assert not torch.equal(first["train"]["planted"], first["test"]["planted"])
        for split in readouts.SPLITS:
            assert torch.equal(first[split]["planted"], again[split]["planted"])
            assert not torch.equal(first[split]["planted"], other[split]["planted"])

    def test_a_set_is_standardized_by_its_training_cases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        raw = {"train": LabeledSeries((10 + 3 * random(8, 6, 2)).float().numpy(), np.arange(8) % 2)}
        raw["test"] = LabeledSeries(raw["train"].x + 3, np.arange(8) % 2)
        monkeypatch.setattr(readouts, "read_ucr", lambda _name, split, _folder: raw[split])
        problem = Readouts(dataclasses.replace(SMOKE, datasets=("GunPoint",)), "lstm", CPU)
        train, test = (problem.x[split]["GunPoint"] for split in ("train", "test"))
        assert train.shape == (6, 8, 2)
        torch.testing.assert_close(train.mean((0, 1)), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(train.var((0, 1), correction=0), torch.ones(2))
        torch.testing.assert_close(test - train, (3 / torch.tensor(raw["train"].x.std((0, 1)))).expand(6, 8, 2))

    def test_a_set_trains_as_it_would_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = planted(Design(7, 2, 3, 1.0), 10, [5])
        monkeypatch.setattr(readouts, "read_ucr", lambda *_: other)
        alone = Readouts(SMOKE, "atn", CPU)
        together = Readouts(dataclasses.replace(SMOKE, datasets=("GunPoint", "planted")), "atn", CPU)
        for step in range(1, 4):
            for each in (alone, together):
                each.optimizer.zero_grad()
                torch.autograd.backward(each.loss(step))
                each.update(step)
        ours, theirs = (each.model.pairs.get_submodule("planted").state_dict() for each in (alone, together))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_the_last_validation_measures_the_steps(self) -> None:
        problem = Readouts(SMOKE, "lstm", CPU)
        accuracies = {accuracy(split, "planted", head) for split in readouts.SPLITS for head in HEADS}
        with torch.no_grad():
            assert problem.validation(2).keys() == {VALIDATION, *accuracies}
            found = problem.validation(4)
        curves = [*map(share_name, MEASURES), EXAMPLE, EXAMPLE_CONTRIBUTIONS]
        assert found.keys() == {VALIDATION, *accuracies, *(at(name, t) for name in curves for t in range(1, 7))}
        x, labels = problem.x["test"]["planted"], problem.labels["test"]["planted"]
        for head in HEADS:
            logits = problem.model.classifier("planted", head)(x)
            right = sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
            assert found[accuracy("test", "planted", head)].item() == pytest.approx(right / 8)
        errors = [1 - found[accuracy("test", "planted", head)] for head in HEADS]
        torch.testing.assert_close(found[VALIDATION], (errors[0] + errors[1]) / 2)
        logits = problem.model.classifier("planted", "per-step")(x)[-1]
        bias = problem.model.classifier("planted", "per-step").head.get_parameter("bias")
        total = torch.stack([found[at(EXAMPLE_CONTRIBUTIONS, t)] for t in range(1, 7)]).sum()
        assert labels[-1] == 1
        torch.testing.assert_close(total, (logits - bias)[1] - (logits - bias)[0])
        assert [found[at(EXAMPLE, t)] for t in range(1, 7)] == x[:, -1, 0].tolist()

    def test_training_learns_the_planted_class(self) -> None:
        settings = dataclasses.replace(SMOKE, amplitude=3.0, cases=40, hidden=6)
        problem = Readouts(settings, "ln", CPU)
        for step in range(1, 61):
            problem.optimizer.zero_grad()
            torch.autograd.backward(problem.loss(step))
            problem.update(step)
        with torch.no_grad():
            found = problem.validation(4)
        assert min(found[accuracy("test", "planted", head)].item() for head in HEADS) > 0.9


def test_only_the_full_study_needs_data() -> None:
    assert [name for name, settings in PRESETS.items() if settings.datasets != ("planted",)] == ["paper"]


def command(runs: Path, *more: str) -> list[str]:
    return ["neuroview", "--preset", "smoke", "--unverified", "--runs", str(runs), *more]


def test_a_command_makes_a_run_of_each_model(tmp_path: Path) -> None:
    assert main(command(tmp_path)) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [
        f"neuroview-smoke-{model}-seed0" for model in sorted(MODELS)
    ]
    for folder in tmp_path.iterdir():
        record = load_record(folder)
        assert record is not None
        assert record.status == "finished"
        rows = read_metrics(folder / METRICS, 4)
        assert [len(row.measured) for row in rows] == [0, 5, 0, 5 + 5 * 6]


def test_an_interruption_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["neuroview", "--preset", "smoke", "--model", "atn"]
    assert_interruption_changes_nothing(Readouts, arguments, 3, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--datasets",), "datasets is (); it must be one or more different names"),
        (("--datasets", "planted", "planted"), "it must be one or more different names"),
        (("--datasets", "Coffee"), "Coffee"),
        (("--first", "5"), "last is 4; it must be from first, 5, to length, 6"),
        (("--last", "7"), "last is 7; it must be from first, 3, to length, 6"),
        (("--first", "0"), "first is 0; it must be at least 1"),
        (("--cases", "1"), "cases is 1; it must be at least 2"),
        (("--hidden", "0"), "hidden is 0; it must be at least 1"),
        (("--k", "0"), "k is 0; it must be at least 1"),
        (("--lr", "-1"), "lr is -1.0; it must be at least 0"),
        (("--amplitude", "nan"), "amplitude is nan; it must be a finite number"),
        (("--model", "cn"), "invalid choice 'cn' for argument '--model'. Expected one of ('lstm', 'ln', 'atn', 'all')"),
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


def test_a_run_without_its_data_is_refused_with_their_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    arguments = ("--datasets", "GunPoint", "--data-dir", str(tmp_path / "data"))
    assert main(command(tmp_path / "runs", *arguments)) == 1
    assert "ucr/aeon-1.6.0-py3-none-any.whl is missing" in capsys.readouterr().err
