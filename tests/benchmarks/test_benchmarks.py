"""The benchmarks measure what they say: right functions only, in turns, and the report has the record's numbers.

No time is asserted: what a clock says is made up here.
"""

import dataclasses
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmarks.run
from benchmarks import figures, gpu_model
from benchmarks.command_line import main
from benchmarks.correctness import check
from benchmarks.end_labels import apart
from benchmarks.memory import kept_bytes, peak_bytes
from benchmarks.peers.plain import LayerNormLoop, ObviousATNLoop
from benchmarks.report import write_report
from benchmarks.results import Conditions, GroupResult, Measurement, load_results, replaced, save_results
from benchmarks.run import measure
from benchmarks.sizes import BASE, NAMED, Group, Size, groups
from benchmarks.timing import PASSES, Timing, interleaved, random_data
from benchmarks.variants import BASELINE, Entry, Variant, entries, ours, peers

CPU = torch.device("cpu")
SMALL = Size(T=9, B=3, I=2, H=5, k=3)
CONDITIONS = Conditions(
    "2026-01-02T03:04:05+00:00", "cpu: Abacus", 2, 1, "c0ffee00" * 5, {"python": "3", "torch": "2"}, "run"
)


class ShortWindow(ObviousATNLoop):
    """A window one step too short."""

    def __init__(self) -> None:
        super().__init__(SMALL.I, SMALL.H, SMALL.k - 1)


class HalfGradient(LayerNormLoop):
    """The right output, with half of each gradient."""

    def __init__(self) -> None:
        super().__init__(SMALL.I, SMALL.H)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = super().forward(x)
        return (output + output.detach()) / 2


class NotANumber(LayerNormLoop):
    """The gradient of one parameter is lost."""

    def __init__(self) -> None:
        super().__init__(SMALL.I, SMALL.H)
        self.bias_hh.register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[no-untyped-call] # torch's


class Unsupported(LayerNormLoop):
    """Raises, as a backend does on a device that it does not know."""

    def __init__(self) -> None:
        super().__init__(SMALL.I, SMALL.H)

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError(f"no kernel for {x.device}\nand a trace")


WRONG: dict[type[nn.Module], tuple[str, str]] = {
    ShortWindow: ("atn", "wrong: relative error"),
    HalfGradient: ("ln", "wrong: relative error 0.5 of the gradient of"),
    NotANumber: ("ln", "wrong: relative error nan of the gradient of bias_hh"),
    Unsupported: ("ln", "does not run: no kernel for cpu"),
}


def planted(module: type[nn.Module]) -> Variant:
    """A variant that claims to be what it is not."""
    norm: Any = WRONG[module][0]
    return Variant("planted", norm, lambda _: module())


@pytest.mark.parametrize("variant", [*peers(), *ours("cpu")], ids=lambda variant: variant.name)
@pytest.mark.parametrize("size", [SMALL, dataclasses.replace(SMALL, k=1), dataclasses.replace(SMALL, k=20)], ids=str)
def test_every_variant_agrees_with_the_oracle(variant: Variant, size: Size) -> None:
    verdict = check(Entry(variant, size), CPU)
    assert verdict.fault == ""
    assert verdict.error is not None
    assert 0 < verdict.error < 1e-5


@pytest.mark.parametrize("module", WRONG)
def test_the_gate_names_what_is_wrong(module: type[nn.Module]) -> None:
    assert check(Entry(planted(module), SMALL), CPU).fault.startswith(WRONG[module][1])


def test_what_is_wrong_is_reported_and_not_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_planted(_: Group, device: str) -> list[Entry]:
        assert device == "cpu"
        return [Entry(peers()[0], SMALL), Entry(planted(HalfGradient), SMALL)]

    monkeypatch.setattr(benchmarks.run, "entries", with_planted)
    monkeypatch.setattr("benchmarks.timing.WARM_UP_SECONDS", 0.0)
    measure([Group("T=9", "T", (SMALL,))], CPU, 0.001, tmp_path / "cpu.json", "a command")
    (result,) = load_results(tmp_path / "cpu.json")
    right, wrong = result.measurements
    assert right.fault == ""
    assert right.times.keys() == PASSES.keys()
    assert right.times["forward"].rounds >= 3
    assert right.kept is not None
    assert wrong.fault.startswith("wrong")
    assert wrong.times == {}
    assert wrong.kept is None
    assert result.conditions.command == "a command"
    assert wrong.fault in capsys.readouterr().out


