"""The measurement of the overhead: equal calls, right counts, and a page that says what the record says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from benchmarks.limits import RATIO, Mode
from benchmarks.overhead.allocated import most_in_use
from benchmarks.overhead.calls import OURS, PEERS, pair
from benchmarks.overhead.page import overhead_section
from benchmarks.overhead.record import Figures, Memory, Process, Record, WindowCost, load_record, save_record
from benchmarks.overhead.roofline import Machine, Work, work
from benchmarks.overhead.rows import (
    ATN_LSTM,
    FAMILY,
    FAMILY_ROWS,
    HEAPS,
    ROWS,
    THREADS,
    Heap,
    Member,
    modes,
)
from benchmarks.results import Conditions
from benchmarks.sizes import Size

MODES: tuple[Mode, ...] = get_args(Mode)
CONDITIONS = Conditions(
    "2026-01-02T03:04:05+00:00", "cpu: Abacus", 2, 2, "c0ffee00" * 5, {"python": "3", "torch": "2"}, "overhead"
)


def process(threads: int, heap: Heap, ratio: float) -> Process:
    figures = [Figures(size, mode, ratio * 0.25, 0.25, 0.125) for size in ROWS for mode in modes(size)]
    figures += [
        Figures(size, mode, 2 * ratio * 0.25, 0.25, 0.125, member)
        for member in FAMILY
        for size in FAMILY_ROWS
        for mode in modes(size)
    ]
    over_k = [WindowCost("training", 3.3, 3.0), WindowCost("inference", 3.0, 3.0)]
    memory = [Memory(size, 16_000_000, 10_000_000, 9.5) for size in ROWS] if (threads, heap) == (2, "default") else []
    return Process(threads, heap, 8e10, 1.5e10, figures, over_k, memory)


@pytest.fixture
def record() -> Record:
    return Record(CONDITIONS, [process(t, heap, 1.0 + t / 10 + (heap == "kept")) for t in THREADS for heap in HEAPS])


def test_a_record_is_read_as_it_was_written(record: Record, tmp_path: Path) -> None:
    save_record(tmp_path / "overhead.json", record)
    assert load_record(tmp_path / "overhead.json") == record


def test_the_page_says_what_the_record_says(record: Record, tmp_path: Path) -> None:
    save_record(tmp_path / "overhead.json", record)
    lines = overhead_section(tmp_path / "overhead.json")
    (times, memory, roofline) = (line for line in lines if line.startswith("| 784, 128, 1, 128, 10 |"))
    # 2 threads: 1.2 by default and 2.2 kept; 1 thread: 1.1 and 2.1; the limit of training is 1.15, of inference 1.10.
    assert times.split(" | ")[1:6] == [
        "250 / 250 ms",
        "**1.20** / 1.10",
        "**2.20** / **2.10**",
        "**1.20** / 1.10",
        "**2.20** / **2.10**",
    ]
    assert memory.split(" | ")[1:] == ["16.0 MB", "10.0 MB", "**1.60**", "9.50 |"]
    assert roofline.split(" | ")[1:] == ["4.4 / 2.0", "4.4 / 2.0 |"]
    # Of the other cells and norms twice as much, where 1.3 is allowed.
    (gru,) = (line for line in lines if line.startswith("| GRU, atn | 120, 128, 10, 68, 45 |"))
    assert gru.split(" | ")[2:] == [*["**2.40** / **2.20**", "**4.40** / **4.20**"] * 2, "*1.3 (1)* |"]
    assert "| 1 thread, kept heap | **1.10** | 1.00 |" in lines


def test_without_a_record_the_page_names_the_command(tmp_path: Path) -> None:
    assert "Not measured yet: `python -m benchmarks.overhead`." in overhead_section(tmp_path / "overhead.json")


def test_single_steps_are_measured_where_a_row_is_a_single_step() -> None:
    assert {size.H for size in ROWS if "step of stream" in modes(size)} == {256, 1024}
    assert all({"training", "inference"} <= set(modes(size)) for size in ROWS)
    assert set(RATIO) == {mode for size in ROWS for mode in modes(size)}


def test_the_work_of_a_pass_is_counted_by_hand() -> None:
    size = Size(T=2, B=3, I=5, H=7, k=2)
    products = 2 * 2 * 3 * 28 * 12
    once = 2 * 3 * 12 + 28 * 12
    assert work(size, "inference") == Work(products, 4 * once)
    assert work(size, "training") == Work(3 * products, 4 * (2 * once + 2 * 6 * 42 + 3 * 6 * 28))
    # A GRU: 21 rows, and one state.
    assert work(size, "inference", "GRU") == Work(2 * 2 * 3 * 21 * 12, 4 * (2 * 3 * 12 + 21 * 12))
    kept = 2 * 6 * 28 + 3 * 6 * 21
    assert work(size, "training", "GRU").bytes == 4 * (2 * (2 * 3 * 12 + 21 * 12) + kept)
    assert Work(100.0, 10.0).seconds(Machine(operations=50.0, bytes=2.0)) == 5.0


def test_what_is_in_use_at_once_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        first = torch.empty(1000)
        second = torch.empty(1000)
        del first
        third = torch.empty(500)
        del second, third

    assert most_in_use(call) == 4 * 2000
    capfd.readouterr()


Seen = tuple[bool, bool, tuple[int, ...], float]


def noting(original: Callable[..., Any], seen: list[Seen]) -> Callable[..., Any]:
    """A method that notes whether it trains, whether gradients are on, and its input, and then does what it did."""

    def method(module: nn.Module, x: Tensor, *rest: Any) -> Any:
        seen.append((module.training, torch.is_grad_enabled(), tuple(x.shape), float(x.detach().sum())))
        return original(module, x, *rest)

    return method


@pytest.mark.parametrize(
    ("mode", "member"), [*((mode, ATN_LSTM) for mode in MODES), *(("training", member) for member in FAMILY)], ids=str
)
def test_both_layers_of_a_pair_run_alike_on_the_same_input(
    mode: Mode, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = pair(Size(T=1, B=1, I=3, H=4, k=2), mode, member)
    ours: list[Seen] = []
    peers: list[Seen] = []
    method = "stream" if mode == "step of stream" else "forward"
    module, peer = OURS[member.cell], PEERS[member.cell]
    monkeypatch.setattr(module, method, noting(getattr(module, method), ours))
    monkeypatch.setattr(peer, "forward", noting(peer.forward, peers))
    calls.ours()
    calls.peer()
    assert ours == peers
    assert [seen[:3] for seen in ours] == [(mode == "training", mode == "training", (1, 1, 3))]
