"""Training on windows of a long series by MPTT and its baselines (Xu and others 2023).

One LSTM or ATN-LSTM with a linear readout predicts the level of a store from its inputs. The series of N steps is cut
in time into 50 % for training, 10 % for validation and 40 % for the test. A validation measures the root mean square
errors of two ways to infer, in standard deviations of the level:

    SSIF   one pass over the whole series from its beginning
    IIF    every window of n steps by itself, from the zero state

An error of SSIF can be 0, one of IIF not: the test set's own floor stands beside it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from atn import LSTMState
from experiments.models.recurrent_layer import Recurrence, RecurrenceSettings
from experiments.related.mptt.policies import (
    DELTA,
    STRATEGIES,
    BatchPolicy,
    Messages,
    OneByOne,
    RandomBatches,
    StatefulBatches,
    Strategy,
)
from experiments.related.mptt.state_memory import RELEASED_LEAST
from experiments.related.mptt.state_rows import StateRows
from experiments.related.mptt.stores import Array, Series, reservoir, reservoir_errors, snow, snow_errors
from experiments.related.mptt.windows import Integers
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least
from experiments.training.task import Part

NAME = "mptt"

MODELS: tuple[ModelName, ...] = ("lstm", "atn")

StoreName = Literal["reservoir", "snow"]

TEST = "test"
VALIDATION_IIF = "validation_iif"
TEST_IIF = "test_iif"
FLOOR_IIF = "floor_iif"
"""Names of the measurements beside `VALIDATION`, which is the error of SSIF on the validation part: of SSIF on the test
part, of IIF on both, and of the best prediction that begins anew in every window of the test part."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesSettings(RecurrenceSettings):
    """Settings of a series, its windows and its model; the docstring of a field gives the source of its value.

    Raises
    ------
    ValueError
        As `RecurrenceSettings`; a length that does not leave room for windows and batches, or a k whose windows are
        longer than the shortest distance of two heads.
    """

    free: ClassVar[tuple[str, ...]] = ("store", "n")

    most_rows: ClassVar[int] = 25
    """A row for each validation of the paper preset."""

    store: StoreName | None
    """The generated series: a leaking reservoir or a degree-day snow store. Paper: simulations of SWAT, which are not
    at hand. None for those of the study."""

    n: int | None
    """Steps of a window; the heads of RMB and MPTT are half of it apart. Paper: 14 to 366. None for those of the
    study."""

    N: int
    """Steps of the series. Paper: 365,244."""

    retention: float
    """What the reservoir keeps of its level in a step. Ours: a time of 200 steps."""

    hidden: int
    """Hidden size of the one layer. Paper: 32, of a GRU."""

    k: int
    """Window length of ATN. Ours."""

    batch: int
    """Windows of an update. Paper: 64."""

    lr: float
    """Learning rate of Adam. Paper: 0.01."""

    least: int
    """Writes from which on MPTT passes a state on. Released code: 2."""

    warm_up: int
    """Epochs in which MPTT reads nothing. Released code: 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "hidden", "k", "batch", "least")
        require_at_least(self, 0, "lr", "warm_up")
        if not 0 < self.retention < 1:
            raise ValueError(f"retention is {self.retention}; it must be between 0 and 1")
        shortest, longest = (self.n, self.n) if self.n is not None else (min(LENGTHS), max(LENGTHS))
        if shortest < 2:
            raise ValueError(f"n is {shortest}; it must be at least 2")
        if self.k > shortest // 2 + 1:
            raise ValueError(f"k is {self.k}; it must be at most n // 2 + 1, {shortest // 2 + 1}")
        if longest > self.N // 10:
            raise ValueError(f"N is {self.N}; it must be at least 10 n, {10 * longest}")
        if self.batch * longest > self.N // 2:
            raise ValueError(f"batch is {self.batch}; it must be at most N // 2 // n, {self.N // 2 // longest}")

    def window(self) -> int:
        """Window length of ATN."""
        return self.k


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongSeriesSettings(SeriesSettings):
    """Settings of a training run."""

    free: ClassVar[tuple[str, ...]] = ("store", "n", "strategy")

    strategy: Strategy | None
    """How batches are made: rmb, smb, ssmb, or MPTT with delta = 0 or 1. None for each in turn."""


LENGTHS = (14, 30, 90)
"""Window lengths of the study, of those of the paper."""

GRID: tuple[tuple[StoreName, int, ModelName], ...] = (
    *(("reservoir", n, "lstm") for n in LENGTHS),
    ("reservoir", 30, "atn"),
    ("snow", 30, "lstm"),
)
"""Store, window length and model of the study's runs; each with every strategy."""

