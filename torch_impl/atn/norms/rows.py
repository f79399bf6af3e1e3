"""Weights by the direction and the length of their rows (Salimans and Kingma 2016): W[j] = gamma[j] v[j] / |v[j]|."""

from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.interface import Affine
from atn.precision import state_dtype


@runtime_checkable
class Products(Protocol):
    """Weights of a cell that takes the products W_ih x and W_hh h."""

    weight_ih: Tensor
    weight_hh: Tensor
    norm_ih: Affine | None
    norm_hh: Affine | None

    def _replace(self, **changes: Any) -> Self: ...

    def to(self, dtype: torch.dtype) -> Self:
        """Every tensor in `dtype`."""


W = TypeVar("W", bound=Products)


def row_lengths(weight: Float[Tensor, "N I"]) -> Float[Tensor, " N"]:
    """Length of every row, in float32 at least."""
    lengths: Tensor = torch.linalg.vector_norm(weight.to(state_dtype(weight.dtype)), dim=1)
    return lengths


def with_lengths(weight: Float[Tensor, "N I"], gamma: Float[Tensor, " N"]) -> Float[Tensor, "N I"]:
    """The weight whose rows have the direction of `weight` and the signed length `gamma`.

    Rows keep their bits where gamma is their length, since the factor is computed first. A row of zeros has no
    direction, and stays zero.
    """
    return weight * (gamma / _divisors(weight)).unsqueeze(1)


def _divisors(weight: Float[Tensor, "N I"]) -> Float[Tensor, " N"]:
    """What brings a row to length 1: its length, or 1 for a row of zeros."""
    lengths = row_lengths(weight)
    return lengths.masked_fill(lengths == 0, 1)


def with_folded_rows(weights: W) -> W:
    """Weights of a plain cell, from weights with one gain for each row; in float32 at least."""
    weights = weights.to(state_dtype(weights.weight_ih.dtype))
    assert weights.norm_ih is not None  # noqa: S101 - a gain at each product is what makes the norm
    assert weights.norm_hh is not None  # noqa: S101 - the same
    return weights._replace(
        weight_ih=with_lengths(weights.weight_ih, weights.norm_ih.gamma),
        weight_hh=with_lengths(weights.weight_hh, weights.norm_hh.gamma),
        norm_ih=None,
        norm_hh=None,
    )


@torch.no_grad()
def to_unit_rows(weight: Float[Tensor, "N I"]) -> None:
    """Bring the rows to length 1, in place; it changes no output of a weight whose rows are normalized."""
    weight.div_(_divisors(weight).unsqueeze(1))
