"""Planted bugs in the norms beside ATN and LN, as in `test_negative_controls`: each makes a named test fail."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from atn import window
from atn.backend import eager_sites
from atn.backend.cell import CellOutput, Layer
from atn.backend.interface import DetachedSettings
from atn.norms import prop, rows
from atn.norms.ada import AdaNorm
from atn.norms.bn import BatchStatistics
from atn.norms.prop import NormProp
from atn.norms.wn import WeightNormalization
from atn.population import PopulationStatistics
from atn.window import StepStatistics
from tests.library.lstm import test_batch_statistics as batch_statistics
from tests.library.lstm import test_detached_statistics as detached
from tests.library.lstm import test_norm_prop as norm_prop
from tests.library.lstm import test_weight_norm as weight_norm
from tests.support.planted import planted

Plant = Callable[[pytest.MonkeyPatch], None]


def cell_without_its_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norm-Prop reads the cell by gamma_c alone."""
    original = NormProp.folded

    def folded(norm: NormProp, layer: Layer) -> Layer:
        plain = original(norm, layer)
        return plain._replace(weights=plain.weights._replace(norm_c=layer.weights.norm_c))

    monkeypatch.setattr(NormProp, "folded", folded)


def state_in_another_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norm-Prop starts from h_0 as if it were h'."""

    def run(norm: NormProp, cell: Any, x: Tensor, layer: Layer, states: tuple[Tensor, ...], memory: Any) -> CellOutput:
        root = layer.sites["norm_c"].get_buffer("var_h").sqrt()
        return original(norm, cell, x, layer, (states[0] / root, *states[1:]), memory)

    original = NormProp.run
    monkeypatch.setattr(NormProp, "run", run)


def constants_for_independent_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Var c and Var h by NP (22)-(23) where NP (9)-(10) is asked for."""
    original = prop.constants_of
    monkeypatch.setattr(prop, "constants_of", lambda gamma, _: original(gamma, "independent"))


def recurrent_weight_without_the_scale_of_h(monkeypatch: pytest.MonkeyPatch) -> None:
    """W_hh is not divided by sqrt(Var h), though h' is passed on."""
    original = NormProp.folded

    def folded(norm: NormProp, layer: Layer) -> Layer:
        plain = original(norm, layer)
        weight_hh = plain.weights.weight_hh * layer.sites["norm_c"].get_buffer("var_h").sqrt()
        return plain._replace(weights=plain.weights._replace(weight_hh=weight_hh))

    monkeypatch.setattr(NormProp, "folded", folded)


def one_length_for_a_whole_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are divided by the length of the matrix."""
    monkeypatch.setattr(rows, "row_lengths", lambda weight: torch.linalg.vector_norm(weight).expand(weight.shape[0]))


def lengths_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of a row is a constant to the gradient, which is then not orthogonal to the row."""
    original = rows.row_lengths
    monkeypatch.setattr(rows, "row_lengths", lambda weight: original(weight.detach()))


def gains_of_the_other_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """W_ih and W_hh have each other's gains."""

    def folded(norm: WeightNormalization, layer: Layer) -> Layer:
        weights = layer.weights
        changed = weights._replace(norm_ih=weights.norm_hh, norm_hh=weights.norm_ih)
        return original(norm, layer._replace(weights=changed))

    original = WeightNormalization.folded
    monkeypatch.setattr(WeightNormalization, "folded", folded)


def statistics_stay_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    """`detach` is left unread."""
    original = eager_sites._Detached.__init__

    def init(site: Any, norm: DetachedSettings, before: StepStatistics) -> None:
        original(site, norm._replace(detach=()), before)

    monkeypatch.setattr(eager_sites._Detached, "__init__", init)


def the_other_statistic_is_detached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and variance change places."""
    original = eager_sites._Detached.__init__

    def init(site: Any, norm: DetachedSettings, before: StepStatistics) -> None:
        other = tuple(name for name in ("mean", "var") if name not in norm.detach)
        original(site, norm._replace(detach=other), before)  # type: ignore[arg-type]  # names

    monkeypatch.setattr(eager_sites._Detached, "__init__", init)


def statistics_of_a_step_are_detached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants enter the window, so that both statistics lose their gradient where one should."""
    monkeypatch.setattr(
        eager_sites,
        "step_statistics",
        lambda rows: tuple(statistic.detach() for statistic in window.step_statistics(rows)),
    )


def factor_with_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdaNorm's factor is differentiated, as autograd does without `detach`."""

    def step(site: Any, a: Tensor) -> Tensor:
        mean, var = window.step_statistics(a)
        y = (a - mean) * (var + site._norm.eps).rsqrt()
        z: Tensor = site._norm.scale * (1 - site._norm.slope * y) * y
        return z

    monkeypatch.setattr(eager_sites._Adaptive, "step", step)


def unbiased_deviation_plus_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdaNorm's statistics as the released code has them."""

    def step(site: Any, a: Tensor) -> Tensor:
        y = (a - a.mean(1, keepdim=True)) / (a.std(1, keepdim=True) + site._norm.eps)
        z: Tensor = (site._norm.scale * (1 - site._norm.slope * y)).detach() * y
        return z

    monkeypatch.setattr(eager_sites._Adaptive, "step", step)


