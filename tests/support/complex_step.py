"""Complex-step check of a hand-written backward pass.

For an analytic f, Im(f(x + i h d)) / h is the derivative of f along d with an error of order h^2 and without a
subtraction, so with h = 1e-30 it is exact to rounding. Inputs, outputs and gradients are trees: NumPy arrays within
tuples, NamedTuples, lists and dicts; whatever else stands in a tree (None, numbers, names) is passed through.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tests.support.comparison import assert_close
from tests.support.tolerances import VANISHING

STEP = 1e-30
DIRECTIONS = 2

COMPLEX: dict[str, Any] = {"float64": np.complex128, np.dtype(np.longdouble).name: np.clongdouble}

Array = np.ndarray[Any, Any]
Tree = Any


def leaves(tree: Tree) -> dict[str, Array]:
    """Floating-point arrays of a tree by their path."""
    return {path: array for path, array in all_arrays(tree).items() if np.issubdtype(array.dtype, np.inexact)}


def all_arrays(tree: Tree) -> dict[str, Array]:
    """Arrays of any dtype in a tree by their path."""
    return dict(_leaves(tree, ""))


def _leaves(tree: Tree, path: str) -> Iterator[tuple[str, Array]]:
    if isinstance(tree, np.ndarray):
        yield path, tree
    for name, branch in _branches(tree):
        yield from _leaves(branch, f"{path}.{name}" if path else name)


def _branches(tree: Tree) -> list[tuple[str, Tree]]:
    if isinstance(tree, tuple) and hasattr(tree, "_asdict"):
        return list(tree._asdict().items())
    if isinstance(tree, Mapping):
        return list(tree.items())
    return [(str(i), branch) for i, branch in enumerate(tree)] if isinstance(tree, list | tuple) else []


def mapped(tree: Tree, function: Callable[[str, Array], Array], path: str = "") -> Tree:
    """Tree with every floating-point array replaced by `function(path, array)`."""
    if isinstance(tree, np.ndarray):
        return function(path, tree) if np.issubdtype(tree.dtype, np.inexact) else tree
    branches = [(name, mapped(b, function, f"{path}.{name}" if path else name)) for name, b in _branches(tree)]
    if isinstance(tree, tuple) and hasattr(tree, "_asdict"):
        return type(tree)(**dict(branches))
    if isinstance(tree, Mapping):
        return dict(branches)
    return type(tree)(branch for _, branch in branches) if isinstance(tree, list | tuple) else tree


def cast(tree: Tree, dtype: Any) -> Tree:
    """Tree with every floating-point array in `dtype`."""

    def converted(_: str, array: Array) -> Array:
        return array.astype(dtype)

    return mapped(tree, converted)


def random_like(tree: Tree, seed: int) -> Tree:
    """Tree of the same shape with standard normal arrays."""
    rng = np.random.default_rng(seed)

    def drawn(_: str, array: Array) -> Array:
        return np.asarray(rng.standard_normal(array.shape), dtype=array.dtype)

    return mapped(tree, drawn)


def assert_gradients(
    forward: Callable[[Tree], tuple[Tree, Any]],
    backward: Callable[[Tree, Any], Tree],
    inputs: Tree,
    *,
    seed: int = 0,
    quantity: str = "gradient",
) -> None:
    """Assert that `backward` gives the gradient of every array of `inputs`, by directional complex-step derivatives.

    Parameters
    ----------
    forward
        From a tree of inputs to (outputs, cache).
    backward
        From (upstream gradients, cache) to a tree with the paths and shapes of `inputs`. The upstream gradients have
        the shape of the outputs and are random, so that every output counts.
    inputs
        Real arrays; float64 or longdouble.
    """
    outputs, cache = forward(inputs)
    upstream = random_like(outputs, seed)
    gradients = leaves(backward(upstream, cache))
    arrays = leaves(inputs)
    assert gradients.keys() == arrays.keys()
    assert {name: g.shape for name, g in gradients.items()} == {name: a.shape for name, a in arrays.items()}

    def derivative(name: str, direction: Array) -> Any:
        def moved(path: str, array: Array) -> Array:
            step: Array = direction * (1j * STEP) if path == name else np.zeros(1)
            return np.asarray(array + step, dtype=COMPLEX[array.dtype.name])

        moved_outputs = leaves(forward(mapped(inputs, moved))[0])
        return sum((u * moved_outputs[path]).sum() for path, u in leaves(upstream).items()).imag / STEP

    rng = np.random.default_rng(seed + 1)
    results = {}
    for name, array in arrays.items():
        directions = [np.asarray(rng.standard_normal(array.shape), dtype=array.dtype) for _ in range(DIRECTIONS)]
        actual = np.array([(gradients[name] * d).sum() for d in directions])
        results[name] = actual, np.array([derivative(name, d) for d in directions])
    # A gradient that vanishes by symmetry, as that of a shift in front of a norm, is held to the size of the others.
    floor = VANISHING * max(float(np.abs(expected).max()) for _, expected in results.values())
    for name, (actual, expected) in results.items():
        scale = max(float(np.abs(expected).max()), floor)
        assert_close(actual, expected, quantity=quantity, scale=scale, what=name)
