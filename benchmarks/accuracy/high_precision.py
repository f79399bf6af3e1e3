"""ATN and the ATN-LSTM in 50 decimal digits, forward and backward, by mpmath on object arrays.

This is independent of the oracle and has another form. The oracle keeps the rows of every window; this module computes
the statistics from one mean and one variance per step, and the gradient of a row from sums over its windows. With
m[s], q[s] the mean and variance of step s, mu and var those of the window, r = (var + eps)^(-1/2):

    mu[t] = mean of m[s]          var[t] = mean of q[s] + m[s]^2, less mu[t]^2    over s = max(0, t-k+1) .. t
    da[s] = r[s] g[s] + sum over t = s .. min(s+k-1, T-1) of (dmu[t] + 2 dvar[t] (a[s] - mu[t])) / (N K_t)
          = r[s] g[s] + P[s] - 2 R[s] + 2 Q[s] a[s]     P, Q, R the sums of dmu, dvar, dvar mu, each over N K_t
    dmu[t] = -r[t] sum of g[t]    dvar[t] = -r[t]^2 / 2 sum of g[t] xhat[t]      g = gamma dy

Every sum runs on from step to step, the newest term added and the one that leaves the window taken off, so that a step
costs the same whatever k is. In float32 that would lose every digit; here, at an offset of 1000, it costs ten of 50.

Letters: T time, B batch, N features, I input, H hidden, k window length.
"""

from collections import deque
from typing import Any, NamedTuple

import mpmath
import numpy as np
from numpy.typing import NDArray

from atn_reference import Affine, LSTMParameters
from tests.support.problems import LSTMProblem, NormProblem, P, mapped
from tests.support.runners import Result, named_parameters

DIGITS = 50

MP = mpmath.mp.clone()
"""Numbers of `DIGITS` digits, in a separate context, so that the precision of other code does not change."""

MP.dps = DIGITS

Numbers = NDArray[Any]
"""Array of mpmath numbers."""

_tanh = np.frompyfunc(MP.tanh, 1, 1)
_sqrt = np.frompyfunc(MP.sqrt, 1, 1)


def _exactly(value: Any) -> Any:
    """The number that a float32, float64 or longdouble stands for."""
    leading = float(value)
    return MP.mpf(leading) + MP.mpf(float(value - type(value)(leading)))


_convert = np.frompyfunc(_exactly, 1, 1)


def high_precision(values: NDArray[Any]) -> Numbers:
    """Array of the numbers that `values` stand for, without rounding."""
    numbers: Numbers = values if values.dtype == object else _convert(values)
    return numbers


def in_high_precision(problem: P) -> P:
    """The same problem, with mpmath numbers in its arrays."""
    return mapped(problem, high_precision)


def norm_of(values: Numbers) -> Any:
    """Euclidean norm over all elements."""
    return MP.sqrt(np.sum(values * values))


class WindowSum:
    """Sum of the last k terms."""

    def __init__(self, k: int) -> None:
        self._terms: deque[Any] = deque()
        self._k = k
        self._sum: Any = MP.zero

    def add(self, term: Any) -> Any:
        """The sum with one more term."""
        self._terms.append(term)
        self._sum = self._sum + term
        if len(self._terms) > self._k:
            self._sum = self._sum - self._terms.popleft()
        return self._sum


class NormSite:
    """One assorted-time normalization, step by step: first every `forward`, then every `backward` in reverse.

    Parameters
    ----------
    k, eps
        Window length and epsilon.
    axis
        What a statistic is pooled over beside time: 1, the features of a (B, N) row, or 0, the batch.
    affine
        Gain and shift (N,), or None.
    """

    def __init__(self, k: int, eps: float, axis: int, affine: Affine | None) -> None:
        self._k, self._eps, self._axis = k, MP.mpf(eps), axis
        self._gamma: Any = MP.one if affine is None else affine.gamma
        self._beta: Any = MP.zero if affine is None else affine.beta
        self._a: list[Numbers] = []
        self._mu: list[Numbers] = []
        self._r: list[Numbers] = []
        self._means, self._squares = WindowSum(k), WindowSum(k)
        self._dmu, self._dvar, self._dvar_mu = WindowSum(k), WindowSum(k), WindowSum(k)
        self.dgamma: Any = MP.zero
        self.dbeta: Any = MP.zero

    def _mean(self, row: Numbers) -> Numbers:
        mean: Numbers = np.sum(row, axis=self._axis, keepdims=True) / row.shape[self._axis]
        return mean

    def forward(self, a: Numbers) -> Numbers:
        """Normalize the next row (B, N), Eqs. (7)-(9)."""
        m = self._mean(a)
        q = self._mean((a - m) ** 2)
        self._a.append(a)
        steps = min(self._k, len(self._a))
        mu = self._means.add(m) / steps
        var = self._squares.add(q + m * m) / steps - mu * mu
        self._mu.append(mu)
        self._r.append(1 / _sqrt(var + self._eps))
        y: Numbers = self._gamma * (a - mu) * self._r[-1] + self._beta
        return y

    def backward(self, s: int, dy: Numbers) -> Numbers:
        """Gradient of row s, complete once every later step has been through here."""
        a, mu, r = self._a[s], self._mu[s], self._r[s]
        xhat, g = (a - mu) * r, self._gamma * dy
        self.dgamma = self.dgamma + np.sum(dy * xhat, axis=0)
        self.dbeta = self.dbeta + np.sum(dy, axis=0)
        entries = a.shape[self._axis] * min(self._k, s + 1)
        dmu = -r * np.sum(g, axis=self._axis, keepdims=True) / entries
        dvar = -r * r * np.sum(g * xhat, axis=self._axis, keepdims=True) / 2 / entries
        level = self._dmu.add(dmu) - 2 * self._dvar_mu.add(dvar * mu)
        da: Numbers = r * g + level + 2 * self._dvar.add(dvar) * a
        return da

    def affine_gradient(self) -> Affine:
        """Gradient of gain and shift."""
        return Affine(self.dgamma, self.dbeta)


