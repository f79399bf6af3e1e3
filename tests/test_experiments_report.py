"""The report says what the records say, and nothing else."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.command_line import main
from experiments.copying import PRESETS, baseline
from experiments.metrics import metrics_digest
from experiments.paper import TABLE_1
from experiments.record import METRICS, RECORD, UNVERIFIED, Record, Session, Status, load_record, save_record
from experiments.results import Result, load_results, mean, spread
from experiments.settings import MODELS, ModelName, PresetName, run_name
from experiments.verdicts import judge, steps_to_baseline


def write_run(
    runs: Path,
    model: ModelName,
    loss: float,
    *,
    preset: PresetName = "released",
    status: Status = "finished",
    stamp: str = "verify abcdef0123456789",
    **changes: Any,
) -> Path:
    """A run whose losses fall to `loss` within 1,000 steps and stay there: validation above training by 0.001."""
    base = PRESETS[preset]
    settings = dataclasses.replace(base, **changes)
    name = run_name("copying", preset, model, settings, base)
    folder = runs / name
    folder.mkdir(parents=True)
    with (folder / METRICS).open("w") as file:
        for step in range(1, settings.steps + 1):
            row = {"step": step, "train": loss + max(0.0, 1 - step / 1000)}
            if step % settings.validate_every == 0:
                row["validation"] = row["train"] + 0.001
            file.write(json.dumps(row) + "\n")
    session = Session("2026-01-01T00:00:00+00:00", 0, "", "c0ffee", {"torch": "2"}, "cpu: Abacus", 2, stamp)
    record = Record(
        name=name,
        task="copying",
        model=model,
        preset=preset,
        settings=dataclasses.asdict(settings),
        differences=settings.differences(base),
        shortened=settings.steps < base.steps,
        status=status,
        step=settings.steps,
        seconds=0.25 * settings.steps,
        metrics_digest=metrics_digest(folder / METRICS),
        sessions=[session],
    )
    save_record(folder, record)
    return folder


def report(runs: Path, output: Path) -> str:
    """The page that the command writes."""
    assert main(["report", "--runs", str(runs), "--output", str(output)]) == 0
    return (output / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three finished runs that look like the paper's at T = 100."""
    for model, loss in (("lstm", 0.1735), ("ln", 0.154), ("atn", 0.135)):
        write_run(tmp_path / "runs", model, loss)  # type: ignore[arg-type]  # a tuple of literals is one of str
    return tmp_path / "runs"


def test_a_row_has_the_paper_s_numbers_and_ours(runs: Path, tmp_path: Path) -> None:
    page = report(runs, tmp_path)
    row = (
        "| ATN | 0.1354 / 0.1354 | 0.1350 / 0.1360 | 0.1350 / 0.1360 | 4,000 | 5544 | 0.25 | cpu: Abacus "
        "| verify `abcdef01` |  |"
    )
    assert row in page.splitlines()
    assert page.startswith("# Experiments\n")
    assert page.index("## How to run") < page.index("## Copying")


def test_the_minimum_is_not_the_final_value(runs: Path, tmp_path: Path) -> None:
    folder = runs / "copying-released-T100-atn-seed5544"
    lines = (folder / METRICS).read_text().splitlines()
    lines[1999] = json.dumps({"step": 2000, "train": 0.05, "validation": 0.06})
    lines[3999] = json.dumps({"step": 4000, "train": 0.235, "validation": 0.236})
    (folder / METRICS).write_text("\n".join([*lines, ""]))
    record = load_record(folder)
    assert record is not None
    save_record(folder, dataclasses.replace(record, metrics_digest=metrics_digest(folder / METRICS)))
    # The last of 100 training losses, and the last of 5 validation losses, is higher by 0.1.
    assert "| ATN | 0.1354 / 0.1354 | 0.05000 / 0.06000 | 0.1360 / 0.1560 |" in report(runs, tmp_path)


