"""`AssortedTimeNorm`: whole sequences and streams, and the population statistics of the batch."""

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize, prune

import atn.functional as F
from atn import AssortedTimeNorm, NormMemory
from atn.choices import Base
from tests.support.comparison import assert_close
from tests.support.norms import BASES, in_chunks, module, sequence

pytestmark = pytest.mark.usefixtures("auto_backend")


@pytest.mark.parametrize("base", BASES)
def test_whole_sequence_is_the_function(base: Base) -> None:
    norm, a = module(3, base), sequence(8, 4, 5)
    assert torch.equal(norm(a), F.assorted_time_norm(a, 3, norm.weight, norm.bias, base=base))


@pytest.mark.claim("s3-fixed-cost")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("base", BASES)
@given(
    T=st.integers(1, 30), B=st.integers(1, 5), k=st.integers(1, 20), lengths=st.lists(st.integers(1, 12), max_size=8),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_stream_equals_the_whole_bit_for_bit(
    base: Base, dtype: torch.dtype, T: int, B: int, k: int, lengths: list[int], seed: int
) -> None:
    assume(base == "layer" or B > 1 or k > 1)
    norm, a = module(k, base, dtype), sequence(T, B, 5, seed, dtype)
    assert_close(in_chunks(norm, a, lengths), norm(a), quantity="exact", backend="eager")


@pytest.mark.parametrize("base", BASES)
def test_gradients_flow_through_the_memory_until_it_is_detached(base: Base) -> None:
    norm, a = module(4, base), sequence(7, 3, 5).requires_grad_()
    (whole,) = torch.autograd.grad(norm(a).square().sum(), a)
    (streamed,) = torch.autograd.grad(in_chunks(norm, a, [2, 1, 3]).square().sum(), a)
    assert_close(streamed, whole, quantity="gradient", backend="eager")
    _, memory = norm.stream(a[:3])
    y, _ = norm.stream(a[3:], memory.detach())
    (cut,) = torch.autograd.grad(y.square().sum(), a)
    assert not cut[:3].any()
    assert cut[3:].all()


@pytest.mark.parametrize("base", BASES)
def test_a_memory_holds_no_more_than_it_shows(base: Base) -> None:
    _, memory = module(4, base).stream(sequence(50, 3, 5))
    assert [tensor.untyped_storage().nbytes() for tensor in memory.steps] == [tensor.nbytes for tensor in memory.steps]


def test_the_memory_is_passed_and_never_kept() -> None:
    norm, a = module(4), sequence(7, 3, 5)
    first = norm(a)
    norm.stream(a[:5])
    assert torch.equal(norm(a), first)


@pytest.mark.claim("s1-no-new-parameters")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("affine", [True, False])
def test_parameters_are_those_of_layer_normalization(base: Base, affine: bool) -> None:  # noqa: FBT001 - parametrized
    norm, layer_norm = (
        AssortedTimeNorm(5, 7, base=base, affine=affine, max_steps=4 if base == "batch" else None),
        torch.nn.LayerNorm(5, elementwise_affine=affine),
    )
    shapes = {name: parameter.shape for name, parameter in norm.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in layer_norm.named_parameters()}
    if affine:
        norm.load_state_dict(layer_norm.state_dict(), strict=base == "layer")


@pytest.mark.parametrize("base", BASES)
def test_copies_and_pickles_are_the_same_norm(base: Base) -> None:
    norm, a = module(3, base), sequence(5, 2, 5)
    norm(a)
    norm.eval()
    for other in (copy.deepcopy(norm), pickle.loads(pickle.dumps(norm))):  # noqa: S301 - our own bytes
        assert torch.equal(other(a), norm(a))


def test_memory_is_a_plain_tuple_of_tensors() -> None:
    _, memory = module(4).stream(sequence(5, 2, 5))
    assert isinstance(memory, NormMemory)
    assert memory.position == 5
    assert [tuple(statistic.shape) for statistic in memory.steps] == [(3, 2), (3, 2)]


def test_repr_names_the_settings() -> None:
    assert repr(module(3, "batch")) == (
        "AssortedTimeNorm(\n"
        "  5, k=3, base='batch', eps=1e-05, affine=True\n"
        "  (population): PopulationStatistics(5, max_steps=30, momentum=0.1)\n"
        ")"
    )


@pytest.mark.parametrize("base", BASES)
def test_stream_runs_the_hooks_of_the_module(base: Base) -> None:
    """So that a pruned gain is fresh, which a hook computes."""
    norm, a, seen = module(3, base), sequence(5, 2, 5), []
    prune.random_unstructured(norm, "weight", amount=2)  # type: ignore[no-untyped-call]  # torch's own
    norm.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    with torch.no_grad():
        norm.get_parameter("weight_orig").mul_(3.0)
    y, memory = norm.stream(a)
    assert torch.equal(y, norm(a))
    assert seen[0][0] is a
    assert seen[0][1] == (y, memory)


@pytest.mark.parametrize("base", ["layer", "batch"])
def test_reset_parameters_reaches_what_stands_behind_a_gain(base: Base) -> None:
    norm = AssortedTimeNorm(3, 2, base=base, max_steps=4 if base == "batch" else None)
    prune.identity(norm, "weight")  # type: ignore[no-untyped-call]  # torch's own
    parametrize.register_parametrization(norm, "bias", nn.Identity())
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.fill_(9)
    norm.reset_parameters()
    norm(torch.randn(4, 2, 3))
    assert torch.equal(norm.weight, torch.ones(3))
    assert torch.equal(norm.bias, torch.zeros(3))


def test_memory_moves_to_another_dtype_and_device() -> None:
    _, memory = AssortedTimeNorm(3, 3).stream(torch.randn(4, 2, 3))
    moved = memory.to(torch.float64)
    assert {statistic.dtype for statistic in moved.steps} == {torch.float64}
    assert moved._replace(steps=memory.steps) == memory
    assert {statistic.device.type for statistic in memory.to("meta").steps} == {"meta"}


def test_the_memory_of_a_stream_goes_to_stream() -> None:
    norm, a = AssortedTimeNorm(3, 2), torch.randn(4, 2, 3)
    _, memory = norm.stream(a)
    call: Any = norm
    message = r"^forward takes one tensor, got NormMemory beside it; the NormMemory of a stream goes to stream$"
    with pytest.raises(TypeError, match=message):
        call(a, memory)