PAPER = LongSeriesSettings(
    steps=1000,
    seed=0,
    validate_every=40,
    store=None,
    n=None,
    strategy=None,
    N=40_000,
    retention=1 - 1 / 200,
    hidden=16,
    k=5,
    batch=64,
    lr=0.01,
    least=RELEASED_LEAST,
    warm_up=1,
    eps=1e-5,
    bias_placement="inside",
    init="paper",
    lstm_init="torch",
)

PRESETS: Mapping[PresetName, LongSeriesSettings] = {
    "paper": PAPER,
    "demo": dataclasses.replace(PAPER, steps=200, store="reservoir", n=30, N=20_000),
    "smoke": dataclasses.replace(
        PAPER, steps=12, validate_every=4, store="reservoir", n=8, N=400, hidden=4, k=3, batch=8, retention=0.9
    ),
}
"""The study; its middle window length with a fifth of the updates; and a size for trying out the code."""


def cells(settings: SeriesSettings, models: Sequence[ModelName]) -> list[tuple[StoreName, int, ModelName]]:
    """The entries of `GRID` for these models; what the settings give takes the place of the grid's."""
    found = ((settings.store or store, settings.n or n, model) for store, n, model in GRID if model in models)
    return list(dict.fromkeys(found))


def plan(_: PresetName, settings: LongSeriesSettings, models: Sequence[ModelName]) -> list[Part]:
    """The runs of `GRID` for these models, each with every strategy."""
    strategies = STRATEGIES if settings.strategy is None else (settings.strategy,)
    return [
        Part(NAME, model, dataclasses.replace(settings, store=store, n=n, strategy=strategy))
        for store, n, model in cells(settings, models)
        for strategy in strategies
    ]


