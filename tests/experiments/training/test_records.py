"""What a finished run leaves for the report: a curve of few rows, and a summary of what needs every step."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from experiments.cli import summarize as summarize_command
from experiments.cli.main import main
from experiments.common.errors import ExperimentError
from experiments.report.results import Result, load_results
from experiments.report.statements import share_below
from experiments.tasks import copying
from experiments.training.records.conclusion import with_comparisons
from experiments.training.records.curve import (
    CURVE,
    MOST_ROWS,
    Point,
    curve_digest,
    encode_curve,
    make_curve,
    read_curve,
)
from experiments.training.records.metrics import METRICS, VALIDATION, Row, metrics_digest, read_metrics
from experiments.training.records.record import RECORD, Record, load_record, save_record
from experiments.training.records.summary import Crossing, Level, compare, running_mean, summarize
from experiments.training.settings import name_with_model
from tests.support.experiment_runs import falls_to, make_run, write_run

STEPS = 24


def rows_of(losses: Sequence[float], every: int, validation: Callable[[int], float] = float) -> list[Row]:
    """Losses of a run that is validated every so many steps."""
    return [
        Row(step, loss, {} if step % every else {VALIDATION: validation(step), "other": -float(step)})
        for step, loss in enumerate(losses, 1)
    ]


def noise(count: int, seed: int = 0) -> list[float]:
    """Losses that go up and down."""
    values: list[float] = np.random.default_rng(seed).random(count).tolist()
    return values


class TestCurve:
    """At most 500 rows that stand for all steps."""

    def test_a_short_run_keeps_every_step(self) -> None:
        rows = rows_of(noise(MOST_ROWS), 7)
        points = make_curve(rows, 7)
        assert [(point.step, point.mean, point.measured) for point in points] == [tuple(row) for row in rows]
        assert all(point.mean == point.minimum == point.maximum for point in points)

    @pytest.mark.parametrize(
        ("steps", "every"), [(501, 100), (501, 1000), (4000, 100), (10_000, 100), (1404, 234), (71_300, 713), (750, 2)]
    )
    def test_a_long_run_has_a_row_for_every_validation(self, steps: int, every: int) -> None:
        losses = noise(steps)
        points = make_curve(rows_of(losses, every), every)
        ends = [point.step for point in points]
        assert MOST_ROWS / 2 <= len(points) <= MOST_ROWS
        assert ends == sorted(set(ends))
        assert ends[-1] == steps
        assert [point.step for point in points if point.measured] == list(range(every, steps + 1, every))
        for start, point in zip([0, *ends], points, strict=False):
            some = losses[start : point.step]
            assert (point.minimum, point.maximum) == (min(some), max(some))
            assert point.mean == pytest.approx(sum(some) / len(some))

    def test_a_task_may_have_a_row_for_each_validation_alone(self) -> None:
        losses = noise(100)
        points = make_curve(rows_of(losses, 20), 20, most=5)
        assert [point.step for point in points] == [20, 40, 60, 80, 100]
        assert [len(point.measured) > 0 for point in points] == [True] * 5
        assert points[1].minimum == min(losses[20:40])

    def test_of_more_validations_than_rows_those_stay_that_numbers_need(self) -> None:
        count = 3 * MOST_ROWS
        points = make_curve(rows_of(noise(count), 1, lambda step: abs(step - 700)), 1)
        assert len(points) == MOST_ROWS
        ends = [point.step for point in points]
        assert ends[-5:] == list(range(count - 4, count + 1))
        assert 700 in ends
        assert max(np.diff(ends)) <= 4
        assert points[ends.index(700)].measured == {VALIDATION: 0.0, "other": -700.0}

    def test_a_file_gives_back_every_bit_of_a_loss(self, tmp_path: Path) -> None:
        drawn = np.random.default_rng(0).standard_normal(1000) * 10.0 ** np.arange(-30, 30).repeat(17)[:1000]
        losses = [*map(float, drawn.astype(np.float32)), float(np.float32(2**-149)), 3.4028234663852886e38, 0.0]
        points = [Point(step, loss, loss, loss, {"a b": loss, VALIDATION: loss}) for step, loss in enumerate(losses)]
        content = encode_curve(points)
        (tmp_path / CURVE).write_bytes(content)
        read = read_curve(tmp_path / CURVE, curve_digest(content))
        assert [float(np.float32(point.mean)) for point in read] == losses
        assert [float(np.float32(point.measured[VALIDATION])) for point in read] == losses
        assert encode_curve(read) == content
        assert content.decode().splitlines()[0] == "step,mean,minimum,maximum,a b,validation"

    def test_a_file_has_nine_digits_of_a_mean(self) -> None:
        content = encode_curve([Point(1, 1 / 3, 1 / 7, 1e-300, {VALIDATION: 12345678.9123})])
        assert content.decode().splitlines()[1] == "1,0.333333333,0.142857143,1e-300,12345678.9"

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        for content in (b"", encode_curve([Point(1, 0.1, 0.1, 0.1, {})])):
            (tmp_path / CURVE).write_bytes(content)
            with pytest.raises(ExperimentError, match=r"curve\.csv is not the file that its record was written for"):
                read_curve(tmp_path / CURVE, "0" * 64)
        with pytest.raises(ExperimentError, match="nowhere is missing, which its record was written for"):
            read_curve(tmp_path / "nowhere", "0" * 64)


class TestSummary:
    """Numbers that need the loss of every step, against the plain way to say them."""

    def test_fixed_numbers(self) -> None:
        losses = [float(200 - step) for step in range(200)]
        found = summarize(losses, 30)
        assert (found.first, found.last, found.minimum) == (200, 1, 1)
        assert found.final == 50.5  # of 100, 99, ..., 1
        assert found.last_twentieth == 5.5  # of 10, 9, ..., 1
        # The last whole stretch has 50, 49, ..., 21; the 20 steps after it were cut short.
        assert found.lowest_between_validations == 35.5
        assert found.tenths == [190.5 - 20 * part for part in range(10)]

    def test_a_stretch_that_is_cut_short_counts_where_there_is_no_other(self) -> None:
        assert summarize([4.0, 2.0], 30).lowest_between_validations == 3

    @pytest.mark.parametrize(("count", "last"), [(1, 1), (19, 1), (39, 1), (40, 2), (99, 4)])
    def test_the_last_twentieth_has_at_least_one_step(self, count: int, last: int) -> None:
        losses = noise(count)
        assert summarize(losses, 1).last_twentieth == pytest.approx(np.mean(losses[-last:]))

    def test_a_run_of_fewer_than_ten_steps_has_no_tenths(self) -> None:
        assert summarize(noise(9), 1).tenths == []
        assert len(summarize(noise(10), 1).tenths) == 10

    @pytest.mark.parametrize("window", [1, 20, 50])
    def test_the_first_step_at_a_level(self, window: int) -> None:
        losses = (np.linspace(1, 0, 300) + 0.1 * np.array(noise(300))).tolist()
        (crossing,) = summarize(losses, 10, [Level(0.4, window)]).crossings
        reached = [step for step in range(window, 301) if np.mean(losses[step - window : step]) <= 0.4]
        assert crossing == Crossing(0.4, window, reached[0])

    def test_a_level_at_the_very_loss_is_reached_and_one_below_never(self) -> None:
        levels = [Level(0.5, 2), Level(0.25, 2)]
        found = summarize([1.0, 0.75, 0.25, 0.5], 1, levels)
        assert [found.crossing(level) for level in levels] == [3, math.inf]
        with pytest.raises(KeyError):
            found.crossing(Level(0.5, 3))

    def test_running_mean(self) -> None:
        values = [1.0, 2.0, 4.0, 8.0]
        assert running_mean(values, 2).tolist() == [1.5, 3.0, 6.0]
        assert running_mean(values, 9).tolist() == [3.75]

    def test_a_comparison_counts_steps_after_the_first_tenth(self) -> None:
        ours = [1.0] * 1049
        # Equal at the first 350 running means, of which 100 do not count; lower than ours at about 450, then higher.
        theirs = [1.0] * 399 + [0.0] * 50 + [0.9] * 350 + [5.0] * 250
        found = compare("other", "digest", ours, theirs)
        means = [np.convolve(losses, np.full(50, 1 / 50), "valid").round(9)[100:] for losses in (ours, theirs)]
        assert len(means[0]) == 900
        assert found.below == (means[0] < means[1]).mean()
        assert found.above == (means[0] > means[1]).mean()
        assert 0.2 < found.below < 0.3
        assert found.below + found.above < 0.75


def run(runs: Path, model: str, *more: str) -> Result:
    """A tiny run of copying, and what the report reads of it."""
    size = f"--T 2 --batch 4 --hidden 6 --k 3 --steps {STEPS} --validate-every 5".split()
    assert (
        main(["copying", "--preset", "released", "--model", model, *size, "--runs", str(runs), "--unverified", *more])
        == 0
    )
    (result,) = [result for result in load_results(runs).finished if result.record.model == model]
    return result


def losses_of(runs: Path, result: Result) -> list[float]:
    """Training loss of every step."""
    return [row.train for row in read_metrics(runs / result.record.name / METRICS, STEPS)]


class TestRuns:
    """What real runs leave."""

    def test_the_record_has_the_summary_of_the_single_steps(self, tmp_path: Path) -> None:
        result = run(tmp_path, "atn")
        losses = losses_of(tmp_path, result)
        folder = tmp_path / result.record.name
        levels = (copying.first_level(2),)
        assert result.summary == summarize(losses, 5, levels)
        assert [(crossing.loss, crossing.window) for crossing in result.summary.crossings] == list(levels)
        assert result.record.metrics_digest == metrics_digest(folder / METRICS)
        assert [float(np.float32(point.mean)) for point in result.points] == losses
        assert [step for step, _ in result.validation] == [5, 10, 15, 20]

    def test_the_run_that_ends_last_is_compared_with_the_others(self, tmp_path: Path) -> None:
        first, second = run(tmp_path, "ln"), run(tmp_path, "atn")
        other_seed = run(tmp_path / "other", "lstm", "--seed", "1")
        assert first.summary.comparisons == other_seed.summary.comparisons == []
        ours, theirs = losses_of(tmp_path, second), losses_of(tmp_path, first)
        expected = compare(first.record.name, first.record.metrics_digest, ours, theirs)
        assert second.summary.comparisons == [expected]
        assert {expected.below, expected.above} == {0.0, 1.0}  # a single running mean of 24 losses
        assert (share_below(second, first), share_below(first, second)) == (expected.below, expected.above)

    def test_runs_whose_losses_were_apart_are_compared_by_rows(self) -> None:
        high = make_run("copying", "atn", lambda step: 0.11 if step > 1000 else 0.1, preset="released")
        low = make_run("copying", "ln", lambda _: 0.1, preset="released")
        # Equal up to step 1,000 of 4,000, of which the first tenth does not count.
        assert share_below(low, high) == pytest.approx(3000 / 3600, abs=0.01)
        assert share_below(high, low) == 0

    def test_a_comparison_with_a_run_that_was_made_again_does_not_count(self) -> None:
        first = make_run("copying", "atn", falls_to(0.1), preset="released")
        second = make_run("copying", "ln", falls_to(0.2), preset="released")

        def compared(digest: str) -> Result:
            comparison = dataclasses.replace(compare("", "", [0.0], [0.0]), run=second.record.name)
            comparison = dataclasses.replace(comparison, metrics_digest=digest, below=0.25, above=0.5)
            summary = dataclasses.replace(first.summary, comparisons=[comparison])
            return first._replace(record=dataclasses.replace(first.record, summary=summary))

        assert share_below(compared(second.record.metrics_digest), second) == 0.25
        assert share_below(second, compared(second.record.metrics_digest)) == 0.5
        assert share_below(compared("of an earlier run"), second) == 1

    @pytest.mark.parametrize("change", [{"status": "interrupted"}, {"step": 23}, {"metrics_digest": "0"}])
    def test_what_cannot_be_compared_is_left_out(self, change: dict[str, object], tmp_path: Path) -> None:
        first, second = run(tmp_path, "ln"), run(tmp_path, "atn")
        folder = tmp_path / second.record.name
        assert len(second.summary.comparisons) == 1
        save_record(tmp_path / first.record.name, dataclasses.replace(first.record, **change))  # type: ignore[arg-type] # fields by name
        found = with_comparisons(folder, second.record)
        assert found.summary is not None
        assert found.summary.comparisons == []

    def test_the_name_with_another_model(self) -> None:
        name = "copying-released-T100-ln-seed5544-init=ln-seed"
        assert name_with_model("char-ptb-paper-ln-seed1", "ln", "lstm") == "char-ptb-paper-lstm-seed1"
        assert name_with_model(name, "ln", "atn").startswith("copying-released-T100-atn-seed5544")


def as_before(folder: Path) -> Record:
    """Make a run one of an earlier version, which had neither curve nor summary; return its record as it was."""
    record = load_record(folder)
    assert record is not None
    (folder / CURVE).unlink()
    old = dataclasses.replace(record, curve_digest="", summary=None, validation_seconds=None)
    save_record(folder, old)
    return record


class TestOlderRuns:
    """Runs of an earlier version."""

    def test_they_are_summarized_from_their_single_steps(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for model in ("ln", "atn"):
            run(tmp_path, model)
        folders = sorted(tmp_path.iterdir())
        curves = [(folder / CURVE).read_bytes() for folder in folders]
        before = [as_before(folder) for folder in folders]
        with pytest.raises(ExperimentError, match=r"earlier version: python -m experiments\.cli\.summarize"):
            load_results(tmp_path)
        capsys.readouterr()
        assert summarize_command.main([str(tmp_path)]) == 0
        assert capsys.readouterr().out == "2 runs summarized\n"
        assert [(folder / CURVE).read_bytes() for folder in folders] == curves
        after = [load_record(folder) for folder in folders]
        for record, now in zip(before, after, strict=True):
            assert record.summary is not None
            assert now is not None
            assert now.summary is not None
            assert len(now.summary.comparisons) == 1
            expected = dataclasses.replace(record.summary, comparisons=now.summary.comparisons)
            assert now == dataclasses.replace(record, summary=expected, validation_seconds=None)

    def test_losses_of_another_run_are_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / run(tmp_path, "ln").record.name
        (folder / METRICS).write_text((folder / METRICS).read_text().replace('"train": ', '"train": 1'))
        before = (folder / RECORD).read_bytes()
        assert summarize_command.main([str(tmp_path)]) == 1
        assert "is not the file that its record was written for" in capsys.readouterr().err
        assert (folder / RECORD).read_bytes() == before

    def test_runs_without_single_steps_are_left_alone(self, tmp_path: Path) -> None:
        folder = write_run(tmp_path, "copying", "atn", falls_to(0.1))
        before = (folder / RECORD).read_bytes()
        assert summarize_command.main([str(tmp_path)]) == 0
        assert (folder / RECORD).read_bytes() == before

    @pytest.mark.parametrize("arguments", [[], ["nowhere"], [".", "."]])
    def test_a_command_that_cannot_be_understood(self, arguments: list[str]) -> None:
        assert summarize_command.main(arguments) == 2
