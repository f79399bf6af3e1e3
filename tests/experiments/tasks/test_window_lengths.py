"""The study of window lengths: which runs it is made of, and that it makes none twice."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.catalog.registry import TASKS
from experiments.cli.main import main
from experiments.tasks import copying
from experiments.tasks.window_lengths import PRESETS, plan
from experiments.training.records.record import load_record
from experiments.training.settings import MODELS, PresetName, run_name

CPU = torch.device("cpu")
TINY = ["--preset", "smoke", "--steps", "2", "--T", "2", "--batch", "4", "--hidden", "5", "--unverified"]


def names(preset: PresetName, **fields: Any) -> list[str]:
    """Names of the study's runs with other settings than the preset's."""
    parts = plan(preset, dataclasses.replace(PRESETS[preset], **fields), MODELS)
    return [run_name(part.task, preset, part.model, part.settings, TASKS[part.task].presets[preset]) for part in parts]


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_three_runs_are_copying_s_and_the_others_have_their_k_in_the_name(preset: PresetName) -> None:
    assert names(preset) == [
        f"copying-{preset}-T100-lstm-seed5544",
        f"copying-{preset}-T100-ln-seed5544",
        f"window-study-{preset}-T100-k25-atn-seed5544",
        f"copying-{preset}-T100-atn-seed5544",
        f"window-study-{preset}-T100-k65-atn-seed5544",
    ]


def test_settings_reach_all_runs() -> None:
    assert names("released", seed=3, T=200, batch=64) == [
        "copying-released-T200-lstm-seed3-batch=64",
        "copying-released-T200-ln-seed3-batch=64",
        "window-study-released-T200-k25-atn-seed3-batch=64",
        "copying-released-T200-atn-seed3-batch=64",
        "window-study-released-T200-k65-atn-seed3-batch=64",
    ]


def test_a_k_by_itself_is_one_run_and_copying_s_if_it_is_that_one_s() -> None:
    assert names("released", k=30) == ["window-study-released-T100-k30-atn-seed5544"]
    assert names("released", k=45) == ["copying-released-T100-atn-seed5544"]


def test_models_left_out_are_left_out() -> None:
    study = PRESETS["released"]
    assert [part.model for part in plan("released", study, ["lstm"])] == ["lstm"]
    assert [part.settings for part in plan("released", study, ["atn"])] == [
        dataclasses.replace(study, k=25),
        copying.PRESETS["released"],
        dataclasses.replace(study, k=65),
    ]


def test_settings_are_copying_s_but_for_k() -> None:
    assert set(copying.PRESETS) - set(PRESETS) == {"demo"}
    for name, study in PRESETS.items():
        settings = copying.PRESETS[name]
        assert dataclasses.asdict(study) == {**dataclasses.asdict(settings), "k": None}
        losses = [
            TASKS[task].problem(dataclasses.replace(tiny, T=3, batch=4, hidden=6, k=2), "atn", CPU).loss(1).item()
            for task, tiny in (("copying", settings), ("window-study", study))
        ]
        assert losses[0] == losses[1]


def test_runs_of_the_copying_task_are_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copying", *TINY, "--model", "ln", "--runs", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["window-study", *TINY, "--runs", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("has ended before") == 1
    records = [load_record(path) for path in sorted(tmp_path.iterdir())]
    found = [(record.task, record.model, record.settings["k"], record.status) for record in records if record]
    assert found == [
        ("copying", "atn", 4, "finished"),
        ("copying", "ln", 4, "finished"),
        ("copying", "lstm", 4, "finished"),
        ("window-study", "atn", 2, "finished"),
        ("window-study", "atn", 6, "finished"),
    ]
