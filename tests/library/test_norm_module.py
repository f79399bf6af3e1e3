"""`AssortedTimeNorm`: whole sequences and streams, and the population statistics of the batch."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import atn.functional as F
from atn import AssortedTimeNorm, NormMemory
from atn.window import Base
from tests.library.test_functional import BASES, sequence
from tests.support.comparison import assert_close

pytestmark = pytest.mark.usefixtures("auto_backend")


def module(k: int, base: Base = "layer", dtype: torch.dtype = torch.float64) -> AssortedTimeNorm:
    """Norm of 5 features with gains and shifts of its own."""
    norm = AssortedTimeNorm(5, k, base=base, dtype=dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
        norm.bias.copy_(torch.linspace(-1, 1, 5))
    return norm


def in_chunks(norm: AssortedTimeNorm, a: Tensor, lengths: list[int]) -> Tensor:
    """Stream `a` in chunks of these lengths, the rest at the end."""
    outputs, memory, start = [], None, 0
    for length in [*lengths, len(a)]:
        if chunk := len(a[start : start + length]):
            y, memory = norm.stream(a[start : start + length], memory)
            assert len(memory.steps.mean) == min(norm.k - 1, start + chunk)
            outputs.append(y)
            start += chunk
    return torch.cat(outputs)


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
        AssortedTimeNorm(5, 7, base=base, affine=affine),
        torch.nn.LayerNorm(5, elementwise_affine=affine),
    )
    shapes = {name: parameter.shape for name, parameter in norm.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in layer_norm.named_parameters()}
    if affine:
        norm.load_state_dict(layer_norm.state_dict(), strict=base == "layer")


def window_statistics(a: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every window over the batch, (T, N), as Eqs. (7)-(8) are written."""
    pairs = [torch.var_mean(a[max(0, t - k + 1) : t + 1], (0, 1), correction=0) for t in range(len(a))]
    return torch.stack([mean for _, mean in pairs]), torch.stack([var for var, _ in pairs])


class TestPopulation:
    """Evaluation of `base="batch"`."""

    def test_the_first_batch_starts_the_averages_and_later_ones_move_them(self) -> None:
        norm, first, second = module(3, "batch"), sequence(6, 4, 5, 0), sequence(4, 7, 5, 1)
        norm(first)
        norm(second)
        expected = []
        for old, new in zip(window_statistics(first, 3), window_statistics(second, 3), strict=True):
            expected.append(torch.cat((0.9 * old[:4] + 0.1 * new, old[4:])))
        assert_close(norm.running_mean, expected[0], quantity="output", backend="eager")
        assert_close(norm.running_var, expected[1], quantity="output", backend="eager")
        assert norm.num_batches_tracked.tolist() == [2, 2, 2, 2, 1, 1]

    def test_evaluation_uses_each_steps_own_average_and_the_last_beyond(self) -> None:
        norm, a = module(3, "batch").eval(), sequence(5, 2, 5, 3)
        norm.train()(sequence(3, 4, 5))
        norm.eval()
        steps = [0, 1, 2, 2, 2]
        mean, var = norm.running_mean[steps].unsqueeze(1), norm.running_var[steps].unsqueeze(1)
        expected = norm.weight * (a - mean) / torch.sqrt(var + 1e-5) + norm.bias
        before = copy.deepcopy(norm.state_dict())
        assert_close(norm(a), expected, quantity="output", backend="eager")
        assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())

    def test_a_case_does_not_see_the_others_in_evaluation(self) -> None:
        norm, a = module(3, "batch"), sequence(5, 4, 5)
        norm(a)
        norm.eval()
        assert torch.equal(norm(a)[:, 1:2], norm(a[:, 1:2]))

    @given(lengths=st.lists(st.integers(1, 4), max_size=5))
    def test_streams_train_and_evaluate_as_the_whole(self, lengths: list[int]) -> None:
        whole, streamed, a = module(3, "batch"), module(3, "batch"), sequence(9, 4, 5)
        whole(a)
        in_chunks(streamed, a, lengths)
        for name, value in whole.state_dict().items():
            assert torch.equal(streamed.state_dict()[name], value), name
        assert torch.equal(in_chunks(streamed.eval(), a, lengths), whole.eval()(a))

    def test_evaluation_before_training_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="population statistics and has none: run a batch in training mode"):
            module(3, "batch").eval()(sequence(5, 2, 5))

    @pytest.mark.parametrize("T", [2, 9])
    def test_state_dicts_of_any_length_load(self, T: int) -> None:
        saved, other, a = module(3, "batch"), module(3, "batch"), sequence(5, 2, 5)
        saved(a)
        other(sequence(T, 3, 5, 1))
        other.load_state_dict(saved.state_dict())
        assert other.running_mean.shape == (5, 5)
        assert torch.equal(other.eval()(a), saved.eval()(a))

    def test_a_state_dict_of_other_features_is_refused(self) -> None:
        saved = AssortedTimeNorm(4, 3, base="batch", affine=False)
        saved(sequence(5, 2, 4, dtype=torch.float32))
        with pytest.raises(RuntimeError, match="size mismatch for running_mean"):
            AssortedTimeNorm(5, 3, base="batch", affine=False).load_state_dict(saved.state_dict())

    def test_statistics_carry_no_gradient(self) -> None:
        norm = module(3, "batch")
        norm(sequence(5, 2, 5).requires_grad_())
        assert not norm.running_mean.requires_grad
        assert not norm.running_var.requires_grad


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
    assert repr(module(3, "batch")) == "AssortedTimeNorm(5, k=3, base='batch', eps=1e-05, affine=True)"