def test_the_axis_k_shares_what_has_no_window() -> None:
    (group,) = (group for group in groups("cpu") if group.name == "k")
    count = Counter(entry.variant.name for entry in entries(group, "cpu"))
    assert count[BASELINE] == 1
    assert count["ATNLSTM ln, eager"] == 1
    assert count["ATNLSTM atn, eager"] == len(group.sizes) == 8


class Known(nn.Module):
    """Keeps one array the size of its input beside input and parameter, although three functions ask for it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7))

    def forward(self, x: Tensor) -> Tensor:
        torch.sin(torch.exp(x))  # gone, with all that it kept
        y = torch.exp(x.t())
        kept: Tensor = torch.sin(y).sum() + (y.t() * self.weight).sum() + torch.cos(x).sum()
        return kept


def test_kept_bytes_counts_each_storage_once() -> None:
    x = torch.randn(5, 7, requires_grad=True)
    assert kept_bytes(Known(), x) == 5 * 7 * 4


def test_the_peak_holds_what_is_kept() -> None:
    size = Size(T=100, B=64, I=4, H=64, k=5)
    variant = next(variant for variant in ours("cpu") if variant.name == "ATNLSTM atn, eager")
    kept = kept_bytes(variant.build(size), random_data(size, CPU).x)
    assert kept < peak_bytes(Entry(variant, size), CPU) < 4 * kept


def test_calls_take_turns_and_slow_ones_fewer() -> None:
    seconds = {"fast": 0.1, "slow": 1.0, "slowest": 100.0}
    log: list[str] = []

    def clock(call: Any) -> float:
        name: str = call()
        log.append(name)
        return seconds[name]

    timings = interleaved([partial(str, name) for name in seconds], clock, 24.0)
    assert [timing.rounds for timing in timings] == [50, 8, 3]
    assert [timing.median for timing in timings] == list(seconds.values())
    timed = log[-61:]
    assert Counter(timed) == {"fast": 50, "slow": 8, "slowest": 3}
    # Spread over the whole time, not first or last.
    places = [place for place, name in enumerate(timed) if name == "slowest"]
    assert min(places[1] - places[0], places[2] - places[1]) > 15


def measurement(variant: Variant, size: Size, seconds: float) -> Measurement:
    """A made-up measurement with quartiles 10 % around the median."""
    times = {name: Timing(seconds, 0.9 * seconds, 1.1 * seconds, 7) for name in PASSES}
    kept = 12 * 4 * size.numbers
    return Measurement(variant.name, variant.norm, variant.backend, size, 1e-7, "", kept, 2 * kept, times)


def record() -> list[GroupResult]:
    """A size by name with one wrong variant, the axis k, and two points of the axis H."""
    lstm, eager = peers()[0], next(variant for variant in ours("cpu") if variant.name == "ATNLSTM atn, eager")
    size = NAMED["cpu"]["copying"]
    wrong = Measurement("obvious ATN", "atn", None, size, 0.25, "wrong: relative error 0.25 of the output")
    every = [
        GroupResult("copying", None, CONDITIONS, [measurement(lstm, size, 0.02), measurement(eager, size, 0.05), wrong])
    ]
    on_k = [dataclasses.replace(BASE, k=k) for k in (1, 200)]
    measured = [measurement(lstm, on_k[0], 1.0), measurement(eager, on_k[0], 2.0), measurement(eager, on_k[1], 2.5)]
    every.append(GroupResult("k", "k", CONDITIONS, measured))
    for H in (32, 128):
        at = dataclasses.replace(BASE, H=H)
        every.append(GroupResult(f"H={H}", "H", CONDITIONS, [measurement(lstm, at, 1.0), measurement(eager, at, 3.0)]))
    return every


def test_the_report_says_what_the_record_says(tmp_path: Path) -> None:
    save_results(tmp_path / "results" / "cpu.json", record())
    assert main(["report", "--folder", str(tmp_path)]) == 0
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| nn.LSTM | 1 = 20 ms (n = 7) |" in page
    assert "| ATNLSTM atn, eager | **2.50** (2.25 to 2.75, n = 7) |" in page
    assert "| obvious ATN | **wrong** |" in page
    assert "obvious ATN at T=120 B=128 I=10 H=68 k=45: wrong: relative error 0.25 of the output." in page
    assert "| ATNLSTM atn, eager | 1.250 | 1.250 | 1.00 |" in page
    assert "| ATNLSTM atn, eager | 12.0 |" in page
    assert "| ATNLSTM atn, eager | 24.0 |" in page
    assert "`python -m benchmarks run --device cpu --sizes adding,char-ptb,pixels,T,B`" in page
    assert "`python -m benchmarks run --device cuda`" in page
    assert (
        "| copying, k, H=32, H=128 | 2026-01-02 03:04:05 | cpu: Abacus | 2 / 1 | python 3, torch 2 | `c0ffee00` |"
        in page
    )
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"cpu-k.png", "cpu-H.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "figures").iterdir())


def test_a_figure_shows_every_point_of_both_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The panels share the limits, and the passes have other ratios."""
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "png", drawn.append)
    lstm, eager = peers()[0], next(variant for variant in ours("cpu") if variant.name == "ATNLSTM atn, eager")
    forward, *_ = PASSES
    results = []
    for H in (32, 128):
        size = dataclasses.replace(BASE, H=H)
        slow = measurement(eager, size, 3.0)
        times = {**slow.times, forward: Timing(40.0, 40.0, 40.0, 7)}
        found = [measurement(lstm, size, 1.0), dataclasses.replace(slow, times=times)]
        results.append(GroupResult(f"H={H}", "H", CONDITIONS, found))
    figures.axis_figure("H", results)
    for ax in drawn[0].axes:
        low, high = ax.get_ylim()
        assert all(low < height < high for line in ax.lines for height in np.asarray(line.get_ydata(), float))
        assert all(0 < text.xy[1] < 1 for text in ax.texts)


