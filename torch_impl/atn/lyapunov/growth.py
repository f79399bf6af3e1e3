"""Lyapunov exponents from the Jacobians of successive steps, by QR decompositions."""

import math
from contextlib import nullcontext
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from atn.backend.custom_ops.differentiable import transform_is_active
from atn.precision import compute_dtype, full_precision
from atn.validation import check_floating, check_matches, check_shape, check_steps, whole_number


class Growth:
    """The growth of some directions over the steps so far.

    Parameters
    ----------
    Q
        Orthonormal columns (B, D, p), the directions before the first step.
    burn_in
        Steps whose growth does not count.
    every
        Steps between two decompositions.
    """

    def __init__(self, Q: Float[Tensor, "B D p"], burn_in: int, every: int) -> None:
        self._Q, self._burn_in, self._every = Q, burn_in, every
        self._steps = 0
        self._rounding = torch.zeros_like(Q)
        self._logs = torch.zeros_like(Q[:, 0])
        self._decompositions = 0
        self._hidden = torch.zeros_like(self._logs)

    def add(self, jacobians: Float[Tensor, "t B D D"]) -> None:
        """Take the next steps."""
        for jacobian in jacobians:
            # The bound of a sum's rounding is of its terms, which cancel where a direction is forgotten.
            self._rounding = jacobian.abs() @ self._Q.abs() * (self._Q.shape[1] * torch.finfo(self._Q.dtype).eps)
            self._Q = jacobian @ self._Q
            self._steps += 1
            if (self._steps - self._burn_in) % self._every == 0:
                self._decompose()
            else:
                self._shorten()

    def mean(self) -> tuple[Float[Tensor, "B p"], Float[Tensor, "B p"]]:
        """Exponents, and the share of the decompositions in which rounding hid the growth of a direction."""
        if (self._steps - self._burn_in) % self._every:
            self._decompose()
        hidden = self._hidden / self._decompositions
        exponents = self._logs / (self._steps - self._burn_in)
        return exponents.masked_fill(hidden == 1, -math.inf), hidden

    def _shorten(self) -> None:
        """Bring the columns to length 1, so that no product over- or underflows; their growth is not lost.

        What R_ii loses its logarithm gains, so that the length counts as a constant in derivatives.
        """
        lengths = torch.linalg.vector_norm(self._Q, dim=1).detach()
        lengths = lengths.masked_fill(lengths == 0, 1)
        self._Q, self._rounding = self._Q / lengths.unsqueeze(1), self._rounding / lengths.unsqueeze(1)
        if self._steps > self._burn_in:
            self._logs = self._logs + lengths.log()

    def _decompose(self) -> None:
        Q, R = torch.linalg.qr(self._Q)
        diagonal = R.diagonal(dim1=1, dim2=2)
        # The numbers -1.0 and 1.0 would have the default dtype.
        self._Q = Q * torch.where(diagonal < 0, -1.0, 1.0).to(Q.dtype).unsqueeze(1)
        if self._steps > self._burn_in:
            growth, bound = diagonal.abs(), torch.linalg.vector_norm(self._rounding, dim=1).detach()
            hidden = (growth <= bound) & bound.isfinite()
            # Not in place: inside vmap a sum may differ by what is mapped where it did not before.
            self._logs = self._logs + torch.where(hidden, bound, growth).log()
            self._hidden = self._hidden + hidden.to(Q.dtype)
            self._decompositions += 1


def general_directions(D: int, p: int, like: Tensor) -> Float[Tensor, "D p"]:
    """Orthonormal columns in general position, the same in every call."""
    # On the CPU whatever default device the user has set, and outside vmap, which refuses to draw.
    with temporarily_clear_interpreter_stack() if transform_is_active() else nullcontext():
        generator = torch.Generator("cpu").manual_seed(0)
        normal = torch.randn(D, D, generator=generator, dtype=torch.float64, device="cpu")
        columns = torch.linalg.qr(normal)[0][:, :p]
    directions: Tensor = columns.to(like)
    return directions


