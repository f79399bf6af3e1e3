"""The variances of c and of h over time: that they are those of the layer, and the numbers they are held against."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from experiments.tasks.norm_variance import PRESETS, NormVariance, NormVarianceSettings, cell_variance, read_variances
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName

CPU = torch.device("cpu")
MODELS: tuple[ModelName, ...] = ("lstm", "ln", "atn", "prop", "wn", "bn")


def measured(settings: NormVarianceSettings, model: ModelName) -> dict[str, float]:
    """What the first step measures."""
    problem = NormVariance(settings, model, CPU)
    problem.loss(1)
    with torch.no_grad():
        return {name: value.item() for name, value in problem.validation(1).items()}


@pytest.mark.parametrize("model", MODELS)
def test_the_variances_are_those_of_the_layer_s_states(model: ModelName) -> None:
    settings = PRESETS["smoke"]
    found = read_variances(measured(settings, model))
    problem = NormVariance(settings, model, CPU)
    x = problem.batch(1)
    h, (_, c) = problem.model(x)
    assert len(found["h"]) == len(found["c"]) == settings.T
    assert found["h"] == pytest.approx([np.var(step.tolist()) for step in h], rel=1e-5)
    assert found["c"][-1] == pytest.approx(np.var(c.tolist()), rel=1e-5)


def test_the_step_changes_nothing() -> None:
    problem = NormVariance(PRESETS["smoke"], "prop", CPU)
    before = [parameter.detach().clone() for parameter in problem.model.parameters()]
    torch.autograd.backward(problem.loss(1))
    problem.update(1)
    assert all(torch.equal(old, new) for old, new in zip(before, problem.model.parameters(), strict=True))


def test_the_gain_of_the_recurrent_product_is_norm_prop_s_alone() -> None:
    settings = PRESETS["smoke"]
    without = dataclasses.replace(settings, gamma_hh=0.0)
    assert measured(settings, "prop") != measured(without, "prop")
    assert measured(settings, "wn") == measured(without, "wn")


def test_the_cell_s_variance_has_its_nine_digits() -> None:
    # At u = 2.8284, from the quadrature of the proofs: Var c of Eq. (8), and V(u/2) = V(sqrt 2).
    stationary = cell_variance(math.sqrt(8), 60)[-1]
    assert stationary == pytest.approx(0.448051928, rel=1e-8)
    first, second = cell_variance(math.sqrt(8), 2)
    assert (first, second) == pytest.approx((0.27779, 0.38336), rel=2e-5)


def test_without_the_recurrent_product_the_variance_is_the_exact_one() -> None:
    settings = dataclasses.replace(PRESETS["smoke"], T=3, batch=256, hidden=128, gamma_hh=0.0)
    found = read_variances(measured(settings, "prop"))
    # 32,768 values, whose units share their inputs.
    assert found["c"] == pytest.approx(cell_variance(2.0, 3), rel=0.05)


@pytest.mark.parametrize(("field", "value"), [("T", 0), ("batch", 0), ("hidden", 0), ("k", 0), ("gamma_hh", -1.0)])
def test_settings_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=f"^{field} is .*; it must be at least"):
        dataclasses.replace(PRESETS["smoke"], **changes)


def test_the_validation_is_of_another_batch() -> None:
    problem = NormVariance(PRESETS["smoke"], "ln", CPU)
    trained = problem.loss(1).item()
    assert problem.validation(1)[VALIDATION].item() != trained
