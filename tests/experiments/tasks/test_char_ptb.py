"""Character-level language modeling: carried states, learning rates, what is measured, and resuming."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from atn import ATNLSTM, LSTMState
from experiments.cli.main import main
from experiments.common.errors import UsageError
from experiments.models.awd_lstm import flatten, unflatten
from experiments.tasks.char_ptb import PRESETS, VALIDATION_CARRIED, CharPtb, CharPtbSettings, bits_per_character
from experiments.tasks.language import generated_corpus
from experiments.tasks.text_windows import Windows
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import MODELS, ModelName, run_name
from tests.support.interruptions import assert_interruption_changes_nothing

CPU = torch.device("cpu")
TINY = dataclasses.replace(PRESETS["smoke"], embedding=4, hidden=6)
OTHERS: tuple[ModelName, ...] = ("prop", "wn", "bn")
"""Models that the paper on Norm-Prop has beside the plain LSTM and LN."""


def with_fields(**changes: Any) -> CharPtbSettings:
    """The tiny settings with other values of some fields."""
    return dataclasses.replace(TINY, **changes)


def train(problem: Problem, steps: range) -> list[float]:
    """Losses of these steps, made one after another."""
    losses = []
    for step in steps:
        loss = problem.loss(step)
        problem.optimizer.zero_grad()
        torch.autograd.backward(loss)
        problem.update(step)
        losses.append(loss.item())
    return losses


class TestLearningRate:
    """Of each step, by its window and epoch."""

    def test_it_is_divided_by_10_after_each_drop(self) -> None:
        problem = CharPtb(with_fields(vary_bptt=False, drops=(1, 3), bptt=250), "lstm", CPU)
        rates = [problem.learning_rate(step) for step in (1, 3, 4, 9, 10, 13)]
        assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4])

    def test_longer_windows_have_a_higher_one_and_the_optimizer_gets_it(self) -> None:
        problem = CharPtb(with_fields(drops=()), "lstm", CPU)
        train(problem, range(1, 4))
        window = problem.windows.of(3)
        assert window.length != 20
        assert problem.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * window.length / 20)


class TestStates:
    """What a window leaves for the next one."""

    @pytest.mark.parametrize("model", MODELS)
    def test_carried_states_make_windows_equal_the_whole(self, model: ModelName) -> None:
        whole, parts, apart = (
            CharPtb(with_fields(bptt=bptt, vary_bptt=False, carry=carry), model, CPU)
            for bptt, carry in [(40, True), (20, True), (20, False)]
        )
        expected = whole.loss(1).item()
        assert sum(parts.loss(step).item() for step in (1, 2)) / 2 == pytest.approx(expected, rel=1e-6)
        assert abs(sum(apart.loss(step).item() for step in (1, 2)) / 2 - expected) > 1e-5

    def test_an_epoch_begins_with_an_empty_state(self) -> None:
        problem = CharPtb(with_fields(vary_bptt=False, bptt=400), "atn", CPU)
        losses = [problem.loss(step).item() for step in range(1, 4)]
        assert losses[2] == losses[0]

    @pytest.mark.parametrize("carry", [False, True])
    def test_no_gradient_flows_from_window_to_window(self, *, carry: bool) -> None:
        problem = CharPtb(with_fields(carry=carry), "atn", CPU)
        problem.loss(1)
        states = problem.states or ()
        assert len(states) == carry
        assert not any(tensor.requires_grad for state in states for tensor in flatten(state).values())

    @pytest.mark.parametrize("model", MODELS)
    def test_they_go_through_a_checkpoint(self, model: ModelName) -> None:
        first, second = (CharPtb(TINY, model, CPU) for _ in range(2))
        assert first.state_dict() == {}
        first.loss(1)
        carried = first.state_dict()
        assert set(carried) == {
            f"state.0.{name}"
            for name in ["h", "c"]
            + [f"{norm}.{what}" for norm in ("ih", "hh", "c") for what in ("mean", "var") if model != "lstm"]
        }
        second.load_state_dict(carried)
        assert torch.equal(second.loss(2), first.loss(2))

    def test_a_state_and_its_tensors_are_the_same(self) -> None:
        problem = CharPtb(TINY, "ln", CPU)
        problem.loss(1)
        (state,) = problem.states or ()
        again = unflatten(flatten(state), problem.model.layers[0])
        assert isinstance(again, LSTMState)
        assert flatten(again).keys() == flatten(state).keys()
        assert all(left is right for left, right in zip(flatten(again).values(), flatten(state).values(), strict=True))
        assert again.memory[0] is not None

    @pytest.mark.parametrize("name", ["state.1.h", "other", "state.x.h"])
    def test_another_model_s_are_refused_by_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"carried has {name}; it must have states of 1 layers"):
            CharPtb(TINY, "atn", CPU).load_state_dict({name: torch.zeros(1, 4, 6)})

    def test_processes_share_the_columns_and_keep_their_own_states(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = CharPtb(TINY, "atn", CPU)
        expected = [whole.loss(step).item() for step in (1, 2)]
        carried = whole.state_dict()
        halves = []
        for rank in range(2):
            with monkeypatch.context() as patch:
                patch.setattr("experiments.training.distributed.count", lambda: 2)
                patch.setattr("experiments.training.distributed.rank", lambda rank=rank: rank)
                part = CharPtb(TINY, "atn", CPU)
                halves.append([part.loss(step).item() for step in (1, 2)])
                resumed = CharPtb(TINY, "atn", CPU)
                resumed.load_state_dict(carried)
                assert resumed.loss(3).item() == pytest.approx(part.loss(3).item(), rel=1e-6)
        assert [sum(pair) / 2 for pair in zip(*halves, strict=True)] == pytest.approx(expected, rel=1e-6)


class TestMeasures:
    """The validation losses."""

    @torch.no_grad()
    def test_they_are_means_over_all_characters_but_each_column_s_first(self) -> None:
        problem = CharPtb(with_fields(bptt=30), "atn", CPU)
        problem.model.eval()
        text = problem.columns["validation"]
        measured = problem.validation(1)
        reading = problem.model(text[:-1])
        logits = functional.linear(
            reading.output,
            problem.model.embedding.weight if TINY.tied else problem.model.get_parameter("decoder_weight"),
        )
        logits += problem.model.decoder_bias
        whole = functional.cross_entropy(logits.flatten(0, 1), text[1:].flatten())
        assert measured[VALIDATION_CARRIED].item() == pytest.approx(whole.item(), rel=1e-6)
        windows = [text[start : start + 31] for start in range(0, len(text) - 1, 30)]
        assert len(windows[-1]) < 31
        apart = [problem.model.cross_entropy(problem.model(window[:-1]).output, window[1:]) for window in windows]
        total = sum(loss.item() * (len(window) - 1) for loss, window in zip(apart, windows, strict=True))
        assert measured[VALIDATION].item() == pytest.approx(total / (len(text) - 1), rel=1e-6)
        assert measured[VALIDATION].item() != measured[VALIDATION_CARRIED].item()

    def test_a_uniform_guess_among_50_costs_as_many_bits(self) -> None:
        assert bits_per_character(math.log(50)) == pytest.approx(math.log2(50))

    def test_measuring_leaves_the_training_state_alone(self) -> None:
        measured, other = (CharPtb(TINY, "atn", CPU) for _ in range(2))
        for problem in (measured, other):
            problem.loss(1)
        with torch.no_grad():
            measured.validation(1)
        assert torch.equal(measured.loss(2), other.loss(2))


def test_the_presets_are_the_paper_s_and_the_script_s() -> None:
    paper, released = PRESETS["paper"], PRESETS["released"]
    assert (paper.hidden, paper.bptt, paper.batch, paper.k) == (1000, 220, 32, 10)
    assert (paper.lr, paper.clip, paper.drops) == (1e-2, 3, (80, 90))
    assert released.differences(paper) == {
        "steps": [71_300, 109_950],
        "validate_every": [713, 733],
        "vary_bptt": [False, True],
        "carry": [True, False],
        "hidden": [1000, 200],
        "tied": [False, True],
        "k": [10, 20],
        "drops": [(80, 90), ()],
    }
    assert released.embedding == released.hidden


def test_the_paper_s_steps_are_whole_epochs() -> None:
    rows = 5_017_483 // 32
    paper = PRESETS["paper"]
    windows = Windows(paper, rows)
    assert [windows.of(step).epoch for step in (713, 714, 80 * 713, 80 * 713 + 1, paper.steps)] == [
        0,
        1,
        79,
        80,
        99,
    ]
    released = PRESETS["released"]
    assert Windows(released, rows).of(released.steps).epoch in {149, 150}


def test_the_released_weights_are_tied_and_counted_once() -> None:
    model = CharPtb(with_fields(embedding=6, tied=True), "atn", CPU).model
    vocabulary = generated_corpus().vocabulary
    layer = 4 * 6 * (6 + 6 + 2) + 2 * (24 + 24 + 6)
    assert sum(parameter.numel() for parameter in model.parameters()) == vocabulary * 6 + layer + vocabulary


@pytest.mark.parametrize(
    ("field", "value"), [("batch", 0), ("bptt", 1), ("hidden", 0), ("embedding", 0), ("clip", -1), ("lr", math.nan)]
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*; it must be (at least|a finite number)"):
        with_fields(**{field: value})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tied"], "--tied: --hidden is 16; it must be as large as --embedding, 8, or use --no-tied"),
        (["--tied", "--hidden", "9"], "--tied: --hidden is 9; it must be as large as --embedding, 8, or use --no-tied"),
        (
            ["--inputs", "orthogonal"],
            (
                "--inputs orthogonal: it must have --embedding 12, the size of the vocabulary, and --no-tied; "
                "there are --embedding 8 and --no-tied"
            ),
        ),
    ],
)
def test_an_embedding_of_another_size_is_refused_by_its_flags(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["char-ptb", "--preset", "smoke", *words, "--unverified", "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"experiments: {message}\n"
    assert not list(tmp_path.rglob("record.json"))


def test_every_setting_gives_the_run_another_name() -> None:
    changed: dict[str, Any] = {
        "corpus": "real",
        "bias_placement": "outside",
        "init": "torch",
        "lstm_init": "paper",
        "dtype": "bfloat16",
        "compile": True,
        "vary_bptt": False,
        "carry": False,
        "inputs": "orthogonal",
        "random_start": True,
        "tied": True,
        "drops": (),
    }
    fields = [field.name for field in dataclasses.fields(TINY)]
    names = {run_name("char-ptb", "smoke", "atn", with_fields(**{name: changed.get(name, 7)}), TINY) for name in fields}
    assert len(names) == len(fields)


def test_the_gradient_s_norm_is_cut_before_adam_sees_it() -> None:
    problem = CharPtb(with_fields(clip=0.01), "lstm", CPU)
    assert isinstance(problem.optimizer, torch.optim.Adam)
    train(problem, range(1, 2))
    gradients = [parameter.grad for parameter in problem.model.parameters() if parameter.grad is not None]
    assert torch.nn.utils.get_total_norm(gradients).item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_training_lowers_the_loss(model: ModelName) -> None:
    problem = CharPtb(with_fields(hidden=16, drops=()), model, CPU)
    losses = train(problem, range(1, 61))
    assert losses[0] > 2.4
    # Guessing by frequency is worth ln 12 = 2.48; the rule itself, 1.09.
    assert sum(losses[-5:]) / 5 < 1.8


@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_run_ends_as_one_that_was_not(
    model: ModelName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["char-ptb", "--preset", "smoke", "--model", model, "--hidden", "6", "--steps", "9", "--bptt", "110"]
    assert_interruption_changes_nothing(CharPtb, [*arguments, "--validate-every", "4"], 6, tmp_path, monkeypatch)


def of_norm_prop(**changes: Any) -> CharPtbSettings:
    """The preset of the paper on Norm-Prop on the small text, which has 12 words."""
    small = {"corpus": "generated", "batch": 4, "eval_batch": 2, "bptt": 20, "embedding": 12, "hidden": 6}
    return dataclasses.replace(PRESETS["normprop"], **{**small, **changes})


class TestNormProp:
    """The preset of the paper on Norm-Prop, and its models."""

    def test_its_settings_are_the_paper_s_but_for_the_size(self) -> None:
        preset = PRESETS["normprop"]
        assert (preset.bptt, preset.batch, preset.lr, preset.decay, preset.clip) == (100, 64, 2e-3, 1e-3, 1)
        assert preset.random_start
        # Mikolov's text has 50 characters, of which an epoch has 5,017,483.
        assert (preset.embedding, preset.inputs) == (50, "orthogonal")
        windows = Windows(preset, 5_017_483 // 64)
        assert [windows.of(step).epoch for step in (1, preset.steps, preset.steps + 1)] == [0, 0, 1]

    def test_every_step_draws_anew_and_the_last_window_too(self) -> None:
        found = CharPtb(of_norm_prop(batch=64), "lstm", CPU)
        first, second = (found._rows(found.windows.of(step), step) for step in (1, 2))
        assert found.windows.of(1).epoch == found.windows.of(2).epoch
        assert not torch.equal(first, second)
        found._text = torch.arange(22)  # two windows of 20 characters and the one after them
        assert set(found._rows(found.windows.of(1), 1)[0].tolist()) == {0, 1}

    def test_gains_start_as_the_paper_s(self) -> None:
        starts: dict[ModelName, tuple[float, ...]] = {
            "prop": (2.0, 2.0, 1.0),
            "ln": (1.0, 1.0, 1.0),
            "bn": (0.1, 0.1, 0.1),
        }
        for model, wanted in starts.items():
            layer = CharPtb(of_norm_prop(), model, CPU).model.layers[0]
            found = [layer.get_parameter(f"norm_{site}_l0.weight") for site in ("ih", "hh", "c")]
            assert [gain.tolist() for gain in found] == [
                pytest.approx([start] * len(gain)) for start, gain in zip(wanted, found, strict=True)
            ], model

    def test_a_word_is_a_row_of_a_fixed_orthogonal_matrix_with_mean_square_1(self) -> None:
        problem = CharPtb(of_norm_prop(input_scale=math.sqrt(12)), "prop", CPU)
        matrix = problem.model.embedding.weight
        assert matrix.shape == (12, 12)
        assert torch.allclose(matrix @ matrix.T, 12 * torch.eye(12), atol=1e-4)
        before = matrix.clone()
        train(problem, range(1, 4))
        assert torch.equal(problem.model.embedding.weight, before)

    @pytest.mark.parametrize(("field", "value"), [("embedding", 11), ("tied", True)])
    def test_a_fixed_matrix_of_another_size_is_refused(self, field: str, value: int) -> None:
        with pytest.raises(UsageError, match="--inputs orthogonal: it must have --embedding 12, the size of the voca"):
            CharPtb(of_norm_prop(**{field: value, "hidden": 11 if field == "embedding" else 12}), "prop", CPU)

    def test_a_text_without_a_window_is_refused(self) -> None:
        """A window of a single word is left out, so that a column has three words at least."""
        small = dataclasses.replace(PRESETS["smoke"], batch=1500)
        with pytest.raises(
            UsageError, match=r"^--batch 1500: the columns .* have 2 words, and a window needs 3; choose"
        ):
            CharPtb(small, "lstm", CPU)
        CharPtb(dataclasses.replace(small, batch=1000), "lstm", CPU).windows.of(2)
        with pytest.raises(UsageError, match=r"^--batch .*, and a window needs 5001; .* columns or a smaller --bptt$"):
            CharPtb(of_norm_prop(bptt=5000), "lstm", CPU)

    def test_each_column_of_a_window_begins_anywhere_in_the_text(self) -> None:
        problem = CharPtb(of_norm_prop(batch=64), "lstm", CPU)
        text = generated_corpus().tokens["train"].tolist()
        seen = set()
        for step in (1, 2):
            rows = problem._rows(problem.windows.of(step), step)
            assert rows.shape == (21, 64)
            for column in rows.T.tolist():
                places = [start for start in range(len(text) - 20) if text[start : start + 21] == column]
                assert places
                seen.update(places)
            again = CharPtb(of_norm_prop(batch=64), "lstm", CPU)
            assert torch.equal(again._rows(again.windows.of(step), step), rows)
        assert min(seen) < 300
        assert max(seen) > 2700

    def test_the_learning_rate_decays_with_the_epochs(self) -> None:
        problem = CharPtb(of_norm_prop(decay=0.5, bptt=250), "lstm", CPU)
        # An epoch has (750 - 1) // 250 = 2 windows.
        rates = [problem.learning_rate(step) for step in (1, 2, 3, 5)]
        assert rates == pytest.approx([2e-3, 2e-3, 2e-3 * math.exp(-0.5), 2e-3 * math.exp(-1)])

    @pytest.mark.parametrize(("model", "keeps"), [("prop", True), ("wn", False), ("lstm", False)])
    def test_rows_of_norm_prop_alone_are_brought_back_to_length_1(self, model: ModelName, *, keeps: bool) -> None:
        problem = CharPtb(of_norm_prop(lr=0.1), model, CPU)
        train(problem, range(1, 3))
        for name in ("weight_ih_l0", "weight_hh_l0"):
            lengths = torch.linalg.vector_norm(problem.model.layers[0].get_parameter(name), dim=1)
            assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-5) is keeps, name

    def test_bn_measures_by_the_statistics_of_the_population(self) -> None:
        problem = CharPtb(of_norm_prop(), "bn", CPU)
        train(problem, range(1, 3))
        layer = problem.model.layers[0]
        assert isinstance(layer, ATNLSTM)
        assert layer.get_buffer("norm_hh_l0.population.num_batches_tracked").tolist() == [2] * 20
        problem.model.eval()
        with torch.no_grad():
            measured = problem.validation(2)
        assert measured.keys() == {VALIDATION}
        assert layer.get_buffer("norm_hh_l0.population.num_batches_tracked").tolist() == [2] * 20

    @pytest.mark.parametrize(
        ("model", "changes", "said"),
        [
            ("bn", {"carry": True, "random_start": False}, "--carry: the model bn has no state"),
            ("prop", {"carry": True}, "--carry: no window with --random-start follows another one"),
            ("prop", {"vary_bptt": True}, "--vary-bptt: windows with --random-start have one length"),
        ],
    )
    def test_what_does_not_go_together_is_refused_by_name(
        self, model: ModelName, changes: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(UsageError, match=said):
            CharPtb(of_norm_prop(**changes), model, CPU)

    @pytest.mark.parametrize("model", OTHERS)
    def test_training_lowers_the_loss(self, model: ModelName) -> None:
        losses = train(CharPtb(of_norm_prop(hidden=16, lr=1e-2), model, CPU), range(1, 61))
        assert losses[0] > 2.3
        assert sum(losses[-5:]) / 5 < 1.8

    @pytest.mark.parametrize("model", OTHERS)
    def test_an_interrupted_run_ends_as_one_that_was_not(
        self, model: ModelName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = ["char-ptb", "--preset", "normprop", "--model", model, "--corpus", "generated", "--embedding", "12"]
        sizes = ["--hidden", "6", "--steps", "9", "--bptt", "30", "--batch", "4", "--eval-batch", "2"]
        assert_interruption_changes_nothing(
            CharPtb, [*arguments, *sizes, "--validate-every", "4"], 6, tmp_path, monkeypatch
        )
