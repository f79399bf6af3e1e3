"""Derivatives of every mode on every backend: forward, batched, second, and the transforms of `torch.func`.

The kernels serve a plain reverse pass; all else is the eager backend's operations. Each is held to finite differences
or to another mode.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import atn.functional as F
from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm
from atn.backend.fused import backend as fused
from atn.backend.fused import fallback
from atn.backend.triton import backend as triton
from atn.choices import Norm
from tests.support.comparison import assert_close

NORMS: list[Norm] = ["atn", "ln", "none"]
Function = Callable[[Tensor], Tensor]

pytestmark = [
    # torch's linearize traces by parts that torch itself warns of.
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]


@pytest.fixture(params=["eager", "fused"])
def backend(request: pytest.FixtureRequest) -> str:
    """The backends of the CPU. The others run the same code around other kernels: `test_other_kernels`."""
    return str(request.param)


def tensor(*shape: int, seed: int) -> Tensor:
    """A float64 tensor of normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, V = tensor(2, 2, 2, seed=1), tensor(2, 2, 2, seed=2)


def lstm(backend: str, norm: Norm = "atn", layers: int = 1, *, frozen: bool = False, **settings: Any) -> ATNLSTM:
    """A layer of 2 inputs and 3 hidden, all of whose parameters are drawn at random."""
    k = 2 if norm == "atn" else None
    module = ATNLSTM(2, 3, layers, k=k, norm=norm, eps=1e-1, backend=backend, dtype=torch.float64, **settings)
    for index, parameter in enumerate(module.parameters()):
        parameter.data = 0.5 * tensor(*parameter.shape, seed=index) + (parameter.ndim == 1)
    return module.requires_grad_(not frozen)


def function(module: ATNLSTM) -> Function:
    """Output and final states of a layer as one vector."""

    def run(x: Tensor) -> Tensor:
        output, (h_n, c_n) = module(x)
        return torch.cat([output.flatten(), h_n.flatten(), c_n.flatten()])

    return run


def loss(run: Function) -> Function:
    """A number whose second derivative does not vanish."""
    return lambda x: run(x).pow(3).sum()


def norms(backend: str) -> dict[str, Function]:
    """The norm as a function and as a module, by base."""
    gamma, beta = tensor(2, seed=3), tensor(2, seed=4)
    by_population = AssortedTimeNorm(2, 2, base="batch", max_steps=3, eps=1e-1, backend=backend, dtype=torch.float64)
    by_population(tensor(3, 2, 2, seed=5))
    return {
        "module": AssortedTimeNorm(2, 2, eps=1e-1, backend=backend, dtype=torch.float64),
        "module, population statistics": by_population.eval(),
        "function, layer": lambda a: F.assorted_time_norm(a, 2, gamma, beta, 1e-1, "layer", backend),
        "function, batch": lambda a: F.assorted_time_norm(a, 2, gamma, beta, 1e-1, "batch", backend),
    }


def check_every_mode(run: Function) -> None:
    """Hold first derivatives to each other in every mode, and second ones to finite differences of first ones."""
    x = X.clone().requires_grad_()
    assert gradcheck(
        run, (x,), fast_mode=True, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert gradgradcheck(run, (x,), fast_mode=True, check_batched_grad=True)
    jacobian = torch.func.jacrev(run)(X)
    assert_close(torch.func.jacfwd(run)(X), jacobian, quantity="gradient")
    assert_close(torch.func.linearize(run, X)[1](V), (jacobian * V).flatten(-3).sum(-1), quantity="gradient")


@pytest.mark.parametrize("norm", NORMS)
def test_layer(norm: Norm, backend: str) -> None:
    check_every_mode(function(lstm(backend, norm)))


@pytest.mark.parametrize(
    "settings",
    [
        {"bidirectional": True},
        {"bias_placement": "inside"},
        {"affine": False, "bias": False},
    ],
    ids=str,
)
def test_settings_of_a_layer(settings: dict[str, Any]) -> None:
    check_every_mode(function(lstm("fused", **settings)))


@pytest.mark.parametrize("name", list(norms("eager")))
def test_norm(name: str, backend: str) -> None:
    check_every_mode(norms(backend)[name])


@pytest.mark.parametrize("name", ["plain loop", "triton"])
def test_other_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain loop of the fused backend without its compiled part, and the GPU's kernels, interpreted."""
    if name == "plain loop":
        monkeypatch.setattr(fused, "kernels", lambda: fallback)
    chosen = "fused" if name == "plain loop" else name
    check_every_mode(norms(chosen)["function, layer"])
    run, x = function(lstm(chosen)), X.clone().requires_grad_()
    assert gradcheck(run, (x,), fast_mode=True, check_forward_ad=True)
    assert gradgradcheck(run, (x,), fast_mode=True)


def test_population_statistics_in_training_refuse_transforms(backend: str) -> None:
    """They are updated in place, which a transform cannot see; without the update, it is the function of the batch."""
    module = AssortedTimeNorm(2, 2, base="batch", max_steps=2, backend=backend, dtype=torch.float64)
    assert module.population is not None
    before = module.population.running_mean.clone()
    message = r"^population must not be updated inside a transform of torch.func or forward mode"
    with pytest.raises(ValueError, match=message):
        torch.func.grad(loss(module))(X)
    with pytest.raises(ValueError, match=message), forward_ad.dual_level():
        module(forward_ad.make_dual(X, V))  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert torch.equal(module.population.running_mean, before)
    module.population.track_running_stats = False
    by_transform, x = torch.func.grad(loss(module))(X), X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(module)(x), x)
    assert_close(by_transform, expected, quantity="gradient")
    assert torch.equal(module.population.running_mean, before)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_tangents_of_a_stream(*, norm: Norm, frozen: bool, backend: str) -> None:
    """Forward mode through the carried state, with and without parameters that require a gradient."""
    module = lstm(backend, norm, frozen=frozen)

    def run(x: Tensor) -> Tensor:
        first, state = module.stream(x[:1])
        second, state = module.stream(x[1:], state)
        return torch.cat([first.flatten(), second.flatten(), state.h.flatten(), state.c.flatten()])

    expected = (torch.func.jacrev(run)(X) * V).flatten(1).sum(1)
    assert expected.norm() > 0
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, V)  # type: ignore[no-untyped-call]  # torch does not annotate it
        tangent = forward_ad.unpack_dual(run(dual)).tangent  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert tangent is not None
    assert_close(tangent, expected, quantity="gradient")
    assert_close(torch.func.jvp(run, (X,), (V,))[1], expected, quantity="gradient")