def test_losses_that_are_not_those_of_the_record_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs / "copying-released-T100-atn-seed5544" / METRICS
    path.write_text(path.read_text().replace("0.135,", "0.035,", 1))
    assert main(["report", "--runs", str(runs), "--output", str(tmp_path)]) == 1
    assert "not the file that its record was written for" in capsys.readouterr().err
    assert not (tmp_path / "README.md").exists()


def test_a_damaged_record_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "copying-released-T100-atn-seed5544" / RECORD).write_text("{")
    assert main(["report", "--runs", str(runs), "--output", str(tmp_path)]) == 1
    assert "record.json is damaged" in capsys.readouterr().err


def test_the_same_records_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        report(runs, tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == ["README.md", "figures/figure-2a.png"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_loss_is_another_figure(runs: Path, tmp_path: Path) -> None:
    report(runs, tmp_path / "one")
    write_run(runs, "atn", 0.12, seed=1)
    report(runs, tmp_path / "two")
    names = [tmp_path / name / "figures/figure-2a.png" for name in ("one", "two")]
    assert names[0].read_bytes() != names[1].read_bytes()


def test_several_seeds_are_one_row_with_a_spread(runs: Path, tmp_path: Path) -> None:
    write_run(runs, "atn", 0.125, seed=1)
    write_run(runs, "atn", 0.145, seed=2)
    page = report(runs, tmp_path)
    assert "| ATN | 0.1354 / 0.1354 | 0.1350 ± 0.01 / 0.1360 ± 0.01 |" in page
    assert "| 1, 2, 5544 |" in page


def test_changed_shortened_and_unverified_runs_are_marked_and_kept_out_of_the_claims(
    runs: Path, tmp_path: Path
) -> None:
    before = report(runs, tmp_path)
    write_run(runs, "atn", 0.01, steps=1500, k=25, stamp=UNVERIFIED)
    page = report(runs, tmp_path)
    (row,) = [line for line in page.splitlines() if "0.01000" in line]
    assert "| 1,500 |" in row
    assert "**unverified**" in row
    assert "steps = 1,500 instead of 4,000, k = 25 instead of 45 (**shortened**)" in row
    verdicts = "### What agrees"
    assert page[page.index(verdicts) :] == before[before.index(verdicts) :]
    assert "unverified" not in before.partition("## Copying")[2]


def test_unverified_runs_of_a_preset_are_marked_in_the_claims(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "atn", 0.135, stamp=UNVERIFIED)
    assert "T = 100, settings `released`, partly from **unverified** runs:" in report(tmp_path / "runs", tmp_path)


def test_smoke_runs_are_left_out_with_a_word(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = report(runs, tmp_path)
    write_run(runs, "atn", 0.01, preset="smoke")
    capsys.readouterr()
    assert report(runs, tmp_path) == before
    assert "left out: 1 smoke run" in capsys.readouterr().out


def test_unfinished_and_missing_runs_are_listed(runs: Path, tmp_path: Path) -> None:
    write_run(runs, "atn", 0.1, T=200, status="interrupted")
    write_run(runs, "ln", 0.1, T=200, status="nan")
    page = report(runs, tmp_path)
    assert "- `copying-released-T200-atn-seed5544`: interrupted after step 4,000" in page
    assert "- `copying-released-T200-ln-seed5544`: the loss of step 4,000 was not finite" in page
    missing = [line for line in page.splitlines() if line.startswith("python -m experiments copying")]
    assert "python -m experiments copying --preset released --T 200 --model atn" in missing
    assert "python -m experiments copying --preset paper --T 100 --model lstm" in missing
    assert "python -m experiments copying --preset released --T 100 --model lstm" not in missing
    assert len(missing) == 9


def test_no_runs_at_all(tmp_path: Path) -> None:
    page = report(tmp_path / "nowhere", tmp_path)
    assert "No run of a preset as it is has finished yet." in page
    assert page.count("not run yet") == 4
    assert list((tmp_path / "figures").iterdir()) == []


def verdicts_on(runs: Path, T: int = 100) -> dict[str, list[str]]:
    """Claim -> outcomes, by the minimum and by the final value."""
    by_model: dict[ModelName, list[Result]] = {}
    for result in load_results(runs).finished:
        by_model.setdefault(result.record.model, []).append(result)
    return {verdict.claim: [found.outcome for found in verdict.findings] for verdict in judge(T, by_model)}


def test_runs_like_the_paper_s_confirm_what_it_says(runs: Path) -> None:
    outcomes = verdicts_on(runs)
    assert list(outcomes) == [
        "LSTM stays at the baseline",
        "LN gets below the baseline",
        "ATN gets below the baseline",
        "LN is below LSTM",
        "ATN is below LN",
        "ATN falls at least as steeply as LN at first",
    ]
    assert {outcome for found in outcomes.values() for outcome in found} == {"confirmed"}


def test_runs_unlike_the_paper_s_do_not_confirm_it(tmp_path: Path) -> None:
    write_run(tmp_path, "lstm", 0.10)
    write_run(tmp_path, "ln", 0.12)
    write_run(tmp_path, "atn", 0.1735)
    outcomes = verdicts_on(tmp_path)
    assert outcomes["LSTM stays at the baseline"] == ["not confirmed"] * 2
    assert outcomes["LN gets below the baseline"] == ["confirmed"] * 2
    assert outcomes["ATN gets below the baseline"] == ["not confirmed"] * 2
    assert outcomes["LN is below LSTM"] == ["not confirmed"] * 2
    assert outcomes["ATN is below LN"] == ["not confirmed"] * 2
    assert outcomes["ATN falls at least as steeply as LN at first"] == ["not confirmed"]


def test_seeds_that_disagree_are_inconclusive(runs: Path) -> None:
    write_run(runs, "ln", 0.12, seed=1)
    write_run(runs, "atn", 0.13, seed=1)
    outcomes = verdicts_on(runs)
    assert outcomes["ATN is below LN"] == ["inconclusive"] * 2
    assert outcomes["ATN gets below the baseline"] == ["confirmed"] * 2


def test_losses_within_the_margin_are_level(tmp_path: Path) -> None:
    write_run(tmp_path, "ln", 0.150)
    write_run(tmp_path, "atn", 0.149)
    assert verdicts_on(tmp_path)["ATN is below LN"] == ["not confirmed"] * 2


def test_at_200_the_paper_has_lstm_and_ln_level(tmp_path: Path) -> None:
    for model, loss in (("lstm", 0.0945), ("ln", 0.0945), ("atn", 0.08)):
        write_run(tmp_path, model, loss, T=200)  # type: ignore[arg-type]  # a tuple of literals is one of str
    outcomes = verdicts_on(tmp_path, T=200)
    assert outcomes["LN stays at the baseline"] == ["confirmed"] * 2
    assert outcomes["LN is no lower than LSTM"] == ["confirmed"] * 2
    assert outcomes["ATN is below LN"] == ["confirmed"] * 2


def test_steps_to_the_baseline(runs: Path, tmp_path: Path) -> None:
    losses = {result.record.model: result for result in load_results(runs).finished}
    assert steps_to_baseline(100, losses["atn"]) < steps_to_baseline(100, losses["ln"]) < 1000
    write_run(tmp_path / "high", "atn", 0.3)
    (high,) = load_results(tmp_path / "high").finished
    assert steps_to_baseline(100, high) == float("inf")


def test_the_paper_s_numbers_are_those_of_its_text() -> None:
    assert TABLE_1.keys() == {100, 200}
    assert all(tuple(table) == MODELS for table in TABLE_1.values())
    # "the plain LSTM is incapable of achieving losses below the baseline", to 1 %.
    assert all(abs(loss / baseline(T) - 1) < 0.01 for T, table in TABLE_1.items() for loss in table["lstm"])


def test_mean_and_spread() -> None:
    values = [0.1, 0.4, 0.7, 0.2]
    assert mean(values) == pytest.approx(np.mean(values))
    assert spread(values) == pytest.approx(np.std(values, ddof=1))
    assert np.isnan([mean([]), spread([0.1])]).all()
