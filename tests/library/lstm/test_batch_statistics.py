"""`norm="bn"` (Cooijmans et al. 2017) and `base="batch"` (ATN-BN) in the LSTM: training, evaluation, buffers."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from atn import ATNLSTM
from atn.population import PopulationStatistics as Population
from atn_reference import PopulationNorm, PopulationStatistics, lstm_backward, lstm_forward
from tests.support.against_oracle import PAPER_LIKE, assert_results_close
from tests.support.comparison import assert_all_close, assert_close
from tests.support.hidden_cells import run_hidden_oracle, run_hidden_torch
from tests.support.lstms import DOUBLE, random, with_random_parameters
from tests.support.problems import HiddenCell, HiddenProblem
from tests.support.runners import make_module, named_parameters, run_lstm_oracle, run_lstm_torch

PROBLEMS: dict[str, dict[str, Any]] = {
    "bn": {"norm": "bn"},
    "bn, biases outside, no gains": {"norm": "bn", "bias_placement": "outside", "affine": False},
    "bn, layers and directions": {"norm": "bn", "layers": 2, "directions": 2},
    "atn": {"base": "batch"},
    "atn, k = 1": {"base": "batch", "k": 1},
    "atn, window beyond the end": {"base": "batch", "k": 40},
    "atn, no biases": {"base": "batch", "bias": False, "initial_state": False},
}

SETTINGS: list[dict[str, Any]] = [{"norm": "bn", "max_steps": 6}, {"k": 3, "base": "batch", "max_steps": 6}]


def problem_of(name: str) -> Any:
    """A problem of 8 cases and 10 steps."""
    return dataclasses.replace(PAPER_LIKE, **{"T": 10, "k": 4, "eps": 1e-1, **PROBLEMS[name]})


def compare_training(name: str, dtype: str = "float64") -> None:
    """Outputs and gradients by the statistics of the batch."""
    problem = problem_of(name)
    assert_results_close(run_lstm_torch(problem, "auto", dtype), run_lstm_oracle(problem), "eager")


def compare_evaluation(name: str) -> None:
    """Outputs and gradients by population statistics, fewer than steps: the last ones serve beyond."""
    problem = problem_of(name)
    module, (parameters,) = make_module(problem, "auto", "float64"), problem.parameters[0]
    rng = np.random.default_rng(0)
    sites = {}
    for site, features in (("ih", 4 * problem.H), ("hh", 4 * problem.H), ("c", problem.H)):
        mean, var = rng.standard_normal((6, features)), rng.uniform(0.5, 2.0, (6, features))
        sites[site] = PopulationStatistics(mean, var, np.ones(6, dtype=np.int64))
        population = module.get_submodule(f"norm_{site}_l0.population")
        assert isinstance(population, Population)
        population.running_mean[:6] = torch.from_numpy(mean)
        population.running_var[:6] = torch.from_numpy(var)
        population.num_batches_tracked[:6] = 1
    x = torch.from_numpy(problem.arrays["x"]).requires_grad_()
    output, _ = module.eval()(x)
    gradients = torch.autograd.grad(output, [x, *module.parameters()], torch.from_numpy(problem.arrays["dh"]))
    expected, cache = lstm_forward(
        problem.arrays["x"], parameters, PopulationNorm(**sites, eps=problem.eps), problem.bias_placement
    )
    assert_close(output, expected.h, quantity="output", backend="eager")
    of = lstm_backward(problem.arrays["dh"], cache)
    named = {"x": of.x} | named_parameters([[of.parameters]])
    names = ["x", *(name for name, _ in module.named_parameters())]
    assert_all_close(dict(zip(names, gradients, strict=True)), named, backend="eager")


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_training_against_the_oracle(name: str, dtype: str) -> None:
    compare_training(name, dtype)


@pytest.mark.parametrize("name", ["bn", "atn", "atn, k = 1"])
def test_evaluation_against_the_oracle(name: str) -> None:
    compare_evaluation(name)


def lstm(settings: dict[str, Any], **more: Any) -> ATNLSTM:
    """LSTM of 3 features and 5 hidden."""
    return ATNLSTM(3, 5, **settings, **more, **DOUBLE)


class TestPopulation:
    """Each site behaves as `nn.BatchNorm1d`."""

    def test_without_tracking_training_takes_nothing_in(self) -> None:
        module = lstm(SETTINGS[0])
        module(random(6, 4, 3))
        before = {name: buffer.clone() for name, buffer in module.named_buffers()}
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.track_running_stats = False
        module(random(6, 4, 3, seed=1))
        assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())

    @pytest.mark.parametrize("settings", SETTINGS, ids=["bn", "atn"])
    def test_averages_are_of_what_was_used(self, settings: dict[str, Any]) -> None:
        """After one batch in training, evaluation on it gives the same output."""
        module, x = with_random_parameters(lstm(settings)), random(6, 4, 3)
        trained = module(x)[0]
        assert_close(module.eval()(x)[0], trained, quantity="output", backend="eager")
        counts = module.get_buffer("norm_hh_l0.population.num_batches_tracked")
        assert counts.tolist() == [1] * 6

    @pytest.mark.parametrize("settings", SETTINGS, ids=["bn", "atn"])
    def test_second_batch_moves_them_by_the_momentum(self, settings: dict[str, Any]) -> None:
        results = []
        for momentum in (0.25, 0.0, 1.0):
            module = with_random_parameters(lstm(settings, momentum=momentum))
            for seed in (0, 1):
                module(random(6, 4, 3, seed=seed))
            results.append(module.get_buffer("norm_ih_l0.population.running_mean"))
        mixed, first, second = results
        assert_close(mixed, 0.75 * first + 0.25 * second, quantity="output", backend="eager")
        assert not torch.allclose(first, second)

    @pytest.mark.parametrize("settings", SETTINGS, ids=["bn", "atn"])
    def test_state_dict_deepcopy_and_functional_call(self, settings: dict[str, Any]) -> None:
        module, x = with_random_parameters(lstm(settings)), random(6, 4, 3)
        module(x)
        expected = module.eval()(x)[0]
        other = lstm(settings).eval()
        assert not torch.allclose(other(x)[0], expected)
        other.load_state_dict(module.state_dict())
        assert torch.equal(other(x)[0], expected)
        assert torch.equal(copy.deepcopy(module)(x)[0], expected)
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        fresh = lstm(settings).eval()
        assert torch.equal(torch.func.functional_call(fresh, state, (x,))[0], expected)

    def test_evaluation_and_frozen_batch_norms_take_nothing_in(self) -> None:
        module, x = with_random_parameters(lstm(SETTINGS[0])), random(6, 4, 3)
        module(x)
        before = {name: buffer.clone() for name, buffer in module.named_buffers()}
        module.eval()(random(6, 4, 3, seed=1))
        module.train()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.eval()
        module(random(6, 4, 3, seed=2))
        assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())
        module.reset_parameters()
        assert not module.get_buffer("norm_c_l0.population.num_batches_tracked").any()

    def test_gains_start_at_a_tenth_and_by_choice_elsewhere(self) -> None:
        starts = [lstm(SETTINGS[0]), lstm(SETTINGS[1]), lstm(SETTINGS[0], gamma=0.5)]
        assert [module.get_parameter("norm_c_l0.weight").tolist()[0] for module in starts] == [0.1, 1.0, 0.5]

    def test_longer_sequences_than_steps(self) -> None:
        """Training uses the batch at every step; evaluation beyond uses the last statistics."""
        module = with_random_parameters(lstm(SETTINGS[0]))
        module(random(9, 4, 3))
        assert torch.isfinite(module.eval()(random(12, 1, 3))[0]).all()


def test_backends_with_kernels_are_refused_and_auto_takes_eager() -> None:
    for settings in (*SETTINGS, {"norm": "ada"}, {"norm": "ln", "detach": ("mean",)}):
        with pytest.raises(ValueError, match=r"backend must be 'auto' or 'eager' for .*, got 'fused'"):
            lstm(settings, backend="fused")
        lstm(settings)(random(3, 2, 3))


@pytest.mark.parametrize("cell", ["RNN_TANH", "GRU"])
@pytest.mark.parametrize("name", ["bn", "atn", "bn, layers and directions"])
def test_training_of_other_cells_against_the_oracle(name: str, cell: HiddenCell) -> None:
    settings = dataclasses.asdict(PAPER_LIKE) | {"T": 8, "k": 4, "eps": 1e-1, "cell": cell, **PROBLEMS[name]}
    problem = HiddenProblem(**settings)
    assert_results_close(run_hidden_torch(problem, "auto", "float64"), run_hidden_oracle(problem), "eager")
