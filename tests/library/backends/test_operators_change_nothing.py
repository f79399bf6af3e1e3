"""The fused operators, compiled and plain: no argument is changed in place, and no result lies where one does."""

from typing import Any

import pytest
import torch
from torch import Tensor

from atn.backend.fused import fallback
from atn.backend.fused.backend import CompiledKernels
from atn.backend.fused.build import compiled
from tests.fuzzing.operator_calls import Kind, OperatorCall, run_operators


class Watched:
    """Kernels whose arguments are compared with what they were before the call."""

    def __init__(self, kernels: Any) -> None:
        self.kernels = kernels
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self.kernels, name)

        def watched(given: Any) -> tuple[Tensor, ...]:
            self.called.append(name)
            tensors = {field: value for field, value in given._asdict().items() if isinstance(value, Tensor)}
            before = {field: value.clone() for field, value in tensors.items()}
            results: tuple[Tensor, ...] = kernel(given)
            changed = [field for field, value in tensors.items() if not torch.equal(value, before[field])]
            assert changed == [], name
            places = {value.untyped_storage().data_ptr(): field for field, value in tensors.items() if value.numel()}
            held = [places.get(result.untyped_storage().data_ptr()) for result in results if result.numel()]
            assert set(held) == {None}, name
            return results

        return watched


@pytest.mark.parametrize("k", [0, 3, 100])
@pytest.mark.parametrize("inputs", [3, 70])
@pytest.mark.parametrize(
    ("kind", "mode"), [("norm", "LSTM"), ("lstm", "LSTM"), ("hidden", "RNN_TANH"), ("hidden", "GRU")]
)
@pytest.mark.parametrize("kernels", ["compiled", "plain"])
def test_arguments_stay_as_they_are(kernels: str, kind: Kind, mode: str, inputs: int, k: int) -> None:
    """With every optional argument that there is, gradients of the statistics among them."""
    absent = {"gamma_ih", "gamma_hh", "beta_ih", "beta_hh", "bias", *(["bias_hh"] if kind == "lstm" else [])}
    call = OperatorCall(
        kind=kind, T=6, B=3, I=inputs, N=5, k=max(k, 1) if kind == "norm" else k, M=2 if k > 1 else 0,
        absent=frozenset(absent if k == 0 else ()), eps=1e-2, dtype="float64", threads=1, seed=k, mode=mode,
    )  # fmt: skip
    watched = Watched(fallback if kernels == "plain" else CompiledKernels(compiled().operators))
    run_operators(call, watched)
    assert {f"{kind}_forward", f"{kind}_backward"} <= set(watched.called)
