"""Compilers and other packages compute the oracle's function, in what is timed too, or are said to be missing.

They run in a process of their own: JAX starts threads, and warns of every later fork in its process.
"""

import importlib.util
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import benchmarks.run
from benchmarks.command_line import main
from benchmarks.correctness import LIMITS, Verdict, check
from benchmarks.report import write_report
from benchmarks.results import Conditions, GroupResult, Measurement, load_results, replaced, save_results
from benchmarks.run import measure
from benchmarks.sizes import NAMED, Group, Size, chosen, groups
from benchmarks.timing import PASSES, Timing, random_data
from benchmarks.variants import BASELINE, Entry, Variant, entries, frameworks, ours, peers
from tests.verification.selection import PACKAGES

CPU = torch.device("cpu")
SMALL = Size(T=9, B=3, I=2, H=5, k=3)
"""The window fills, and then moves."""

COMPILED = [variant for variant in frameworks() if variant.package is None]
OF_PACKAGES = [variant for variant in frameworks() if variant.package is not None]
JAX = [variant for variant in frameworks() if variant.package == "jax"]


def marked(variants: list[Variant]) -> list[Any]:
    """Parameters of a test, each with the marker of its package."""
    return [
        pytest.param(variant, id=variant.name, marks=[getattr(pytest.mark, variant.package)] if variant.package else [])
        for variant in variants
    ]


Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run a function in the same other process."""
    with _other_process() as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def _other_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))


def assert_right(verdict: Verdict) -> None:
    """Assert that a variant has the oracle's output and gradients to float32's precision."""
    assert verdict.fault == ""
    assert verdict.error is not None
    assert 0 < verdict.error < 1e-5


@pytest.mark.parametrize("variant", marked(OF_PACKAGES))
@pytest.mark.parametrize("k", [1, 3, 20])
def test_a_package_agrees_with_the_oracle(variant: Variant, k: int, run: Run) -> None:
    assert_right(run(check, Entry(variant, replace(SMALL, k=k)), CPU))


@pytest.mark.parametrize("variant", marked(COMPILED))
def test_a_compiled_step_agrees_with_the_oracle(variant: Variant, run: Run) -> None:
    assert_right(run(check, Entry(variant, SMALL), CPU))


class Results(NamedTuple):
    """Results of a layer in JAX: output of both passes, and gradients."""

    forward: Any
    training: Any
    gradients: list[Any]


def timed_and_checked(entry: Entry) -> tuple[Results, Results]:
    """Results of the timed calls, and what PyTorch's autograd has of the same layer."""
    module: Any = entry.module(CPU)
    data = random_data(entry.size, CPU)
    parameters = dict(module.named_parameters())
    h = module(data.x)
    gradients = torch.autograd.grad(h, [data.x, *parameters.values()], data.dh)
    of_call, (of_parameters, of_x) = PASSES["forward + backward"](module, data)()
    timed = Results(
        np.asarray(PASSES["forward"](module, data)()),
        np.asarray(of_call),
        [np.asarray(array) for array in (of_x, *(of_parameters[name] for name in parameters))],
    )
    output = h.detach().numpy()
    return timed, Results(output, output, [gradient.numpy() for gradient in gradients])


@pytest.mark.parametrize("variant", marked(JAX))
def test_what_is_timed_is_what_is_checked(variant: Variant, run: Run) -> None:
    timed, checked = run(timed_and_checked, Entry(variant, SMALL))
    np.testing.assert_array_equal(timed.forward, checked.forward)
    # XLA compiles the forward pass differently where a backward pass follows.
    difference = np.linalg.norm(timed.training - checked.training) / np.linalg.norm(checked.training)
    assert difference < LIMITS["float32"]
    assert len(timed.gradients) == 11
    for gradient, expected in zip(timed.gradients, checked.gradients, strict=True):
        np.testing.assert_array_equal(gradient, expected)


def pool_threads(entry: Entry, threads: int) -> int:
    """Number of threads in XLA's pool after a call, where PyTorch has `threads`."""
    torch.set_num_threads(threads)
    PASSES["forward"](entry.module(CPU), random_data(entry.size, CPU))()
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return names.count("tf_XLAEigen")


@pytest.mark.jax
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads have names in /proc alone")
@pytest.mark.parametrize("threads", [1, 3])
def test_jax_has_as_many_threads_as_torch(threads: int) -> None:
    with _other_process() as pool:
        assert pool.submit(pool_threads, Entry(JAX[0], SMALL), threads).result() == threads


def test_every_optional_package_has_its_marker() -> None:
    assert {variant.package for variant in OF_PACKAGES} == set(PACKAGES)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the optional packages."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *of: None if name in PACKAGES else find(name, *of))


