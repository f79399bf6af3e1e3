"""Tests that a machine cannot run are left out and named, and run all the same where the command asks for them."""

import importlib.util
from pathlib import Path

import pytest

from tests.verification.selection import PACKAGES, header, lacking, left_out

pytest_plugins = ["pytester"]

SUITE = """
import pytest

def test_anywhere():
    pass

@pytest.mark.gpu
def test_of_the_device():
    assert False, "ran without a device"

@pytest.mark.data
class TestOfTheData:
    def test_file(self):
        assert False, "ran without data"

@pytest.mark.ucr
def test_of_the_archive():
    assert False, "ran without its folder"

@pytest.mark.jax
def test_of_a_package():
    assert False, "ran without the package"
"""

INI = "[pytest]\nmarkers =\n    gpu: device\n    data: files\n    ucr: files of one set\n    jax: package\n"


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATN_DATA_DIR", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *of: None if name in PACKAGES else find(name, *of))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the little suite in this process."""
    pytester.makeini(INI)
    pytester.makepyfile(SUITE)
    return pytester.runpytest_inprocess("-p", "tests.verification.selection", "-p", "no:xdist", *options)


def test_what_the_machine_lacks_is_deselected_and_named(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    result.assert_outcomes(passed=1, deselected=4)
    of_machine = "gpu (no CUDA device), data (ATN_DATA_DIR is not set), ucr (ATN_DATA_DIR is not set)"
    of_packages = "jax (jax is not installed), torchrecurrent (torchrecurrent is not installed)"
    result.stdout.fnmatch_lines([f"*left out*{of_machine}, {of_packages}*"])


@pytest.mark.parametrize("marker", ["gpu", "data", "ucr", "jax"])
def test_a_marker_that_is_named_runs_and_fails(pytester: pytest.Pytester, marker: str) -> None:
    run(pytester, "-m", marker).assert_outcomes(failed=1, deselected=4)


def test_data_run_where_a_folder_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATN_DATA_DIR", str(tmp_path))
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*left out*ucr (ATN_DATA_DIR has no folder ucr)*"])
    (tmp_path / "ucr").mkdir()
    run(pytester).assert_outcomes(passed=1, failed=2, deselected=2)


def test_a_machine_with_everything_leaves_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "ucr").mkdir()
    assert lacking(cuda=True, data_dir=str(tmp_path), torch_version="2.11.0+cpu", packages=PACKAGES) == {}
    assert header({}) == "tests left out: none"
    assert left_out("gate and not gpu").keys() == {"data", "ucr", *PACKAGES}


def test_an_old_torch_leaves_out_what_it_cannot_compile(tmp_path: Path) -> None:
    (tmp_path / "ucr").mkdir()
    for version in ("2.6.0+cu124", "2.10.1"):
        reasons = lacking(cuda=True, data_dir=str(tmp_path), torch_version=version, packages=PACKAGES)
        assert reasons == {"one_graph": f"torch {version} is older than 2.11"}
    assert lacking(cuda=True, data_dir=str(tmp_path), torch_version="3.0.0", packages=PACKAGES) == {}


def test_an_installed_package_has_its_tests() -> None:
    reasons = lacking(cuda=True, data_dir=None, torch_version="3.0.0", packages=["jax"])
    assert reasons.keys() == {"data", "ucr", "torchrecurrent"}
