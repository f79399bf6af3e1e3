"""The output y of the paper's recurrent network, Eq. (4), as a module."""

import math
from functools import partial
from typing import ClassVar, cast, get_args, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from atn.choices import BiasPlacement
from atn.fixed_settings import FixedSettings
from atn.initialization import start_anew
from atn.layers.initial_state import Chunk, check_chunk
from atn.normalization import AssortedTimeNorm
from atn.precision import compute_dtype, full_precision
from atn.state import NormMemory
from atn.validation import (
    check_choice,
    check_dtype,
    check_flag,
    check_floating,
    check_matches,
    check_parameter,
    check_steps,
    whole_number,
)


class NormalizedLinear(FixedSettings, nn.Linear):
    """Linear map of every step of a sequence with assorted-time normalization, Eq. (4), in the place of `nn.Linear`.

        y = ATN(W h [+ b]) [+ b]

    with the bias after the norm for `bias_placement="outside"` (Eq. (4), b = beta_y), inside it for "inside". The norm
    is an `AssortedTimeNorm` over the N features of y and the last k steps of the case; k = 1 is layer normalization,
    and Eq. (2) is `torch.nn.Linear` itself. `bias` adds to the norm's own shift.

    The parameters are those of `torch.nn.Linear`, `weight` (N, H) and `bias` (N,), which start as there, and with
    `affine=True` `norm.weight` (gain, ones at first) and `norm.bias` (shift, zeros at first), (N,) each. The state dict
    of a `torch.nn.Linear` loads with `strict=False`, where the norm's parameters alone are missing.

    The half types, and anything under `torch.autocast`, are computed in float32 at least; the product, the norm and the
    sum with b are each rounded to the dtype of the input, as by a `torch.nn.Linear` in front of an `AssortedTimeNorm`.

    Parameters
    ----------
    in_features, out_features
        H and N.
    bias
        Whether to have b.
    k
        Length of the window, at least 1.
    eps
        Added to the variance under the root, at least 0.
    affine
        Whether the norm has a gain and a shift.
    bias_placement
        "outside" or "inside".
    backend
        Of the norm: "auto", or a name of `atn.backends`.
    device, dtype
        Of the parameters.

    Raises
    ------
    TypeError
        A number that is not of the right kind.
    ValueError
        A number out of range, an unknown choice, a backend that cannot run.
    """

    _fixed: ClassVar[frozenset[str]] = frozenset(("in_features", "out_features", "bias_placement"))

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,  # noqa: FBT001, FBT002 - positional in torch.nn.Linear
        *,
        k: int,
        eps: float = 1e-5,
        affine: bool = True,
        bias_placement: BiasPlacement = "outside",
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        whole_number("in_features", in_features)
        whole_number("out_features", out_features)
        check_flag("bias", bias)
        check_choice("bias_placement", bias_placement, get_args(BiasPlacement))
        check_dtype(dtype)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.bias_placement: BiasPlacement = bias_placement
        self.norm = AssortedTimeNorm(
            out_features, k, eps=eps, affine=affine, backend=backend, device=device, dtype=dtype
        )

    def reset_parameters(self) -> None:
        """Draw the parameters as `torch.nn.Linear` does, and start those of the norm at 1 and 0.

        What stands behind a parametrization, pruning, weight or spectral normalization is started anew, too.
        """
        start_anew(self, "weight", partial(nn.init.kaiming_uniform_, a=math.sqrt(5)))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            start_anew(self, "bias", partial(nn.init.uniform_, a=-bound, b=bound))
        if "norm" in self._modules:  # nn.Linear draws its parameters before there is a norm
            self.norm.reset_parameters()

    @overload
    def forward(self, input: Float[Tensor, "T B H"]) -> Float[Tensor, "T B N"]: ...
    @overload
    def forward(self, input: Float[Tensor, "T B H"], chunk: Chunk) -> tuple[Float[Tensor, "T B N"], NormMemory]: ...
    def forward(
        self,
        input: Float[Tensor, "T B H"],  # noqa: A002 - as of torch.nn.Linear
        chunk: Chunk | None = None,
    ) -> Float[Tensor, "T B N"] | tuple[Float[Tensor, "T B N"], NormMemory]:
        """Map a whole sequence.

        Parameters
        ----------
        input
            The sequence (T, B, H), T >= 1, in the dtype of the parameters outside autocast.
        chunk
            None. `stream` passes its memory and restarts this way, so that hooks run.

        Returns
        -------
        y
            (T, B, N), in the dtype of the input.

        Raises
        ------
        TypeError
            The input is no floating-point tensor, or has another dtype than the parameters.
        ValueError
            Another shape or device, an empty axis, or an eps that the dtype does not have.
        """
        check_chunk(chunk, NormMemory.__name__)
        return self._next(input, None, None)[0] if chunk is None else self._next(input, chunk.state, chunk.reset)

    def stream(
        self,
        input: Float[Tensor, "T B H"],  # noqa: A002 - as of forward
        memory: NormMemory | None = None,
        reset: Bool[Tensor, "T B"] | None = None,
    ) -> tuple[Float[Tensor, "T B N"], NormMemory]:
        """Map the next T >= 1 steps of a sequence; chunks in sequence equal the whole.

        Hooks of the module run as for `forward`, which this calls.

        Parameters
        ----------
        input
            The next steps (T, B, H).
        memory
            What the call before returned; None at the start.
        reset
            Bools (T, B), true where a case's window is emptied before that step. None empties none.

        Returns
        -------
        y, memory
            (T, B, N) in the dtype of the input, and what the next call needs.

        Raises
        ------
        TypeError
            The input is no floating-point tensor, or has another dtype than the parameters; `reset` has no bools; a
            memory that is none.
        ValueError
            Another shape or device, an empty axis, or an eps that the dtype does not have; a memory that does not fit
            the input or this module.
        """
        return cast("tuple[Tensor, NormMemory]", self(input, Chunk(memory, reset)))

    def _next(
        self,
        input: Float[Tensor, "T B H"],  # noqa: A002 - as of forward
        memory: NormMemory | None,
        reset: Bool[Tensor, "T B"] | None,
    ) -> tuple[Float[Tensor, "T B N"], NormMemory]:
        check_floating("input", input)
        check_steps("input", input, "(T, B, H)", self.in_features)
        # Each is read once: a parametrization may compute it anew each time.
        weight, bias, norm = self.weight, self.bias, self.norm
        check_parameter("weight", weight, (self.out_features, self.in_features), "(N, H)")
        check_matches("input", input, "weight", weight)
        if bias is not None:
            check_parameter("bias", bias, (self.out_features,), "(N,)")
            check_matches("bias", bias, "weight", weight)
        if not isinstance(norm, AssortedTimeNorm):
            raise TypeError(f"norm must be the AssortedTimeNorm that the module made, got {type(norm).__name__}")
        dtype = compute_dtype([input, weight])
        b = None if bias is None else bias.to(dtype)
        inside, outside = (b, None) if self.bias_placement == "inside" else (None, b)
        with full_precision(input.device):
            a = nn.functional.linear(input.to(dtype), weight.to(dtype), inside)
        # Outside the context: only under autocast may a norm's input have another dtype than its gain.
        y, memory = norm.stream(a.to(input.dtype), memory, reset)
        return (y if outside is None else y + outside).to(input.dtype), memory

    def extra_repr(self) -> str:
        """Sizes, and where the bias stands."""
        return f"{super().extra_repr()}, bias_placement={self.bias_placement!r}"
