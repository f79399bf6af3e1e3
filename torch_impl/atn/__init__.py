"""Assorted-Time Normalization (ATN) for recurrent networks in PyTorch.

`ATNLSTM` stands where `torch.nn.LSTM` stood; `AssortedTimeNorm` and `functional.assorted_time_norm` are its norm alone.

Reading order of the modules:

- `statistics`: mean and variance over a window of time steps, from one pair of numbers a step (Eqs. 7-8);
- `functional`, `normalization`: the norm of a whole sequence, and of a stream (Eq. 9);
- `layer`: what a backend is, one function for one layer and direction, and one for the norm alone;
- `eager`: the backend in plain PyTorch operations, whose gradients are autograd's;
- `operators`: what the backends with a backward pass by hand register with torch; `by_operators` is a layer and a norm
  by these operators;
- `fused`: such a backend, for the CPU; its kernels are `csrc/`, built by `compiled`, or `fused_plain` where nothing can
  be built;
- `triton_backend`: the same for the GPU; its kernels are `kernels/`;
- `registry`: the list of backends;
- `lstm`: the module, with `sequences`, `state`, `initialization`, `precision` and `validation` beside it.
"""

from atn import functional
from atn.lstm import ATNLSTM
from atn.normalization import AssortedTimeNorm
from atn.registry import BackendInfo, backends
from atn.state import LSTMState, NormMemory

__all__ = ["ATNLSTM", "AssortedTimeNorm", "BackendInfo", "LSTMState", "NormMemory", "backends", "functional"]