def exponents(
    jacobians: Float[Tensor, "T B D D"],
    start: Float[Tensor, "D p"] | None = None,
    *,
    burn_in: int = 0,
    every: int = 1,
) -> Float[Tensor, "B p"]:
    """Lyapunov exponents of given Jacobians: the means of log R_ii in Q_t R_t = J_t Q_{t-1}, natural, a step.

    Parameters
    ----------
    jacobians
        J_t at [t, b, i, j] = dS_t[i] / dS_{t-1}[j].
    start
        Orthonormal columns, the directions before the first step, in the dtype of `jacobians`; None for all D
        directions in general position.
    burn_in
        Steps whose growth does not count, less than T.
    every
        Steps between two decompositions, the last of which may be fewer. Between them the directions turn towards the
        fastest, so that slow ones lose digits.

    Returns
    -------
    (B, p) in the dtype of `jacobians`, in the order of the columns; where rounding hid the growth of a direction, -inf
    if it did so at every decomposition, and else an upper bound. The half types, and anything under `torch.autocast`,
    are computed in float32 at least.

    Raises
    ------
    TypeError
        A tensor is not floating-point, `start` has another dtype, or `burn_in` or `every` is no integer.
    ValueError
        A shape is wrong, the columns of `start` are not orthonormal, `burn_in` is negative or not less than T, or
        `every` is below 1.
    """
    check_floating("jacobians", jacobians)
    check_steps("jacobians", jacobians, "(T, B, D, D)")
    T, B, D, _ = jacobians.shape
    check_shape("jacobians", jacobians, (T, B, D, D), "(T, B, D, D)")
    burn_in = checked_burn_in(burn_in, 0, T)
    computed = jacobians.to(compute_dtype([jacobians]))
    if start is None:
        directions = general_directions(D, D, computed)
    else:
        directions = _checked_start(start, jacobians).to(computed.dtype)
    every = whole_number("every", every)
    with full_precision(jacobians.device):
        growth = Growth(directions.expand(B, *directions.shape), burn_in, every)
        growth.add(computed)
        return growth.mean()[0].to(jacobians.dtype)


def _checked_start(start: Tensor, jacobians: Float[Tensor, "T B D D"]) -> Float[Tensor, "D p"]:
    D = jacobians.shape[-1]
    check_floating("start", start)
    check_steps("start", start, "(D, p)")
    check_shape("start", start, (D, start.shape[1]), "(D, p)")
    check_matches("start", start, "jacobians", jacobians)
    if start.shape[1] > D:
        raise ValueError(f"start must have at most D = {D} columns, got {start.shape[1]}")
    if not torch.compiler.is_compiling() and not transform_is_active():
        _check_orthonormal("start", start.detach())
    return start


def _check_orthonormal(name: str, columns: Float[Tensor, "D p"]) -> None:
    """Check that columns are orthonormal up to the rounding of their dtype."""
    wide = columns.double()
    distance = (wide.mT @ wide - torch.eye(wide.shape[1], dtype=wide.dtype, device=wide.device)).abs().max().item()
    if not distance <= (most := 10 * wide.shape[0] * torch.finfo(columns.dtype).eps):
        raise ValueError(
            f"{name} must have orthonormal columns, whose products are those of the identity up to {most:.2g}, got "
            f"columns whose products differ from it by {distance:.2g}"
        )


def checked_burn_in(burn_in: object, least: int, T: int) -> int:
    """`burn_in` as an integer of at least `least` and less than the number T of steps."""
    if isinstance(burn_in, bool) or not isinstance(burn_in, Integral):
        raise TypeError(
            f"burn_in must be an integer of at least {least}, got {burn_in!r} of type {type(burn_in).__name__}"
        )
    steps = int(burn_in)
    if steps < least:
        reason = ", the steps that fill the windows" if least else ""
        raise ValueError(f"burn_in must be an integer of at least {least}{reason}, got {burn_in}")
    if steps >= T:
        raise ValueError(f"burn_in must be less than the number of steps, {T}, got {burn_in}")
    return steps
