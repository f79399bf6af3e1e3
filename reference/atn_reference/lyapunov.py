"""Lyapunov exponents of a recurrent layer: the mean rates at which small changes of its state grow or decay.

With S[t] the state of a layer after step t as one vector (D,), J[t] = dS[t] / dS[t-1] at the given inputs, and Q[0]
(D, p) with orthonormal columns::

    Q[t] R[t] = J[t] Q[t-1]                       QR decomposition, diag R[t] > 0
    lambda[i] = mean over t of log R[t][i, i]     in nats a step

(Vogt, Puelma Touzel, Shlizerman, Lajoie 2022, *On Lyapunov Exponents for RNNs*). lambda[0] is the rate at which a
change of the state grows, and the gradient of a loss on its way back in time. A direction that a step forgets has the
exponent -inf.

The state of a layer with windows of k steps is more than h and c: its next step depends on the k - 1 rows that each
site remembers, and on each of these through its mean m and its variance q alone, Eqs. (7)-(8). As coordinates there
are, in this order, h, c, and for each site the means and then the variances, the oldest step first:

- all of them, D = 2H + 6(k - 1) for an LSTM and H + 4(k - 1) for a GRU or an RNN;
- or a minimal set: without the rows of the site "ih", which the inputs alone determine, and without the newest row of
  the site "c", which is the cell itself. D = 2H + 4k - 6 for an LSTM with k >= 2, H + 2(k - 1) for a GRU or an RNN.
  The exponents of the coordinates left out are -inf.

Letters: T time, B batch, I input, H hidden, D coordinates, p exponents, M rows of memory, k window length.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from atn_reference.arrays import Array
from atn_reference.networks.lstm import LSTMCache
from atn_reference.validation import check_arrays, check_instance, check_integer

COMPLEX_STEP = 1e-30
"""Length of a step into the imaginary direction: f(x + i s) = f(x) + i s f'(x) with an error of the order s^2."""

LayerState: TypeAlias = Any
"""The state of any network of the oracle: h, c where it has one, and the memory of its sites."""

LayerRun: TypeAlias = Callable[[Array, LayerState], LayerState]
"""Runs steps x (T, B, I) from a state and returns the state after them."""


def lyapunov_exponents(jacobians: Array, Q: Array, burn_in: int = 0, every: int = 1) -> Array:
    """Exponents from the Jacobians of successive steps, by QR decompositions (Vogt et al. 2022).

    Parameters
    ----------
    jacobians : (T, D, D), J[t] at [t, i, j] = dS[t][i] / dS[t-1][j]
    Q : (D, p), orthonormal columns, the directions before the first step
    burn_in : number of steps whose growth does not count
    every : steps between two decompositions, the last of which may be fewer

    Returns
    -------
    (p,), in the order of the columns

    Raises
    ------
    TypeError, ValueError
        For a bad argument, naming it.
    """
    check_arrays(("jacobians", jacobians, "T D D"), ("Q", Q, "D P"))
    burn_in, every = check_integer("burn_in", burn_in, 0), check_integer("every", every, 1)
    T, D, p = len(jacobians), *Q.shape
    if p > D:
        raise ValueError(f"Q: was {D} x {p}, must have at most as many columns as rows")
    if burn_in >= T:
        raise ValueError(f"burn_in: was {burn_in}, must be less than T = {T}, the number of steps")
    growth = np.zeros(p, dtype=Q.dtype)
    for t, jacobian in enumerate(jacobians, start=1):
        Q = jacobian @ Q
        if t == T or (t - burn_in) % every == 0:
            Q, diagonal = positive_qr(Q)
        else:  # columns of length 1 neither over- nor underflow, however many steps there are between
            diagonal = np.linalg.norm(Q, axis=0)
            Q = Q / np.where(diagonal > 0, diagonal, 1)
        with np.errstate(divide="ignore"):  # log 0 = -inf is the exponent of a direction that is forgotten
            growth += np.log(diagonal) if t > burn_in else 0.0
    exponents: Array = growth / (T - burn_in)
    return exponents


def positive_qr(A: Array) -> tuple[Array, Array]:
    """Q of A = Q R with diag R >= 0, and that diagonal; A is (D, p), p <= D (Vogt et al. 2022)."""
    Q, R = np.linalg.qr(A)
    diagonal = np.diagonal(R)
    return Q * np.where(diagonal < 0, -1, 1), np.abs(diagonal)


def state_coordinates(k: int, *, minimal: bool) -> dict[str, int]:
    """For each site, of how many of its k - 1 rows, from the oldest on, mean and variance are coordinates.

    The site "y" of the network of Eqs. (3)-(4) has none: no later state depends on it.
    """
    rows = check_integer("k", k, 1) - 1
    return {"ih": 0, "hh": rows, "c": max(rows - 1, 0)} if minimal else {"ih": rows, "hh": rows, "c": rows}


