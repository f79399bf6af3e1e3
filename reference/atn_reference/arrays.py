"""Types that every file shares.

Letters: T time, B batch, N features, M rows of memory.
"""

from typing import Any, Literal, NamedTuple, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An array of any real or complex floating-point dtype; functions keep the dtype that they are given."""

Base: TypeAlias = Literal["layer", "batch"]
"""What a statistic is pooled over besides time: the features of one case (LN) or the cases of one feature (BN)."""


class NormGradients(NamedTuple):
    """Gradients of a normalizer's inputs, each of its input's shape; None where the input was None.

    Attributes
    ----------
    a : (T, B, N)
    gamma, beta : (N,) or None
    memory : (M, B, N) or None
    """

    a: Array
    gamma: Array | None
    beta: Array | None
    memory: Array | None = None
