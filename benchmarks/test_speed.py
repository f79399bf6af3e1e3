"""Single looks with pytest-benchmark: ``python -m pytest benchmarks/test_speed.py -k "copying and eager"``.

Variants run one after another here, so their ratios are rough: for those, ``python -m benchmarks run`` takes turns.
"""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.sizes import NAMED
from benchmarks.timing import PASSES, random_data
from benchmarks.variants import Variant, ours, peers


@pytest.mark.parametrize("name", NAMED["cpu"])
@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("variant", [*peers(), *ours("cpu")], ids=lambda variant: variant.name)
def test_time(benchmark: BenchmarkFixture, variant: Variant, passes: str, name: str) -> None:
    """One variant, one pass, one size, compared within the size and the pass."""
    benchmark.group = f"{name}, {passes}"
    size = NAMED["cpu"][name]
    call = PASSES[passes](variant.build(size), random_data(size, torch.device("cpu")))
    benchmark(call)
