"""Assorted-Time Normalization (ATN) for recurrent networks in PyTorch.

`ATNLSTM` stands where `torch.nn.LSTM` stood; `AssortedTimeNorm` and `functional.assorted_time_norm` are its norm alone.

Reading order of the modules:

- `choices`: the named choices among the arguments;
- `window`: mean and variance over a window of time steps, from one pair of numbers a step (Eqs. 7-8), and Eq. (9);
- `functional`, `normalization`: the norm of a whole sequence, and of a stream;
- `backend.interface`: what a backend is, one function for one layer and direction, and one for the norm alone;
- `backend.eager`: the backend in plain PyTorch operations, whose gradients are autograd's;
- `backend.custom_ops`: what backends with a hand-written backward pass register with torch;
- `backend.fused`: such a backend, for the CPU; its kernels are `csrc/`, or `fallback` where nothing can be built;
- `backend.triton`: such a backend, for the GPU;
- `backend.registry`: the backends by name;
- `recurrent`: what every recurrent module does alike, with `stack`, `packing`, `state`, `carried`, `initial_state`,
  `initialization`, `precision` and `validation` beside it;
- `norms`: the norms that its layers can have, one file each;
- `lstm`: the LSTM's own part.
"""

from atn import functional
from atn.backend.registry import BackendInfo, backends
from atn.lstm import ATNLSTM
from atn.normalization import AssortedTimeNorm
from atn.state import LSTMState, NormMemory

__all__ = ["ATNLSTM", "AssortedTimeNorm", "BackendInfo", "LSTMState", "NormMemory", "backends", "functional"]
