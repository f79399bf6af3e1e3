"""The study of MPTT: states as rows, the batch policies on the library's layers, and what a run measures and keeps."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atn import ATNLSTM
from experiments.cli.main import main
from experiments.related.mptt import epoch_seconds, long_series
from experiments.related.mptt.epoch_seconds import EpochSeconds, seconds, updates
from experiments.related.mptt.long_series import (
    FLOOR_IIF,
    LENGTHS,
    MODELS,
    PRESETS,
    TEST,
    TEST_IIF,
    VALIDATION_IIF,
    LongSeries,
    LongSeriesSettings,
    draw_series,
)
from experiments.related.mptt.policies import STRATEGIES, Messages, OneByOne, RandomBatches, StatefulBatches, Strategy
from experiments.related.mptt.state_rows import StateRows
from experiments.related.mptt.stores import reservoir_errors
from experiments.report.results import Result, Results
from experiments.report.section import figures
from experiments.report.studies.mptt.numbers import at_best, median_seconds, one_pass, window_by_window
from experiments.report.studies.mptt.study import MPTT
from experiments.training.records.curve import Point
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import load_record
from experiments.training.settings import ModelName
from tests.support.comparison import assert_close
from tests.support.experiment_runs import make_run
from tests.support.interruptions import assert_kill_changes_nothing

CPU = torch.device("cpu")
SMOKE = PRESETS["smoke"]


def problem(model: ModelName = "atn", **fields: Any) -> LongSeries:
    """The smallest problem, by default of MPTT."""
    return LongSeries(dataclasses.replace(SMOKE, **{"strategy": "mptt-0", **fields}), model, CPU)


def train(found: LongSeries, steps: int) -> list[float]:
    """Losses of the next steps from the first on."""
    losses = []
    for step in range(1, steps + 1):
        loss = found.loss(step)
        found.optimizer.zero_grad()
        torch.autograd.backward(loss)
        found.update(step)
        losses.append(loss.item())
    return losses


def layer(model: ModelName) -> ATNLSTM:
    torch.manual_seed(3)
    return ATNLSTM(2, 4, k=3, norm="atn") if model == "atn" else ATNLSTM(2, 4, norm="none")


class TestRows:
    """A state as a row of numbers."""

    @pytest.mark.parametrize("model", MODELS)
    def test_a_stream_goes_on_from_its_rows(self, model: ModelName) -> None:
        lstm, x = layer(model), torch.randn(9, 5, 2, generator=torch.Generator().manual_seed(0))
        rows = StateRows(lstm)
        _, state = lstm.stream(x[:4])
        found = rows.rows(state)
        assert found.shape == (5, 8 if model == "lstm" else 8 + 3 * 2 * 2)
        again = rows.state(found)
        assert again is not None
        assert_close(
            lstm.stream(x[4:], again)[0].detach().numpy(),
            lstm.stream(x[4:], state)[0].detach().numpy(),
            quantity="exact",
        )
        np.testing.assert_array_equal(rows.rows(again), found)

    def test_cases_without_a_step_begin_anew_beside_others(self) -> None:
        lstm, x = layer("atn"), torch.randn(9, 3, 2, generator=torch.Generator().manual_seed(1))
        rows = StateRows(lstm)
        assert np.isnan(rows.start).sum() == 12
        assert rows.state(np.stack([rows.start] * 2)) is None
        _, state = lstm.stream(x[:4])
        found = rows.rows(state)
        found[1] = rows.start
        output, _ = lstm.stream(x[4:], rows.state(found))
        expected = lstm.stream(x[4:], state)[0].detach().clone()
        expected[:, 1] = lstm(x[4:, 1:2])[0].detach()[:, 0]
        assert_close(output.detach().numpy(), expected.numpy(), quantity="output")

    def test_windows_that_are_not_full_are_refused(self) -> None:
        lstm = layer("atn")
        _, state = lstm.stream(torch.zeros(1, 2, 2))
        with pytest.raises(ValueError, match="state has 14 numbers a case; it must have full windows, 20"):
            StateRows(lstm).rows(state)


def frozen(model: ModelName, stride: int, *, delta: float = 0.0, least: int = 1) -> LongSeries:
    """A problem whose weights stay as they are, with another memory."""
    found = problem(model, lr=0.0)
    found.policy = Messages(
        200, 8, stride, 8, 0, layout=StateRows(found.model.lstm), delta=delta, least=least, warm_up=1
    )
    return found


def exact_rows(found: LongSeries) -> Any:
    """Rows of the states of one pass at the heads of the policy, from the second on."""
    assert isinstance(found.policy, RandomBatches)
    rows, state, done = [], None, 0
    with torch.no_grad():
        for head in found.policy.heads[1:]:
            _, state = found.model(found.x[done:head, None], state)
            rows.append(StateRows(found.model.lstm).rows(state)[0])
            done = head
    return np.stack(rows)


class TestMessages:
    """MPTT on the library's layers: h, c and the windows of the norms."""

    @pytest.mark.claim("mp-exact")
    @pytest.mark.parametrize("model", MODELS)
    def test_after_e_epochs_e_heads_are_exact_in_h_c_and_windows(self, model: ModelName) -> None:
        found = frozen(model, 8)
        assert isinstance(found.policy, Messages)
        exact = exact_rows(found)
        for epoch in range(1, 5):
            for step in range((epoch - 1) * found.policy.epoch_steps + 1, epoch * found.policy.epoch_steps + 1):
                found.loss(step)
                found.policy.end_step(step)
            memory = found.policy.memory.read(np.arange(1, len(found.policy.heads)))
            assert_close(memory[:epoch], exact[:epoch], quantity="exact")
            assert not np.isnan(memory).any()
        assert not np.array_equal(memory[4:], exact[4:])

    @pytest.mark.claim("mp-exact")
    @pytest.mark.parametrize("model", MODELS)
    def test_overlapping_windows_come_to_the_exact_states(self, model: ModelName) -> None:
        found = frozen(model, 4, least=2)
        assert isinstance(found.policy, Messages)
        exact = exact_rows(found)
        scale = np.abs(exact).max()
        for step in range(1, 60 * found.policy.epoch_steps + 1):
            found.loss(step)
            found.policy.end_step(step)
            if step == found.policy.epoch_steps:
                first = np.abs(found.policy.memory.read(np.arange(1, len(exact) + 1)) - exact).max()
        memory = found.policy.memory.read(np.arange(1, len(exact) + 1))
        assert first > 1e-3 * scale
        assert_close(memory, exact, quantity="output")

    @pytest.mark.claim("mp-first-epoch")
    @pytest.mark.parametrize("model", MODELS)
    def test_the_first_epoch_is_that_of_random_batches_to_the_bit(self, model: ModelName) -> None:
        """Windows that do not overlap; afterwards the losses part."""
        random, passing = problem(model, strategy="rmb"), problem(model)
        random.policy = RandomBatches(200, 8, 8, 8, 0)
        layout = StateRows(passing.model.lstm)
        passing.policy = Messages(200, 8, 8, 8, 0, layout=layout, delta=1.0, least=2, warm_up=1)
        ours, theirs = train(passing, 12), train(random, 12)
        epoch = random.policy.epoch_steps
        assert ours[:epoch] == theirs[:epoch]
        assert all(a != b for a, b in zip(ours[epoch:], theirs[epoch:], strict=True))

    @pytest.mark.claim("mp-first-epoch")
    @pytest.mark.parametrize("strategy", ["mptt-0", "mptt-1"])
    def test_with_overlap_up_to_the_order_of_the_sums(self, strategy: Strategy) -> None:
        ours, theirs = train(problem(strategy=strategy), 8), train(problem(strategy="rmb"), 8)
        assert_close(np.array(ours[:7], np.float32), np.array(theirs[:7], np.float32), quantity="gradient")
        assert abs(ours[7] / theirs[7] - 1) > 1e-3

    def test_without_a_warm_up_messages_are_read_at_once(self) -> None:
        assert train(problem(warm_up=0), 2)[1] != train(problem(warm_up=1), 2)[1]

    def test_no_gradient_flows_through_a_message(self) -> None:
        found = problem(warm_up=0)
        train(found, 3)
        (heads,) = found.policy.passes(4)
        state = found.policy.initial(4, heads)
        assert state is not None
        assert not state.h.requires_grad

    def test_every_epoch_has_all_windows_in_an_order_of_its_own(self) -> None:
        policy = RandomBatches(200, 8, 4, 8, 0)
        epochs = [[policy.passes(step)[0] for step in range(first, first + 7)] for first in (1, 8)]
        orders = [np.concatenate(batches).tolist() for batches in epochs]
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == policy.heads.tolist()
        assert [len(batch) for batch in epochs[0]] == [8] * 6 + [1]

    def test_heads_lie_on_the_stride(self) -> None:
        policy = RandomBatches(203, 8, 4, 8, 0)
        assert (np.diff(policy.heads) == 4).all()
        assert policy.heads[-1] == 192


