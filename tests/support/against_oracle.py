"""Comparisons of the library with the oracle that several tests make, negative controls among them."""

import dataclasses
from typing import Any

import numpy as np
import torch

import atn.functional as F
from atn.choices import Base, BiasPlacement
from atn_reference import assorted_time_norm_backward, assorted_time_norm_forward
from tests.support.comparison import assert_all_close, assert_close
from tests.support.hidden_cells import run_hidden_oracle, run_hidden_torch
from tests.support.problems import HiddenCell, HiddenProblem, LSTMProblem, NormProblem, P, mapped
from tests.support.runners import (
    DTYPES,
    Result,
    parameters_of,
    run_lstm_oracle,
    run_lstm_torch,
    run_norm_oracle,
    run_norm_torch,
)

PAPER_LIKE = LSTMProblem(
    T=30, B=8, I=10, H=17, layers=1, directions=1, norm="atn", k=12, eps=1e-5, bias_placement="inside",
    bias=True, affine=True, initial_state=True, seed=5544,
)  # fmt: skip
"""A longer sequence than hypothesis draws, eps as in the experiments."""


def assert_results_close(actual: Result, expected: Result, backend: str) -> None:
    """Compare outputs and every gradient of two runs of one problem."""
    assert actual.outputs.keys() == expected.outputs.keys()
    for name, output in actual.outputs.items():
        assert_close(output, expected.outputs[name], quantity="output", backend=backend, what=name, dtype=actual.dtype)
    assert_all_close(
        actual.gradients,
        expected.gradients,
        backend=backend,
        parameters=parameters_of(expected.gradients),
        cancelled=expected.cancelled,
        dtype=actual.dtype,
    )


def round_to(problem: P, dtype: str) -> P:
    """The problem with every array rounded to a half type, so that both sides start from the same numbers."""
    return mapped(problem, lambda array: torch.from_numpy(np.asarray(array)).to(DTYPES[dtype]).double().numpy())


def compare_norm_of_a_long_sequence(backend: str, base: Base, k: int, dtype: str) -> None:
    """A sequence of the paper's length, k up to beyond its end."""
    problem = NormProblem(
        T=120, B=6, N=17, k=k, base=base, affine=True, eps=1e-5, offset=0.0, constant_row=False, seed=4
    )
    assert_results_close(run_norm_torch(problem, backend, dtype), run_norm_oracle(problem), backend)


def compare_lstm_shaped_like_the_paper(backend: str, bias_placement: BiasPlacement, k: int, dtype: str) -> None:
    """`PAPER_LIKE`, k up to beyond the end."""
    problem = dataclasses.replace(PAPER_LIKE, k=k, bias_placement=bias_placement)
    assert_results_close(run_lstm_torch(problem, backend, dtype), run_lstm_oracle(problem), backend)


def hidden_like_the_paper(cell: HiddenCell, **changes: Any) -> HiddenProblem:
    """`PAPER_LIKE` with another cell."""
    return HiddenProblem(cell=cell, **{**dataclasses.asdict(PAPER_LIKE), **changes})


def compare_hidden_shaped_like_the_paper(
    backend: str, cell: HiddenCell, bias_placement: BiasPlacement, k: int, dtype: str
) -> None:
    """An RNN or a GRU of the sizes of `PAPER_LIKE`, k up to beyond the end."""
    problem = hidden_like_the_paper(cell, k=k, bias_placement=bias_placement)
    assert_results_close(run_hidden_torch(problem, backend, dtype), run_hidden_oracle(problem), backend)


def compare_large_common_offset_in_float32(backend: str, k: int) -> None:
    """A common offset of 1e4 costs the digits that float32 cannot hold at 1e4, and no more.

    The oracle gets the float32 numbers, so that only the arithmetic differs. Mean of squares minus squared mean would
    lose everything: (1e4)^2 * 2^-24 is 6 beside a variance of 1.
    """
    rng = np.random.default_rng(7)
    a32 = (rng.standard_normal((20, 4, 32)) + 1e4).astype(np.float32)
    dy = rng.standard_normal(a32.shape)
    y, cache = assorted_time_norm_forward(a32.astype(np.float64), k)
    a = torch.from_numpy(a32).requires_grad_()
    y32 = F.assorted_time_norm(a, k, backend=backend)
    (da32,) = torch.autograd.grad(y32, a, torch.from_numpy(dy).float())
    assert_close(y32, y, quantity="offset", backend=backend, what="y", dtype="float32")
    da = assorted_time_norm_backward(dy, cache).a
    assert_close(da32, da, quantity="offset", backend=backend, what="da", dtype="float32")
