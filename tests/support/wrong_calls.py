"""Wrong calls of the library: what the tests of its refusals call, and the words that its errors share."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import atn.functional as F
from atn import ATNGRU, ATNLSTM, ATNRNN, AssortedTimeNorm, LSTMState, NormalizedLinear, NormMemory, PerStepReadout

A = torch.zeros(4, 2, 3)
META = A.to("meta")


def norm(**changes: Any) -> Tensor:
    """Call of the function with one argument changed."""
    return F.assorted_time_norm(**{"a": A, "k": 2, **changes})


def lstm(**changes: Any) -> Any:  # Any: wrong calls are not for the type checker
    """`ATNLSTM` of 3 features and 5 hidden, with settings changed."""
    return ATNLSTM(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes})


def rnn(**changes: Any) -> Any:  # Any: the same
    """`ATNRNN` of 3 features and 5 hidden, with settings changed."""
    return ATNRNN(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes})


def gru(**changes: Any) -> Any:  # Any: the same
    """`ATNGRU` of 3 features and 5 hidden, with settings changed."""
    return ATNGRU(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes})


def linear(**changes: Any) -> Any:  # Any: the same
    """`NormalizedLinear` of 3 features and 5 outputs, with settings changed."""
    return NormalizedLinear(**{"in_features": 3, "out_features": 5, "k": 2, **changes})


def per_step(**changes: Any) -> Any:  # Any: the same
    """`PerStepReadout` of 4 steps of 3 features and 2 classes, with settings changed."""
    return PerStepReadout(**{"steps": 4, "hidden_size": 3, "classes": 2, **changes})


def module(**changes: Any) -> Any:
    """`AssortedTimeNorm` of 3 features, with settings changed."""
    return AssortedTimeNorm(**{"num_features": 3, "k": 2, **changes})


def state(T: int = 3, B: int = 2, **changes: Any) -> LSTMState:
    """State after T steps of B cases."""
    _, after = ATNLSTM(**{"input_size": 3, "hidden_size": 5, "k": 2, **changes}).stream(torch.zeros(T, B, 3))
    return after


def memory() -> NormMemory:
    """Memory after 4 steps with k = 3."""
    return AssortedTimeNorm(3, 3).stream(A)[1]


def synchronized(module: torch.nn.Module) -> Any:
    """`module` with its batch norms made those of several processes."""
    return torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch's own


def pair(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Zero states of this shape."""
    return torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)


Case = tuple[str, Callable[[], object], type[Exception], str]
"""Name, call, type of the error, and a regular expression that its message matches."""

WINDOW = "must be an integer of at least 1"
EPS = "eps must be a finite number of at least 0"
FLOATING = "must be a floating-point tensor of 16, 32 or 64 bits"


def wrong_calls(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """The mark that runs a test for each case, as `call`, `error` and `message`, with gradients and without.

    Inference takes another way through a module, and must end in the same error.
    """
    inference = [(f"{name}, inference", torch.no_grad()(call), error, text) for name, call, error, text in cases]
    every = [*cases, *inference]
    names = [case[0].replace(" ", "-") for case in every]
    return pytest.mark.parametrize(("call", "error", "message"), [case[1:] for case in every], ids=names)