class TestStateful:
    """SMB and SSMB, at frozen weights."""

    @pytest.mark.parametrize("model", MODELS)
    def test_one_by_one_is_one_pass(self, model: ModelName) -> None:
        """25 windows of 8 steps in batches of 8: the mean loss, weighted by windows, is that of one pass; twice."""
        found = problem(model, strategy="ssmb", lr=0.0)
        assert isinstance(found.policy, OneByOne)
        losses = train(found, 8)
        with torch.no_grad():
            errors = (found.model(found.x[:200, None])[0][:, 0] - found.y[:200]).square()
        expected = [part.mean().item() for part in torch.split(errors, 64)]
        assert_close(np.array(losses, np.float32), np.array(expected * 2, np.float32), quantity="output")

    @pytest.mark.parametrize("model", MODELS)
    def test_rows_beside_each_other_are_passes_of_their_own(self, model: ModelName) -> None:
        found = problem(model, strategy="smb", lr=0.0)
        assert isinstance(found.policy, StatefulBatches)
        losses = train(found, 6)
        rows = found.x[:192].reshape(8, 24, 1).transpose(0, 1)
        with torch.no_grad():
            errors = (found.model(rows)[0] - found.y[:192].reshape(8, 24).T).square()
        expected = [part.mean().item() for part in torch.split(errors, 8)]
        assert_close(np.array(losses, np.float32), np.array(expected * 2, np.float32), quantity="output")


