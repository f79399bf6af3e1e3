"""The GRU with the norms of the paper, a drop-in replacement for `torch.nn.GRU`."""

from typing import ClassVar, Unpack

import torch

from atn.cells.hidden import HiddenLayers
from atn.choices import BiasPlacement, Init, Norm
from atn.norms.interface import NormOptions


class ATNGRU(HiddenLayers):
    """GRU with assorted-time normalization, in the place of `torch.nn.GRU`.

    The paper has no GRU; this one has the norms of its Eq. (3) around the two products. Each layer computes, gates in
    the order r (reset), z (update), n (candidate),

        a_ih = ATN(W_ih x [+ b_ih]) [+ b_ih]
        a_hh = ATN(W_hh h [+ b_hh]) [+ b_hh]
        r, z = sigmoid(a_ih + a_hh)             rows r and z
        n    = tanh(a_ih + r * a_hh)            row n
        h    = (1 - z) * n + z * h

    with the biases after the norms for `bias_placement="outside"`, inside them for "inside". One statistic covers all
    3H rows of a product, and the reset gate multiplies the recurrent row of n after its norm, gain, shift and bias, as
    in the layer-normalized GRU of lmnt-com/haste. The state h is not normalized. ATN(a) at step t is Eq. (9), with the
    mean and the biased variance over the features and the last min(k, t+1) steps of the case (Eqs. (7)-(8)).

    The arguments up to `bidirectional`, `device` and `dtype` are those of `torch.nn.GRU`, and so are the shapes and the
    parameters: `weight_ih_l0` (3H, I), `weight_hh_l0` (3H, H), `bias_ih_l0`, `bias_hh_l0` (3H,), with the suffix
    `_reverse` for the other direction. `affine=True` adds `norm_ih_l0` and `norm_hh_l0`, each with `.weight` (gain) and
    `.bias` (shift), (3H,) each. So the state dict of a `torch.nn.GRU` loads strictly with `norm="none"`
    and "wn", whose gains are then the lengths of the loaded rows; and with `strict=False` otherwise, where the norms'
    own parameters alone are missing.

    Dtypes, derivatives and eps = 0 are treated as `ATNLSTM` treats them.

    Parameters
    ----------
    input_size, hidden_size
        I and H.
    num_layers
        Number of stacked layers.
    bias, batch_first, dropout, bidirectional
        As of `ATNLSTM` and `torch.nn.GRU`.
    k, norm, eps, affine, bias_placement, gamma, detach, base, max_steps, momentum, scale, slope
        As of `ATNLSTM`, but for `norm="prop"`, which normalizes a cell c that there is not here; a `gamma` of two
        numbers is for `norm_ih` and `norm_hh`. Each norm has 3H features.
    init
        "torch": uniform in +-1/sqrt(H), as `torch.nn.GRU` draws them. "paper": W_ih orthogonal, W_hh three identity
        blocks, biases 0, as the paper starts its LSTM. "orthogonal": an orthogonal block for each gate, biases 0.
        Shifts start at 0.
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

    gates: ClassVar[int] = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,  # noqa: FBT001, FBT002 - positional in torch.nn.GRU
        batch_first: bool = False,  # noqa: FBT001, FBT002 - positional in torch.nn.GRU
        dropout: float = 0.0,
        bidirectional: bool = False,  # noqa: FBT001, FBT002 - positional in torch.nn.GRU
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
        super().__init__(
            "GRU",
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
        self.reset_parameters()
