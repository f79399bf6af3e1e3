"""The oracle's GRU with every norm, and without one the GRU of PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch

from atn_reference import (
    BiasPlacement,
    GRUMemory,
    GRUNorm,
    GRUParameters,
    GRUPopulationNorm,
    GRUState,
    WindowNorm,
    assorted_time_norm_forward,
    gru_backward,
    gru_forward,
    gru_statistics,
    update_population,
)
from tests.support.comparison import assert_all_close, assert_close
from tests.support.complex_step import Array, Tree, assert_gradients, cast, leaves, random_like
from tests.support.oracle_cases import WINDOW_NORMS, B, H, I, T, gru_norm, gru_parameters, gru_state, sequence

PLACEMENTS: list[BiasPlacement] = ["outside", "inside"]
CHUNKS = [(2, 4), (1, 1, 4), (5, 1)]
WINDOWED = [(name, affine, memory) for name in WINDOW_NORMS for affine in (False, True) for memory in (False, True)]
CASES = [*WINDOWED, ("population", False, False), ("population", True, False), ("none", False, False)]


def backward(upstream: Tree, cache: Any) -> Tree:
    """Every output of the GRU has an upstream gradient."""
    return gru_backward(upstream.h, cache, upstream.state.h, dmemory_n=upstream.state.memory)._asdict()


def inputs_with(parameters: GRUParameters, state: GRUState) -> dict[str, Tree]:
    return {"x": sequence(), "parameters": parameters, "h_0": state.h, "memory": state.memory}


def run(tree: Tree, norm: GRUNorm, placement: BiasPlacement) -> tuple[Tree, Any]:
    state = GRUState(tree["h_0"], tree["memory"], 1)
    return gru_forward(tree["x"], tree["parameters"], cast(norm, tree["x"].dtype), placement, state)


def memory_of(norm: GRUNorm, *, memory: bool) -> int | None:
    return min(norm.k - 1, 2) if memory and isinstance(norm, WindowNorm) else None


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("name", "affine", "memory"), CASES)
def test_gradient(*, name: str, affine: bool, memory: bool, placement: BiasPlacement) -> None:
    norm = gru_norm(name)
    inputs = inputs_with(gru_parameters(affine=affine), gru_state(memory_of(norm, memory=memory)))
    assert_gradients(lambda tree: run(tree, norm, placement), backward, inputs)


@pytest.mark.parametrize("name", ["atn-ln", "none"])
def test_gradient_without_bias(name: str) -> None:
    norm = gru_norm(name)
    inputs = inputs_with(gru_parameters(affine=False, bias=False), gru_state(None))
    assert_gradients(lambda tree: run(tree, norm, "outside"), backward, inputs)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_without_a_norm_it_is_the_gru_of_pytorch(placement: BiasPlacement) -> None:
    """Outputs and every gradient, in float64; the rows of the state dict are taken over as they are."""
    p, x, state = gru_parameters(affine=False), sequence(), gru_state(None)
    theirs = torch.nn.GRU(I, H, dtype=torch.float64)
    theirs.load_state_dict(
        {f"{name}_l0": torch.from_numpy(getattr(p, name)) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    )
    x_torch = torch.from_numpy(x).requires_grad_()
    h_0 = torch.from_numpy(state.h).requires_grad_()
    expected, expected_n = theirs(x_torch, h_0.unsqueeze(0))
    output, cache = gru_forward(x, p, None, placement, state)
    assert_close(output.h, expected, quantity="output")
    assert_close(output.state.h, expected_n[0], quantity="output")

    upstream = random_like(output, 3)
    gradients = gru_backward(upstream.h, cache, upstream.state.h)
    tensors = (expected * torch.from_numpy(upstream.h)).sum() + (
        expected_n[0] * torch.from_numpy(upstream.state.h)
    ).sum()
    tensors.backward()
    assert_all_close(
        {"x": gradients.x, "h_0": gradients.h_0} | leaves(gradients.parameters),
        {"x": x_torch.grad, "h_0": h_0.grad}
        | {name.removesuffix("_l0"): weight.grad for name, weight in theirs.named_parameters()},
        backend="oracle",
    )


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", WINDOW_NORMS)
def test_forward_is_the_equations(name: str, placement: BiasPlacement) -> None:
    """The equations once more, gate by gate; one statistic for all 3H rows, the reset gate after gain, shift, bias."""
    norm, p, x = WINDOW_NORMS[name], gru_parameters(affine=True), sequence()
    assert p.bias_ih is not None
    assert p.bias_hh is not None
    inside = placement == "inside"
    output, _ = gru_forward(x, p, norm, placement)

    def normed(rows: list[Array], affine: Any, bias: Array) -> Array:
        y, _ = assorted_time_norm_forward(np.stack(rows), norm.k, affine.gamma, affine.beta, norm.eps, norm.base)
        last: Array = y[-1] + (0.0 if inside else bias)
        return last

    h = np.zeros((B, H))
    rows_ih: list[Array] = []
    rows_hh: list[Array] = []
    for t in range(T):
        rows_ih.append(x[t] @ p.weight_ih.T + (p.bias_ih if inside else 0.0))
        rows_hh.append(h @ p.weight_hh.T + (p.bias_hh if inside else 0.0))
        from_x, from_h = normed(rows_ih, p.norm_ih, p.bias_ih), normed(rows_hh, p.norm_hh, p.bias_hh)
        r = 1 / (1 + np.exp(-from_x[:, :H] - from_h[:, :H]))
        z = 1 / (1 + np.exp(-from_x[:, H : 2 * H] - from_h[:, H : 2 * H]))
        h = (1 - z) * np.tanh(from_x[:, 2 * H :] + r * from_h[:, 2 * H :]) + z * h
        assert_close(output.h[t], h, quantity="output")
    assert_close(output.state.h, h, quantity="output")


def run_chunks(chunks: tuple[int, ...], parameters: GRUParameters, norm: GRUNorm) -> tuple[list[Any], list[Any]]:
    state, outputs, caches = None, [], []
    for x in np.split(sequence(), np.cumsum(chunks)[:-1]):
        output, cache = gru_forward(x, parameters, norm, "inside", state)
        state = output.state
        outputs.append(output)
        caches.append(cache)
    return outputs, caches


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", [*WINDOW_NORMS, "population", "none"])
def test_chunks_equal_the_whole(name: str, chunks: tuple[int, ...]) -> None:
    parameters, norm = gru_parameters(affine=name != "none"), gru_norm(name)
    whole, _ = gru_forward(sequence(), parameters, norm, "inside")
    outputs, _ = run_chunks(chunks, parameters, norm)
    assert_close(np.concatenate([output.h for output in outputs]), whole.h, quantity="exact")
    assert outputs[-1].state.step == whole.state.step == T
    last, expected = leaves(outputs[-1].state), leaves(whole.state)
    assert last.keys() == expected.keys()
    assert all(np.array_equal(last[path], expected[path]) for path in expected)


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", [*WINDOW_NORMS, "population", "none"])
def test_backward_through_chunks_equals_the_whole(name: str, chunks: tuple[int, ...]) -> None:
    """The gradients of state and memory of one chunk are the upstream gradients of the chunk before."""
    parameters, norm = gru_parameters(affine=name != "none"), gru_norm(name)
    whole, whole_cache = gru_forward(sequence(), parameters, norm, "inside")
    upstream = random_like(whole, 9)
    expected = leaves(backward(upstream, whole_cache))
    _, caches = run_chunks(chunks, parameters, norm)
    dh_n, dmemory = upstream.state.h, upstream.state.memory
    dxs: list[Array] = []
    dparameters: list[dict[str, Array]] = []
    parts = list(zip(np.split(upstream.h, np.cumsum(chunks)[:-1]), caches, strict=True))
    for dh, cache in reversed(parts):
        gradients = gru_backward(dh, cache, dh_n, dmemory_n=dmemory)
        dh_n, dmemory = gradients.h_0, gradients.memory
        dxs.insert(0, gradients.x)
        dparameters.append(leaves(gradients.parameters))
    total = {f"parameters.{path}": sum(part[path] for part in dparameters) for path in dparameters[0]}
    assert_all_close({"x": np.concatenate(dxs), "h_0": dh_n} | total, expected, backend="oracle")


def test_no_state_is_a_state_of_zeros() -> None:
    x, parameters, norm = sequence(), gru_parameters(affine=True), WINDOW_NORMS["atn-ln"]
    zeros = GRUState(np.zeros((B, H)))
    empty = GRUMemory(np.zeros((0, B, 3 * H)), np.zeros((0, B, 3 * H)))
    expected, _ = gru_forward(x, parameters, norm)
    for state in (zeros, zeros._replace(memory=empty)):
        assert_close(gru_forward(x, parameters, norm, state=state)[0].h, expected.h, quantity="exact")


@pytest.mark.parametrize("name", ["bn", "atn-bn"])
def test_evaluation_on_the_only_batch_seen_repeats_training(name: str) -> None:
    norm, parameters, x = WINDOW_NORMS[name], gru_parameters(affine=True), sequence()
    trained, cache = gru_forward(x, parameters, norm)
    ih, hh = (update_population(None, statistics) for statistics in gru_statistics(cache))
    evaluated, _ = gru_forward(x, parameters, GRUPopulationNorm(ih, hh, norm.eps))
    assert_close(evaluated.h, trained.h, quantity="output")
