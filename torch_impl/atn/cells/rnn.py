"""The simple recurrent network of the paper, a drop-in replacement for `torch.nn.RNN`."""

from typing import ClassVar, Unpack, get_args

import torch

from atn.cells.hidden import HiddenLayers
from atn.choices import BiasPlacement, Init, Nonlinearity, Norm
from atn.norms.interface import NormOptions
from atn.validation import check_choice


class ATNRNN(HiddenLayers):
    """Simple recurrent network with assorted-time normalization, in the place of `torch.nn.RNN`.

    Each layer computes Eq. (3), and without a norm Eq. (1), with beta_h = b_ih + b_hh and f = tanh or relu:

        h = f(ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh])

    with the biases after the norms for `bias_placement="outside"`, inside them for "inside". ATN(a) at step t is
    Eq. (9), with the mean and the biased variance over the features and the last min(k, t+1) steps of the case
    (Eqs. (7)-(8)). The output y of Eqs. (2) and (4) is `NormalizedLinear` of this module's output.

    The arguments up to `bidirectional`, `device` and `dtype` are those of `torch.nn.RNN`, and so are the shapes and the
    parameters: `weight_ih_l0` (H, I), `weight_hh_l0` (H, H), `bias_ih_l0`, `bias_hh_l0` (H,), with the suffix
    `_reverse` for the other direction. `affine=True` adds `norm_ih_l0` and `norm_hh_l0`, each with `.weight` (gain) and
    `.bias` (shift), (H,) each. So the state dict of a `torch.nn.RNN` loads strictly with `norm="none"`
    and "wn", whose gains are then the lengths of the loaded rows; and with `strict=False` otherwise, where the norms'
    own parameters alone are missing.

    Dtypes, derivatives and eps = 0 are treated as `ATNLSTM` treats them.

    Parameters
    ----------
    input_size, hidden_size
        I and H.
    num_layers
        Number of stacked layers.
    nonlinearity
        "tanh" or "relu", f above.
    bias, batch_first, dropout, bidirectional
        As of `ATNLSTM` and `torch.nn.RNN`.
    k, norm, eps, affine, bias_placement, gamma, detach, base, max_steps, momentum, scale, slope
        As of `ATNLSTM`, but for `norm="prop"`, which normalizes a cell c that there is not here; a `gamma` of two
        numbers is for `norm_ih` and `norm_hh`; the paper has the biases outside, Eq. (3). Each norm has H features.
    init
        "torch": uniform in +-1/sqrt(H), as `torch.nn.RNN` draws them. "paper": W_ih orthogonal, W_hh the identity,
        biases 0. "orthogonal": W_ih and W_hh orthogonal, biases 0. Shifts start at 0.
    backend
        "eager" (any device, any norm), "fused" (CPU), or "auto" for the fastest that has been checked on the device of
        the input; "triton" has no kernels for this cell.
    device, dtype
        Of the parameters.

    Raises
    ------
    TypeError
        A number that is not of the right kind.
    ValueError
        A number out of range, an unknown choice, `k` missing or refused, a backend that does not have this cell.
    """

    _fixed: ClassVar[frozenset[str]] = HiddenLayers._fixed | {"nonlinearity"}  # noqa: SLF001 - of the base class
    gates: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,  # noqa: FBT001, FBT002 - positional in torch.nn.RNN
        batch_first: bool = False,  # noqa: FBT001, FBT002 - positional in torch.nn.RNN
        dropout: float = 0.0,
        bidirectional: bool = False,  # noqa: FBT001, FBT002 - positional in torch.nn.RNN
        *,
        k: int | None = None,
        norm: Norm = "atn",
        eps: float = 1e-5,
        affine: bool = True,
        bias_placement: BiasPlacement = "outside",
        init: Init = "torch",
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[NormOptions],
    ) -> None:
        check_choice("nonlinearity", nonlinearity, get_args(Nonlinearity))
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            k=k,
            norm=norm,
            eps=eps,
            affine=affine,
            bias_placement=bias_placement,
            init=init,
            backend=backend,
            device=device,
            dtype=dtype,
            **options,
        )
        self.nonlinearity: Nonlinearity = nonlinearity
        self.reset_parameters()
