"""What only a CUDA device can show; `nox -s gpu` runs these and fails where there is none."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from torch import Tensor

from atn import ATNLSTM
from atn.backend.triton import blocks, cuda_graphs
from tests.support.against_oracle import PAPER_LIKE, assert_results_close, round_to
from tests.support.comparison import assert_close
from tests.support.condition import assert_agrees
from tests.support.problems import LSTMProblem, NormProblem
from tests.support.runners import run_lstm_oracle, run_lstm_torch, run_norm_oracle, run_norm_torch
from tests.support.strategies import lstm_problems, norm_problems

pytestmark = pytest.mark.gpu

GPU_BACKENDS = ("eager", "triton")

PAPER_SIZES = {
    "copying": dataclasses.replace(PAPER_LIKE, T=120, B=128, I=10, H=68, k=45),
    "adding": dataclasses.replace(PAPER_LIKE, T=100, B=50, I=2, H=60, k=25),
    "characters": dataclasses.replace(PAPER_LIKE, T=20, B=32, I=200, H=1000, k=10),
}


@pytest.fixture(autouse=True)
def _full_float32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 rounds the factors of a product to 11 bits; the comparison is with float32."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.fixture(params=["all steps at once", "step by step"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of the time loop, of which a layer takes one by its size."""
    if request.param == "step by step":
        monkeypatch.setattr(blocks, "LARGEST_AT_ONCE", 0)


@pytest.fixture(autouse=True)
def _no_graphs_left() -> Iterator[None]:
    """Each test begins without graphs, and leaves their memory to the next."""
    cuda_graphs.GRAPHS.clear()
    yield
    cuda_graphs.GRAPHS.clear()


def paper_module(backend: str = "triton", k: int = 45) -> ATNLSTM:
    """The layer of the copying task."""
    torch.manual_seed(0)
    return ATNLSTM(10, 68, k=k, backend=backend, bias_placement="inside", device="cuda")


def paper_input(seed: int = 0) -> Tensor:
    """Input of the copying task's size."""
    return torch.randn(120, 128, 10, device="cuda", generator=torch.Generator("cuda").manual_seed(seed))


def stream_of_its_own() -> torch.cuda.Stream:
    """Another stream than the current one."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it


def step(module: ATNLSTM, x: Tensor) -> list[Tensor]:
    """Output, and the gradients of input and parameters."""
    leaf = x.detach().requires_grad_()
    y = module(leaf)[0]
    return [y, *torch.autograd.grad(y.square().sum(), [leaf, *module.parameters()])]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
@given(problem=norm_problems())
def test_norm_on_gpu(backend: str, dtype: str, problem: NormProblem) -> None:
    assert_agrees(problem, run_norm_oracle, run_norm_torch(problem, backend, dtype, "cuda"), backend)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
@given(problem=lstm_problems())
def test_lstm_on_gpu(backend: str, dtype: str, problem: LSTMProblem) -> None:
    assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, backend, dtype, "cuda"), backend)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@given(problem=lstm_problems())
def test_lstm_of_16_bit_data_on_gpu(dtype: str, problem: LSTMProblem) -> None:
    rounded = round_to(problem, dtype)
    assert_agrees(rounded, run_lstm_oracle, run_lstm_torch(rounded, "triton", dtype, "cuda"), "triton")


@pytest.mark.parametrize("k", [1, 12, 100])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_lstm_shaped_like_the_paper_on_gpu(backend: str, k: int) -> None:
    problem = dataclasses.replace(PAPER_LIKE, k=k)
    assert_results_close(run_lstm_torch(problem, backend, "float32", "cuda"), run_lstm_oracle(problem), backend)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("problem", PAPER_SIZES.values(), ids=PAPER_SIZES)
def test_the_paper_s_sizes_on_gpu(problem: LSTMProblem, dtype: str) -> None:
    """Twice launch by launch, then replayed; the oracle each time."""
    for _ in range(3):
        assert_agrees(problem, run_lstm_oracle, run_lstm_torch(problem, "triton", dtype, "cuda"), "triton")
    graphs = 2 if problem.H > blocks.LARGEST_AT_ONCE else 0
    assert len(cuda_graphs.GRAPHS) == graphs, "one forward, one backward, for a loop of many launches"


@pytest.mark.usefixtures("form")
def test_two_runs_give_the_same_bits() -> None:
    module, x = paper_module(), paper_input()
    first = step(module, x)
    for _ in range(3):
        assert all(torch.equal(result, reference) for result, reference in zip(first, step(module, x), strict=True))


@pytest.mark.usefixtures("form")
def test_a_replay_reads_the_parameters_as_they_are_now() -> None:
    module, x = paper_module(), paper_input()
    for _ in range(2):
        step(module, x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    replayed = step(module, x)
    cuda_graphs.GRAPHS.clear()
    assert all(torch.equal(result, reference) for result, reference in zip(replayed, step(module, x), strict=True))


@pytest.mark.usefixtures("form")
def test_two_streams_at_once() -> None:
    """Graphs of their own: neither overwrites what the other is working on."""
    module, inputs = paper_module(), [paper_input(1), paper_input(2)]
    expected = [step(module, x)[0] for x in inputs]
    streams = [stream_of_its_own() for _ in inputs]
    for _ in range(4):
        results = []
        for stream, x in zip(streams, inputs, strict=True):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                results.append(module(x)[0])
        torch.cuda.synchronize()
        assert all(torch.equal(result, reference) for result, reference in zip(results, expected, strict=True))


@pytest.mark.usefixtures("form")
def test_inside_a_capture_of_the_caller_s() -> None:
    module, x = paper_module(), paper_input()
    with torch.no_grad():
        for _ in range(3):
            expected = module(x)[0]
        side = stream_of_its_own()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            module(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = module(x)[0]
        graph.replay()
    assert torch.equal(captured, expected)


@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses parts that torch itself deprecates
def test_under_torch_compile() -> None:
    module, x = paper_module(), paper_input()
    expected = module(x)[0]
    compiled = torch.compile(module, fullgraph=True)
    for _ in range(3):
        assert_close(compiled(x)[0], expected, quantity="output", backend="triton")


def test_autocast_computes_in_16_bits() -> None:
    module, x = paper_module(), paper_input()
    exact = module(x)[0]
    with torch.autocast("cuda", torch.bfloat16):
        y = module(x)[0]
    assert y.dtype == torch.float32
    assert not torch.equal(y, exact)
    assert (y - exact).abs().max() < 0.1


def test_many_shapes_keep_memory_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LARGEST_AT_ONCE", 0)
    module = paper_module(k=2)
    used = []
    for T in range(1, 4 * cuda_graphs.CAPACITY):
        with torch.no_grad():
            for _ in range(2):
                module(torch.randn(T, 8, 10, device="cuda"))
        used.append(torch.cuda.memory_allocated())
    assert len(cuda_graphs.GRAPHS) == cuda_graphs.CAPACITY
    assert max(used[2 * cuda_graphs.CAPACITY :]) < 4 * max(used[: cuda_graphs.CAPACITY])


def test_without_memory_for_a_graph_it_runs_launch_by_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit a little above what one run takes leaves no room for a graph's tensors."""
    monkeypatch.setattr(blocks, "LARGEST_AT_ONCE", 0)
    module, x = paper_module(), paper_input()
    with torch.no_grad():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        expected = module(x)[0]
        peak, total = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.1 * peak / total)
        try:
            again = module(x)[0]
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.equal(again, expected)
    assert len(cuda_graphs.GRAPHS) == 0
