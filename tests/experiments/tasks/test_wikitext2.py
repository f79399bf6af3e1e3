"""Word-level language modeling with AWD-LSTM: dropouts, penalties, averaging, and resuming."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from atn import ATNLSTM, LSTMState
from experiments.cli.main import main
from experiments.models.awd_lstm import Dropout, LanguageModel
from experiments.models.recurrent_layer import Recurrence
from experiments.tasks.wikitext2 import AVERAGED, PRESETS, TEST, WikiText2, WikiText2Settings, perplexity
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import MODELS, ModelName, run_name
from tests.support.interruptions import assert_interruption_changes_nothing

CPU = torch.device("cpu")
NO_DROPOUT = {f"dropout_{name}": 0.0 for name in ("words", "inputs", "between", "output", "weights")}


def with_fields(settings: WikiText2Settings, **changes: Any) -> WikiText2Settings:
    """The settings with other values of some fields."""
    return dataclasses.replace(settings, **changes)


TINY = with_fields(PRESETS["smoke"], hidden=5)
PLAIN = with_fields(TINY, activation=0.0, slowness=0.0, **NO_DROPOUT)
TOKENS = torch.arange(24).reshape(8, 3) % 7


def model_with(dropout: Dropout, model: ModelName = "atn", seed: int = 0) -> LanguageModel:
    """A small model of 7 words and two layers, in training."""
    torch.manual_seed(seed)
    return LanguageModel(Recurrence(model, 3, 1e-5, "inside", "paper"), 7, 6, (5, 6), tied=True, dropout=dropout)


def train(problem: WikiText2, steps: range) -> list[float]:
    """Losses of these steps, made one after another."""
    losses = []
    for step in steps:
        loss = problem.loss(step)
        problem.optimizer.zero_grad()
        torch.autograd.backward(loss)
        problem.update(step)
        losses.append(loss.item())
    return losses


def parameters(model: torch.nn.Module) -> Tensor:
    """All parameters in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def recurrent_weights(model: LanguageModel) -> Tensor:
    """W_hh of the first layer as it would be used now."""
    weights: Tensor = getattr(model.layers[0], "weight_hh_l0")  # noqa: B009 - a parametrization, unknown to mypy
    return weights


