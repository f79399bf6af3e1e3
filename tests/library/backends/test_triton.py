"""The GPU kernels without a GPU: run by Triton's interpreter against the oracle, and compiled by its compiler.

Sizes are small, since the interpreter takes a millisecond or more for every program. What it cannot show (that the GPU
computes the same, graphs, streams, speed) is for `test_gpu.py`.
"""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import atn
import atn.functional as F
from atn import ATNLSTM, AssortedTimeNorm
from atn.backend import registry
from atn.backend.custom_ops.signatures import LSTMForward
from atn.backend.eager_sites import any_layer
from atn.backend.triton import backend as triton_backend
from atn.backend.triton import blocks, cuda_graphs, launch
from atn.choices import Base, Norm
from experiments.common.environment import ROOT
from tests.support.against_oracle import assert_results_close, round_to
from tests.support.comparison import assert_close
from tests.support.condition import assert_agrees
from tests.support.problems import LSTMProblem, NormProblem
from tests.support.runners import run_lstm_oracle, run_lstm_torch, run_norm_oracle, run_norm_torch

LSTM = LSTMProblem(
    T=3, B=2, I=3, H=5, layers=1, directions=1, norm="atn", k=2, eps=1e-5, bias_placement="inside",
    bias=True, affine=True, initial_state=True, seed=11,
)  # fmt: skip
NORM = NormProblem(T=5, B=3, N=6, k=3, base="layer", affine=True, eps=1e-5, offset=0.0, constant_row=False, seed=12)

LAYERS: dict[str, dict[str, Any]] = {
    "as in the paper": {},
    "bias outside": {"bias_placement": "outside"},
    "no gains": {"affine": False},
    "no gains, bias outside": {"affine": False, "bias_placement": "outside"},
    "no bias": {"bias": False},
    "LN": {"norm": "ln"},
    "no norm": {"norm": "none"},
    "no norm, no bias": {"norm": "none", "bias": False},
    "Norm-Prop": {"norm": "prop"},
    "Norm-Prop, two layers, both directions": {"norm": "prop", "layers": 2, "directions": 2, "B": 1},
    "weight normalization": {"norm": "wn"},
    "window beyond the end": {"k": 9},
    "window of just the sequence": {"k": 4},
    "window of one step more": {"k": 5},
    "one step": {"T": 1},
    "one case": {"B": 1},
    "constant rows": {"constant_row": True, "bias_placement": "outside", "initial_state": False, "eps": 1e-2},
    "a power of two": {"H": 8},
    "zero initial state": {"initial_state": False},
    "two layers, both directions": {"layers": 2, "directions": 2, "B": 1},
}

NORMS: dict[str, dict[str, Any]] = {
    "ATN-LN": {},
    "ATN-BN": {"base": "batch"},
    "LN": {"k": 1},
    "window beyond the end": {"k": 9},
    "window of just the sequence": {"k": 5},
    "window of one step more": {"k": 6},
    "no gain": {"affine": False},
    "constant row": {"constant_row": True},
    "one step": {"T": 1},
    "one case": {"B": 1},
    "one feature, no gain": {"N": 1, "affine": False},
    "large offset": {"offset": 100.0},
}


AT_ONCE, BY_STEP = FORMS = ("all steps at once", "step by step")
"""Both forms of the time loop, of which a layer takes one by its size.

They differ in the product with the state and in how the state travels; the gates, the norms and their gradients are the
same functions (`gates_and_cell`). So what concerns the product alone is run in both forms, and of what concerns the
rest each setting in one.
"""

IN_BOTH_FORMS = ("as in the paper", "no gains, bias outside", "no bias", "no norm", "Norm-Prop", "one step")