def no_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdaNorm without its slope is layer normalization."""
    original = AdaNorm.settings
    monkeypatch.setattr(AdaNorm, "settings", lambda norm: original(norm)._replace(slope=0.0))


def statistics_over_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch's statistics are taken of all features at once."""
    original = eager_sites._OfBatch._of_window

    def of_window(site: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = original(site, a)
        return mean.mean().expand_as(mean), var.mean().expand_as(var)

    monkeypatch.setattr(eager_sites._OfBatch, "_of_window", of_window)


def batch_statistics_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch's statistics are constants to the gradient, as the population's are."""
    original = eager_sites._OfBatch._of_window
    monkeypatch.setattr(
        eager_sites._OfBatch,
        "_of_window",
        lambda site, a: tuple(statistic.detach() for statistic in original(site, a)),
    )


def window_of_one_step_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """ATN-BN that forgets every step but the last."""
    original = BatchStatistics.run

    def run(norm: BatchStatistics, *arguments: Any) -> CellOutput:
        return original(dataclasses.replace(norm, steps=1), *arguments)

    monkeypatch.setattr(BatchStatistics, "run", run)


def evaluation_by_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is evaluated by the statistics of the first."""
    original = PopulationStatistics.at

    def at(population: PopulationStatistics, start: int, end: int, dtype: torch.dtype) -> StepStatistics:
        first = original(population, start, end, dtype)
        return StepStatistics(*(statistic[:1].expand_as(statistic) for statistic in first))

    monkeypatch.setattr(PopulationStatistics, "at", at)


def evaluation_by_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Population statistics are left unread."""
    original = eager_sites._OfBatch.__init__
    monkeypatch.setattr(eager_sites._OfBatch, "__init__", lambda site, norm, _: original(site, norm, None))


def kernel_without_the_cells_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain layer's kernel that reads the cell as it is; of Norm-Prop the gain holds 1/sqrt(Var c)."""
    planted(monkeypatch, "lstm_forward", lambda kernel, given: kernel(given._replace(gamma_c=None)))


def kernel_without_the_gain_in_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backward pass, which then gives no gradient of the cell's gain, and a wrong one of all before it."""
    planted(monkeypatch, "lstm_backward", lambda kernel, given: kernel(given._replace(gamma_c=None)))


def kernel_whose_state_starts_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first state forgotten in the forward pass of the kernel."""
    planted(monkeypatch, "lstm_forward", lambda kernel, given: kernel(given._replace(h_0=torch.zeros_like(given.h_0))))


def kernel_with_the_weight_turned_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of W_hh in the opposite order, in the backward pass of the kernel."""
    planted(
        monkeypatch, "lstm_backward", lambda kernel, given: kernel(given._replace(weight_hh=given.weight_hh.flip(0)))
    )


ONE_DETACHED = partial(detached.compare_with_the_oracle, "atn var")
ADA_TEST = partial(detached.compare_with_the_oracle, "ada")
BN_TEST = partial(batch_statistics.compare_training, "bn")
ATN_BN_TEST = partial(batch_statistics.compare_training, "atn")
POPULATION_TEST = partial(batch_statistics.compare_evaluation, "bn")
PROP_TEST = partial(norm_prop.compare_with_the_oracle, backend="eager")
WN_TEST = partial(weight_norm.compare_with_the_oracle, backend="eager")

KERNELS = (
    kernel_without_the_cells_gain,
    kernel_without_the_gain_in_the_gradient,
    kernel_whose_state_starts_at_zero,
    kernel_with_the_weight_turned_over,
)

CONTROLS: list[tuple[Plant, Callable[[], None]]] = [
    (cell_without_its_deviation, PROP_TEST),
    (state_in_another_scale, PROP_TEST),
    (constants_for_independent_terms, PROP_TEST),
    (recurrent_weight_without_the_scale_of_h, PROP_TEST),
    *((plant, partial(PROP_TEST, backend="fused")) for plant in KERNELS),
    (one_length_for_a_whole_weight, WN_TEST),
    (lengths_without_a_gradient, WN_TEST),
    (gains_of_the_other_product, WN_TEST),
    *((plant, partial(WN_TEST, backend="fused")) for plant in KERNELS[2:]),
    (statistics_stay_attached, ONE_DETACHED),
    (the_other_statistic_is_detached, ONE_DETACHED),
    (statistics_of_a_step_are_detached, ONE_DETACHED),
    (factor_with_a_gradient, ADA_TEST),
    (unbiased_deviation_plus_eps, ADA_TEST),
    (no_factor, ADA_TEST),
    (statistics_over_the_features, BN_TEST),
    (batch_statistics_without_a_gradient, BN_TEST),
    (window_of_one_step_of_the_batch, ATN_BN_TEST),
    (statistics_over_the_features, ATN_BN_TEST),
    (batch_statistics_without_a_gradient, ATN_BN_TEST),
    (evaluation_by_the_first_step, POPULATION_TEST),
    (evaluation_by_the_batch, POPULATION_TEST),
]


IDS = [f"{number}-{plant.__name__}" for number, (plant, _) in enumerate(CONTROLS)]


@pytest.mark.parametrize(("plant", "named_test"), CONTROLS, ids=IDS)
def test_planted_bug_is_found(plant: Plant, named_test: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    named_test()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        named_test()
