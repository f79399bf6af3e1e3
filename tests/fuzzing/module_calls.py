"""Modules on drawn sizes: direct inference and the general one, training, and the chunks of a stream.

What a module computes is the same bit for bit by each of these ways, and on any number of threads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from atn import ATNGRU, ATNLSTM, ATNRNN
from tests.fuzzing.operator_calls import HUGE, near_a_vector, window
from tests.support.lstms import in_chunks, with_random_parameters
from tests.support.problems import LARGEST_SEED, Draw
from tests.support.runners import DTYPES, Result

CELLS: dict[str, Any] = {"LSTM": ATNLSTM, "GRU": ATNGRU, "RNN_TANH": ATNRNN}


@dataclass(frozen=True)
class ModuleCall:
    """A module, its input, and the lengths of the chunks in which a stream takes it."""

    cell: str
    T: int
    B: int
    I: int
    H: int
    num_layers: int
    norm: str
    k: int
    affine: bool
    bias: bool
    bias_placement: str
    batch_first: bool
    layout: str
    huge: bool
    """Whether the squares of one step overflow."""
    chunks: tuple[int, ...]
    dtype: str
    threads: int
    seed: int

    def module(self) -> Any:
        """The module, with random parameters."""
        settings: dict[str, Any] = {"bias": self.bias, "batch_first": self.batch_first, "norm": self.norm}
        if self.norm != "none":
            settings |= {"affine": self.affine, "bias_placement": self.bias_placement}
        if self.norm == "atn":
            settings |= {"k": self.k}
        module = CELLS[self.cell](
            self.I, self.H, self.num_layers, backend="fused", dtype=DTYPES[self.dtype], **settings
        )
        return with_random_parameters(module, self.seed)

    def input(self) -> Tensor:
        """The input, contiguous: (T, B, I), or (B, T, I) with `batch_first`."""
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.randn(self.T, self.B, self.I, generator=generator, dtype=DTYPES[self.dtype])
        if self.huge:
            x[self.T // 2] *= HUGE[self.dtype]
        return x.transpose(0, 1).contiguous() if self.batch_first else x


def draw_module_call(draw: Draw, threads: int, layouts: tuple[str, ...]) -> ModuleCall:
    """Draw a cell, sizes, settings, and the layout of the input in memory."""
    T, norm = draw.choice((1, 1, 2, draw.integer(1, 90))), draw.choice(("atn", "atn", "ln", "none"))
    return ModuleCall(
        cell=draw.choice(("LSTM", "LSTM", "GRU", "RNN_TANH")),
        T=T,
        B=draw.integer(1, 5),
        I=draw.choice((1, near_a_vector(draw), 70)),
        H=near_a_vector(draw),
        num_layers=draw.integer(1, 3),
        norm=norm,
        k=min(window(draw, T), 2**32 + 1),
        affine=draw.choice((True, False)),
        bias=draw.choice((True, False)),
        bias_placement=draw.choice(("outside", "inside")),
        batch_first=draw.choice((True, False)),
        layout=draw.choice(layouts),
        huge=norm != "none" and draw.integer(0, 4) == 0,
        chunks=(draw.integer(1, T), 1),
        dtype=draw.choice(("float64", "float32")),
        threads=threads,
        seed=draw.integer(0, LARGEST_SEED),
    )


def run_module(call: ModuleCall, x: Tensor) -> dict[str, Result]:
    """Every tensor that the module gives, by the way in which it is computed."""
    module = call.module()
    axis = 1 if call.batch_first else 0
    training = _result(module(x.clone().requires_grad_()), call)
    module.requires_grad_(requires_grad=False)
    found = {"training": training}
    for way, grad_enabled in (("general", True), ("short", False)):
        with torch.set_grad_enabled(grad_enabled):
            found[way] = _result(module(x), call)
            found[f"{way} stream"] = _result(in_chunks(module, x, list(call.chunks), axis), call)
    return found


def _result(given: Any, call: ModuleCall) -> Result:
    tensors = [leaf.detach() for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
    return Result({str(number): tensor for number, tensor in enumerate(tensors)}, {}, dtype=call.dtype)
