"""Planted bugs: each must make a named test fail, or that test could not have found it.

A plant replaces one function of the library for the time of one test.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from atn import carried, window
from atn.backend import eager
from atn.carried import Carried
from atn.population import PopulationStatistics
from atn.window import StepStatistics
from tests.library.lstm import test_stream_restarts as restarts
from tests.library.norm import test_population as populations
from tests.support import against_oracle

Plant = Callable[[pytest.MonkeyPatch], None]

NORM_TEST = partial(
    against_oracle.compare_norm_of_a_long_sequence, backend="eager", base="layer", k=45, dtype="float64"
)
LSTM_TEST = partial(
    against_oracle.compare_lstm_shaped_like_the_paper, backend="eager", bias_placement="inside", k=12, dtype="float64"
)


def dropped_window_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variance of the window without the spread of its step means."""

    def add(steps: Any, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        window_mean, _ = original(steps, mean, var)
        return window_mean, torch.cat((steps._vars, var.unsqueeze(0))).mean(0)

    original = window.WindowOfSteps.add
    monkeypatch.setattr(window.WindowOfSteps, "add", add)


def window_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Window of k + 1 steps."""
    original = window.window_statistics
    monkeypatch.setattr(eager, "window_statistics", lambda steps, k: original(steps, k + 1))


def unbiased_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variance divided by count - 1."""

    def step_statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
        return rows.mean(-1, keepdim=True), rows.var(-1, keepdim=True)

    monkeypatch.setattr(eager, "step_statistics", step_statistics)


def missing_gain_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gain takes part in the output and not in the gradient."""
    original = window.normalize

    def normalize(a: Tensor, windows: Any, weight: Tensor | None, *rest: Any) -> Tensor:
        return original(a, windows, None if weight is None else weight.detach() + 0 * weight, *rest)

    monkeypatch.setattr(eager, "normalize", normalize)


def warm_up_divided_by_k(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over the steps that exist, divided by k as if all k did."""
    original = window.window_statistics

    def window_statistics(steps: StepStatistics, k: int) -> StepStatistics:
        windows = original(steps, k)
        share = (torch.arange(1, len(windows.mean) + 1).clamp(max=k) / k).unsqueeze(1)
        return StepStatistics(windows.mean * share, windows.var * share)

    monkeypatch.setattr(eager, "window_statistics", window_statistics)


def eps_outside_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide by sqrt(var) + eps."""

    def normalize(a: Tensor, windows: StepStatistics, weight: Tensor, bias: Tensor, eps: float, base: str) -> Tensor:
        assert base == "layer"
        return (a - windows.mean.unsqueeze(2)) / (windows.var.unsqueeze(2).sqrt() + eps) * weight + bias

    monkeypatch.setattr(eager, "normalize", normalize)


def stop_gradient_through_old_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old steps enter the statistics as constants."""

    def add(steps: Any, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        steps._means, steps._vars = steps._means.detach(), steps._vars.detach()
        return original(steps, mean, var)

    original = window.WindowOfSteps.add
    monkeypatch.setattr(window.WindowOfSteps, "add", add)


def gates_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows read as f, i, g, o."""
    original = eager.time_loop

    def time_loop(from_input: Tensor, h: Tensor, c: Tensor, gates: Any, z_of: Any) -> tuple[Tensor, Tensor]:
        def swapped(a: Tensor, h: Tensor) -> Tensor:
            i, f, g, o = gates(a, h).chunk(4, dim=1)
            return torch.cat((f, i, g, o), dim=1)

        return original(from_input, h, c, swapped, z_of)

    monkeypatch.setattr(eager, "time_loop", time_loop)


def normalized_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The normalized cell is carried on, as some published LN-LSTMs do, where Eq. (16) keeps the raw one."""

    def time_loop(from_input: Tensor, h: Tensor, c: Tensor, gates: Any, z_of: Any) -> tuple[Tensor, Tensor]:
        h_all, c_all = [], []
        for a in from_input.unbind():
            i, f, g, o = gates(a, h).chunk(4, dim=1)
            c = z_of(f.sigmoid() * c + i.sigmoid() * g.tanh())
            h = o.sigmoid() * c.tanh()
            h_all.append(h)
            c_all.append(c)
        return torch.stack(h_all), torch.stack(c_all)

    monkeypatch.setattr(eager, "time_loop", time_loop)


def mean_of_squares_minus_squared_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The textbook variance, which cancels at a large common offset."""

    def steps_of(a: Tensor, base: str) -> StepStatistics:
        assert base == "layer"
        mean = a.mean(2)
        return StepStatistics(mean, (a.square().mean(2) - mean.square()).clamp(min=0))

    monkeypatch.setattr(eager, "steps_of", steps_of)


def windows_outlive_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart clears h and c and leaves the windows, as masking the two tensors does."""

    def restarted(before: Carried, mask: Tensor) -> Carried:
        after = carried.restarted(before, mask)
        return after._replace(memory=before.memory, lengths=before.lengths)

    monkeypatch.setattr("atn.state.restarted", restarted)


def averages_begin_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch is mixed with the 0 and 1 that the buffers begin with."""

    def update(statistics: PopulationStatistics, start: int, batch: StepStatistics) -> None:
        steps = slice(start, start + len(batch.mean))
        statistics.num_batches_tracked[steps] += 1
        statistics.running_mean[steps].lerp_(batch.mean.detach(), 0.1)
        statistics.running_var[steps].lerp_(batch.var.detach(), 0.1)

    monkeypatch.setattr(PopulationStatistics, "update", update)


CONTROLS: list[tuple[Plant, Callable[[], None]]] = [
    (dropped_window_term, LSTM_TEST),
    (window_off_by_one, NORM_TEST),
    (unbiased_variance, LSTM_TEST),
    (missing_gain_gradient, NORM_TEST),
    (warm_up_divided_by_k, NORM_TEST),
    (eps_outside_the_root, NORM_TEST),
    (stop_gradient_through_old_steps, LSTM_TEST),
    (gates_in_another_order, LSTM_TEST),
    (normalized_carry, LSTM_TEST),
    (
        mean_of_squares_minus_squared_mean,
        partial(against_oracle.compare_large_common_offset_in_float32, backend="eager", k=3),
    ),
    (
        windows_outlive_a_restart,
        partial(restarts.TestRestarts().test_a_state_restarts_the_cases_of_a_mask, norm="atn", k=5),
    ),
    (
        averages_begin_at_zero,
        populations.TestNumbers().test_the_first_batch_starts_the_averages_and_later_ones_move_them,
    ),
]


@pytest.mark.parametrize(("plant", "named_test"), CONTROLS, ids=[plant.__name__ for plant, _ in CONTROLS])
def test_planted_bug_is_found(plant: Plant, named_test: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    named_test()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        named_test()
