"""LN-LSTM and ATN-LSTM in JAX: Eqs. (14)-(16) as a jitted `jax.lax.scan`, on the CPU.

W_ih x is one product before the scan. All shapes are fixed, whatever the window: the scan carries, for each norm, a
ring with mean and variance of each of the last k steps, from which Eq. (9) follows because all steps have as many
features.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from jaxtyping import Float
from torch import Tensor

from benchmarks.peers.plain import NormedWeights
from benchmarks.timing import Call, Data

EPS = 1e-5

Parameters = dict[str, jax.Array]
"""Name of a parameter, as in the module -> its value."""


class Ring(NamedTuple):
    """Mean and variance of each of the last k steps of every case; step t is in row t mod k."""

    mean: Float[jax.Array, "k B"]
    var: Float[jax.Array, "k B"]


Norm = Callable[[Any, jax.Array, jax.Array, jax.Array, jax.Array], tuple[Any, jax.Array]]
"""Statistics of earlier steps, t, preactivations (B, N), gamma, beta -> statistics with this step's, output (B, N)."""


def layer_norm(_: None, t: jax.Array, a: jax.Array, gamma: jax.Array, beta: jax.Array) -> tuple[None, jax.Array]:
    """Layer normalization of one step, (B, N) -> (B, N); it needs no earlier step."""
    del t
    return None, _normalized(a, a.mean(axis=1), a.var(axis=1), gamma, beta)


def assorted_time_norm(
    ring: Ring, t: jax.Array, a: jax.Array, gamma: jax.Array, beta: jax.Array
) -> tuple[Ring, jax.Array]:
    """Eq. (9) of one step, (B, N) -> (B, N)."""
    k = len(ring.mean)
    ring = Ring(ring.mean.at[t % k].set(a.mean(axis=1)), ring.var.at[t % k].set(a.var(axis=1)))
    share = (jnp.arange(k) <= t) / jnp.minimum(t + 1, k).astype(a.dtype)  # rows that no step has filled yet: 0
    mean = share @ ring.mean
    # Of values in groups of one size: the mean of the groups' variances plus the variance of their means.
    var = share @ (ring.var + (ring.mean - mean) ** 2)
    return ring, _normalized(a, mean, var, gamma, beta)


def _normalized(a: jax.Array, mean: jax.Array, var: jax.Array, gamma: jax.Array, beta: jax.Array) -> jax.Array:
    return gamma * (a - mean[:, None]) * lax.rsqrt(var + EPS)[:, None] + beta


