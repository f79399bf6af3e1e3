"""Simulated counts of cells of known types."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.related.hippo.zero_proportion import Array, Counts


class Cells(NamedTuple):
    """Counts and what they were drawn from."""

    X: Counts
    """Counts, shape (G, n)."""
    types: NDArray[np.intp]
    """Type 0, 1, ... of each cell, shape (n,)."""
    marked: NDArray[np.bool_]
    """Whether the rate of a gene differs between the types, shape (G,)."""


class Design(NamedTuple):
    """What cells are drawn from: a Poisson count for each gene and cell, rate of the gene in the type times depth."""

    genes: int
    sizes: tuple[int, ...]
    """Cells of each type."""
    markers: tuple[int, ...]
    """Genes whose rate in each type is `fold` times what it is in the others."""
    fold: float
    depth_deviation: float
    """Standard deviation of the logarithm of a cell's depth; 0 for equal depth."""


def simulate(design: Design, rng: np.random.Generator) -> Cells:
    """Draw cells; the rates of the genes are log-normal with a median of 0.2 and a log-deviation of 1.2.

    Raises
    ------
    ValueError
        If there are not as many numbers of markers as of cells, or more markers than genes.
    """
    if len(design.sizes) != len(design.markers):
        raise ValueError(f"markers is {design.markers}; it must have {len(design.sizes)} numbers, as sizes has")
    if sum(design.markers) > design.genes:
        raise ValueError(f"markers has the sum {sum(design.markers)}; it must be at most genes, {design.genes}")
    base: Array = np.exp(np.log(0.2) + 1.2 * rng.standard_normal(design.genes))
    rates = np.repeat(base[:, None], len(design.sizes), axis=1)
    ends = np.cumsum(design.markers)
    for kind, (end, count) in enumerate(zip(ends, design.markers, strict=True)):
        rates[end - count : end, kind] *= design.fold
    types = np.repeat(np.arange(len(design.sizes)), design.sizes)
    depth = np.exp(design.depth_deviation * rng.standard_normal(len(types)))
    X = rng.poisson(rates[:, types] * depth)
    return Cells(X, types, np.arange(design.genes) < ends[-1])
