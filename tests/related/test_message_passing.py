"""MPTT's memory and filter policies, the orders of windows, and the stores: exact sequences and closed forms.

The weights are frozen: a step of the cell is a function of input and state. Exact is the state that one pass
from the beginning of the series computes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from experiments.related.mptt.state_memory import RELEASED_LEAST, StateMemory
from experiments.related.mptt.stores import (
    CLIMATE,
    DAYS,
    Series,
    reservoir,
    reservoir_errors,
    snow,
    snow_errors,
)
from experiments.related.mptt.windows import later_places, one_by_one, rows_in_order, shuffled_batches, window_heads
from tests.support.comparison import assert_close
from tests.support.tolerances import STANDARD_ERRORS

Array = Any
Step = Callable[[Array, Array], Array]

A = 1 - 1 / 200


def leaking(a: float) -> Step:
    """A linear cell of one unit."""
    return lambda x, h: a * h + x


def tanh_cell(size: int, seed: int) -> Step:
    """A simple RNN whose state contracts."""
    rng = np.random.default_rng([seed, 50])
    W = 0.98 * np.linalg.qr(rng.standard_normal((size, size)))[0]
    return lambda x, h: np.tanh(W @ h + x)


def states(step: Step, x: Array, initial: Array) -> Array:
    """States (T, D) after each input of x (T, D)."""
    found: list[Array] = []
    for row in x:
        found.append(step(row, found[-1] if found else initial))
    return np.stack(found)


class Frozen:
    """A cell with frozen weights, a series, and the memory of its windows."""

    def __init__(self, step: Step, x: Array, n: int, stride: int, *, delta: float, least: int) -> None:
        self.step, self.x, self.n = step, x, n
        self.heads = window_heads(len(x), n, stride)
        self.later = later_places(self.heads, n)
        self.memory = StateMemory(np.zeros(x.shape[1]), len(self.heads), delta=delta, least=least)
        exact = states(step, x, np.zeros(x.shape[1]))
        self.exact = np.concatenate([np.zeros((1, x.shape[1])), exact])[self.heads]

    def epoch(self, batches: Sequence[Array], *, reading: bool = True) -> None:
        """Go through the windows in batches of places, then pass on."""
        for batch in batches:
            initial = self.memory.read(batch) if reading else np.zeros((len(batch), self.x.shape[1]))
            for place, start in zip(batch, initial, strict=True):
                head, later = self.heads[place], self.later[place]
                found = states(self.step, self.x[head : head + self.n], start)
                self.memory.write(later, found[self.heads[later] - head - 1])
        self.memory.pass_on()

    def errors(self) -> Array:
        """Largest error of each window's initial state, in units of the largest exact one."""
        found = self.memory.read(np.arange(len(self.heads)))
        return np.abs(found - self.exact).max(axis=1) / np.abs(self.exact).max()


class TestWindows:
    """Where windows begin, and in which order they are taken."""

    def test_heads_and_key_map(self) -> None:
        heads = window_heads(20, 6, 3)
        assert heads.tolist() == [0, 3, 6, 9, 12, 14]
        assert [heads[later].tolist() for later in later_places(heads, 6)] == [
            [3, 6],
            [6, 9],
            [9, 12],
            [12, 14],
            [14],
            [],
        ]
        assert window_heads(12, 4, 4).tolist() == [0, 4, 8]
        assert [later.tolist() for later in later_places(window_heads(12, 4, 4), 4)] == [[1], [2], []]
        assert window_heads(7, 7, 3).tolist() == [0]

    def test_overlapping_windows_write_every_head_twice_but_the_second(self) -> None:
        """And head 0 never; the last one by as many windows as reach it."""
        later = later_places(window_heads(200, 10, 5), 10)
        written = np.bincount(np.concatenate(later), minlength=39)
        assert written.tolist() == [0, 1] + [2] * 37

    def test_batches_of_an_epoch_are_all_windows_once(self) -> None:
        rng = np.random.default_rng(0)
        first, second = (shuffled_batches(10, 4, rng) for _ in range(2))
        assert [len(batch) for batch in first] == [4, 4, 2]
        for batches in (first, second):
            assert sorted(np.concatenate(batches).tolist()) == list(range(10))
        assert np.concatenate(first).tolist() != np.concatenate(second).tolist()

    def test_rows_go_on_where_they_stopped(self) -> None:
        heads = rows_in_order(50, 4, 3)
        assert heads.tolist() == [[0, 16, 32], [4, 20, 36], [8, 24, 40], [12, 28, 44]]
        assert all((later - earlier == 4).all() for earlier, later in pairwise(heads))

    def test_one_by_one(self) -> None:
        assert [heads.tolist() for heads in one_by_one(31, 6, 2)] == [[0, 6], [12, 18], [24]]