def test_tangents_of_parameters(backend: str) -> None:
    """Against the plain backward pass, that of the kernels."""
    module = lstm(backend, bias_placement="inside")
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def run(values: dict[str, Tensor]) -> Tensor:
        output: Tensor = torch.func.functional_call(module, values, (X,))[0]
        return output

    jacobian, upstream = torch.func.jacfwd(run)(parameters), tensor(2, 2, 3, seed=6)
    plain = torch.autograd.grad(module(X)[0], list(module.parameters()), upstream)
    for (name, forward), reverse in zip(jacobian.items(), plain, strict=True):
        product = torch.tensordot(upstream, forward, dims=3)
        assert_close(product, reverse, quantity="gradient", scale=1.0, what=name)


def test_gradients_of_each_case_apart(backend: str) -> None:
    """Per-sample gradients of the parameters by vmap, against one backward pass for each case."""
    module, cases = lstm(backend), tensor(3, 2, 1, 2, seed=7)
    parameters = dict(module.named_parameters())

    def case_loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(module, values, (x,))[0]
        return output.pow(3).sum()

    by_vmap = torch.func.vmap(torch.func.grad(case_loss), (None, 0))(
        {name: value.detach() for name, value in parameters.items()}, cases
    )
    for index, x in enumerate(cases):
        alone = torch.autograd.grad(module(x)[0].pow(3).sum(), list(parameters.values()))
        for (name, value), expected in zip(by_vmap.items(), alone, strict=True):
            assert_close(value[index], expected, quantity="gradient", scale=1.0, what=name)


def test_hessian(backend: str) -> None:
    """By transforms, and by two recorded backward passes."""
    run = loss(function(lstm(backend)))
    expected = torch.func.hessian(loss(function(lstm("eager"))))(X)
    assert_close(torch.func.hessian(run)(X), expected, quantity="gradient")
    _, product = torch.autograd.functional.hvp(run, X, V)  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert_close(product, (expected * V).sum((-3, -2, -1)), quantity="gradient")


def test_a_gradient_penalty_reaches_every_parameter(backend: str) -> None:
    """The penalty of a critic: the gradient of the norm of a gradient, held to the eager backend."""
    found = []
    for module in (lstm(backend, layers=2), lstm("eager", layers=2)):
        x = X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(function(module))(x), x, create_graph=True)
        leaves = {"x": x, **dict(module.named_parameters())}
        penalty = (gradient.norm() - 1).square()
        found.append(dict(zip(leaves, torch.autograd.grad(penalty, list(leaves.values())), strict=True)))
    ours, expected = found
    scale = max(float(value.abs().max()) for value in expected.values())
    for name, value in ours.items():
        assert_close(value, expected[name], quantity="gradient", scale=scale, what=name)


def float_modules(backend: str) -> list[Callable[[Tensor], Tensor]]:
    """Every cell and the norm in float32, as functions of an input (6, 2, 2)."""
    weight = torch.nn.Parameter(torch.tensor([0.5, 2.0]))
    cells: list[ATNLSTM | ATNGRU | ATNRNN] = [cell(2, 3, 2, k=2, backend=backend) for cell in (ATNLSTM, ATNGRU, ATNRNN)]
    return [
        *(lambda x, cell=cell: cell(x)[0] for cell in cells),
        lambda x: F.assorted_time_norm(x, 2, weight, backend=backend),
    ]