class Predictor(nn.Module):
    """``y[t] = W h[t] + b`` over the hidden states of a layer whose state is carried.

    W and b are uniform on [-0.1, 0.1], as in the released code.
    """

    def __init__(self, recurrence: Recurrence, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = recurrence.layer(input_size, hidden_size)
        self.head = nn.Linear(hidden_size, 1)
        for parameter in self.head.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Predictions (T, B) for x (T, B, I) from a state, and the state after the last step."""
        h, state = self.lstm.stream(x, state)
        y: Tensor = self.head(h)[..., 0]
        return y, state


class LongSeries(Problem):
    """A run: series, model, Adam, and the batch policy of the strategy.

    Parameters
    ----------
    settings : LongSeriesSettings
        With a store, a window length and a strategy.
    model : {"lstm", "atn"}
    device : torch.device
    """

    model: Predictor

    def __init__(self, settings: LongSeriesSettings, model: ModelName, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        self.n = settings.n or LENGTHS[0]
        series = draw_series(settings)
        self.x = torch.from_numpy(series.x).float().to(device)
        self.y = torch.from_numpy(series.y).float().to(device)
        self.model = Predictor(settings.recurrence(model), self.x.shape[1], settings.hidden).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.lr)
        self.policy = make_policy(settings, self.n, StateRows(self.model.lstm))
        self._starts = settings.N // 2, settings.N // 2 + settings.N // 10
        self._floor = root_mean_square(floor_errors(settings, series, self._heads(self._starts[1], settings.N)))

    def loss(self, step: int) -> Tensor:
        """Mean squared error over all windows of a step."""
        errors = []
        for heads in self.policy.passes(step):
            predictions, states = self._run(heads, self.policy.initial(step, heads), self.policy.cuts(heads))
            self.policy.keep(heads, states)
            errors.append(predictions - self.y[self._inside(heads)])
        return torch.cat(errors, 1).square().mean()

    def update(self, step: int) -> None:
        """Update the parameters, then let the policy end the step."""
        super().update(step)
        self.policy.end_step(step)

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the same parts every time
        """Errors of both ways to infer on both parts, and the floor of the second."""
        one_pass, _ = self.model(self.x[:, None])
        validation, test = self._starts
        errors = one_pass[:, 0] - self.y
        found = {
            VALIDATION: errors[validation:test].square().mean().sqrt(),
            TEST: errors[test:].square().mean().sqrt(),
        }
        for name, start, end in ((VALIDATION_IIF, validation, test), (TEST_IIF, test, len(self.y))):
            index = self._inside(self._heads(start, end))
            predictions, _ = self.model(self.x[index])
            found[name] = (predictions - self.y[index]).square().mean().sqrt()
        return found | {FLOOR_IIF: torch.tensor(self._floor)}

    def state_dict(self) -> dict[str, Tensor]:
        """What the policy keeps."""
        return self.policy.state_dict()

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore what the policy keeps."""
        self.policy.load_state_dict(carried)

    def _run(
        self, heads: Integers, state: LSTMState | None, cuts: Sequence[int]
    ) -> tuple[Tensor, dict[int, LSTMState]]:
        """Predictions (n, B) of windows, and the detached states after each of the cuts."""
        x = self.x[self._inside(heads)]
        predictions, states = [], {}
        for part, cut in zip(torch.tensor_split(x, list(cuts[:-1])), cuts, strict=True):
            y, state = self.model(part, state)
            predictions.append(y)
            states[cut] = state.detach()
        return torch.cat(predictions), states

    def _inside(self, heads: Integers) -> Tensor:
        """Numbers (n, B) of the steps of windows."""
        return torch.from_numpy(heads + np.arange(self.n)[:, None]).to(self.device)

    def _heads(self, start: int, end: int) -> Integers:
        """Heads of the windows beside each other in a part of the series."""
        return np.arange(start, end - self.n + 1, self.n)


def draw_series(settings: SeriesSettings) -> Series:
    """The series of a seed, the same for every strategy, window length and model."""
    rng = np.random.default_rng([settings.seed, 0])
    return snow(settings.N, rng) if settings.store == "snow" else reservoir(settings.N, settings.retention, rng)


def floor_errors(settings: SeriesSettings, series: Series, heads: Integers) -> Array:
    """Errors (W, n) of the best prediction that begins anew in each window."""
    n = settings.n or LENGTHS[0]
    if settings.store == "snow":
        return snow_errors(series, heads, n)
    return reservoir_errors(series, settings.retention, heads, n)


def root_mean_square(errors: Array) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.square(errors).mean()))


def make_policy(settings: LongSeriesSettings, n: int, layout: StateRows) -> BatchPolicy:
    """The batch policy of the strategy, for the training part of the series."""
    N, batch, seed = settings.N // 2, settings.batch, settings.seed
    match settings.strategy:
        case "smb":
            return StatefulBatches(N, n, batch, layout)
        case "ssmb":
            return OneByOne(N, n, batch, layout)
        case "mptt-0" | "mptt-1" as strategy:
            return Messages(
                N,
                n,
                n // 2,
                batch,
                seed,
                layout=layout,
                delta=DELTA[strategy],
                least=settings.least,
                warm_up=settings.warm_up,
            )
        case _:
            return RandomBatches(N, n, n // 2, batch, seed)