class TestInference:
    """One pass and window by window."""

    @pytest.mark.claim("mp-one-pass-exact")
    @pytest.mark.parametrize("model", MODELS)
    def test_one_pass_in_chunks_is_the_whole(self, model: ModelName) -> None:
        """The states to the bit, their linear map up to its rounding; for ATN not without its windows."""
        found = problem(model)
        x = found.x[:, None]
        with torch.no_grad():
            whole, (h, _) = found.model(x)[0], found.model.lstm(x)
            outputs, states, state, layer = [], [], None, None
            for part in torch.split(x, 37):
                output, state = found.model(part, state)
                of_part, layer = found.model.lstm.stream(part, layer)
                outputs.append(output)
                states.append(of_part)
            assert_close(torch.cat(states), h, quantity="exact", dtype="float32")
            assert_close(torch.cat(outputs), whole, quantity="output", dtype="float32")
            _, state = found.model(x[:37])
            after, _ = found.model.lstm(x[37:], (state.h, state.c))
        assert torch.equal(after, h[37:]) == (model == "lstm")

    def test_measured_errors(self) -> None:
        found = problem("lstm", n=7)
        with torch.no_grad():
            measured = {name: value.item() for name, value in found.validation(4).items()}
            one_pass = found.model(found.x[:, None])[0][:, 0] - found.y
            window = [
                found.model(found.x[head : head + 7, None])[0][:, 0] - found.y[head : head + 7]
                for head in range(240, 394, 7)
            ]
            first = [
                found.model(found.x[head : head + 7, None])[0][:, 0] - found.y[head : head + 7]
                for head in range(200, 234, 7)
            ]
        expected = {
            VALIDATION: one_pass[200:240],
            TEST: one_pass[240:],
            VALIDATION_IIF: torch.cat(first),
            TEST_IIF: torch.cat(window),
        }
        floor = reservoir_errors(draw_series(found.settings), 0.9, np.arange(240, 394, 7), 7)
        assert measured.keys() == {*expected, FLOOR_IIF}
        assert measured[FLOOR_IIF] == pytest.approx(np.sqrt((floor**2).mean()), rel=1e-6)
        for name, errors in expected.items():
            assert measured[name] == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-5)

    def test_series_are_those_of_the_seed_alone(self) -> None:
        one = draw_series(dataclasses.replace(SMOKE, strategy="rmb", n=5))
        np.testing.assert_array_equal(one.y, draw_series(SMOKE).y)
        assert (one.y != draw_series(dataclasses.replace(SMOKE, seed=1)).y).any()
        assert draw_series(dataclasses.replace(SMOKE, store="snow")).x.shape == (400, 3)


