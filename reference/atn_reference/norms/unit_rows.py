"""Weights whose rows have length 1: where Norm-Prop starts, and where it is brought back to after every step.

Laurent, Ballas, Vincent, *Recurrent Normalization Propagation*, section 3.3: orthogonal weights, rows forced to unit
length. A plain gradient step can only lengthen the rows of a normalized weight, NP (18), and long rows learn slowly.

Letters: N outputs (rows), I inputs, H hidden.
"""

import numpy as np

from atn_reference.arrays import Array
from atn_reference.validation import check_arrays, check_instance, check_integer


def row_lengths(W: Array) -> Array:
    """Length |W[j]| of every row, NP (13): the gains with which weight normalization leaves a weight as it is.

    The root of a sum of squares without abs, so that complex-step derivatives pass.

    Parameters
    ----------
    W : (N, I)

    Returns
    -------
    (N,)

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_arrays(("W", W, "N I"))
    lengths: Array = np.sqrt((W * W).sum(axis=1))
    return lengths


def unit_rows(W: Array) -> Array:
    """Rows brought to length 1 (section 3.3 of Norm-Prop), the projection that follows an optimizer step.

    It changes neither the output of a normalized weight nor the direction of a row; the gradient with respect to a row
    is multiplied by the length that the row had. A row of zeros stays zero.

    Parameters
    ----------
    W : (N, I)

    Returns
    -------
    (N, I)

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    lengths = row_lengths(W)[:, None]
    projected: Array = W / np.where(lengths == 0, np.ones_like(lengths), lengths)
    return projected


def orthogonal_unit_rows(rng: np.random.Generator, H: int, I: int, blocks: int = 4) -> Array:
    """Draw a weight of unit rows, one orthogonal block for each gate (section 3.3 of Norm-Prop).

    A block (H, I) has orthonormal rows where H <= I; where H > I its columns are orthonormal and its rows are brought
    to length 1. The paper does not say whether a gate or the whole weight is orthogonal; with a block for each gate the
    recurrent rows have length 1 already.

    Parameters
    ----------
    rng : NumPy's generator
    H, I : rows and columns of a block
    blocks : number of gates

    Returns
    -------
    (blocks * H, I), float64

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_instance("rng", rng, np.random.Generator)
    H, I, blocks = check_integer("H", H, 1), check_integer("I", I, 1), check_integer("blocks", blocks, 1)
    return np.concatenate([unit_rows(_orthogonal(rng, H, I)) for _ in range(blocks)])


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Orthonormal rows or columns, whichever are fewer, uniform over such matrices."""
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.sign(np.diag(R))
    matrix: Array = Q if rows >= columns else Q.T
    return matrix
