"""The fused backend beyond its numbers: registration, tracing, memory kept, and the loop that serves unbuilt."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atn import ATNGRU, ATNLSTM, ATNRNN
from atn.backend.fused import backend as fused
from atn.backend.fused import build as compiled
from atn.backend.fused import fallback
from atn.backend.fused.backend import fused_cells, fused_layer, fused_norm
from atn.backend.interface import Affine, HiddenWeights, LayerWeights, NormSettings
from atn.choices import Base, Norm
from atn.state import HiddenMemory, LayerMemory
from atn.window import StepStatistics
from tests.support.comparison import assert_close


def leaf(*shape: int, seed: int) -> Tensor:
    """A float64 tensor of normal numbers that requires a gradient."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def layer_arguments(*, H: int, k: int, M: int, affine: bool, placement: str, normed: bool = True) -> tuple[Any, ...]:
    """Arguments of a layer function, T = 5, B = 3, I = 2, with M steps of memory."""
    seeds = itertools.count()
    affines = [
        Affine(leaf(n, seed=next(seeds)), leaf(n, seed=next(seeds))) if affine else None for n in (4 * H, 4 * H, H)
    ]
    weights = LayerWeights(
        leaf(4 * H, 2, seed=20), leaf(4 * H, H, seed=21), leaf(4 * H, seed=22), leaf(4 * H, seed=23), *affines
    )
    memory = [StepStatistics(leaf(M, 3, seed=30 + i), leaf(M, 3, seed=40 + i).detach().square()) for i in range(3)]
    settings: Any = NormSettings(k, 1e-2, placement) if normed else None  # type: ignore[arg-type]  # a Literal
    x, h_0, c_0 = leaf(5, 3, 2, seed=50), leaf(3, H, seed=51), leaf(3, H, seed=52)
    return x, weights, h_0, c_0, LayerMemory(*memory) if normed else None, settings


def cell_arguments(
    blocks: int, *, H: int, k: int, M: int, affine: bool, placement: str, normed: bool = True
) -> tuple[Any, ...]:
    """The same of a cell whose only state is h, with so many blocks of rows."""
    seeds, N = itertools.count(), blocks * H
    affines = [Affine(leaf(N, seed=next(seeds)), leaf(N, seed=next(seeds))) if affine else None for _ in range(2)]
    weights = HiddenWeights(
        leaf(N, 2, seed=20), leaf(N, H, seed=21), leaf(N, seed=22), leaf(N, seed=23), affines[0], affines[1]
    )
    memory = [StepStatistics(leaf(M, 3, seed=30 + i), leaf(M, 3, seed=40 + i).detach().square()) for i in range(2)]
    settings: Any = NormSettings(k, 1e-2, placement) if normed else None  # type: ignore[arg-type]  # a Literal
    return leaf(5, 3, 2, seed=50), weights, leaf(3, H, seed=51), HiddenMemory(*memory) if normed else None, settings


def leaves_of(arguments: tuple[Any, ...]) -> list[Tensor]:
    """Every tensor of the arguments that requires a gradient."""
    flat = torch.utils._pytree.tree_leaves(arguments)
    return [tensor for tensor in flat if isinstance(tensor, Tensor) and tensor.requires_grad]