def test_the_plan_is_the_declared_grid() -> None:
    parts = long_series.plan("paper", PRESETS["paper"], MODELS)
    found = [
        (part.model, part.settings.store, part.settings.n, part.settings.strategy)
        for part in parts
        if isinstance(part.settings, LongSeriesSettings)
    ]
    cells = [
        *(("lstm", "reservoir", n) for n in LENGTHS),
        ("atn", "reservoir", 30),
        ("lstm", "snow", 30),
    ]
    assert found == [(*cell, strategy) for cell in cells for strategy in STRATEGIES]
    one = dataclasses.replace(PRESETS["paper"], store="snow", n=20, strategy="smb")
    assert [(part.model, part.settings) for part in long_series.plan("paper", one, MODELS)] == [
        ("lstm", one),
        ("atn", one),
    ]
    timed = epoch_seconds.plan("paper", epoch_seconds.PRESETS["paper"], MODELS)
    assert [(part.model, part.settings.store, part.settings.n) for part in timed] == cells  # type: ignore[attr-defined]  # of the study's settings


def command(runs: Path, *more: str) -> list[str]:
    preset = [] if "--preset" in more else ["--preset", "smoke"]
    return ["mptt", *preset, "--unverified", "--runs", str(runs), *more]


def test_a_command_makes_a_run_of_each_strategy(tmp_path: Path) -> None:
    assert main(command(tmp_path, "--model", "lstm")) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(
        f"mptt-smoke-storereservoir-n8-strategy{strategy}-lstm-seed0" for strategy in STRATEGIES
    )
    names = {VALIDATION, TEST, VALIDATION_IIF, TEST_IIF, FLOOR_IIF}
    for folder in tmp_path.iterdir():
        record = load_record(folder)
        assert record is not None
        assert record.status == "finished"
        rows = read_metrics(folder / METRICS, 12)
        assert {row.step: set(row.measured) for row in rows if row.measured} == dict.fromkeys((4, 8, 12), names)


