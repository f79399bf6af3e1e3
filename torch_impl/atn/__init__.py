"""Assorted-Time Normalization (ATN) for recurrent networks in PyTorch.

`ATNLSTM`, `ATNGRU`, `ATNRNN` and `NormalizedLinear` are drop-in replacements for `torch.nn.LSTM`, `torch.nn.GRU`,
`torch.nn.RNN` and `torch.nn.Linear`; `AssortedTimeNorm` and `functional.assorted_time_norm` are their norm alone.
`PerStepReadout` classifies sequences by all hidden states.

Reading order of the modules:

- `choices`: the named choices among the arguments;
- `window`: mean and variance over a window of time steps, from one pair of numbers per step, Eqs. (7)-(8), and Eq. (9),
  with `sliding_window`, the order in which a long window is merged from shorter ones;
- `functional`, `normalization`: the norm of a whole sequence, and of a stream;
- `backend.interface`: what a backend is, functions for one layer and direction, and one for the norm alone; with
  `backend.cell`, a cell on a backend;
- `backend.eager`, `backend.eager_cells`: the backend in plain PyTorch operations, whose gradients are autograd's;
- `backend.custom_ops`: what backends with a hand-written backward pass register with torch;
- `backend.fused`: such a backend, for the CPU; its kernels are `csrc/`, or `fallback` where nothing can be built;
- `backend.triton`: such a backend, for the GPU;
- `backend.registry`: the backends by name;
- `norms`: the norms that a recurrent layer can have, one file each;
- `layers.recurrent`: what every recurrent module shares, with `parameters`, `stack`, `packing`, `initial_state` and
  `direct_inference` beside it, and `state`, `carried`, `initialization`, `population`, `precision` and `validation`
  above it;
- `cells`: the cells, one file each: `lstm`, and `rnn` and `gru` on `hidden`, what cells share whose only state is h;
- `readout`: what stands on top of a layer: `normalized_linear`, the output of the paper's network, and `per_step`,
  classes of sequences by weights of their own for every step;
- `lyapunov`: Lyapunov exponents of any of these layers; `import atn.lyapunov`.
"""

from atn import functional
from atn.backend.registry import BackendInfo, backends
from atn.cells.gru import ATNGRU
from atn.cells.lstm import ATNLSTM
from atn.cells.rnn import ATNRNN
from atn.normalization import AssortedTimeNorm
from atn.readout import NormalizedLinear, PerStepReadout
from atn.state import HiddenState, LSTMState, NormMemory

__all__ = [
    "ATNGRU",
    "ATNLSTM",
    "ATNRNN",
    "AssortedTimeNorm",
    "BackendInfo",
    "HiddenState",
    "LSTMState",
    "NormMemory",
    "NormalizedLinear",
    "PerStepReadout",
    "backends",
    "functional",
]
