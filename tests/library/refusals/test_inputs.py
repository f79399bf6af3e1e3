"""Inputs and initial states that the LSTM refuses."""

import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from tests.support.wrong_calls import FLOATING, META, A, Case, lstm, pair, state, wrong_calls


def packed_inside_vmap(module: Any) -> torch.Tensor:
    """Three times two cases of 4 and 3 steps, as `pack_padded_sequence` packs them inside vmap."""
    rows, sizes = torch.zeros(3, 7, 3), torch.tensor([2, 2, 2, 1]).expand(3, 4)
    found: torch.Tensor = torch.func.vmap(lambda *packed: module(PackedSequence(*packed))[0].data)(rows, sizes)
    return found


CASES: list[Case] = [
    # Input of the LSTM.
    ("x integers", lambda: lstm()(A.long()), TypeError, rf"input {FLOATING}, got torch.int64"),
    ("x an array", lambda: lstm()(A.numpy()), TypeError, "input must be a tensor, got ndarray"),
    (
        "x sparse",
        lambda: lstm()(A.to_sparse()),
        TypeError,
        r"input must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    (
        "x of mkldnn",
        lambda: lstm()(A.to_mkldnn()),
        TypeError,
        r"input must be a dense tensor, got one of layout torch._mkldnn",
    ),
    (
        "x nested",
        lambda: lstm()(torch.nested.nested_tensor([A[:, 0], A[:2, 0]], layout=torch.jagged)),
        TypeError,
        r"input must be a dense tensor, got a nested tensor",
    ),
    (
        "x without a batch, sparse",
        lambda: lstm()(A[:, 0].to_sparse()),
        TypeError,
        r"input must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    (
        "h_0 nested",
        lambda: lstm()(A, (torch.nested.nested_tensor([torch.zeros(2, 5)], layout=torch.jagged), A[:1])),
        TypeError,
        r"h_0 must be a dense tensor, got a nested tensor",
    ),
    (
        "a weight sparse",
        lambda: functional_call(lstm(), {"weight_hh_l0": torch.zeros(20, 5).to_sparse()}, (A,)),
        TypeError,
        r"weight_hh_l0 must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    ("x of rank 1", lambda: lstm()(A[0, 0]), ValueError, r"input must have 3 axes \(T, B, I\), got shape \(3,\)"),
    (
        "x of rank 4",
        lambda: lstm(batch_first=True)(A[None]),
        ValueError,
        r"input must have 3 axes \(B, T, I\), got shape \(1, 4, 2, 3\)",
    ),
    (
        "x, features",
        lambda: lstm()(A[..., :2]),
        ValueError,
        r"input must have 3 features along its last axis, got shape \(4, 2, 2\)",
    ),
    (
        "x, T zero",
        lambda: lstm()(A[:0]),
        ValueError,
        r"input must have at least one element along each axis \(T, B, I\), got \(0, 2, 3\)",
    ),
    (
        "x without batch, T zero",
        lambda: lstm()(A[:0, 0]),
        ValueError,
        r"input must have at least one element along each axis \(T, I\)",
    ),
    (
        "x of another dtype",
        lambda: lstm()(A.double()),
        TypeError,
        "input must have weight_ih_l0's dtype torch.float32, got torch.float64",
    ),
    (
        "a shift alone of another dtype",
        lambda: functional_call(lstm(), {"norm_c_l0.bias": torch.zeros(5).double()}, (A,)),
        TypeError,
        "^norm_c_l0.bias must have weight_ih_l0's dtype torch.float32, got torch.float64",
    ),
    (
        "a shift alone elsewhere",
        lambda: functional_call(lstm(), {"norm_ih_l0.bias": torch.zeros(20, device="meta")}, (A,)),
        ValueError,
        "^norm_ih_l0.bias must be on weight_ih_l0's device cpu, got meta",
    ),
    (
        "x of another dtype without autocast",
        lambda: lstm(device="meta")(META.double()),
        TypeError,
        "input must have weight_ih_l0's dtype torch.float32, got torch.float64",
    ),
    ("x elsewhere", lambda: lstm()(META), ValueError, "input must be on weight_ih_l0's device cpu, got meta"),
    (
        "packed, features",
        lambda: lstm()(pack_sequence([A[:, 0, :2]])),
        ValueError,
        "input.data must have 3 features along its last axis",
    ),
    (
        "packed inside vmap",
        lambda: packed_inside_vmap(lstm()),
        ValueError,
        "input.batch_sizes must have the same values for all that vmap maps, got a tensor that it maps over",
    ),
    ("packed, rank", lambda: lstm()(pack_sequence([A])), ValueError, r"input.data must have 2 axes \(S, I\)"),
    (
        "packed, order",
        lambda: lstm()(PackedSequence(A[0], torch.tensor([2]), torch.tensor([0, 1, 2]))),
        ValueError,
        r"input.sorted_indices must have one index for each of the input.batch_sizes\[0\] = 2 cases, got shape \(3,\)",
    ),
    *(
        (
            f"packed, batch_sizes {sizes}",
            lambda sizes=sizes: lstm()(PackedSequence(torch.zeros(5, 3), torch.tensor(sizes))),
            ValueError,
            "input.batch_sizes must be numbers of at least 1 that never rise and add up to the 5 rows of input.data, "
            + re.escape(f"got {sizes}"),
        )
        for sizes in ([2, 1, 2], [3, 0, 2], [3, 1], [4, 2, -1], [3, 3])
    ),
    (
        "packed, a case twice",
        lambda: lstm()(PackedSequence(torch.zeros(5, 3), torch.tensor([3, 2]), torch.tensor([0, 0, 1]))),
        ValueError,
        r"input.sorted_indices must have each index from 0 to 2 once, got \[0, 0, 1\]",
    ),
    (
        "packed, orders that do not belong together",
        lambda: lstm()(
            PackedSequence(torch.zeros(5, 3), torch.tensor([3, 2]), torch.tensor([2, 0, 1]), torch.tensor([0, 1, 2]))
        ),
        ValueError,
        r"input.unsorted_indices must undo input.sorted_indices \[2, 0, 1\], got \[0, 1, 2\]",
    ),
    (
        "packed, one order alone",
        lambda: lstm()(pack_sequence([A[:, 0], A[:3, 0]])._replace(unsorted_indices=torch.tensor([1, 0]))),
        TypeError,
        "input.sorted_indices must be a tensor of int64, got NoneType",
    ),
    (
        "packed, batch_sizes a list",
        lambda: lstm()(
            PackedSequence(torch.zeros(5, 3), torch.tensor([3, 2]))._replace(batch_sizes=cast("Any", [3, 2]))
        ),
        TypeError,
        "input.batch_sizes must be a tensor of int64, got list",
    ),
    (
        "packed, batch_sizes floats",
        lambda: lstm()(PackedSequence(torch.zeros(5, 3), torch.tensor([3.0, 2.0]))),
        TypeError,
        "input.batch_sizes must be a tensor of int64, got torch.float32",
    ),
    (
        "packed, batch_sizes elsewhere",
        lambda: lstm()(PackedSequence(torch.zeros(5, 3), torch.tensor([3, 2]))._replace(batch_sizes=META.long())),
        ValueError,
        "input.batch_sizes must be on the CPU, got meta",
    ),
    (
        "packed, a place twice",
        lambda: lstm()(
            PackedSequence(torch.zeros(5, 3), torch.tensor([3, 2]), torch.tensor([0, 2, 1]), torch.tensor([0, 2, 3]))
        ),
        ValueError,
        r"input.unsorted_indices must have each index from 0 to 2 once, got \[0, 2, 3\]",
    ),
    (
        "packed integers",
        lambda: lstm()(pack_sequence([A[:, 0].long()])),
        TypeError,
        rf"input.data {FLOATING}, got torch.int64",
    ),
    # States of the LSTM.
    (
        "hx a tensor",
        lambda: lstm()(A, torch.zeros(1, 2, 5)),
        TypeError,
        r"hx must be a pair \(h_0, c_0\) of tensors, got Tensor",
    ),
    (
        "hx of three",
        lambda: lstm()(A, (*pair(1, 2, 5), A)),
        TypeError,
        r"hx must be a pair \(h_0, c_0\) of tensors, got tuple",
    ),
    ("hx empty", lambda: lstm()(A, ()), TypeError, r"hx must be a pair \(h_0, c_0\) of tensors, got tuple"),
    ("hx of a stream", lambda: lstm()(A, state()), TypeError, "got LSTMState, which goes to stream"),
    ("hx of lists", lambda: lstm()(A, ([0.0], [0.0])), TypeError, "h_0 must be a tensor, got list"),
    (
        "h_0, layers",
        lambda: lstm(num_layers=2)(A, pair(1, 2, 5)),
        ValueError,
        r"h_0 must have shape \(num_layers \* D, B, H\) = \(2, 2, 5\), got \(1, 2, 5\)",
    ),
    (
        "h_0, batch",
        lambda: lstm()(A, pair(1, 4, 5)),
        ValueError,
        r"h_0 must have shape .* = \(1, 2, 5\), got \(1, 4, 5\)",
    ),
    (
        "c_0, features",
        lambda: lstm()(A, (torch.zeros(1, 2, 5), torch.zeros(1, 2, 3))),
        ValueError,
        r"c_0 must have shape .* got \(1, 2, 3\)",
    ),
    (
        "h_0 with a batch for x without",
        lambda: lstm()(A[:, 0], pair(1, 1, 5)),
        ValueError,
        r"h_0 must have shape \(num_layers \* D, H\) = \(1, 5\), got \(1, 1, 5\)",
    ),
    (
        "h_0 of another dtype",
        lambda: lstm()(A, pair(1, 2, 5, dtype=torch.float64)),
        TypeError,
        "h_0 must have input's dtype torch.float32, got torch.float64",
    ),
    (
        "c_0 alone of another dtype",
        lambda: lstm()(A, (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5, dtype=torch.float64))),
        TypeError,
        "^c_0 must have input's dtype torch.float32, got torch.float64",
    ),
    (
        "h_0 elsewhere",
        lambda: lstm()(A, (torch.zeros(1, 2, 5, device="meta"), torch.zeros(1, 2, 5))),
        ValueError,
        "h_0 must be on input's device cpu, got meta",
    ),
    (
        "packed, h_0",
        lambda: lstm()(pack_sequence([A[:, 0]]), pair(1, 2, 5)),
        ValueError,
        r"h_0 must have shape .* = \(1, 1, 5\)",
    ),
]


@wrong_calls(CASES)
def test_wrong_call(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
