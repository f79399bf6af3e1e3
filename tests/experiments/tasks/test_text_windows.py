"""The windows of a text: it is read from beginning to end, again and again."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from experiments.tasks.char_ptb import PRESETS, CharPtbSettings
from experiments.tasks.text_windows import Windows, window_lengths

SETTINGS = PRESETS["smoke"]


def with_fields(**changes: Any) -> CharPtbSettings:
    """The settings with other values of some fields."""
    return dataclasses.replace(SETTINGS, **changes)


@pytest.mark.parametrize("vary_bptt", [False, True])
@pytest.mark.parametrize("rows", [3, 21, 22, 23, 100])
def test_an_epoch_reads_every_row_once(rows: int, *, vary_bptt: bool) -> None:
    windows = Windows(with_fields(bptt=20, vary_bptt=vary_bptt), rows)
    for epoch in range(3):
        made = [windows.of(step) for step in range(1, 60)]
        chosen = [window for window in made if window.epoch == epoch]
        assert chosen[0].start == 0
        assert all(before.end == after.start for before, after in itertools.pairwise(chosen))
        # The last row is predicted and not read; a single symbol left over is neither.
        assert chosen[-1].end in {rows - 2, rows - 1}
        assert all(window.length > 0 for window in chosen)


def test_fixed_windows_have_the_same_length_and_scale() -> None:
    windows = Windows(with_fields(bptt=20, vary_bptt=False), 100)
    assert [windows.of(step)[:] for step in range(1, 7)] == [
        *[(0, 20 * number, 20, 1.0) for number in range(4)],
        (0, 80, 19, 1.0),
        (1, 0, 20, 1.0),
    ]


def test_a_window_depends_on_seed_and_step_alone() -> None:
    forwards, once = Windows(SETTINGS, 750), Windows(SETTINGS, 750)
    made = [forwards.of(step) for step in range(1, 200)]
    assert once.of(199) == made[-1]
    assert once.of(3) == made[2]
    assert made[0] != Windows(with_fields(seed=1), 750).of(1)
    assert [window.length for window in made if window.epoch == 0] != [
        window.length for window in made if window.epoch == 1
    ]


def test_drawn_lengths_are_as_the_script_draws_them() -> None:
    lengths = torch.tensor(list(itertools.islice(window_lengths(220, [1]), 20_000)), dtype=torch.float64)
    halves = lengths < 165
    assert halves.double().mean().item() == pytest.approx(0.05, abs=0.006)
    assert lengths[~halves].mean().item() == pytest.approx(219.5, abs=0.3)
    assert lengths[halves].mean().item() == pytest.approx(109.5, abs=0.6)
    assert lengths[~halves].std().item() == pytest.approx(5, abs=0.2)
    assert min(itertools.islice(window_lengths(6, [1]), 200)) == 5