FORMS_AND_LAYERS = [
    (form, name)
    for number, name in enumerate(LAYERS)
    for form in (FORMS if name in IN_BOTH_FORMS else (FORMS[number % 2],))
]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a layer take one form of the time loop."""
    if request.param == BY_STEP:
        monkeypatch.setattr(blocks, "LARGEST_AT_ONCE", 0)


@pytest.mark.claim("eq-14", "eq-15", "eq-16")
@pytest.mark.parametrize(("form", "name"), FORMS_AND_LAYERS, indirect=["form"])
@pytest.mark.usefixtures("form")
def test_layer(name: str) -> None:
    problem = dataclasses.replace(LSTM, **LAYERS[name])
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, "triton", "float64"), "triton")


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("form", "norm"), [(AT_ONCE, "atn"), (BY_STEP, "prop"), (BY_STEP, "none")], indirect=["form"])
def test_layer_in_float32(norm: Norm) -> None:
    """The same kernels with another accumulator."""
    problem = dataclasses.replace(LSTM, norm=norm)
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, "triton", "float32"), "triton")


@pytest.mark.claim("eq-7", "eq-8", "eq-9")
@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in NORMS), ("ATN-LN", "float32"), ("ATN-BN", "float32")]
)
def test_norm(name: str, dtype: str) -> None:
    problem = dataclasses.replace(NORM, **NORMS[name])
    assert_agrees(problem, run_norm_oracle, run_norm_torch(problem, "triton", dtype), "triton")


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("form", "norm", "dtype"),
    [
        (AT_ONCE, "atn", "bfloat16"),
        (AT_ONCE, "ln", "float16"),
        (AT_ONCE, "none", "bfloat16"),
        (BY_STEP, "atn", "float16"),
        (BY_STEP, "prop", "bfloat16"),
        (BY_STEP, "none", "float16"),
    ],
    indirect=["form"],
)
def test_layer_on_16_bit_data(norm: Norm, dtype: str) -> None:
    """Products and what is kept have 16 bits, statistics and states 32: within the condition of the problem."""
    problem = round_to(dataclasses.replace(LSTM, norm=norm), dtype)
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, "triton", dtype), "triton")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_norm_on_16_bit_data(dtype: str) -> None:
    """Statistics of 32 bits: one rounding at the end."""
    problem = round_to(NORM, dtype)
    assert_results_close(run_norm_torch(problem, "triton", dtype), run_norm_oracle(problem), "triton")


def test_autocast_chooses_the_data_s_dtype_and_not_the_statistics_(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    forward = launch.lstm_forward

    def look(given: LSTMForward) -> tuple[Tensor, ...]:
        result = forward(given)
        seen.extend(tensor.dtype for tensor in (given.x, given.weight_hh, result[0], result[1], result[2]))
        return result

    monkeypatch.setattr(launch, "lstm_forward", look)
    module = ATNLSTM(3, 4, k=2, backend="triton")
    with torch.autocast("cpu", torch.bfloat16):
        y, (h_n, c_n) = module(torch.randn(2, 1, 3))
    assert seen == [torch.bfloat16, torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert {y.dtype, h_n.dtype, c_n.dtype} == {torch.float32}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program hold little."""
    monkeypatch.setattr(blocks, "LONGEST_BLOCK", 4)
    monkeypatch.setattr(blocks, "LONGEST_WINDOW", 2)
    monkeypatch.setattr(blocks, "ROWS_OF_A_SUM", 4)
    monkeypatch.setattr(blocks, "COLUMNS_OF_A_SUM", 4)
    monkeypatch.setattr(blocks, "PART_OF_A_PRODUCT", 4)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("base", ["layer", "batch"])
def test_rows_and_windows_longer_than_a_program_holds(base: Base) -> None:
    problem = dataclasses.replace(NORM, base=base, k=4, T=6, N=7)
    assert_agrees(problem, run_norm_oracle, run_norm_torch(problem, "triton", "float64"), "triton")


