"""Random numbers and parameters for tests of recurrent modules."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from atn import ATNLSTM, LSTMState
from atn.choices import Norm

M = TypeVar("M", bound=nn.Module)

DOUBLE: dict[str, Any] = {"dtype": torch.float64}

NORMS: list[tuple[Norm, int | None]] = [("none", None), ("ln", None), ("atn", 2), ("atn", 5), ("atn", 40)]


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal float64 values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_random_parameters(module: M, seed: int = 0) -> M:
    """Give every parameter, gains and shifts included, a value of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            is_gain = name.startswith("norm") and name.endswith("weight")
            parameter.copy_(1 + 0.3 * values if is_gain else 0.5 * values)
    return module


def pair(input_size: int, hidden_size: int, num_layers: int = 1, **settings: Any) -> tuple[ATNLSTM, nn.LSTM]:
    """Plain LSTMs of ours and of torch with the same weights."""
    ours = ATNLSTM(input_size, hidden_size, num_layers, norm="none", **settings, **DOUBLE)
    theirs = nn.LSTM(input_size, hidden_size, num_layers, **settings, **DOUBLE)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def with_exact_input_products(module: M) -> M:
    """One power of two in each row of every W_ih, so that W_ih x is exact however a matrix product is ordered.

    A matrix library may sum in another order when the chunk has another length. Everything else of a layer runs in the
    same shapes and the same order for chunks as for the whole, so it must agree bit for bit.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("weight_ih"):
                rows = torch.arange(len(parameter))
                parameter.zero_()
                parameter[rows, rows % parameter.shape[1]] = 2.0 ** (rows % 3 - 1).to(parameter.dtype)
    return module


def in_chunks(module: ATNLSTM, x: Tensor, lengths: list[int], axis: int = 0) -> tuple[Tensor, LSTMState]:
    """Stream `x` in chunks of these lengths along `axis`, the rest at the end."""
    outputs, state, start = [], None, 0
    for length in [*lengths, x.shape[axis]]:
        chunk = x.narrow(axis, start, min(length, x.shape[axis] - start))
        if chunk.shape[axis]:
            output, state = module.stream(chunk, state)
            outputs.append(output)
            start += chunk.shape[axis]
    assert state is not None
    return torch.cat(outputs, axis), state