def test_names_of_curves_that_end_together_stand_apart_around_the_end() -> None:
    assert apart([0.5, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.55, 0.9])
    assert apart([0.3, 0.1, 0.2], 0.1) == pytest.approx([0.3, 0.1, 0.2])
    assert apart([0.0, 1.0, 0.0], 0.1) == pytest.approx([0.05, 0.95, 0.15])
    assert apart([1.0, 0.98], 0.1) == pytest.approx([0.95, 0.85])


def test_the_report_stands_where_nothing_could_be_timed(tmp_path: Path) -> None:
    def untimed(found: Measurement) -> Measurement:
        return dataclasses.replace(found, fault="does not run: no memory", error=None, times={}, kept=None, peak=None)

    results = [dataclasses.replace(group, measurements=list(map(untimed, group.measurements))) for group in record()]
    save_results(tmp_path / "results" / "cpu.json", results)
    write_report(tmp_path)
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| nn.LSTM | does not run |" in page
    assert "![Ratio" not in page
    assert list((tmp_path / "figures").iterdir()) == []


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    save_results(tmp_path / "results" / "cpu.json", record())
    written = []
    for _ in range(2):
        write_report(tmp_path)
        written.append({path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()})
    assert written[0] == written[1]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    save_results(tmp_path / "cpu.json", record())
    assert load_results(tmp_path / "cpu.json") == record()
    assert load_results(tmp_path / "cuda.json") == []


def test_a_new_measurement_replaces_the_old_one_of_its_size_alone() -> None:
    old = record()
    new = dataclasses.replace(old[1], measurements=[])
    assert replaced(old, new) == [old[0], new, *old[2:]]
    assert replaced(old[:1], new) == [old[0], new]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--sizes", "copying,prose"], "no size is called prose; there are B, B=1"),
        (["run", "--budget", "0"], "argument --budget: must be a number of seconds above 0, got '0'"),
        (["run", "--budget", "many"], "argument --budget: must be a number of seconds above 0, got 'many'"),
        (["run", "--device", "abacus"], "invalid choice: 'abacus'"),
    ],
)
def test_a_command_that_cannot_be_understood_says_so(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_page_of_what_a_gpu_should_take_is_up_to_date() -> None:
    assert gpu_model.PAGE.read_text("utf-8") == gpu_model.page()