@pytest.mark.usefixtures("nothing_installed")
def test_a_missing_package_is_named_and_the_others_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(_: Group, device: str) -> list[Entry]:
        assert device == "cpu"
        return [Entry(variant, SMALL) for variant in [peers()[0], *OF_PACKAGES]]

    monkeypatch.setattr(benchmarks.run, "entries", some)
    monkeypatch.setattr("benchmarks.timing.WARM_UP_SECONDS", 0.0)
    group = Group("frameworks:copying", None, (SMALL,), frameworks=True)
    measure([group], CPU, 0.001, tmp_path / "results" / "cpu.json", "a command")
    (result,) = load_results(tmp_path / "results" / "cpu.json")
    baseline, *missing = result.measurements
    assert baseline.times.keys() == PASSES.keys()
    assert [found.fault for found in missing] == [
        f"does not run: {variant.package} is not installed (pip install --group peers)" for variant in OF_PACKAGES
    ]
    assert all(found.times == {} for found in missing)
    assert result.conditions.versions.keys().isdisjoint(PACKAGES)
    assert "jax is not installed" in capsys.readouterr().out
    write_report(tmp_path)
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| ATN-LSTM, JAX | does not run | – |" in page
    assert f"- ATN-LSTM, JAX at {SMALL}: does not run: jax is not installed" in page


def test_they_run_beside_the_baseline_and_the_fastest_of_ours() -> None:
    group = next(group for group in groups("cpu") if group.name == "frameworks:copying")
    names = [entry.variant.name for entry in entries(group, "cpu")]
    assert names[0] == BASELINE
    assert set(names) >= {variant.name for variant in frameworks()} | {"ATNLSTM atn, fused", "ATNLSTM ln, fused"}
    assert "obvious ATN" not in names
    assert {entry.size for entry in entries(group, "cpu")} == {NAMED["cpu"]["copying"]}


@pytest.mark.parametrize("quick", [False, True])
def test_they_are_chosen_by_name(*, quick: bool) -> None:
    every = groups("cpu", quick=quick)
    both = ["frameworks:copying", "frameworks:adding"]
    assert [group.name for group in chosen(every, ["frameworks"])] == both
    assert [group.name for group in chosen(every, both[1:])] == both[1:]
    assert [group.name for group in chosen(every, ["copying"])] == ["copying"]
    weights = {group.name: group.weight for group in every}
    assert weights["frameworks:copying"] == weights["copying"] == 2


def test_they_do_not_run_on_a_gpu() -> None:
    assert not any(group.frameworks for group in groups("cuda"))


def measured(variants: list[Variant], seconds: list[float], *, of_frameworks: bool) -> GroupResult:
    """A made-up group at the size of copying."""
    size = NAMED["cpu"]["copying"]
    every = [
        Measurement(
            variant.name,
            variant.norm,
            variant.backend,
            size,
            1e-7,
            times={name: Timing(median, median, median, 5) for name in PASSES},
        )
        for variant, median in zip(variants, seconds, strict=True)
    ]
    name = "frameworks:copying" if of_frameworks else "copying"
    versions = {"python": "3", "torch": "2", **({"jax": "0.7.1"} if of_frameworks else {})}
    conditions = Conditions("2026-01-02T03:04:05+00:00", "cpu: Abacus", 2, 1, "c0ffee00" * 5, versions, "run")
    return GroupResult(name, None, conditions, every, frameworks=of_frameworks)


def test_their_record_stands_beside_that_of_the_plain_peers(tmp_path: Path) -> None:
    fused = next(variant for variant in ours("cpu") if variant.name == "ATNLSTM atn, fused")
    old = measured([peers()[0], fused], [0.02, 0.03], of_frameworks=False)
    new = measured([peers()[0], JAX[1], fused], [0.1, 0.25, 0.12], of_frameworks=True)
    path = tmp_path / "results" / "cpu.json"
    save_results(path, [old])
    save_results(path, replaced(load_results(path), new))
    assert load_results(path) == [old, new]
    assert main(["report", "--folder", str(tmp_path)]) == 0
    page = (tmp_path / "README.md").read_text("utf-8")
    before, _, after = page.partition("### Compilers and other packages")
    assert "| nn.LSTM | 1 = 20 ms (n = 5) |" in before
    assert "| ATNLSTM atn, fused | **1.50** (1.50 to 1.50, n = 5) |" in before
    assert "| nn.LSTM | 1 = 100 ms (n = 5) | – |" in after
    assert "| ATN-LSTM, JAX | 2.50 (2.50 to 2.50, n = 5) | – |" in after
    assert "| ATNLSTM atn, fused | **1.20** (1.20 to 1.20, n = 5) | – |" in after
    assert "ATN-LSTM, JAX" not in before
    assert "| python 3, torch 2, jax 0.7.1 |" in after
    assert "| python 3, torch 2 |" in after


def test_a_record_without_them_is_read_and_the_page_says_so(tmp_path: Path) -> None:
    fields = asdict(measured(peers()[:1], [0.02], of_frameworks=False))
    del fields["frameworks"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cpu.json").write_text(json.dumps([fields]), encoding="utf-8")
    (read,) = load_results(tmp_path / "results" / "cpu.json")
    assert read == measured(peers()[:1], [0.02], of_frameworks=False)
    write_report(tmp_path)
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "Not measured yet: `python -m benchmarks run --sizes frameworks`." in page
