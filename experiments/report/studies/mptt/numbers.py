"""What the study of MPTT reads from a run: errors at the step that the validation part chooses, floors, and seconds."""

import math
import statistics
from collections.abc import Mapping

from experiments.related.mptt.epoch_seconds import seconds
from experiments.related.mptt.long_series import FLOOR_IIF, TEST, TEST_IIF, VALIDATION_IIF
from experiments.related.mptt.policies import Strategy
from experiments.report.results import Result
from experiments.training.records.metrics import VALIDATION

LABELS: Mapping[Strategy, str] = {
    "rmb": "RMB",
    "smb": "SMB",
    "ssmb": "SSMB",
    "mptt-0": "MPTT, δ = 0",
    "mptt-1": "MPTT, δ = 1",
}
"""Names of the strategies in tables and figures."""

TIMED = "epochs, timed"
"""Label of the runs that time epochs."""


def label_of(strategy: Strategy, n: int) -> str:
    """Label of the runs of a strategy and a window length."""
    return f"{LABELS[strategy]}, n = {n}"


def at_best(result: Result, chosen_by: str, name: str) -> float:
    """Value of a measurement where another one was lowest, as the paper chooses the epoch by its validation set.

    It is nan in a run too short for a validation.
    """
    step, _ = min(result.measured(chosen_by), key=lambda pair: pair[1], default=(None, math.nan))
    return math.nan if step is None else dict(result.measured(name))[step]


def one_pass(result: Result) -> float:
    """Test error of SSIF, at the step with the lowest one in validation."""
    return at_best(result, VALIDATION, TEST)


def window_by_window(result: Result) -> float:
    """Test error of IIF, at the step with the lowest one in validation."""
    return at_best(result, VALIDATION_IIF, TEST_IIF)


def floor(result: Result) -> float:
    """Test error of the best prediction that begins anew in every window."""
    return result.last_measured(FLOOR_IIF)


def median_seconds(result: Result, strategy: Strategy) -> float:
    """Median seconds of an epoch over the rounds, without the first one if there are more."""
    rounds = [value for _, value in result.measured(seconds(strategy))]
    return statistics.median(rounds[1:] or rounds)
