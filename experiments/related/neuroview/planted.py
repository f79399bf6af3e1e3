"""Series of noise that tell their class in a few known steps."""

from typing import NamedTuple

import numpy as np

from experiments.datasets.ucr import LabeledSeries


class Design(NamedTuple):
    """What is planted into series of standard normal noise, one feature each.

    The two classes have the mean -`amplitude` and +`amplitude` in the steps `first` to `last`, which count from 1 and
    both belong to it, and the mean 0 elsewhere. No classifier is right more often than Phi(amplitude sqrt(steps)).
    """

    T: int
    first: int
    last: int
    amplitude: float


def planted(design: Design, cases: int, key: list[int]) -> LabeledSeries:
    """Draw cases, every second one of class 1.

    Parameters
    ----------
    design : Design
    cases : int
    key : list of int
        Seed of the draw; equal keys give equal cases.
    """
    labels = np.arange(cases) % 2
    x = np.random.default_rng(key).standard_normal((cases, design.T, 1), np.float32)
    x[:, design.first - 1 : design.last] += np.float32(design.amplitude) * (2 * labels[:, None, None] - 1)
    return LabeledSeries(x, labels)
