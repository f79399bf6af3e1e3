"""Copies of the caller's arrays, for a cache to keep."""

from typing import Any, TypeVar

import numpy as np

S = TypeVar("S")


def copied(structure: S) -> S:
    """Copy every array in nested tuples; whatever is neither an array nor a tuple stays as it is.

    A cache keeps copies of what it needs of the caller's arrays. The backward pass is then right even where the caller
    writes into them between the two passes, as an optimizer does.

    Parameters
    ----------
    structure : an array, a tuple or NamedTuple of such, or anything else
    """
    result: S = _copied(structure)
    return result


def _copied(structure: Any) -> Any:
    if isinstance(structure, np.ndarray):
        return structure.copy()
    if isinstance(structure, tuple):
        items = [_copied(item) for item in structure]
        return type(structure)(*items) if hasattr(structure, "_fields") else tuple(items)
    return structure