class TestPolicies:
    """Reading, writing and passing, entry by entry."""

    def memory(self, delta: float, least: int = 1) -> StateMemory:
        return StateMemory(np.array([0.0, np.nan]), 3, delta=delta, least=least)

    def test_what_is_not_written_is_read_as_it_started(self) -> None:
        memory = self.memory(1.0)
        memory.write(np.array([1]), np.array([[2.0, 4.0]]))
        memory.pass_on()
        np.testing.assert_array_equal(memory.read(np.array([0, 2])), [[0, np.nan]] * 2)

    @pytest.mark.parametrize(("delta", "expected"), [(0.0, 3.0), (1.0, 2.0), (2.0, 1.5)])
    def test_the_mean_of_what_is_written_and_the_keeper(self, delta: float, expected: float) -> None:
        """(delta 0 + 2 * 3) / (delta + 2); the second number starts as nothing, and is 5 whatever delta is."""
        memory = self.memory(delta)
        memory.write(np.array([1, 1]), np.array([[2.0, 4.0], [4.0, 6.0]]))
        for _ in range(2):
            assert_close(memory.read(np.array([1]))[0], np.array([expected, 5.0]), quantity="exact")
            memory.pass_on()
        assert memory.count.tolist() == [0, 0, 0]

    def test_after_it_is_passed_on_the_mean_weighs_delta(self) -> None:
        memory = self.memory(1.0)
        for value in (4.0, 6.0):
            memory.write(np.array([0]), np.array([[value, value]]))
            memory.pass_on()
        # (0 + 4)/2 = 2, (2 + 6)/2 = 4; nothing and 4 are 4, (4 + 6)/2 = 5.
        assert memory.read(np.array([0])).tolist() == [[4.0, 5.0]]

    def test_rows_keep_their_dtype(self) -> None:
        memory = StateMemory(np.zeros(2, np.float32), 2, delta=1.0)
        memory.write(np.array([0, 0]), np.ones((2, 2), np.float32))
        memory.pass_on()
        assert memory.read(np.array([0])).dtype == memory.mean.dtype == memory.total.dtype == np.float32

    @pytest.mark.claim("mp-keeper")
    @pytest.mark.parametrize(
        ("least", "expected"),
        [(1, [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]), (2, [1, 1 / 2, 1 / 3, 1 / 6, 1 / 9, 1 / 18])],
    )
    def test_the_two_rules_leave_different_errors(self, least: int, expected: list[float]) -> None:
        """Delta = 1, s = n: what remains of the initial zero after 0, 1, 2, ... epochs of exact writes."""
        memory = StateMemory(np.zeros(1), 1, delta=1.0, least=least)
        found = []
        for _ in expected:
            found.append(1 - memory.read(np.array([0]))[0, 0])
            memory.write(np.array([0]), np.ones((1, 1)))
            memory.pass_on()
        assert_close(np.array(found), np.array(expected), quantity="symbolic")

    @pytest.mark.claim("mp-keeper")
    def test_the_released_rule_is_the_second(self) -> None:
        assert RELEASED_LEAST == 2

    @pytest.mark.claim("mp-stale")
    @pytest.mark.parametrize(("least", "age"), [(1, [0, 0, 0, 0]), (2, [0, 0.5, 0, 0.5])])
    def test_one_write_an_epoch_leaves_a_state_of_the_epoch_before(self, least: int, age: list[float]) -> None:
        """The state of epoch e is the number e. delta = 0 drops the mean, and still half of what is read is old."""
        memory = StateMemory(np.zeros(1), 1, delta=0.0, least=least)
        found = []
        for epoch in range(1, 5):
            memory.write(np.array([0]), np.full((1, 1), float(epoch)))
            found.append(epoch - memory.read(np.array([0]))[0, 0])
            memory.pass_on()
        assert found == age