def run_norm(problem: NormProblem) -> Result:
    """Forward and backward of a problem from `in_high_precision`; named as `tests.support.runners` names them."""
    arrays = problem.arrays
    affine = Affine(arrays["gamma"], arrays["beta"]) if problem.affine else None
    site = NormSite(problem.k, problem.eps, 1 if problem.base == "layer" else 0, affine)
    y = np.stack([site.forward(row) for row in arrays["a"]])
    da = np.stack([site.backward(t, arrays["dy"][t]) for t in reversed(range(problem.T))][::-1])
    return Result({"y": y}, {"a": da} | ({"gamma": site.dgamma, "beta": site.dbeta} if problem.affine else {}))


def _sigmoid(x: Numbers) -> Numbers:
    y: Numbers = (1 + _tanh(x / 2)) / 2
    return y


class Step(NamedTuple):
    """What the backward pass of one LSTM step needs."""

    h_prev: Numbers
    c_prev: Numbers
    i: Numbers
    f: Numbers
    g: Numbers
    o: Numbers
    tanh_z: Numbers


class _Layer:
    """One ATN-LSTM layer, Eqs. (14)-(16)."""

    def __init__(self, problem: LSTMProblem) -> None:
        self.parameters = problem.parameters[0][0]
        self.inside = problem.bias_placement == "inside"
        p = self.parameters
        self.ih, self.hh, self.c = (
            NormSite(problem.k, problem.eps, 1, affine) for affine in (p.norm_ih, p.norm_hh, p.norm_c)
        )
        self.steps: list[Step] = []

    def forward(self, x: Numbers, h: Numbers, c: Numbers) -> tuple[Numbers, Numbers]:
        """One step: the next h and c."""
        p = self.parameters
        a_ih, a_hh = x @ p.weight_ih.T, h @ p.weight_hh.T
        if self.inside:
            gates = self.hh.forward(a_hh + p.bias_hh) + self.ih.forward(a_ih + p.bias_ih)
        else:
            gates = self.hh.forward(a_hh) + self.ih.forward(a_ih) + p.bias_ih + p.bias_hh
        pre_i, pre_f, pre_g, pre_o = np.split(gates, 4, axis=1)
        i, f, g, o = _sigmoid(pre_i), _sigmoid(pre_f), _tanh(pre_g), _sigmoid(pre_o)
        c_new = f * c + i * g
        tanh_z = _tanh(self.c.forward(c_new))
        self.steps.append(Step(h, c, i, f, g, o, tanh_z))
        return o * tanh_z, c_new

    def backward(self, t: int, dh: Numbers, dc: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Step t, after those behind it: gradients of the gates, of W_ih x, of W_hh h, and of the old c."""
        _, c_prev, i, f, g, o, tanh_z = self.steps[t]
        dc = dc + self.c.backward(t, dh * o * (1 - tanh_z * tanh_z))
        dgates = np.concatenate(
            [
                dc * g * i * (1 - i),
                dc * c_prev * f * (1 - f),
                dc * i * (1 - g * g),
                dh * tanh_z * o * (1 - o),
            ],
            axis=1,
        )
        return dgates, self.ih.backward(t, dgates), self.hh.backward(t, dgates), dc * f


def run_lstm(problem: LSTMProblem) -> Result:
    """Forward and backward of a problem from `in_high_precision`; named as `tests.support.runners` names them.

    Raises
    ------
    ValueError
        Where it is not one normalized layer in one direction, with biases, gains, shifts and an initial state.
    """
    if not (
        problem.layers == problem.directions == 1
        and problem.norm == "atn"
        and problem.bias
        and problem.affine
        and problem.initial_state
    ):
        raise ValueError(f"problem: was {problem!r}, must be one ATN layer and direction with every input there is")
    arrays = problem.arrays
    layer = _Layer(problem)
    h, c = arrays["h_0"][0], arrays["c_0"][0]
    hs = []
    for row in arrays["x"]:
        h, c = layer.forward(row, h, c)
        hs.append(h)

    p, T = layer.parameters, problem.T
    dh, dc = arrays["dh_n"][0], arrays["dc_n"][0]
    dgates, da_ih, da_hh = {}, {}, {}
    for t in reversed(range(T)):
        dgates[t], da_ih[t], da_hh[t], dc = layer.backward(t, arrays["dh"][t] + dh, dc)
        dh = da_hh[t] @ p.weight_hh
    dbias_ih, dbias_hh = (da_ih, da_hh) if layer.inside else (dgates, dgates)
    parameters = LSTMParameters(
        weight_ih=np.sum([da_ih[t].T @ arrays["x"][t] for t in range(T)], axis=0),
        weight_hh=np.sum([da_hh[t].T @ layer.steps[t].h_prev for t in range(T)], axis=0),
        bias_ih=np.sum([dbias_ih[t] for t in range(T)], axis=(0, 1)),
        bias_hh=np.sum([dbias_hh[t] for t in range(T)], axis=(0, 1)),
        norm_ih=layer.ih.affine_gradient(),
        norm_hh=layer.hh.affine_gradient(),
        norm_c=layer.c.affine_gradient(),
    )
    dx = np.stack([da_ih[t] @ p.weight_ih for t in range(T)])
    inputs = {"x": dx, "h_0": dh[None], "c_0": dc[None]}
    return Result({"output": np.stack(hs), "h_n": h[None], "c_n": c[None]}, inputs | named_parameters([[parameters]]))