def hidden_states(parameters: Parameters, x: jax.Array, *, norm: Norm, start: Any) -> jax.Array:
    """Hidden states (T, B, H) of all steps; `start` is what `norm` has before the first step."""
    h = jnp.zeros((x.shape[1], parameters["weight_hh"].shape[1]), x.dtype)
    bias = parameters["bias_ih"] + parameters["bias_hh"]

    def normalize(site: str, statistics: Any, t: jax.Array, a: jax.Array) -> tuple[Any, jax.Array]:
        return norm(statistics, t, a, parameters[f"{site}.weight"], parameters[f"{site}.bias"])

    def step(carry: Any, input_of_step: jax.Array) -> tuple[Any, jax.Array]:
        t, h, c, of_ih, of_hh, of_c = carry
        of_ih, from_input = normalize("norm_ih", of_ih, t, input_of_step)
        of_hh, from_h = normalize("norm_hh", of_hh, t, h @ parameters["weight_hh"].T)
        i, f, g, o = jnp.split(from_input + from_h + bias, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        of_c, normalized_c = normalize("norm_c", of_c, t, c)
        h = jax.nn.sigmoid(o) * jnp.tanh(normalized_c)
        return (t + 1, h, c, of_ih, of_hh, of_c), h

    carry = (jnp.zeros((), jnp.int32), h, h, start, start, start)
    states: jax.Array = lax.scan(step, carry, x @ parameters["weight_ih"].T)[1]
    return states


class JaxLSTM(NormedWeights):
    """A jitted layer. It is timed by the two calls below, in which no tensor of PyTorch takes part.

    `forward` runs the same two jitted functions for autograd of PyTorch, so that what is timed is what is checked.
    """

    def __init__(self, input_size: int, hidden_size: int, norm: Norm, start: Callable[[int], Any]) -> None:
        super().__init__(input_size, hidden_size)
        _take_as_many_threads_as_torch()

        def output(parameters: Parameters, x: jax.Array) -> jax.Array:
            return hidden_states(parameters, x, norm=norm, start=start(x.shape[1]))

        def output_and_gradients(parameters: Parameters, x: jax.Array, dh: jax.Array) -> Any:
            h, pull_back = jax.vjp(output, parameters, x)
            return h, pull_back(dh)

        self.output = jax.jit(output)
        self.output_and_gradients = jax.jit(output_and_gradients)

    def arrays(self) -> Parameters:
        """The parameters, copied to JAX."""
        return {name: _array(parameter) for name, parameter in self.named_parameters()}

    def forward_call(self, data: Data) -> Call:
        """Forward pass alone, on arrays that are copied to JAX here."""
        parameters, x = self.arrays(), _array(data.x)
        return lambda: jax.block_until_ready(self.output(parameters, x))

    def training_call(self, data: Data) -> Call:
        """Output and gradients of the input and of all parameters, on arrays that are copied to JAX here."""
        parameters, x, dh = self.arrays(), _array(data.x), _array(data.dh)
        return lambda: jax.block_until_ready(self.output_and_gradients(parameters, x, dh))

    def forward(self, x: Float[Tensor, "T B I"]) -> Float[Tensor, "T B H"]:
        """Hidden states of all steps."""
        h: Tensor = _ThroughJax.apply(self, x, *self.parameters())  # type: ignore[no-untyped-call] # torch's
        return h


class _ThroughJax(torch.autograd.Function):
    """The jitted functions of a `JaxLSTM` as one operation of autograd."""

    @staticmethod
    def forward(ctx: Any, layer: JaxLSTM, x: Tensor, *parameters: Tensor) -> Tensor:
        del parameters  # arguments, so that autograd asks for their gradients; `layer` has their values
        ctx.layer, ctx.x = layer, x.detach()
        return _tensor(layer.output(layer.arrays(), _array(x)))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        layer: JaxLSTM = ctx.layer
        (dh,) = upstream
        _, (of_parameters, of_x) = layer.output_and_gradients(layer.arrays(), _array(ctx.x), _array(dh))
        names = [name for name, _ in layer.named_parameters()]
        return None, _tensor(of_x), *(_tensor(of_parameters[name]) for name in names)


def jax_layer_norm(input_size: int, hidden_size: int) -> JaxLSTM:
    """The LN-LSTM in JAX."""
    return JaxLSTM(input_size, hidden_size, layer_norm, lambda _: None)


def jax_assorted_time_norm(input_size: int, hidden_size: int, k: int) -> JaxLSTM:
    """The ATN-LSTM in JAX."""
    return JaxLSTM(input_size, hidden_size, assorted_time_norm, partial(_empty_ring, k))


def _empty_ring(k: int, cases: int) -> Ring:
    return Ring(jnp.zeros((k, cases)), jnp.zeros((k, cases)))


def _array(tensor: Tensor) -> jax.Array:
    return jnp.asarray(tensor.detach().numpy(), copy=True)


def _tensor(array: jax.Array) -> Tensor:
    return torch.from_numpy(np.array(array))


def _take_as_many_threads_as_torch() -> None:
    """Limit XLA to the CPU and to PyTorch's number of threads; without effect once JAX has computed anything.

    XLA has no flag for it. The client of the CPU reads the size of its pool from the variable NPROC when it starts.
    """
    os.environ["NPROC"] = str(torch.get_num_threads())
    jax.config.update("jax_platforms", "cpu")