class TestFrozenWeights:
    """Epochs without learning: which initial states are exact, and how the others get there."""

    x = 0.2 * np.random.default_rng(51).standard_normal((96, 4))

    @pytest.mark.claim("mp-exact")
    @pytest.mark.parametrize("order", ["at once", "shuffled", "backwards"])
    def test_after_e_epochs_e_heads_are_exact(self, order: str) -> None:
        frozen = Frozen(tanh_cell(4, 1), self.x, 8, 8, delta=0.0, least=1)
        rng = np.random.default_rng(52)
        count = len(frozen.heads)
        batches: dict[str, Callable[[], list[Array]]] = {
            "at once": lambda: [np.arange(count)],
            "shuffled": lambda: shuffled_batches(count, 3, rng),
            "backwards": lambda: [np.array([place]) for place in reversed(range(count))],
        }
        for epoch in range(count):
            errors = frozen.errors()
            assert (errors[: epoch + 1] == 0).all()
            if order != "shuffled" and epoch + 1 < count:
                assert errors[epoch + 1] > 0
            frozen.epoch(batches[order](), reading=epoch > 0)

    @pytest.mark.claim("mp-exact")
    def test_in_order_and_one_at_a_time_one_epoch_is_enough(self) -> None:
        frozen = Frozen(tanh_cell(4, 2), self.x, 8, 8, delta=0.0, least=1)
        in_order = [np.array([place]) for place in range(len(frozen.heads))]
        frozen.epoch(in_order, reading=False)
        assert (frozen.errors()[2:] > 0).all()
        frozen = Frozen(tanh_cell(4, 2), self.x, 8, 8, delta=0.0, least=1)
        frozen.epoch(in_order)
        assert (frozen.errors() == 0).all()

    @pytest.mark.claim("mp-contraction")
    def test_elsewhere_the_error_shrinks_by_the_growth_over_a_window(self) -> None:
        """The state at head q lacks a^(n e) times the exact one e windows before, at every epoch e."""
        a, n = 0.9, 8
        frozen = Frozen(leaking(a), self.x[:, :1], n, n, delta=0.0, least=1)
        for epoch in range(6):
            lacking = frozen.exact[: len(frozen.heads) - epoch, 0] * a ** (n * epoch)
            found = frozen.exact[epoch:, 0] - frozen.memory.read(np.arange(epoch, len(frozen.heads)))[:, 0]
            assert_close(found, lacking, quantity="output", scale=float(np.abs(frozen.exact).max()))
            frozen.epoch([np.arange(len(frozen.heads))], reading=epoch > 0)

    @pytest.mark.claim("mp-contraction")
    def test_fast_contraction_makes_it_needless(self) -> None:
        """Growth e^(-0.6 n) over n = 30: errors of 1, e^-18 to a small factor, and nothing after two epochs."""
        x = np.random.default_rng(53).standard_normal((300, 1))
        frozen = Frozen(leaking(math.exp(-0.6)), x, 30, 30, delta=0.0, least=1)
        largest = []
        for epoch in range(3):
            largest.append(frozen.errors().max())
            frozen.epoch([np.arange(10)], reading=epoch > 0)
        assert largest[0] == 1
        assert 0.1 * math.exp(-18) < largest[1] <= math.exp(-18)
        assert largest[2] < 1e-15

    @pytest.mark.claim("mp-exact")
    @pytest.mark.parametrize("delta", [0.0, 1.0])
    def test_overlapping_windows_come_to_the_exact_states(self, delta: float) -> None:
        """With s = n/2 and the released rule, up to what delta = 1 keeps of the initial zero."""
        frozen = Frozen(tanh_cell(4, 3), self.x, 8, 4, delta=delta, least=RELEASED_LEAST)
        rng = np.random.default_rng(54)
        largest = []
        for epoch in range(40):
            frozen.epoch(shuffled_batches(len(frozen.heads), 4, rng), reading=epoch > 0)
            largest.append(frozen.errors().max())
        assert largest[0] > 0.1
        # The keeper multiplies the error by 1/(1 + 2) an epoch, and head s by sqrt(1/3) in the mean.
        assert largest[-1] < (1e-14 if delta == 0 else 3.0 ** (-39 / 2 + 3))

    @pytest.mark.claim("mp-whole")
    def test_a_window_that_is_the_series_is_ordinary_training(self) -> None:
        frozen = Frozen(tanh_cell(4, 4), self.x, 96, 48, delta=1.0, least=1)
        assert frozen.heads.tolist() == [0]
        assert [later.tolist() for later in frozen.later] == [[]]
        frozen.epoch([np.arange(1)])
        assert frozen.memory.read(np.arange(1)).tolist() == [[0.0] * 4]


def correlated_error(errors: Array) -> float:
    """Standard error of the mean square of errors (W, n) whose windows may be correlated, from 20 runs of windows."""
    means = np.array([(part**2).mean() for part in np.array_split(errors, 20)])
    return float(means.std(ddof=1) / math.sqrt(20))


def reservoir_floor(a: float, n: int) -> float:
    """Root mean square error, in deviations of S, of the best prediction that begins anew in every window of n steps.

    The window knows all but a^j S at its steps j = 1 ... n, of variance a^(2j): the floor is the root of their mean,
    a^2 (1 - a^(2n)) / (n (1 - a^2)).
    """
    return math.sqrt(a**2 * (1 - a ** (2 * n)) / (n * (1 - a**2)))


