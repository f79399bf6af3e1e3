"""Which part may import which: the oracle NumPy alone, the library never the oracle, experiments the library."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"atn", "atn_reference", "benchmarks", "experiments", "proofs", "tests"}
ALLOWED = {
    "reference": {"atn_reference", "numpy"},
    "torch_impl": {"atn", "filelock", "jaxtyping", "ninja", "numpy", "torch", "triton"},
    "proofs": {"atn_reference", "numpy", "proofs", "sympy"},
    "benchmarks": {
        "atn",
        "atn_reference",
        "benchmarks",
        "experiments",
        "jaxtyping",
        "matplotlib",
        "mpmath",
        "numpy",
        "pytest",
        "pytest_benchmark",
        "tests",
        "torch",
        "tqdm",
        "tyro",
    },
    "experiments": {
        "atn",
        "experiments",
        "matplotlib",
        "numpy",
        "pooch",
        "safetensors",
        "submitit",
        "torch",
        "tqdm",
        "tyro",
    },
}


def imports_of(source: str) -> Iterator[str]:
    """Top-level names of the packages that a module's source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module).split(".")[0]


def trespasses(folder: str, source: str) -> set[str]:
    """What the source of a module below `folder` imports beyond the standard library and what its layer may."""
    return set(imports_of(source)) - ALLOWED[folder] - sys.stdlib_module_names


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_stay_in_their_layer(folder: str) -> None:
    modules = list((ROOT / folder).rglob("*.py"))
    assert modules
    found = {str(path.relative_to(ROOT)): trespasses(folder, path.read_text("utf-8")) for path in modules}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_trespass_is_found() -> None:
    assert trespasses("torch_impl", "import torch\nfrom atn_reference.networks.lstm import lstm_forward\n") == {
        "atn_reference"
    }
    assert trespasses("experiments", "import os\nimport tests.support.problems\n") == {"tests"}
