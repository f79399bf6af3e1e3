"""`detach=...` and `norm="ada"` (Xu et al. 2019): gradients that are not the derivative, held to the oracle's."""

import dataclasses
from typing import Any

import pytest
import torch

from atn import ATNLSTM
from atn.backend.eager_sites import sites_of
from atn.backend.interface import AdaSettings
from atn.choices import Statistic
from atn_reference import ada_norm_backward, ada_norm_forward
from tests.support.against_oracle import PAPER_LIKE, assert_results_close
from tests.support.comparison import assert_close
from tests.support.hidden_cells import run_hidden_oracle, run_hidden_torch
from tests.support.lstms import DOUBLE, random, with_random_parameters
from tests.support.problems import HiddenCell, HiddenProblem
from tests.support.runners import run_lstm_oracle, run_lstm_torch

DETACHED: list[tuple[Statistic, ...]] = [("mean",), ("var",), ("mean", "var")]

PROBLEMS: dict[str, dict[str, Any]] = {
    **{f"atn {'+'.join(detach)}": {"detach": detach} for detach in DETACHED},
    "ln": {"norm": "ln", "detach": ("mean", "var")},
    "long window": {"detach": ("mean", "var"), "k": 40},
    "no gains": {"detach": ("var",), "affine": False, "bias": False},
    "ada": {"norm": "ada"},
    "ada, biases outside": {"norm": "ada", "bias_placement": "outside"},
    "ada, no biases": {"norm": "ada", "bias": False, "initial_state": False},
    "ada, layers and directions": {"norm": "ada", "layers": 2, "directions": 2},
    "detached, layers and directions": {"detach": ("mean", "var"), "layers": 2, "directions": 2},
}


def compare_with_the_oracle(name: str, dtype: str = "float64") -> None:
    """Outputs, which are those of the plain norm, and gradients, which are not."""
    problem = dataclasses.replace(PAPER_LIKE, **{"T": 12, "k": 5, "eps": 1e-2, **PROBLEMS[name]})
    assert_results_close(run_lstm_torch(problem, "auto", dtype), run_lstm_oracle(problem), "eager")


@pytest.mark.claim("ada-backward", "ada-forward", "ada-gradient")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_against_the_oracle(name: str, dtype: str) -> None:
    compare_with_the_oracle(name, dtype)


@pytest.mark.parametrize("detach", DETACHED)
def test_the_forward_pass_is_that_of_the_norm(detach: tuple[Statistic, ...]) -> None:
    x, modules = (
        random(6, 2, 3),
        [ATNLSTM(3, 5, k=3, backend="eager", detach=which, **DOUBLE) for which in ((), detach)],
    )
    for module in modules:
        with_random_parameters(module)
    assert_close(modules[1](x)[0], modules[0](x)[0], quantity="output", backend="eager")


def test_fully_detached_no_gradient_reaches_an_older_window() -> None:
    """The forward pass sees the rows of the chunk before, the gradient does not; with one attached it does."""
    for detach, reaches in (((), True), (("mean",), True), (("var",), True), (("mean", "var"), False)):
        module = with_random_parameters(ATNLSTM(3, 5, k=4, detach=detach, **DOUBLE))  # type: ignore[arg-type]  # names
        first = random(3, 2, 3).requires_grad_()
        _, state = module.stream(first)
        state = state._replace(h=state.h.detach(), c=state.c.detach())
        output, _ = module.stream(random(2, 2, 3, seed=1), state)
        (gradient,) = torch.autograd.grad(output.square().sum(), first, allow_unused=True, materialize_grads=True)
        assert bool(gradient.abs().max() > 1e-6) is reaches, detach


def test_stream_equals_the_whole() -> None:
    for settings in ({"norm": "ada"}, {"k": 4, "detach": ("mean", "var")}):
        module = with_random_parameters(ATNLSTM(3, 5, **settings, **DOUBLE))
        x = random(7, 2, 3)
        first, state = module.stream(x[:3])
        second, _ = module.stream(x[3:], state)
        assert_close(torch.cat((first, second)), module(x)[0], quantity="output", backend="eager")


@pytest.mark.claim("ada-gradient")
def test_gradcheck_fails_for_adanorm_by_exactly_the_factor_that_is_a_constant() -> None:
    """One step from zero states: the whole derivative differs from the gradient by C k y y' at each of the sites.

    With slope 0 the factor is C, a constant indeed, and `gradcheck` passes.
    """
    x = random(3, 2, 3).requires_grad_()
    for slope, passes in ((0.0, True), (0.1, False)):
        module = with_random_parameters(ATNLSTM(3, 5, norm="ada", slope=slope, eps=1e-2, **DOUBLE))

        def output(x: torch.Tensor, module: ATNLSTM = module) -> torch.Tensor:
            result: torch.Tensor = module(x)[0]
            return result

        assert torch.autograd.gradcheck(output, x, raise_exception=False) is passes


@pytest.mark.claim("ada-gradient")
def test_the_gradient_of_a_site_is_the_published_one_and_the_derivative_another() -> None:
    """Dy is C (1 - slope y) dz; the derivative of the forward pass has 1 - 2 slope y."""
    a, dz = random(2, 6).requires_grad_(), random(2, 6, seed=1)
    site, *_ = sites_of(AdaSettings(2.0, 0.1, 1e-2, "outside"), None, a)
    (gradient,) = torch.autograd.grad(site.step(a), a, dz)
    _, cache = ada_norm_forward(a.detach().numpy()[None], 2.0, 0.1, 1e-2)
    assert_close(gradient, ada_norm_backward(dz.numpy()[None], cache).a[0], quantity="gradient", backend="eager")
    centered = a - a.mean(1, keepdim=True)
    y = centered * (centered.square().mean(1, keepdim=True) + 1e-2).rsqrt()
    (derivative,) = torch.autograd.grad(2.0 * (1 - 0.1 * y) * y, a, dz * ((1 - 0.1 * y) / (1 - 0.2 * y)).detach())
    assert_close(derivative, gradient, quantity="gradient", backend="eager")


@pytest.mark.parametrize("cell", ["RNN_TANH", "GRU"])
@pytest.mark.parametrize("name", ["atn mean", "atn mean+var", "ada", "ada, biases outside"])
def test_other_cells_against_the_oracle(name: str, cell: HiddenCell) -> None:
    settings = dataclasses.asdict(PAPER_LIKE) | {"T": 8, "k": 5, "eps": 1e-1, "cell": cell, **PROBLEMS[name]}
    problem = HiddenProblem(**settings)
    assert_results_close(run_hidden_torch(problem, "auto", "float64"), run_hidden_oracle(problem), "eager")