def run(arguments: tuple[Any, ...], mode: str = "LSTM") -> list[Tensor]:
    """Outputs of the fused layer, and the gradients of everything, from random upstream gradients on every output."""
    out = fused_layer(*arguments, every_c=True) if mode == "LSTM" else fused_cells[mode](*arguments)
    outputs = [
        tensor for tensor in torch.utils._pytree.tree_leaves(out) if isinstance(tensor, Tensor) and tensor.numel()
    ]
    upstream = [leaf(*tensor.shape, seed=60).detach() for tensor in outputs]
    gradients = torch.autograd.grad(outputs, leaves_of(arguments), upstream, allow_unused=True)
    return [*outputs, *(tensor for tensor in gradients if tensor is not None and tensor.numel())]


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("placement", ["outside", "inside"])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("k", "M"), [(1, 0), (3, 0), (3, 2), (9, 4)])
@pytest.mark.parametrize("H", [3, 260])  # 260: all cases take a step together
def test_the_plain_loop_is_the_same_function(
    *, H: int, k: int, M: int, affine: bool, placement: str, normed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = layer_arguments(H=H, k=k, M=M, affine=affine and normed, placement=placement, normed=normed)
    assert compiled.compiled().operators is not None, compiled.compiled().reason
    by_kernels = run(arguments)
    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    for result, reference in zip(by_kernels, run(arguments), strict=True):
        assert_close(result, reference, quantity="gradient", backend="fused")


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("placement", ["outside", "inside"])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("k", "M"), [(1, 0), (3, 2), (9, 4), (70, 4)])
@pytest.mark.parametrize(("mode", "blocks", "H"), [("RNN_TANH", 1, 3), ("RNN_RELU", 1, 19), ("GRU", 3, 5)])
def test_the_plain_loop_of_a_cell_is_the_same_function(
    *, mode: str, blocks: int, H: int, k: int, M: int, affine: bool, placement: str, normed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arguments = cell_arguments(blocks, H=H, k=k, M=M, affine=affine and normed, placement=placement, normed=normed)
    assert compiled.compiled().operators is not None, compiled.compiled().reason
    by_kernels = run(arguments, mode)
    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    for result, reference in zip(by_kernels, run(arguments, mode), strict=True):
        assert_close(result, reference, quantity="gradient", backend="fused")


@pytest.mark.parametrize("base", ["layer", "batch"])
@pytest.mark.parametrize(("k", "M"), [(1, 0), (3, 2)])
def test_the_plain_norm_is_the_same_function(base: Base, k: int, M: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, gain, shift = leaf(6, 4, 4, seed=1), leaf(4, seed=2), leaf(4, seed=3)
    memory = StepStatistics(leaf(M, 4, seed=4), leaf(M, 4, seed=5).detach().square().requires_grad_())

    def run_norm() -> list[Tensor]:
        y, steps = fused_norm(a, gain, shift, memory, k, 1e-2, base)
        outputs, leaves = [y, *steps], [a, gain, shift, *(tensor for tensor in memory if tensor.numel())]
        return [*outputs, *torch.autograd.grad(outputs, leaves, [leaf(*tensor.shape, seed=6) for tensor in outputs])]

    by_kernels = run_norm()
    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    for result, reference in zip(by_kernels, run_norm(), strict=True):
        assert_close(result, reference, quantity="gradient", backend="fused")


@pytest.mark.parametrize("k", [0, 3])
def test_operators_are_registered_as_torch_asks(k: int) -> None:
    """Schema, fake kernels, autograd registration, and tracing with dynamic shapes."""
    H = 4
    x, weights, h_0, c_0, *_ = layer_arguments(H=H, k=3, M=2, affine=True, placement="inside")
    stacked = leaf(3, 2, 2, 3, seed=53).detach().square().requires_grad_() if k else x.new_empty(3, 2, 0, 3)
    norms = (weights.norm_ih.gamma, weights.norm_hh.gamma, *weights.norm_c) if k else (None,) * 4
    inside = (weights.bias_ih, weights.bias_hh if k else None, weights.norm_ih.beta if k else None)
    arguments = (x, weights.weight_ih, weights.weight_hh, *inside, *norms, h_0, c_0, stacked, k, 1e-2)
    torch.library.opcheck(torch.ops.atn.fused_lstm_forward.default, arguments)
    torch.library.opcheck(torch.ops.atn.fused_norm_forward.default, (x, None, None, x.new_empty(2, 0, 3), 3, 1e-2))


def test_tensors_of_an_operator_on_two_devices_are_refused() -> None:
    """With one on the device meta, torch asks for empty results: they would be numbers that nothing computed."""
    memory = torch.zeros(2, 0, 3)
    for gamma in (torch.ones(5, device="meta"), torch.ones(1, 7, device="meta")):
        with pytest.raises(ValueError, match=r"^gamma must be on a's device cpu, got meta$"):
            torch.ops.atn.fused_norm_forward(torch.ones(4, 3, 5), gamma, None, memory, 3, 1e-2)
    with pytest.raises(ValueError, match=r"^memory must be on a's device meta, got cpu$"):
        torch.ops.atn.fused_norm_forward(torch.ones(4, 3, 5, device="meta"), None, None, memory, 3, 1e-2)


@pytest.mark.parametrize("cell", ["lstm", "hidden"])
def test_an_operator_reads_the_last_steps_of_a_longer_memory(cell: str) -> None:
    """In the kernels, and in the operations of a backward pass that is recorded."""
    first: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    rest: tuple[Any, ...]
    if cell == "lstm":
        x, weights, h_0, c_0, *_ = layer_arguments(H=4, k=3, M=2, affine=True, placement="inside")
        norms = (weights.norm_ih.gamma, weights.norm_hh.gamma, *weights.norm_c)
        first, states, sites = (x, *weights[:4], weights.norm_ih.beta, *norms), (h_0, c_0), 3
        rest, operator = (3, 1e-2), torch.ops.atn.fused_lstm_forward
    else:
        x, weights, h_0, *_ = cell_arguments(3, H=4, k=3, M=2, affine=True, placement="inside")
        first, states, sites = (x, *weights[:4], *weights.norm_ih, *weights.norm_hh), (h_0,), 2
        rest, operator = ("GRU", 3, 1e-2), torch.ops.atn.fused_hidden_forward
    long = leaf(sites, 2, 10, 3, seed=53).detach().square().requires_grad_()
    short = long.detach()[:, :, -2:].clone().requires_grad_()
    found = []
    for memory in (long, short):
        h = operator(*first, *states, memory, *rest)[0]
        (plain,) = torch.autograd.grad(h.pow(3).sum(), memory, retain_graph=True)
        (recorded,) = torch.autograd.grad(h.pow(3).sum(), memory, create_graph=True)
        second = torch.autograd.grad(recorded.pow(2).sum(), [memory, x])
        found.append((h, plain[:, :, -2:], recorded[:, :, -2:], second[0][:, :, -2:], second[1]))
        assert not plain[:, :, :-2].any()
    for actual, expected in zip(*found, strict=True):
        assert_close(actual, expected, quantity="gradient", backend="fused")


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize(("mode", "blocks"), [("RNN_TANH", 1), ("GRU", 3)])
def test_operators_of_a_cell_are_registered_as_torch_asks(mode: str, blocks: int, k: int) -> None:
    x, weights, h_0, *_ = cell_arguments(blocks, H=4, k=3, M=2, affine=True, placement="inside")
    stacked = leaf(2, 2, 2, 3, seed=53).detach().square().requires_grad_() if k else x.new_empty(2, 2, 0, 3)
    norms = (*weights.norm_ih, *weights.norm_hh) if k else (None,) * 4
    arguments = (x, *weights[:4], *norms, h_0, stacked, mode, k, 1e-2)
    torch.library.opcheck(torch.ops.atn.fused_hidden_forward.default, arguments)
    utilities = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.atn.fused_hidden_inference.default, arguments, test_utils=utilities)


@pytest.mark.one_graph
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses parts that torch itself deprecates
@pytest.mark.parametrize("norm", ["atn", "ln", "none"])
def test_compiles_without_a_graph_break(norm: Norm) -> None:
    torch.manual_seed(0)
    module = ATNLSTM(3, 5, 2, k=3 if norm == "atn" else None, norm=norm, backend="fused")
    x = torch.randn(6, 2, 3, requires_grad=True)
    plain = module(x)[0]
    (expected,) = torch.autograd.grad(plain.square().sum(), x)
    traced = torch.compile(module, fullgraph=True, backend="aot_eager")(x)[0]
    (gradient,) = torch.autograd.grad(traced.square().sum(), x)
    assert_close(traced, plain, quantity="output", backend="fused")
    assert_close(gradient, expected, quantity="gradient", backend="fused")


def test_backward_can_run_twice() -> None:
    """What is kept for the backward pass is read, not used up."""
    module = ATNLSTM(3, 4, k=2, backend="fused")
    x = torch.randn(5, 2, 3, requires_grad=True)
    loss = module(x)[0].square().sum()
    first = torch.autograd.grad(loss, [x, *module.parameters()], retain_graph=True)
    again = torch.autograd.grad(loss, [x, *module.parameters()])
    assert all(torch.equal(result, repeated) for result, repeated in zip(first, again, strict=True))


@pytest.mark.claim("s3-fixed-cost")
@pytest.mark.parametrize("k", [1, 50])
@pytest.mark.parametrize(
    ("cell", "inputs", "numbers"),
    [
        (ATNLSTM, 2, 6), (ATNLSTM, 64, 6), (ATNLSTM, 65, 10),
        (ATNRNN, 64, 2), (ATNRNN, 65, 3), (ATNGRU, 64, 4), (ATNGRU, 65, 7),
    ],
)  # fmt: skip
def test_keeps_few_numbers_per_unit_and_step(cell: Any, inputs: int, numbers: int, k: int) -> None:
    """Kept for the backward pass, whatever k, beside parameters, input and O(T B) numbers: 6 T B H for few inputs."""
    T, B, H = 60, 8, 16
    module = cell(inputs, H, k=k, backend="fused")
    x = torch.randn(T, B, inputs, requires_grad=True)
    known = {tensor.untyped_storage().data_ptr() for tensor in (x, *module.parameters())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output, _ = module(x)
    total = sum(count for address, count in kept.items() if address not in known)
    assert output.shape == (T, B, H)
    # 12 statistics by step and by window, and the states in front of the first step.
    assert numbers * T * B * H <= total <= numbers * T * B * H + 12 * T * B + 2 * B * H


def test_agrees_with_lstm_on_every_thread_count() -> None:
    """Cases are shared out among threads; the numbers of a case do not depend on how."""
    torch.manual_seed(0)
    ours, reference = ATNLSTM(3, 8, norm="none", backend="fused"), nn.LSTM(3, 8)
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(12, 7, 3)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert_close(ours(x)[0], reference(x)[0], quantity="output", backend="fused")
    finally:
        torch.set_num_threads(threads)
