"""Numerics and hypothesis profiles of the whole suite.

Profiles, chosen by `ATN_PROFILE`: `dev` (default, few examples), `ci` (derandomised), `soak` (many), `few`.
"""

import os

import hypothesis
import pytest
import torch

from atn.backend import registry
from tests.support.runners import BACKENDS

if not torch.cuda.is_available():
    # Triton decides when its kernels are imported whether it compiles or interprets them.
    os.environ["TRITON_INTERPRET"] = "1"
# cuBLAS's deterministic mode, which deterministic algorithms ask for; read when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

hypothesis.settings.register_profile("dev", max_examples=15, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=15, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("few", max_examples=3, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("soak", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("ATN_PROFILE", "dev"))

# One thread: the sizes are small, and the workers of pytest-xdist share the cores.
torch.set_num_threads(1)
# Deterministic mode fills fresh memory with NaN, so that an element nobody wrote cannot pass a comparison.
torch.use_deterministic_algorithms(mode=True)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Numbers that a test draws from torch's global generator do not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(params=BACKENDS)
def auto_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test once for each backend, as what `backend="auto"` takes on the CPU."""
    name: str = request.param
    monkeypatch.setitem(registry._FASTEST, "cpu", name)
    return name