@pytest.mark.usefixtures("small_blocks")
def test_a_layer_larger_than_a_program_holds() -> None:
    layer = dataclasses.replace(LSTM, k=3, T=4)
    assert_agrees(layer, run_lstm_oracle, run_lstm_torch(layer, "triton", "float64"), "triton")


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("form", "norm"), [(AT_ONCE, "atn"), (BY_STEP, "none")], indirect=["form"])
def test_a_stream_equals_the_whole_and_its_gradients_do(norm: Any) -> None:
    torch.manual_seed(0)
    module = ATNLSTM(3, 5, k=3 if norm == "atn" else None, norm=norm, backend="triton", dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(5, 2, 5, dtype=torch.float64)
    whole = module(x)[0]
    first, state = module.stream(x[:2], None)
    second, _ = module.stream(x[2:], state)
    parts = torch.cat((first, second))
    assert_close(parts, whole, quantity="exact", backend="triton")
    leaves = [x, *module.parameters()]
    expected = torch.autograd.grad(whole, leaves, upstream)
    for actual, reference in zip(torch.autograd.grad(parts, leaves, upstream), expected, strict=True):
        assert_close(actual, reference, quantity="gradient", backend="triton")


def test_a_stream_of_the_norm_equals_the_whole() -> None:
    module = AssortedTimeNorm(4, 3, backend="triton", dtype=torch.float64)
    a = torch.randn(5, 2, 4, dtype=torch.float64, generator=torch.manual_seed(0))
    first, memory = module.stream(a[:2], None)
    second, _ = module.stream(a[2:], memory)
    assert_close(torch.cat((first, second)), module(a), quantity="exact", backend="triton")


def test_a_stream_of_16_bit_data_goes_on() -> None:
    module = ATNLSTM(3, 4, k=2, backend="triton", dtype=torch.bfloat16)
    x = torch.randn(4, 2, 3, generator=torch.manual_seed(0)).bfloat16()
    first, state = module.stream(x[:2], None)
    second, state = module.stream(x[2:], state)
    assert_close(torch.cat((first, second)), module(x)[0], quantity="exact", backend="triton")
    assert {state.h.dtype, state.c.dtype} == {torch.float32}


def test_packed_sequences() -> None:
    torch.manual_seed(0)
    module = ATNLSTM(3, 4, k=2, bidirectional=True, backend="triton", dtype=torch.float64)
    packed = pack_sequence([torch.randn(T, 3, dtype=torch.float64) for T in (2, 4)], enforce_sorted=False)
    ours = module(packed)[0].data
    module.backend = "eager"
    assert_close(ours, module(packed)[0].data, quantity="output", backend="triton")


@pytest.mark.parametrize("k", [0, 2])
def test_operators_are_registered_as_torch_asks(k: int) -> None:
    """Schema, fake kernels, autograd registration, and tracing with dynamic shapes."""
    T, B, I, H = 2, 2, 3, 2

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64).requires_grad_()

    memory = torch.rand(3, 2, 1, B, dtype=torch.float64) if k else torch.empty(3, 2, 0, B, dtype=torch.float64)
    norms = [leaf(4 * H), leaf(4 * H), leaf(H), leaf(H)] if k else [None] * 4
    biases = [leaf(4 * H), leaf(4 * H) if k else None, leaf(4 * H) if k else None]
    arguments = (leaf(T, B, I), leaf(4 * H, I), leaf(4 * H, H), *biases, *norms, leaf(B, H), leaf(B, H), memory, k, 0.1)
    torch.library.opcheck(torch.ops.atn.triton_lstm_forward.default, arguments)
    if k:
        a = leaf(T, B, 3)
        torch.library.opcheck(torch.ops.atn.triton_norm_forward.default, (a, None, None, memory[0], k, 0.1))


@pytest.mark.one_graph
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses parts that torch itself deprecates
def test_compiles_without_a_graph_break() -> None:
    torch.manual_seed(0)
    module = ATNLSTM(3, 4, k=2, backend="triton", dtype=torch.float64)
    x = torch.randn(2, 1, 3, dtype=torch.float64)
    traced = torch.compile(module, fullgraph=True, backend="aot_eager")(x)[0]
    assert_close(traced, module(x)[0], quantity="output", backend="triton")


# ------------------------------------------------------------------------------------------- graphs, without a device


class FakeGraph:
    """Stands where a CUDA graph would: replaying it runs the loop over the graph's own tensors."""

    def __init__(self, loop: Any, settings: dict[str, Any]) -> None:
        self.loop, self.settings = loop, settings
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.loop.run(**self.settings)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[FakeGraph]:
    """Let loops on the CPU be replayed; the graphs recorded so far."""
    graphs: list[FakeGraph] = []
    monkeypatch.setattr(blocks, "LARGEST_AT_ONCE", 0)

    def record(loop: Any, settings: dict[str, Any]) -> Any:
        buffers = {
            name: None if tensor is None else torch.empty_like(tensor) for name, tensor in loop._asdict().items()
        }
        graphs.append(FakeGraph(type(loop)(**buffers), settings))
        return cuda_graphs.Recorded(graphs[-1].loop, graphs[-1])  # type: ignore[arg-type]  # a fake

    monkeypatch.setattr(cuda_graphs, "GRAPHS", cuda_graphs.Graphs())
    monkeypatch.setattr(cuda_graphs, "can_record", lambda device: device.type == "cpu")
    monkeypatch.setattr(cuda_graphs, "place", lambda device: device)
    monkeypatch.setattr(cuda_graphs, "on_device", torch.device)
    monkeypatch.setattr(cuda_graphs, "record", record)
    return graphs


@pytest.mark.parametrize("norm", ["atn", "none"])
def test_a_replayed_loop_gives_what_it_gives_launch_by_launch(norm: Any, recorded: list[FakeGraph]) -> None:
    """Other inputs each time, so that nothing left over from an earlier run can pass."""
    results = []
    for seed in (1, 2, 3):
        problem = dataclasses.replace(LSTM, T=3, B=1, norm=norm, seed=seed)
        results.append(run_lstm_torch(problem, "triton", "float64"))
        assert_results_close(results[-1], run_lstm_oracle(problem), "triton")
    assert [graph.replays for graph in recorded] == [2, 2], "forward and backward, from the second time on"


