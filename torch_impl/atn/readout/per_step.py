"""One linear map of all hidden states to the scores of classes, which shows what each step contributes."""

import math
from functools import partial
from typing import ClassVar, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from atn.fixed_settings import FixedSettings
from atn.initialization import start_anew
from atn.precision import compute_dtype, full_precision
from atn.validation import check_dtype, check_flag, check_floating, check_matches, check_parameter, whole_number


class ByStep(NamedTuple):
    """A call of `contributions` on its way through `__call__`, so that hooks run."""


class PerStepReadout(FixedSettings):
    """Classes of sequences of one length by weights of their own for every step, after any recurrent module.

        s[b, c, t] = sum over n of W[c, t, n] h[t, b, n]
        logits[b, c] = b[c] + sum over t of s[b, c, t]

    (Barberan et al. 2022, *NeuroView-RNN*.) `contributions` gives s, of which `forward` is the sum: in float32 and
    float64 ``contributions(h).sum(-1) + bias`` is `forward(h)` to the bit. With W[c, t] = 0 for all steps but the last
    it is a linear readout of the last state, with W[c, t] = W[c] / T one of their mean.

    s depends on W and h alone through their product, the size of W[c, t] also on the scale of h at that step. And it
    speaks of h^(t): a state carries what was read before it, so that an input can matter at every step after its own.

    It has `weight` W (C, T, H) and `bias` b (C,), which start as those of ``torch.nn.Linear(T * H, C)`` do. The half
    types, and anything under `torch.autocast`, are computed in float32 at least; s and the logits are each rounded to
    the dtype of h.

    Parameters
    ----------
    steps
        T, the number of steps of every sequence.
    hidden_size
        H, the number of features of h; twice that of a bidirectional layer.
    classes
        C.
    bias
        Whether to have b.
    batch_first
        Whether h is (B, T, H) in the place of (T, B, H).
    device, dtype
        Of the parameters.

    Raises
    ------
    TypeError
        A number, a flag or a dtype that is not of the right kind.
    ValueError
        A number out of range.
    """

    _fixed: ClassVar[frozenset[str]] = frozenset(("steps", "hidden_size", "classes"))

    def __init__(
        self,
        steps: int,
        hidden_size: int,
        classes: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.steps = whole_number("steps", steps)
        self.hidden_size = whole_number("hidden_size", hidden_size)
        self.classes = whole_number("classes", classes)
        check_flag("bias", bias)
        check_flag("batch_first", batch_first)
        check_dtype(dtype)
        self.batch_first = batch_first
        self.weight = nn.Parameter(torch.empty(classes, steps, hidden_size, device=device, dtype=dtype))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(classes, device=device, dtype=dtype)) if bias else None
        )
        self.bias: nn.Parameter | None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as ``torch.nn.Linear(T * H, C)`` draws its own: uniform within 1/sqrt(T H).

        What stands behind a parametrization, pruning, weight or spectral normalization is started anew, too.
        """
        bound = 1 / math.sqrt(self.steps * self.hidden_size)
        start_anew(self, "weight", partial(nn.init.kaiming_uniform_, a=math.sqrt(5)))
        if self.bias is not None:
            start_anew(self, "bias", partial(nn.init.uniform_, a=-bound, b=bound))

    def forward(self, h: Tensor, by_step: ByStep | None = None) -> Tensor:
        """Logits of the classes; `contributions` passes `by_step`, for what each step adds to them.

        Parameters
        ----------
        h
            Hidden states (T, B, H), (B, T, H) with `batch_first`, or (T, H) of one sequence: the output of a recurrent
            module, of `steps` steps and `hidden_size` features. A batch may be empty.

        Returns
        -------
        (B, C), or (C,) of one sequence, in the dtype of h.

        Raises
        ------
        TypeError
            h is no floating-point tensor (a `PackedSequence` is none: its sequences may end before step T), or has
            another dtype than `weight` outside autocast.
        ValueError
            Another shape or device.
        """
        if by_step is not None and not isinstance(by_step, ByStep):
            raise TypeError(f"forward takes one tensor, got {type(by_step).__name__} beside it")
        # Each is read once: a parametrization may compute it anew each time.
        weight, bias = self.weight, self.bias
        states = self._checked(h, weight, bias)
        dtype = compute_dtype([h, weight])
        with full_precision(h.device):
            # A product of matrices for each step: (T, B, H) and (T, H, C).
            s = torch.bmm(states.to(dtype), weight.to(dtype).permute(1, 2, 0)).permute(1, 2, 0).contiguous()
        s = s if h.ndim == 3 else s.squeeze(0)
        if by_step is not None:
            return s.to(h.dtype)
        logits = s.sum(-1)
        logits = logits if bias is None else logits + bias.to(s.dtype)
        return logits.to(h.dtype)

    def contributions(self, h: Tensor) -> Tensor:
        """What each step adds to each logit, s. Hooks of the module run as for `forward`, which this calls.

        Parameters
        ----------
        h
            As of `forward`.

        Returns
        -------
        (B, C, T), or (C, T) of one sequence, in the dtype of h.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        return cast("Tensor", self(h, ByStep()))

    def _checked(self, h: Tensor, weight: Tensor, bias: Tensor | None) -> Float[Tensor, "T B H"]:
        """The hidden states with time first and a batch, which fit the parameters as those fit each other."""
        check_parameter("weight", weight, (self.classes, self.steps, self.hidden_size), "(C, T, H)")
        if bias is not None:
            check_parameter("bias", bias, (self.classes,), "(C,)")
            check_matches("bias", bias, "weight", weight)
        check_floating("h", h)
        letters = ("(B, T, H)" if self.batch_first else "(T, B, H)") if h.ndim != 2 else "(T, H)"
        if h.ndim not in {2, 3}:
            raise ValueError(f"h must have shape {letters} or (T, H), got {tuple(h.shape)}")
        states = h.unsqueeze(1) if h.ndim == 2 else h.transpose(0, 1) if self.batch_first else h
        if (states.shape[0], states.shape[2]) != (self.steps, self.hidden_size):
            raise ValueError(
                f"h must have shape {letters} with T = {self.steps} and H = {self.hidden_size}, got {tuple(h.shape)}"
            )
        check_matches("h", h, "weight", weight)
        return states

    def extra_repr(self) -> str:
        """Sizes and layout."""
        return (
            f"steps={self.steps}, hidden_size={self.hidden_size}, classes={self.classes}, "
            f"bias={self.bias is not None}, batch_first={self.batch_first}"
        )
