"""Jacobians and Lyapunov spectrum of a recurrent module on input."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from atn.backend.custom_ops.differentiable import transform_is_active
from atn.layers.recurrent import RecurrentLayers
from atn.lyapunov.growth import Growth, checked_burn_in, general_directions
from atn.lyapunov.state_vector import dimension, kept_pairs
from atn.lyapunov.stepping import Stepper
from atn.validation import check_flag, check_floating, check_steps, whole_number

Progress = Callable[[int, int], object]
"""Called with the number of steps done and the number of all steps."""


class Spectrum(NamedTuple):
    """Lyapunov exponents by layer and sequence, in nats a step, float64.

    Attributes
    ----------
    exponents
        (L, B, p), the fastest direction first: in descending order up to the error of a finite number of steps. -inf
        for a direction that every step forgets.
    hidden
        (L, B, p), the share of the steps (of every `every` of them) in which rounding hid the growth of a direction.
        Where it is more than 0 the exponent is an upper bound.
    """

    exponents: Float[Tensor, "L B p"]
    hidden: Float[Tensor, "L B p"]

    @property
    def mean(self) -> Float[Tensor, "L p"]:
        """Mean over the sequences."""
        return self.exponents.mean(1)

    @property
    def spread(self) -> Float[Tensor, "L p"]:
        """Sample standard deviation over the sequences, NaN for a single one."""
        B = self.exponents.shape[1]
        return self.exponents.std(1) if B > 1 else torch.full_like(self.exponents[:, 0], math.nan)


def jacobians(
    model: RecurrentLayers,
    x: Tensor,
    *,
    burn_in: int | None = None,
    minimal: bool = True,
    progress: Progress | None = None,
) -> Float[Tensor, "L T B D D"]:
    """Jacobians of the state of each layer at every step, dS_t / dS_{t-1} at the given inputs.

    Exact to rounding, by the backward pass of the module's backend, in float64 whatever the dtype of module and input.
    The coordinates of S are h, c of an LSTM, and for each norm with a window the means and the variances of the last
    k - 1 steps, the oldest first (`minimal=False`: D = 2H + 6(k - 1) for an LSTM, H + 4(k - 1) for a GRU or an RNN), or
    those of them that the others do not determine: without the window of W_ih x and without the newest step of c
    (D = 2H + 4k - 6 for an LSTM with k >= 2, H + 2(k - 1) for a GRU or an RNN; 2H or H without windows).

    Memory and time are those of T B D steps of one case, in bounded pieces, and the result.

    Parameters
    ----------
    model
        `ATNLSTM`, `ATNGRU` or `ATNRNN`, in one direction, with norm "none", "ln", "atn" of base "layer", "wn" or
        "prop". It is neither changed nor run in training.
    x
        Input as of `model`: (T, B, I), (B, T, I) with `batch_first`, or (T, I) for one sequence. Each sequence starts
        from a zero state and empty windows.
    burn_in
        Steps before the first Jacobian; at least k - 1, which is the default and fills the windows.
    minimal
        Whether the coordinates are the minimal ones.
    progress
        Called after every few steps with the number done and that of all.

    Returns
    -------
    (L, T - burn_in, B, D, D), float64; row i, column j is dS_t[i] / dS_{t-1}[j].

    Raises
    ------
    TypeError
        `model` is none of these, `x` no floating-point tensor, `burn_in` no integer, `progress` no function.
    ValueError
        `model` is bidirectional, has another norm, detached statistics or an active dropout; `x` has another shape;
        `burn_in` is too small, or leaves no step; a tensor is on the device meta.
    RuntimeError
        Inside a transform of `torch.func` or forward mode.
    """
    data, k = _checked(model, x)
    check_flag("minimal", minimal)
    _check_progress(progress)
    burn_in = checked_burn_in(k - 1 if burn_in is None else burn_in, k - 1, len(data))
    with torch.inference_mode(mode=False), torch.enable_grad():
        data = data.detach().clone().double()
        stepper = Stepper(model, minimal=minimal)
        start = _state(stepper, data, burn_in)
        chunks = []
        for chunk in stepper.jacobians(data[burn_in:], start):
            chunks.append(torch.stack(chunk))
            _report(progress, sum(each.shape[1] for each in chunks), len(data) - burn_in)
        return torch.cat(chunks, 1)


def spectrum(
    model: RecurrentLayers,
    x: Tensor,
    *,
    count: int | None = None,
    burn_in: int | None = None,
    every: int = 1,
    minimal: bool = True,
    progress: Progress | None = None,
) -> Spectrum:
    """Lyapunov exponents of each layer: the mean rates at which changes of its state grow or decay, in nats a step.

        Q_t R_t = J_t Q_{t-1},   lambda_i = mean over t of log R_t[i, i]

    with the Jacobians of `jacobians` (Vogt et al. 2022). lambda_1 is the rate at which a change of the state, and a
    gradient on its way back, grows if above 0. Layers on top of each other have the exponents of all layers together.

    Parameters
    ----------
    model, x, progress
        As of `jacobians`.
    count
        Number p of exponents of each layer, the largest; None for all D.
    burn_in
        Steps whose growth does not count, at least k - 1, which is the default. The directions turn from step k - 1 on.
    every
        Steps between two QR decompositions. For more than 1 the exponents far below the largest lose digits.
    minimal
        False adds, at the end, the exponent -inf of each coordinate that the minimal ones leave out.

    Returns
    -------
    Spectrum
        Exponents (L, B, p), and how many of their steps rounding hid.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `jacobians`; also for a `count` that is no integer from 1 to D, or an `every` below 1.
    """
    data, k = _checked(model, x)
    check_flag("minimal", minimal)
    _check_progress(progress)
    least = k - 1
    burn_in, every = (
        checked_burn_in(least if burn_in is None else burn_in, least, len(data)),
        whole_number("every", every),
    )
    with torch.inference_mode(mode=False), torch.enable_grad():
        data = data.detach().clone().double()
        stepper = Stepper(model, minimal=True)
        start = _state(stepper, data, least)
        D, D_full = (dimension(start, kept_pairs(k, minimal=only)) for only in (True, False))
        p = _count(count, D if minimal else D_full)
        B = data.shape[1]
        directions = general_directions(D, min(p, D), data).expand(B, D, min(p, D))
        layers = [Growth(directions, burn_in - least, every) for _ in range(model.num_layers)]
        done = 0
        for chunk in stepper.jacobians(data[least:], start):
            for growth, of_layer in zip(layers, chunk, strict=True):
                growth.add(of_layer)
            done += len(chunk[0])
            _report(progress, done, len(data) - least)
    found, hidden = (torch.stack(parts) for parts in zip(*(growth.mean() for growth in layers), strict=True))
    forgotten = (0, p - min(p, D))
    pad = torch.nn.functional.pad
    return Spectrum(pad(found, forgotten, value=-math.inf), pad(hidden, forgotten, value=1.0))


def _state(stepper: Stepper, data: Float[Tensor, "T B I"], steps: int) -> Any:
    """State after the first steps; after none, zeros."""
    with torch.no_grad():
        if steps:
            return stepper.run(data[:steps], None)
        after = stepper.run(data[:1], None)
        return after.reset(torch.ones(data.shape[1], dtype=torch.bool, device=data.device))


def _count(count: object, D: int) -> int:
    if count is None:
        return D
    number = whole_number("count", count)
    if number > D:
        raise ValueError(f"count must be at most D = {D}, the number of coordinates, got {number}")
    return number


def _check_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function of two integers or None, got {progress!r}")


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _checked(model: Any, x: Any) -> tuple[Float[Tensor, "T B I"], int]:
    """Input with the time axis first and a batch, and the length k of the windows."""
    if not isinstance(model, RecurrentLayers):
        raise TypeError(f"model must be an ATNLSTM, ATNGRU or ATNRNN, got {type(model).__name__}")
    _check_model(model)
    check_floating("x", x)
    batched = x.ndim != 2
    letters = ("(B, T, I)" if model.batch_first else "(T, B, I)") if batched else "(T, I)"
    check_steps("x", x, letters, model.input_size)
    data = x.unsqueeze(1) if not batched else x.transpose(0, 1) if model.batch_first else x
    for name, tensor in (("x", x), *model.named_parameters()):
        if tensor.is_meta:
            raise ValueError(f"{name} must have values, got a tensor on the device meta")
    if transform_is_active():
        raise RuntimeError("the Jacobians must be computed outside the transforms of torch.func and forward mode")
    return data, model.k if model.norm == "atn" and model.k else 1


def _check_model(model: RecurrentLayers) -> None:
    if model.bidirectional:
        raise ValueError("model must have bidirectional=False, got True: the reverse direction is no step of a state")
    if model.norm in {"bn", "ada"} or model.norm_options.get("base") == "batch":
        got = model.norm if model.norm in {"bn", "ada"} else "atn' of base 'batch"
        reason = "the gradient is no derivative" if got == "ada" else "the cases of a batch are one state"
        raise ValueError(f"model must have norm 'none', 'ln', 'atn', 'wn' or 'prop', got '{got}': {reason}")
    if detach := model.norm_options.get("detach"):
        raise ValueError(f"model must have no detached statistics, got {detach!r}: the gradient is no derivative")
    if model.training and model.dropout > 0 and model.num_layers > 1:
        raise ValueError(f"model must be in evaluation mode, got one in training with dropout={model.dropout}")
