"""Stores that fill and drain: generated series of which a window shows too little, and what it cannot know.

A store's level S follows from its inputs and from the level before the window. A prediction that begins anew in every
window does not know that level. What even the best such prediction has for an error is the *floor*; one pass through
the series from an empty store has none.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experiments.related.mptt.windows import Integers

Array: TypeAlias = NDArray[np.float64]

DAYS = 365


class Series(NamedTuple):
    """Inputs and level of a store at N steps."""

    x: Array
    """(N, I), each column of about mean 0 and variance 1."""
    y: Array
    """Level after each step, (N,), less its mean and in its standard deviations."""


def reservoir(N: int, a: float, rng: np.random.Generator) -> Series:
    """S_t = a S_{t-1} + sqrt(1 - a^2) u_t from S_{-1} = 0 with u_t from N(0, 1): a leaking store of variance 1.

    Raises
    ------
    ValueError
        If a is not in (0, 1).
    """
    _check_retention(a)
    u = rng.standard_normal(N)
    y = np.empty(N)
    level = 0.0
    for t, flow in enumerate(np.sqrt(1 - a**2) * u):
        level = a * level + flow
        y[t] = level
    return Series(u[:, None], y)


def reservoir_errors(series: Series, a: float, heads: Integers, n: int) -> Array:
    """Errors (W, n) of the best prediction that begins anew at each head, whose guess of the level before is 0."""
    before = np.concatenate([[0.0], series.y])[heads]
    found: Array = before[:, None] * a ** np.arange(1, n + 1)
    return found


def _check_retention(a: float) -> None:
    if not 0 < a < 1:
        raise ValueError(f"a is {a}; it must be between 0 and 1")


class Climate(NamedTuple):
    """The weather over a snow store; every day's noise is independent. Day 0 is the warmest of the year.

    Our choice: about five months of frost, and a store that is empty in summer.
    """

    mean: float = 6.0
    """Mean temperature in degrees Celsius."""
    amplitude: float = 14.0
    """Half the difference between the warmest and the coldest day's mean."""
    noise: float = 4.0
    """Standard deviation of a day's temperature around its mean."""
    wet: float = 0.3
    """Share of days with precipitation, whose depth is exponential with mean 1."""
    melt: float = 0.3
    """Depth melted a day and degree above 0, the degree-day factor."""


CLIMATE = Climate()


class _Weather(NamedTuple):
    temperature: Array
    precipitation: Array


def snow(N: int, rng: np.random.Generator, climate: Climate = CLIMATE) -> Series:
    """Degree-day snow store: S grows by P where T < 0, and else loses at most melt * T.

    The columns of x are day of year, bent at its middle as in the paper's data, temperature and precipitation. It
    begins empty, on the warmest day.
    """
    weather = _weather(N, rng, climate)
    mean, deviation = _level_moments(climate)
    bent = np.abs(np.arange(N) % DAYS - (DAYS - 1) / 2) / ((DAYS - 1) / 4) - 1
    warmth = (weather.temperature - climate.mean) / np.hypot(climate.amplitude / np.sqrt(2), climate.noise)
    wetness = (weather.precipitation - climate.wet) / np.sqrt(2 * climate.wet - climate.wet**2)
    levels = _levels(np.zeros(1), weather, climate)[:, 0]
    return Series(np.stack([bent * np.sqrt(3), warmth, wetness], axis=1), (levels - mean) / deviation)


def snow_errors(series: Series, heads: Integers, n: int, climate: Climate = CLIMATE) -> Array:
    """Errors (W, n) of the best prediction of a snow store that begins anew at each head.

    It knows the day of the year and the weather of the window, and so the distribution of the level before, which is
    that of the day over all years; its guess is the mean of the levels that follow. Their number is `YEARS`.
    """
    mean, deviation = _level_moments(climate)
    warmth = series.x[:, 1] * np.hypot(climate.amplitude / np.sqrt(2), climate.noise) + climate.mean
    wetness = series.x[:, 2] * np.sqrt(2 * climate.wet - climate.wet**2) + climate.wet
    over_years = _levels_by_day(climate)
    errors = np.empty((len(heads), n))
    for row, head in enumerate(heads):
        inside = slice(head, head + n)
        # Before the first step the store is known to be empty.
        before = np.zeros(1) if head == 0 else over_years[:, (head - 1) % DAYS]
        guess = _levels(before, _Weather(warmth[inside], wetness[inside]), climate).mean(axis=1)
        errors[row] = (guess - mean) / deviation - series.y[inside]
    return errors


YEARS = 500
"""Years over which the distribution of the level on a day of the year is taken."""


def _weather(N: int, rng: np.random.Generator, climate: Climate) -> _Weather:
    season = climate.mean + climate.amplitude * np.cos(2 * np.pi * np.arange(N) / DAYS)
    temperature = season + climate.noise * rng.standard_normal(N)
    precipitation = np.where(rng.random(N) < climate.wet, rng.standard_exponential(N), 0.0)
    return _Weather(temperature, precipitation)


def _levels(before: Array, weather: _Weather, climate: Climate) -> Array:
    """Levels (N, M) after each day, from M levels before the first."""
    levels = np.empty((len(weather.temperature), len(before)))
    level = before
    for t, (warmth, depth) in enumerate(zip(weather.temperature, weather.precipitation, strict=True)):
        level = level + depth if warmth < 0 else np.maximum(level - climate.melt * warmth, 0.0)
        levels[t] = level
    return levels


def _levels_by_day(climate: Climate) -> Array:
    """Levels (YEARS, DAYS) of a store of its own, after a first year that is left out."""
    weather = _weather((YEARS + 1) * DAYS, np.random.default_rng(YEARS), climate)
    return _levels(np.zeros(1), weather, climate)[DAYS:, 0].reshape(YEARS, DAYS)


def _level_moments(climate: Climate) -> tuple[float, float]:
    levels = _levels_by_day(climate)
    return float(levels.mean()), float(levels.std())
