"""`atn.functional.assorted_time_norm`: its limits, its gradients, its dtypes and what it costs."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import atn.functional as F
from atn.choices import Base
from tests.support.comparison import assert_close
from tests.support.norms import BASES, sequence
from tests.support.operations import CountOperations

pytestmark = pytest.mark.usefixtures("auto_backend")


def literal(a: Tensor, k: int, eps: float, base: Base) -> Tensor:
    """Eqs. (7)-(9) as they are written, one window after the other."""
    axes = (0, 2) if base == "layer" else (0, 1)
    rows = []
    for t in range(len(a)):
        window = a[max(0, t - k + 1) : t + 1]
        var, mean = torch.var_mean(window, axes, correction=0, keepdim=True)
        rows.append((a[t] - mean[0]) / torch.sqrt(var[0] + eps))
    return torch.stack(rows)


@pytest.mark.claim("eq-7", "eq-8", "eq-9", "figure-1")
@pytest.mark.parametrize("base", BASES)
@given(T=st.integers(1, 40), k=st.integers(1, 50), seed=st.integers(0, 99))
def test_every_window_length_gives_the_equations(base: Base, T: int, k: int, seed: int) -> None:
    a = sequence(T, 3, 4, seed)
    assert_close(F.assorted_time_norm(a, k, base=base), literal(a, k, 1e-5, base), quantity="output", backend="eager")


@pytest.mark.claim("eq-5", "eq-6")
def test_one_step_is_layer_normalization() -> None:
    a = sequence(5, 3, 7).requires_grad_()
    weight, bias = torch.linspace(-1, 2, 7).double().requires_grad_(), torch.linspace(3, 1, 7).double().requires_grad_()
    dy = sequence(5, 3, 7, seed=1)
    ours = F.assorted_time_norm(a, 1, weight, bias)
    theirs = torch.nn.functional.layer_norm(a, (7,), weight, bias)
    assert_close(ours, theirs, quantity="output", backend="eager")
    for actual, expected in zip(
        torch.autograd.grad(ours, (a, weight, bias), dy),
        torch.autograd.grad(theirs, (a, weight, bias), dy),
        strict=True,
    ):
        assert_close(actual, expected, quantity="gradient", backend="eager")


def test_one_step_over_the_batch_is_batch_normalization() -> None:
    a, weight, bias = sequence(5, 6, 3), torch.linspace(-1, 2, 3).double(), torch.linspace(3, 1, 3).double()
    ours = F.assorted_time_norm(a, 1, weight, bias, base="batch")
    theirs = [torch.nn.functional.batch_norm(step, None, None, weight, bias, training=True) for step in a]
    assert_close(ours, torch.stack(theirs), quantity="output", backend="eager")


@pytest.mark.parametrize("k", [5, 6, 1000, 10**12])
def test_a_window_longer_than_the_sequence_holds_the_whole_prefix(k: int) -> None:
    a = sequence(5, 2, 3)
    assert_close(F.assorted_time_norm(a, k), literal(a, 5, 1e-5, "layer"), quantity="output", backend="eager")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 4), (4, 1, 3), (1, 4, 3), (4, 3, 1)])
def test_axes_of_one(shape: tuple[int, int, int], base: Base) -> None:
    a = sequence(*shape)
    assert_close(F.assorted_time_norm(a, 3, base=base), literal(a, 3, 1e-5, base), quantity="output", backend="eager")


@pytest.mark.parametrize("base", BASES)
def test_strides_do_not_matter(base: Base) -> None:
    a = sequence(6, 4, 5)
    expanded = a[:, :1].expand(6, 4, 5)
    for view in (a[::2], a[:, :, 1:4], a.permute(2, 1, 0), expanded):
        assert not view.is_contiguous()
        whole = F.assorted_time_norm(view.contiguous(), 3, base=base)
        assert torch.equal(F.assorted_time_norm(view, 3, base=base), whole)


def test_the_input_stays_as_it_was() -> None:
    a = sequence(6, 4, 5)
    before = a.clone()
    F.assorted_time_norm(a, 3, torch.ones(5).double(), torch.ones(5).double())
    assert torch.equal(a, before)


@pytest.mark.parametrize(
    ("k", "base", "affine"),
    [
        *((k, base, affine) for k in (1, 3, 9) for base in BASES for affine in ("both", "none")),
        (3, "layer", "weight"),
        (3, "layer", "bias"),
    ],
)
def test_first_and_second_derivatives(auto_backend: str, k: int, base: Base, affine: str) -> None:
    a = sequence(4, 3, 3).requires_grad_()
    weight = torch.tensor([0.5, -1.0, 2.0]).double().requires_grad_() if affine in {"both", "weight"} else None
    bias = torch.tensor([1.0, 0.0, -2.0]).double().requires_grad_() if affine in {"both", "bias"} else None
    given_parameters = [parameter for parameter in (weight, bias) if parameter is not None]

    def norm(a: Tensor, *_: Tensor) -> Tensor:
        return F.assorted_time_norm(a, k, weight, bias, 1e-2, base)

    assert torch.autograd.gradcheck(norm, (a, *given_parameters))
    if auto_backend == "eager":
        assert torch.autograd.gradgradcheck(norm, (a, *given_parameters))


def test_the_gradient_reaches_every_step_of_the_window_and_no_other() -> None:
    a = sequence(9, 2, 3).requires_grad_()
    (da,) = torch.autograd.grad(F.assorted_time_norm(a, 4)[7, 0, 1], a)
    reached = da.abs().sum(-1) > 0
    assert reached[:, 0].tolist() == [4 <= t <= 7 for t in range(9)]
    assert not reached[:, 1].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    a = sequence(20, 3, 50, dtype=dtype) + 3
    weight = torch.linspace(0.5, 2, 50).to(dtype)
    y = F.assorted_time_norm(a, 7, weight)
    assert y.dtype == dtype
    assert torch.equal(y, F.assorted_time_norm(a.float(), 7, weight.float()).to(dtype))


def test_autocast_computes_in_float32_and_answers_in_the_dtype_of_the_input() -> None:
    a, weight = sequence(6, 2, 5, dtype=torch.float32), torch.linspace(0.5, 2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(F.assorted_time_norm(a, 3, weight), F.assorted_time_norm(a.clone(), 3, weight))
        half = F.assorted_time_norm(a.bfloat16(), 3, weight)
    assert torch.equal(half, F.assorted_time_norm(a.bfloat16().float(), 3, weight).bfloat16())


def test_a_constant_window_without_epsilon_gives_what_ieee_gives() -> None:
    a = torch.full((3, 1, 4), 2.0)
    assert F.assorted_time_norm(a, 2, eps=0.0).isnan().all()
    assert torch.equal(F.assorted_time_norm(a, 2), torch.zeros(3, 1, 4))


def test_variances_are_never_negative() -> None:
    """Rounding of nearly constant rows at a large offset would show as NaN under the root with eps = 0."""
    generator = torch.Generator().manual_seed(0)
    a = 1e4 + 1e-3 * torch.randn(200, 50, 3, generator=generator)
    a[:, :, 1:] = a[:, :, :1]
    y = F.assorted_time_norm(a, 13, eps=1e-30)
    assert not y.isnan().any()


def operations(T: int, k: int) -> CountOperations:
    """What the norm of a sequence costs."""
    a, counter = sequence(T, 2, 16), CountOperations()
    with counter:
        F.assorted_time_norm(a, k, backend="eager")
    return counter


@pytest.mark.claim("s3-fixed-cost")
def test_operations_grow_with_the_logarithm_of_k_and_not_with_time() -> None:
    counts = [operations(3000, 2**digits).count for digits in range(1, 10)]
    steps = {later - earlier for earlier, later in itertools.pairwise(counts)}
    assert len(steps) == 1, counts
    assert operations(3000, 300).count == operations(1500, 300).count


@pytest.mark.claim("s3-fixed-cost")
def test_work_is_that_of_the_sequence_plus_log_k_numbers_a_step() -> None:
    """Elements written: 2 * 16 a step for the rows, some 10 * 2 a step for each of the merges."""
    rows = operations(2048, 1).elements
    assert operations(2048, 1023).elements - rows < 18 * 2 * 2048 * 20
    assert operations(2048, 1023).elements < 5 * operations(2048, 31).elements