def state_vector(state: LayerState, kept: Mapping[str, int]) -> Array:
    """Coordinates (B, D) of a state: h, c, and mean and variance of the rows kept, Eqs. (7)-(8) for one row."""
    parts = [state.h] + ([state.c] if hasattr(state, "c") else [])
    for site in _sites(state):
        rows = getattr(state.memory, site)[: kept.get(site, 0)]
        mean = rows.mean(axis=2)
        deviations = rows - mean[:, :, None]
        parts += [mean.T, (deviations * deviations).mean(axis=2).T]
    return np.concatenate(parts, axis=1)


def state_from_vector(S: Array, around: LayerState, kept: Mapping[str, int]) -> LayerState:
    """State with the coordinates S (B, D), whose other rows are those of `around`, a state of one case.

    A row that is kept is one of those with its mean and variance: a window sees no more of it, Eqs. (7)-(8). The newest
    row of the cell is the cell where it is not kept.
    """
    B, H = len(S), around.h.shape[1]
    states, rest = {"h": S[:, :H]}, S[:, H:]
    if hasattr(around, "c"):
        states["c"], rest = rest[:, :H], rest[:, H:]
    sites = {}
    for site in _sites(around):
        memory = getattr(around.memory, site)
        rows = np.repeat(memory, B, axis=1)
        pairs = kept.get(site, 0)
        mean, var, rest = rest[:, :pairs].T, rest[:, pairs : 2 * pairs].T, rest[:, 2 * pairs :]
        rows[:pairs] = mean[:, :, None] + np.sqrt(var)[:, :, None] * _unit_row(rows.shape[2])
        if site == "c" and pairs < len(rows):
            rows[-1] = states["c"]
        sites[site] = rows
    memory = None if around.memory is None else type(around.memory)(**sites)
    return around._replace(**states, memory=memory)


def step_jacobians(run: LayerRun, x: Array, state: LayerState, *, minimal: bool = True) -> Array:
    """Jacobians of the steps of a layer by complex steps, of which the exponents are made (Vogt et al. 2022).

    The D directions are the cases of one batch: of case j the coordinate j has an imaginary part.

    Parameters
    ----------
    run : the layer, with complex parameters
    x : (T, 1, I), one sequence, complex
    state : state before it, complex, with full windows
    minimal : whether the coordinates are the minimal ones

    Returns
    -------
    (T, D, D)
    """
    k = 1 if state.memory is None else len(state.memory.hh) + 1
    kept = state_coordinates(k, minimal=minimal)
    jacobians = []
    for t in range(len(x)):
        S = state_vector(state, kept)
        D = S.shape[1]
        moved = state_from_vector(S + 1j * COMPLEX_STEP * np.eye(D), state, kept)
        after = run(np.repeat(x[t : t + 1], D, axis=1), moved)
        jacobians.append(state_vector(after, kept).imag.T / COMPLEX_STEP)
        state = run(x[t : t + 1], state)
    return np.stack(jacobians)


def lstm_log_determinant(cache: LSTMCache) -> Array:
    """log|det J| of every step of an LSTM without a norm, in h and c (Eqs. (15)-(16)).

    A multiple of the rows of c, taken from those of h, leaves in these the output gate's part alone, so that::

        log|det J| = sum of log|tanh(z) o (1 - o)| + sum of log f + log|det W_ho|

    with z what tanh is taken of in h, and W_ho the rows of W_hh of the output gate. The gates i and g drop out.

    Parameters
    ----------
    cache : from ``lstm_forward``; of WN and Norm-Prop that of the LSTM inside, ``cache.lstm``

    Returns
    -------
    (T, B)
    """
    check_instance("cache", cache, LSTMCache)
    H = cache.output.h.shape[2]
    (_, log_det_W_ho) = np.linalg.slogdet(cache.parameters.weight_hh[3 * H :])
    steps = [(step.gates, step.output) for step in cache.steps]
    terms = [np.log(np.abs(out.tanh_z) * out.o * (1.0 - out.o)) + np.log(gates.f) for gates, out in steps]
    log_determinant: Array = np.stack(terms).sum(axis=2) + log_det_W_ho
    return log_determinant


def _sites(state: LayerState) -> tuple[str, ...]:
    sites: tuple[str, ...] = () if state.memory is None else state.memory._fields
    return sites


def _unit_row(N: int) -> Array:
    """N >= 2 numbers with mean 0 and mean square 1."""
    row = np.zeros(N)
    row[:2] = np.sqrt(N / 2), -np.sqrt(N / 2)
    return row