@pytest.mark.parametrize("strategy", ["smb", "ssmb", "mptt-1"])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_goes_on_with_the_states_that_it_kept(
    model: ModelName, strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed within its second or third epoch."""
    arguments = ["mptt", "--preset", "smoke", "--model", model, "--strategy", strategy]
    assert_kill_changes_nothing(LongSeries, arguments, 10, tmp_path, monkeypatch)


def test_a_checkpoint_of_another_strategy_does_not_fit() -> None:
    with pytest.raises(ValueError, match="carried has state; it must have mean, total, count"):
        problem().load_state_dict(problem(strategy="smb").state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--n", "1"), "n is 1; it must be at least 2"),
        (("--k", "6"), "k is 6; it must be at most n // 2 + 1, 5"),
        (("--n", "41"), "N is 400; it must be at least 10 n, 410"),
        (("--batch", "26"), "batch is 26; it must be at most N // 2 // n, 25"),
        (("--retention", "1"), "retention is 1.0; it must be between 0 and 1"),
        (("--least", "0"), "least is 0; it must be at least 1"),
        (("--warm-up", "-1"), "warm_up is -1; it must be at least 0"),
        (("--lr", "-1"), "lr is -1.0; it must be at least 0"),
        (("--strategy", "tf"), "tf"),
        (("--store", "lake"), "lake"),
        (("--model", "ln"), "invalid choice 'ln' for argument '--model'. Expected one of ('lstm', 'atn', 'all')"),
        (
            ("--preset", "released"),
            "invalid choice 'released' for argument '--preset'. Expected one of ('paper', 'demo', 'smoke')",
        ),
        (("--preset", "paper", "--k", "9"), "k is 9; it must be at most n // 2 + 1, 8"),
        (("--preset", "paper", "--N", "800"), "N is 800; it must be at least 10 n, 900"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, *arguments)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class TestSeconds:
    """The task that times epochs."""

    def test_the_order_moves_on_with_each_round(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found, seen = EpochSeconds(epoch_seconds.PRESETS["smoke"], "lstm", CPU), []

        def noted(strategy: str, _: int) -> torch.Tensor:
            seen.append(strategy)
            return torch.zeros(())

        monkeypatch.setattr(found, "_epoch", noted)
        for step in (1, 2, 7):
            found.loss(step)
        assert seen[::5] == [STRATEGIES[0], STRATEGIES[1], STRATEGIES[1]]
        assert all(sorted(seen[start : start + 5]) == sorted(STRATEGIES) for start in (0, 5, 10))

    def test_a_round_is_an_epoch_of_each_strategy(self) -> None:
        found = EpochSeconds(epoch_seconds.PRESETS["smoke"], "lstm", CPU)
        before = [parameter.clone() for parameter in found.model.parameters()]
        torch.autograd.backward(found.loss(1))
        found.update(1)
        measured = {name: value.item() for name, value in found.validation(1).items()}
        assert [measured[updates(strategy)] for strategy in STRATEGIES] == [7, 3, 4, 7, 7]
        times = [measured[seconds(strategy)] for strategy in STRATEGIES]
        assert min(times) > 0
        assert measured[VALIDATION] == pytest.approx(sum(times))
        assert all(map(torch.equal, before, found.model.parameters()))

    def test_a_command_makes_the_runs(self, tmp_path: Path) -> None:
        assert main(["mptt-seconds", "--preset", "smoke", "--unverified", "--runs", str(tmp_path)]) == 0
        assert sorted(folder.name for folder in tmp_path.iterdir()) == [
            f"mptt-seconds-smoke-storereservoir-n8-{model}-seed0" for model in sorted(MODELS)
        ]

    def test_the_median_leaves_out_the_first_round(self) -> None:
        times = {1: 9.0, 2: 1.0, 3: 3.0, 4: 2.0}

        def measured(step: int, _: float) -> dict[str, float]:
            return {VALIDATION: 1.0, seconds("rmb"): times.get(step, 2.0)}

        result = make_run("mptt-seconds", "lstm", lambda _: 1.0, measured=measured, n=30, store="snow")
        assert median_seconds(result._replace(points=result.points[:4]), "rmb") == 2.0
        assert median_seconds(result._replace(points=result.points[:1]), "rmb") == 9.0


def study_run(strategy: Strategy, error: float) -> Result:
    """A run of one panel of the figure."""
    measured = {VALIDATION: error, TEST: error, VALIDATION_IIF: 1.1, TEST_IIF: 1.1, FLOOR_IIF: 1.0}
    return make_run(
        "mptt", "lstm", lambda _: error, measured=lambda *_: measured, store="reservoir", n=30, strategy=strategy
    )


def timed(ssmb: float) -> Result:
    """The epochs of the panel."""
    measured = {VALIDATION: 1.0, **{seconds(strategy): 1.0 for strategy in STRATEGIES}, seconds("ssmb"): ssmb}
    return make_run("mptt-seconds", "lstm", lambda _: 1.0, measured=lambda *_: measured, store="reservoir", n=30)


def test_the_figure_is_of_the_errors_and_the_seconds() -> None:
    def drawn(error: float, *others: Result) -> bytes:
        runs = [study_run("rmb", 0.9), study_run("ssmb", error), *others]
        return figures(MPTT, Results(runs, [], 0))["mptt.png"]

    pictures = [drawn(0.4, timed(4.0)), drawn(0.3, timed(4.0)), drawn(0.4, timed(3.0)), drawn(0.4)]
    assert len(set(pictures)) == 4
    assert drawn(0.4, timed(4.0)) == pictures[0]


def test_a_test_error_is_taken_where_the_validation_error_is_lowest() -> None:
    result = make_run("mptt", "lstm", lambda _: 1.0, store="snow", n=30, strategy="rmb")
    points = [
        Point(step, 1.0, 1.0, 1.0, {VALIDATION: validation, TEST: test})
        for step, validation, test in [(40, 0.5, 0.1), (80, 0.3, 0.4), (120, 0.4, 0.2)]
    ]
    assert at_best(result._replace(points=points), VALIDATION, TEST) == 0.4


def test_the_validation_part_chooses_and_not_the_test_part() -> None:
    run = make_run("mptt", "lstm", lambda _: 1.0, store="snow", n=30, strategy="rmb")
    points = [
        Point(step, 1.0, 1.0, 1.0, {VALIDATION: by, TEST: error, VALIDATION_IIF: by, TEST_IIF: error + 1})
        for step, by, error in [(40, 0.5, 0.1), (80, 0.3, 0.4), (120, 0.4, 0.2)]
    ]
    assert (one_pass(run._replace(points=points)), window_by_window(run._replace(points=points))) == (0.4, 1.4)