def test_results_of_a_replay_are_not_overwritten_by_the_next(recorded: list[FakeGraph]) -> None:
    module = ATNLSTM(2, 3, k=2, backend="triton")
    x = torch.randn(2, 1, 2, generator=torch.manual_seed(0))
    with torch.no_grad():
        module(x)
        first = module(x)[0]
        kept = first.clone()
        module(-x)
    assert len(recorded) == 1
    assert torch.equal(first, kept)


def test_another_shape_or_setting_has_another_graph(recorded: list[FakeGraph]) -> None:
    with torch.no_grad():
        for _ in range(2):
            ATNLSTM(2, 3, k=2, backend="triton")(torch.zeros(2, 1, 2))
            ATNLSTM(2, 3, k=2, backend="triton")(torch.zeros(3, 1, 2))
            ATNLSTM(2, 3, k=3, backend="triton")(torch.zeros(2, 1, 2))
            ATNLSTM(2, 3, k=2, eps=0.1, backend="triton")(torch.zeros(2, 1, 2))
            ATNLSTM(2, 3, k=2, backend="triton", dtype=torch.float64)(torch.zeros(2, 1, 2, dtype=torch.float64))
    assert len(recorded) == 5


def test_graphs_are_bounded_and_the_one_used_last_stays() -> None:
    graphs = cuda_graphs.Graphs()
    for key in range(cuda_graphs.CAPACITY):
        graphs.keep(key, None)  # type: ignore[arg-type]  # what is kept does not matter
    graphs.find(0)
    graphs.keep("new", None)  # type: ignore[arg-type]  # the same
    assert len(graphs) == cuda_graphs.CAPACITY
    assert 0 in graphs
    assert 1 not in graphs
    assert [graphs.first_time(key) for key in ("a", "b", "a")] == [True, True, False]
    for key in range(cuda_graphs.REMEMBERED):
        graphs.first_time(key)
    assert graphs.first_time("a"), "only so many shapes are remembered"


def test_without_memory_for_a_graph_the_loop_runs_without(
    recorded: list[FakeGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError

    problem = dataclasses.replace(LSTM, T=2, B=1)
    run_lstm_torch(problem, "triton", "float64")
    monkeypatch.setattr(cuda_graphs, "record", too_large)
    assert_results_close(run_lstm_torch(problem, "triton", "float64"), run_lstm_oracle(problem), "triton")
    assert recorded == []
    assert len(cuda_graphs.GRAPHS) == 0


# ------------------------------------------------------------------------------------------------- where it can run


@pytest.mark.parametrize(
    ("installed", "reason"), [(False, "Triton is not installed"), (True, "PyTorch finds no CUDA device")]
)
def test_where_it_cannot_run_it_says_why_and_what_can(
    *, installed: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_backend, "INSTALLED", installed)
    monkeypatch.setattr(triton_backend, "interpreting", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (info,) = (info for info in atn.backends() if info.name == "triton")
    assert not info.available
    assert info.reason.startswith(reason)
    with pytest.raises(ValueError, match=rf"^backend='triton' cannot run here: {reason}.*; 'eager', 'fused' can$"):
        ATNLSTM(3, 4, k=2, backend="triton")


def test_auto_does_not_take_what_no_gpu_has_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_backend, "interpreting", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (info,) = (info for info in atn.backends() if info.name == "triton")
    assert info.available
    assert "'auto' does not take it" in info.reason
    assert registry.backend_for("auto", torch.device("cuda")).layer is any_layer
    assert registry.backend_for("triton", torch.device("cuda")).layer is triton_backend.layer


def test_input_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="backend='triton' runs on cpu, got input on meta"):
        F.assorted_time_norm(torch.zeros(2, 1, 3, device="meta"), 2, backend="triton")


# ---------------------------------------------------------------------------------------------------- the compiler


def test_every_kernel_compiles_for_the_paper_s_sizes_and_spills_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.triton_compile"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr.decode()
    kernels = [json.loads(line) for line in process.stdout.splitlines()]
    assert {kernel["architecture"] for kernel in kernels} == {80, 90}
    assert len({kernel["kernel"] for kernel in kernels}) == 10
    assert [kernel for kernel in kernels if kernel["spilled"]] == []
    # A program of the steps has a multiprocessor to itself, the others share one.
    assert max(kernel["registers"] for kernel in kernels if "lstm" not in kernel["kernel"]) <= 128