def test_autocast_around_a_recorded_backward_pass_changes_nothing() -> None:
    x = tensor(6, 2, 2, seed=1).float().requires_grad_()
    for run in float_modules("fused"):
        loss = run(x).square().sum()
        (expected,) = torch.autograd.grad(loss, x, create_graph=True)
        with torch.autocast("cpu", torch.bfloat16):
            (found,) = torch.autograd.grad(loss, x, create_graph=True)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("cell", [ATNLSTM, ATNGRU, ATNRNN])
def test_parameters_frozen_after_the_forward_pass(cell: type[ATNLSTM | ATNGRU | ATNRNN], backend: str) -> None:
    """As the critic of a GAN is, for the pass of its generator: the gradient of the input stays."""
    module = cell(2, 3, 2, k=2, backend=backend, dtype=torch.float64)
    x = X.clone().requires_grad_()
    loss = module(x)[0].square().sum()
    (expected,) = torch.autograd.grad(loss, x, retain_graph=True)
    module.requires_grad_(False)  # noqa: FBT003 - as torch has it
    (found,) = torch.autograd.grad(loss, x, create_graph=True)
    assert_close(found.detach(), expected, quantity="gradient")


def test_a_gain_frozen_after_the_forward_pass(backend: str) -> None:
    x, gamma = X.clone().requires_grad_(), torch.ones(2, dtype=torch.float64, requires_grad=True)
    y = F.assorted_time_norm(x, 2, gamma, backend=backend)
    (expected,) = torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    gamma.requires_grad_(False)  # noqa: FBT003 - as torch has it
    upstream = torch.stack([torch.ones_like(y), 2 * torch.ones_like(y)])
    (found,) = torch.autograd.grad(y, x, upstream, is_grads_batched=True)
    assert_close(found, torch.stack([expected, 2 * expected]), quantity="gradient", scale=1.0)


def test_one_tensor_in_two_places_counts_for_both(backend: str) -> None:
    """One that is both gain and shift, or both h_0 and c_0, in a recorded backward pass and in the pass after it."""
    found = []
    for name in (backend, "eager"):
        both, state = tensor(2, seed=3).requires_grad_(), tensor(1, 2, 3, seed=8).requires_grad_()
        y = F.assorted_time_norm(X, 2, both, both, 1e-1, backend=name)
        output, _ = lstm(name)(X, (state, state))
        for leaf, result in ((both, y), (state, output)):
            (gradient,) = torch.autograd.grad(result.pow(3).sum(), leaf, create_graph=True)
            found += [gradient, *torch.autograd.grad(gradient.pow(3).sum(), leaf)]
    for one, expected in zip(found[:4], found[4:], strict=True):
        assert_close(one, expected, quantity="gradient")


class Counted:
    """Kernels of a backend that count their calls."""

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._kernels, name)


@pytest.mark.parametrize(("name", "backend_module"), [("fused", fused), ("triton", triton)])
def test_a_plain_step_runs_the_kernels(name: str, backend_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One forward and one backward kernel for a layer and for a norm; a transform runs none."""
    counted = Counted(backend_module.kernels())
    monkeypatch.setattr(backend_module, "kernels", lambda: counted)
    module, norm = lstm(name), AssortedTimeNorm(2, 2, backend=name, dtype=torch.float64)
    torch.autograd.grad(module(X)[0].sum(), list(module.parameters()))
    torch.autograd.grad(norm(X).sum(), list(norm.parameters()))
    assert counted.calls == ["lstm_forward", "lstm_backward", "norm_forward", "norm_backward"]
    torch.func.jvp(function(module), (X,), (V,))
    torch.func.grad(loss(norm))(X)
    assert len(counted.calls) == 4


@pytest.mark.parametrize("cell", [ATNRNN, ATNGRU])
def test_a_plain_step_of_a_cell_runs_the_kernels(cell: type[ATNRNN | ATNGRU], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(fused.kernels())
    monkeypatch.setattr(fused, "kernels", lambda: counted)
    module = cell(2, 3, k=2, dtype=torch.float64)
    weight = module.get_parameter("weight_hh_l0")
    output, _ = module(X)
    (gradient,) = torch.autograd.grad(output.pow(3).sum(), weight, retain_graph=True)
    assert counted.calls == ["hidden_forward", "hidden_backward"]
    assert not gradient.requires_grad
    (recorded,) = torch.autograd.grad(output.pow(3).sum(), weight, create_graph=True)
    torch.func.jvp(lambda x: module(x)[0], (X,), (V,))
    assert len(counted.calls) == 2
    assert_close(recorded.detach(), gradient, quantity="gradient", backend="fused")


@pytest.mark.one_graph
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses parts that torch itself deprecates
def test_tangents_under_the_compiler() -> None:
    """The compiler sees the transform as it traces: no tangent is zero, and a gradient by transform is right."""
    module = lstm("fused", frozen=True)

    def run(x: Tensor) -> Tensor:
        tangent: Tensor = torch.func.jvp(function(module), (x,), (V,))[1]
        return torch.cat([tangent, torch.func.grad(loss(function(module)))(x).flatten()])

    assert_close(torch.compile(run, backend="aot_eager", fullgraph=True)(X), run(X), quantity="gradient")