class TestDropout:
    """Five kinds, in training only."""

    @pytest.mark.parametrize("kind", Dropout._fields)
    def test_each_changes_what_is_read_in_training_and_nothing_in_evaluation(self, kind: str) -> None:
        plain, with_it = model_with(Dropout()), model_with(Dropout(**{kind: 0.5}))
        assert not torch.equal(plain(TOKENS).output, with_it(TOKENS).output)
        assert torch.equal(plain.eval()(TOKENS).output, with_it.eval()(TOKENS).output)

    def test_the_output_loses_the_same_features_at_every_step(self) -> None:
        reading = model_with(Dropout(output=0.5))(TOKENS)
        factor = reading.output / reading.hidden
        assert torch.allclose(factor, factor[:1].expand_as(factor))
        assert set(factor[0].round().flatten().tolist()) == {0.0, 2.0}
        assert not torch.equal(factor[0, 0].round(), factor[0, 1].round())

    def test_a_word_is_taken_out_wherever_it_stands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = model_with(Dropout(words=0.5))
        seen: list[Tensor] = []
        stream = ATNLSTM.stream

        def watched(self: ATNLSTM, x: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
            seen.append(x)
            return stream(self, x, state)

        monkeypatch.setattr(ATNLSTM, "stream", watched)
        model(TOKENS)
        x = seen[0]
        for word in range(7):
            rows = x[word == TOKENS]
            table = model.embedding.weight[word]
            assert torch.equal(rows, torch.zeros_like(rows)) or torch.allclose(rows, (2 * table).expand_as(rows))
        assert {bool(row.any()) for row in x.flatten(0, 1)} == {False, True}

    def test_dropconnect_reads_a_whole_window_with_the_same_weights(self) -> None:
        model = model_with(Dropout(weights=0.5))
        layer = model.layers[0]
        original = layer.get_parameter("parametrizations.weight_hh_l0.original")
        torch.autograd.backward(model(TOKENS).output.sum())
        assert original.grad is not None
        used = original.grad != 0
        assert used.any()
        # A dropped weight has no gradient; were the mask drawn at each step, every entry would have one.
        assert (~used[original != 0]).any()

    def test_dropconnect_leaves_the_weights_themselves_alone(self) -> None:
        torch.manual_seed(1)
        model = model_with(Dropout(weights=0.5))
        before = parameters(model)
        drawn = torch.stack([recurrent_weights(model) for _ in range(400)])
        assert torch.equal(parameters(model), before)
        identity = torch.eye(5).repeat(4, 1)
        assert torch.equal(drawn.amax(0), 2 * identity)
        assert torch.equal(drawn.amin(0), 0 * identity)
        assert torch.allclose(drawn.mean(0), identity, atol=0.25)
        assert torch.equal(recurrent_weights(model.eval()), identity)


class TestPenalties:
    """On large outputs and on outputs that change quickly: in the gradient, not in the loss that is logged."""

    @pytest.mark.parametrize("name", ["activation", "slowness"])
    def test_the_loss_is_the_cross_entropy_and_the_gradient_has_the_penalty(self, name: str) -> None:
        plain, with_it = (WikiText2(with_fields(PLAIN, **{name: value}), "atn", CPU) for value in (0.0, 3.0))
        losses = [problem.loss(1) for problem in (plain, with_it)]
        assert losses[0].item() == losses[1].item()
        problem = WikiText2(PLAIN, "atn", CPU)
        loss, reading = problem.read(1)
        of = {"activation": reading.output, "slowness": reading.hidden.diff(dim=0)}
        torch.autograd.backward(loss + 3 * of[name].pow(2).mean())
        torch.autograd.backward(losses[1])
        for ours, expected in zip(with_it.model.parameters(), problem.model.parameters(), strict=True):
            assert ours.grad is not None
            assert expected.grad is not None
            assert torch.allclose(ours.grad, expected.grad, rtol=1e-5, atol=1e-8)


def judged(problem: WikiText2, losses: list[float]) -> list[bool]:
    """Whether averaging has begun after each of these validation losses."""
    begun = []
    for loss in losses:
        if problem.average is None:
            problem._check_criterion(loss)
        begun.append(problem.average is not None)
    return begun


class TestAveraging:
    """Begun by the criterion, measured from then on."""

    @pytest.mark.parametrize(
        ("nonmono", "losses", "begins"),
        [
            (1, [2, 3, 2.5], 3),
            (1, [3, 2, 2.5], None),
            (2, [2, 3, 2.5], None),
            (2, [2, 3, 2.5, 2.2], 4),
            (2, [3, 2, 1.5, 1.9, 1.8], None),
            (2, [3, 2, 1.5, 1.9, 2.1], 5),
            (5, [3, 2, 1, 1, 1, 1, 1.5, 2.5, 2.6], 8),
            (5, [9, 8, 7, 6, 5, 4, 3, 2, 1], None),
        ],
    )
    def test_it_begins_where_a_loss_is_worse_than_the_best_of_all_but_the_last_few(
        self, nonmono: int, losses: list[float], begins: int | None
    ) -> None:
        begun = judged(WikiText2(with_fields(TINY, nonmono=nonmono), "lstm", CPU), losses)
        assert (begun.index(True) + 1 if any(begun) else None) == begins

    def test_it_is_the_mean_of_the_parameters_since(self) -> None:
        problem = WikiText2(TINY, "atn", CPU)
        train(problem, range(1, 3))
        assert judged(problem, [1.0, 0.5, 2.0]) == [False, False, True]
        later = []
        for step in range(3, 7):
            train(problem, range(step, step + 1))
            later.append(parameters(problem.model))
        assert problem.average is not None
        assert torch.allclose(parameters(problem.average), torch.stack(later).mean(0), rtol=1e-5, atol=1e-6)

    @torch.no_grad()
    def test_it_is_what_is_measured(self) -> None:
        problem = WikiText2(TINY, "atn", CPU)
        problem.model.eval()
        before = problem.validation(1)
        assert before[AVERAGED].item() == 0
        judged(problem, [1.0, 9.0, 9.0])
        for parameter in problem.model.parameters():
            parameter.add_(torch.randn_like(parameter))
        after = problem.validation(2)
        assert after[AVERAGED].item() == 1
        assert {name: after[name] for name in (VALIDATION, TEST)} == {name: before[name] for name in (VALIDATION, TEST)}

    def test_it_goes_through_a_checkpoint(self) -> None:
        first, second = (WikiText2(TINY, "atn", CPU) for _ in range(2))
        train(first, range(1, 3))
        judged(first, [1.0, 9.0, 9.0])
        train(first, range(3, 5))
        second.model.load_state_dict(first.model.state_dict())
        second.load_state_dict(first.state_dict())
        assert second.history == [1.0, 9.0, 9.0]
        for problem in (first, second):
            torch.manual_seed(3)
            train(problem, range(5, 7))
        assert first.average is not None
        assert second.average is not None
        assert torch.equal(parameters(first.average), parameters(second.average))
        assert torch.equal(parameters(first.model), parameters(second.model))
        assert not second.average.training


def test_the_presets_are_the_paper_s() -> None:
    paper = PRESETS["paper"]
    assert (paper.layers(), paper.embedding, paper.tied) == ((1150, 1150, 400), 400, True)
    assert (paper.batch, paper.bptt, paper.k, paper.lr, paper.clip, paper.nonmono) == (32, 70, 25, 30, 0.25, 5)
    assert paper.dropout() == Dropout(words=0.1, inputs=0.65, between=0.2, output=0.4, weights=0.5)
    assert PRESETS.keys() == {"paper", "budget", "smoke"}  # there is no released script


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("depth", 0, "at least 1"),
        ("nonmono", 0, "at least 1"),
        ("slowness", -1, "at least 0"),
        ("dropout_words", 1, "at least 0 and below 1"),
        ("dropout_weights", math.nan, "a finite number"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .* {message}"):
        with_fields(TINY, **{field: value})


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
        "tied": False,
    }
    fields = [field.name for field in dataclasses.fields(TINY)]

    def name(field: str) -> str:
        value = changed.get(field, 0.25 if field.startswith("dropout") else 7)
        settings: WikiText2Settings = with_fields(TINY, **{field: value})
        return run_name("wikitext2", "smoke", "atn", settings, TINY)

    assert len({name(field) for field in fields}) == len(fields)


def test_perplexity_is_the_number_of_words_one_would_guess_among() -> None:
    assert perplexity(math.log(33_278)) == pytest.approx(33_278)


@pytest.mark.parametrize("model", MODELS)
def test_training_lowers_the_loss(model: ModelName) -> None:
    problem = WikiText2(with_fields(PLAIN, depth=1, clip=1.0, bptt=20), model, CPU)
    losses = train(problem, range(1, 61))
    assert losses[0] > 2.4
    # Guessing by frequency is worth ln 12 = 2.48; the rule itself, 1.09.
    assert sum(losses[-5:]) / 5 < 1.8


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Dropout draws, states, the criterion's history and the average are all on their way at step 12.
    size = ["--hidden", "5", "--steps", "14", "--validate-every", "2", "--bptt", "60"]
    arguments = ["wikitext2", "--preset", "smoke", "--model", "atn", "--lr", "60", *size]
    begun: list[AveragedModel] = []
    begin = WikiText2._begin_to_average

    def counted(self: WikiText2) -> AveragedModel:
        begun.append(begin(self))
        return begun[-1]

    monkeypatch.setattr(WikiText2, "_begin_to_average", counted)
    assert_interruption_changes_nothing(WikiText2, arguments, 12, tmp_path, monkeypatch)
    # In the whole run, before the interruption, and when taken up.
    assert len(begun) == 3


def test_a_fixed_embedding_that_is_tied_is_refused_by_its_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["wikitext2", "--preset", "smoke", "--inputs", "orthogonal", "--unverified", "--runs", str(tmp_path)]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "experiments: --inputs orthogonal: it must have --embedding 12, the size of the vocabulary, and --no-tied; "
        "there are --embedding 32 and --tied\n"
    )
    assert not list(tmp_path.rglob("record.json"))