@functools.cache
def snowy() -> Series:
    """Forty years of a snow store."""
    return snow(40 * DAYS, np.random.default_rng(59))


class TestStores:
    """Generated series and their floors."""

    @pytest.mark.claim("mp-floor")
    @pytest.mark.parametrize(("n", "floor"), [(14, 0.963), (30, 0.927), (90, 0.810), (180, 0.679), (366, 0.514)])
    def test_floor_of_the_reservoir(self, n: int, floor: float) -> None:
        assert round(reservoir_floor(A, n), 3) == floor

    @pytest.mark.claim("mp-floor")
    @pytest.mark.parametrize("n", [14, 90])
    def test_simulated_floor(self, n: int) -> None:
        """On a million steps, within its standard errors; at n = 90 near 0.81."""
        series = reservoir(1_000_000, A, np.random.default_rng(55))
        errors = reservoir_errors(series, A, np.arange(0, len(series.y) - n + 1, n), n)
        assert abs((errors**2).mean() - reservoir_floor(A, n) ** 2) <= STANDARD_ERRORS * correlated_error(errors)

    @pytest.mark.claim("mp-floor")
    def test_no_guess_of_the_level_before_does_better(self) -> None:
        """Least squares of the level on the inputs of the window; the reservoir from the window alone is as good."""
        n = 6
        series = reservoir(400_000, 0.9, np.random.default_rng(56))
        heads = np.arange(0, len(series.y) - n + 1, n)
        inside = series.x[heads[:, None] + np.arange(n), 0]
        target = series.y[heads + n - 1]
        fitted = inside @ np.linalg.lstsq(inside, target, rcond=None)[0]
        best = reservoir_errors(series, 0.9, heads, n)[:, -1]
        assert abs(((fitted - target) ** 2).mean() / (best**2).mean() - 1) < 0.001

    def test_levels_follow_the_equations(self) -> None:
        series = reservoir(50, 0.9, np.random.default_rng(57))
        level = 0.0
        for u, y in zip(series.x[:, 0], series.y, strict=True):
            level = 0.9 * level + math.sqrt(1 - 0.81) * u
            assert y == pytest.approx(level, abs=1e-12)

    def test_moments_of_the_reservoir(self) -> None:
        series = reservoir(400_000, 0.9, np.random.default_rng(58))
        # The mean of y has the variance (1 + a)/((1 - a) N).
        assert abs(series.y.mean()) <= STANDARD_ERRORS * math.sqrt(19 / 400_000)
        assert abs(series.y.var() - 1) <= STANDARD_ERRORS * math.sqrt(2 * (1 + 0.81) / (1 - 0.81) / 400_000)

    def test_snow_follows_the_equations(self) -> None:
        """It grows only in frost, by the precipitation, and melts by no more than the degree days."""
        series = snowy()
        deviation = math.hypot(CLIMATE.amplitude / math.sqrt(2), CLIMATE.noise)
        warmth = series.x[:, 1] * deviation + CLIMATE.mean
        depth = series.x[:, 2] * math.sqrt(2 * 0.3 - 0.09) + 0.3
        assert depth.min() == pytest.approx(0, abs=1e-12)
        change, frost = np.diff(series.y), warmth[1:] < 0
        scale = change[frost & (depth[1:] > 0.5)] / depth[1:][frost & (depth[1:] > 0.5)]
        assert scale.std() / scale.mean() < 1e-10
        assert (change[~frost] <= 1e-12).all()
        assert (change[~frost] >= -0.3 * warmth[1:][~frost] * scale.mean() - 1e-10).all()
        empty = series.y.min()
        assert series.y[0] == empty
        summer = series.y.reshape(40, DAYS)[:, :60]
        assert summer.max() == empty

    def test_snow_is_standardized(self) -> None:
        series = snowy()
        assert np.abs(series.x.mean(axis=0)).max() < 0.05
        assert np.abs(series.x.std(axis=0) - 1).max() < 0.05
        # 40 winters of random depth.
        assert abs(series.y.mean()) < 0.25
        assert abs(series.y.std() - 1) < 0.25

    @pytest.mark.claim("mp-floor")
    def test_floor_of_the_snow_store(self) -> None:
        """0 from an empty store on; a window forgets in summer; another guess of the level before does worse."""
        series, n = snowy(), 30
        assert np.abs(snow_errors(series, np.array([0]), n)).max() < 1e-10
        winters = 182 + DAYS * np.arange(39)
        over_a_year = np.sqrt((snow_errors(series, winters, DAYS - 30) ** 2).mean(axis=0))
        assert over_a_year[:10].min() > 0.3
        assert over_a_year[180:].max() < 1e-10
        heads = np.arange(n, len(series.y) - n, n)
        best = snow_errors(series, heads, n)
        assert 0.2 < np.sqrt((best**2).mean()) < 0.6
        empty = np.array([from_empty(series, int(head), n) for head in heads])
        worse = empty - series.y[heads[:, None] + np.arange(n)]
        assert (worse**2).mean() > 1.5 * (best**2).mean()


