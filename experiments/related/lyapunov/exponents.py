"""Exponents of a layer as measurements of a validation, and back."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from atn.lyapunov import spectrum


class Exponents(NamedTuple):
    """Lyapunov exponents in nats a step, the largest first: mean and sample standard deviation over the sequences."""

    mean: list[float]
    spread: list[float]


def check_sizes(*, length: int, burn_in: int, k: int, exponents: int, hidden: int) -> None:
    """Check the sizes with which exponents of one layer are measured.

    Raises
    ------
    ValueError
        `length` is not more than `burn_in`, `burn_in` is below k - 1, or there are more exponents than 2 `hidden`, the
        size of (h, c).
    """
    if length <= burn_in:
        raise ValueError(f"length is {length}; it must be more than burn_in, {burn_in}")
    if burn_in < k - 1:
        raise ValueError(f"burn_in is {burn_in}; it must be at least k - 1, to fill the windows")
    if exponents > 2 * hidden:
        raise ValueError(f"exponents is {exponents}; it must be at most {2 * hidden}, twice hidden")


def measured_exponents(layer: nn.Module, x: Tensor, count: int, burn_in: int) -> dict[str, Tensor]:
    """The largest exponents of a recurrent layer for input x (T, B, I), by the names that records have."""
    found = spectrum(cast("Any", layer), x, count=count, burn_in=burn_in)
    means, spreads = found.mean[0], found.spread[0]
    names = range(1, count + 1)
    return {
        **{f"lambda {i}": mean for i, mean in zip(names, means, strict=True)},
        **{f"spread {i}": spread for i, spread in zip(names, spreads, strict=True)},
    }


def read_exponents(measured: Mapping[str, float]) -> Exponents:
    """The exponents among the measurements of a validation."""
    count = sum(name.startswith("lambda ") for name in measured)
    mean, spread = ([measured[f"{kind} {i}"] for i in range(1, count + 1)] for kind in ("lambda", "spread"))
    return Exponents(mean, spread)