def from_empty(series: Series, head: int, n: int) -> Array:
    """Levels of a window whose store was empty, by the equations."""
    deviation = math.hypot(CLIMATE.amplitude / math.sqrt(2), CLIMATE.noise)
    unit = snow_unit(series)
    level, found = 0.0, []
    for _, warmth, wetness in series.x[head : head + n]:
        T, P = warmth * deviation + CLIMATE.mean, wetness * math.sqrt(2 * 0.3 - 0.09) + 0.3
        level = level + P if T < 0 else max(0.0, level - 0.3 * T)
        found.append(level * unit + series.y.min())
    return np.array(found)


def snow_unit(series: Series) -> float:
    """Standardized level of a depth of 1, from the first day on which snow falls on the empty store."""
    day = int(np.flatnonzero(np.diff(series.y) > 0)[0]) + 1
    return float((series.y[day] - series.y[day - 1]) / (series.x[day, 2] * math.sqrt(2 * 0.3 - 0.09) + 0.3))


class TestReleased:
    """What the released scripts do beside the policies."""

    x = 0.2 * np.random.default_rng(60).standard_normal((50, 3))

    @pytest.mark.claim("mp-exact")
    def test_relinking_takes_a_state_one_step_late(self) -> None:
        """The script takes state h[head] of one pass; the window at the head begins in state h[head - 1]."""
        frozen = Frozen(tanh_cell(3, 5), self.x, 10, 5, delta=1.0, least=RELEASED_LEAST)
        one_pass = states(frozen.step, self.x, np.zeros(3))
        np.testing.assert_array_equal(one_pass[frozen.heads[1:] - 1], frozen.exact[1:])
        relinked = one_pass[frozen.heads]
        assert (np.abs(relinked - frozen.exact).max(axis=1) > 0.05).all()
        # Nothing writes head 0, so that it begins in the state after its own first step for good.
        assert not any((later == 0).any() for later in frozen.later)

    def test_one_by_one_carries_the_first_state_to_a_window_that_does_not_follow(self) -> None:
        """The script puts [0, n) in front of windows that end at N; its reset between them is overwritten."""
        N, n = 50, 8
        aligned = np.arange(N % n, N, n)
        assert aligned[0] == 2
        assert one_by_one(N, n, 64)[0].tolist() == [0, 8, 16, 24, 32, 40]
        one_pass = states(tanh_cell(3, 6), self.x, np.zeros(3))
        assert np.abs(one_pass[n - 1] - one_pass[aligned[0] - 1]).max() > 0.05


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "long window": (lambda: window_heads(10, 11, 1), "n is 11; it must be from 1 to N, 10"),
    "no window": (lambda: window_heads(10, 0, 1), "n is 0; it must be from 1 to N, 10"),
    "gaps": (lambda: window_heads(10, 4, 5), "stride is 5; it must be from 1 to n, 4"),
    "rows": (lambda: rows_in_order(10, 4, 3), "batch is 3; it must be at most N // n, 2"),
    "start": (
        lambda: StateMemory(np.zeros((2, 2)), 3, delta=0),
        r"start has shape \(2, 2\); it must have shape \(D,\)",
    ),
    "count": (lambda: StateMemory(np.zeros(2), 0, delta=0), "count is 0; it must be at least 1"),
    "delta": (lambda: StateMemory(np.zeros(2), 3, delta=-1), "delta is -1; it must be at least 0"),
    "least": (lambda: StateMemory(np.zeros(2), 3, delta=0, least=0), "least is 0; it must be at least 1"),
    "delta nan": (lambda: StateMemory(np.zeros(2), 3, delta=math.nan), "delta is nan; it must be at least 0"),
    "retention": (lambda: reservoir(10, 1.0, np.random.default_rng(0)), "a is 1.0; it must be between 0 and 1"),
}


@pytest.mark.parametrize("call", WRONG)
def test_wrong_calls_are_refused_by_name(call: str) -> None:
    wrong, message = WRONG[call]
    with pytest.raises(ValueError, match=message):
        wrong()
