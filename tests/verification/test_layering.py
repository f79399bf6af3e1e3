"""Which part may import which, and how the folders are filled.

The oracle imports NumPy alone, the library never the oracle, experiments the library. Inside the experiments and the
library the rooms form a chain, of which each may import those before it.
"""

import ast
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "reference": {"atn_reference", "numpy"},
    "torch_impl": {"atn", "filelock", "jaxtyping", "ninja", "numpy", "torch", "triton"},
    "proofs": {"atn_reference", "numpy", "proofs", "sympy"},
    "benchmarks": {
        "atn",
        "atn_reference",
        "benchmarks",
        "experiments",
        "jax",
        "jaxtyping",
        "matplotlib",
        "mpmath",
        "numpy",
        "pytest",
        "pytest_benchmark",
        "scipy",
        "tests",
        "torch",
        "torchrecurrent",
        "tqdm",
        "tyro",
    },
    "experiments": {
        "PIL",
        "atn",
        "experiments",
        "matplotlib",
        "numpy",
        "pooch",
        "safetensors",
        "scipy",
        "sklearn",
        "submitit",
        "torch",
        "tqdm",
        "tyro",
    },
}


BELOW_BACKENDS = {
    "atn.carried",
    "atn.choices",
    "atn.fixed_settings",
    "atn.precision",
    "atn.sliding_window",
    "atn.state",
    "atn.validation",
    "atn.window",
}
"""Modules of the library that stand before all of its rooms."""

ROOMS: dict[str, set[str]] = {
    "experiments.common": set(),
    "experiments.training": {"experiments.common"},
    "experiments.models": {"experiments.common", "experiments.training"},
    "experiments.datasets": {"experiments.common", "experiments.training.distributed"},
    "experiments.tasks": {
        "experiments.common",
        "experiments.training",
        "experiments.models",
        "experiments.datasets",
    },
    "experiments.related": {
        "experiments.common",
        "experiments.training",
        "experiments.models",
        "experiments.datasets",
        "experiments.tasks",
    },
    "experiments.catalog": {
        "experiments.common",
        "experiments.training",
        "experiments.models",
        "experiments.datasets",
        "experiments.tasks",
        "experiments.related",
    },
    "experiments.report": {
        "experiments.common",
        "experiments.training",
        "experiments.models",
        "experiments.datasets",
        "experiments.tasks",
        "experiments.related",
        "experiments.catalog",
    },
    "experiments.stamp": {"experiments.common"},
    "atn.backend": BELOW_BACKENDS,
    "atn.norms": {*BELOW_BACKENDS, "atn.backend", "atn.initialization", "atn.population"},
    "atn.layers": {*BELOW_BACKENDS, "atn.backend", "atn.initialization", "atn.norms"},
    "atn.cells": {*BELOW_BACKENDS, "atn.backend", "atn.initialization", "atn.norms", "atn.layers"},
    "atn.readout": {*BELOW_BACKENDS, "atn.initialization", "atn.layers.initial_state", "atn.normalization"},
    "atn.lyapunov": {*BELOW_BACKENDS, "atn.backend", "atn.layers"},
    "benchmarks": {"tests.support"},
    "tests.support": {"tests.verification.error_log"},
}
"""Room -> what its modules may import of the same package beside the room itself; of benchmarks, what of the tests.

`experiments.cli` stands at the end of the chain and may import all of it; `experiments.datasets` shares its downloads
among the processes of a run, and knows nothing else of training.
"""

PACKAGES = {"experiments": "experiments", "atn": "torch_impl/atn", "benchmarks": "benchmarks", "tests": "tests"}
"""Package -> its folder."""

RUN_TESTS = frozenset(
    {
        "tests/library/backends/test_negative_controls.py",
        "tests/library/backends/test_negative_controls_of_norms.py",
        "tests/oracle/test_negative_controls.py",
    }
)
"""They plant bugs and run the tests that have to find them: the only test files that import others."""

MOST_MODULES = 16
"""A folder with more modules than this is cut into rooms; what tests share stays in one place."""

ENDINGS = "s es ies y ed er ers or ors ing ings ion ions ize ization izations ent ence ant ance al ly"
"""Endings of words that tell two names apart too little, as "study" and "studies" or "initial" and "initialization"."""


def modules_imported(source: str) -> Iterator[str]:
    """Dotted name of everything that a module's source imports: of ``from a import b`` it is ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def trespasses(folder: str, source: str) -> set[str]:
    """What the source of a module below `folder` imports beyond the standard library and what its layer may."""
    packages = {name.split(".")[0] for name in modules_imported(source)}
    return packages - ALLOWED[folder] - sys.stdlib_module_names


def inside(name: str, room: str) -> bool:
    """Whether a dotted name is the room or something in it."""
    return f"{name}.".startswith(f"{room}.")


def intrusions(room: str, source: str) -> set[str]:
    """What the source of a module in `room` imports that `ROOMS` does not allow."""
    guarded = "tests" if room == "benchmarks" else room.split(".", maxsplit=1)[0]
    found = {name for name in modules_imported(source) if inside(name, guarded)}
    return {name for name in found if not any(inside(name, allowed) for allowed in {room, *ROOMS[room]})}


def modules_of(room: str) -> list[Path]:
    """Files of a room, which is a folder or one module."""
    package, *rest = room.split(".")
    path = ROOT.joinpath(PACKAGES[package], *rest)
    return [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.rglob("*.py"))


def crowded(names: Iterable[str]) -> dict[str, int]:
    """Folder -> number of modules, of those with too many; `names` are paths of modules in the checkout."""
    folders = Counter(str(PurePosixPath(name).parent) for name in names if not name.endswith("__init__.py"))
    return {folder: count for folder, count in folders.items() if count > MOST_MODULES and folder != "tests/support"}


def checkout_modules() -> list[str]:
    """Paths of the project's modules."""
    folders = ("benchmarks", "experiments", "proofs", "reference", "tests", "torch_impl")
    return [path.relative_to(ROOT).as_posix() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


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


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_stands_before_it(room: str) -> None:
    modules = modules_of(room)
    assert modules
    found = {str(path.relative_to(ROOT)): intrusions(room, path.read_text("utf-8")) for path in modules}
    assert {path: names for path, names in found.items() if names} == {}


def test_an_intrusion_is_found() -> None:
    assert intrusions("experiments.training", "from experiments.catalog.registry import Task\n") == {
        "experiments.catalog.registry.Task"
    }
    assert intrusions("experiments.datasets", "from experiments.training import distributed, run\n") == {
        "experiments.training.run"
    }
    assert intrusions("atn.backend", "import atn.cells.lstm\n") == {"atn.cells.lstm"}
    assert intrusions("benchmarks", "from tests.library.test_lstm import pair\nfrom tests.support import norms\n") == {
        "tests.library.test_lstm.pair"
    }


def test_no_test_file_imports_another() -> None:
    found = {
        path: names
        for path in checkout_modules()
        if path not in RUN_TESTS
        and (names := {name for name in modules_imported((ROOT / path).read_text("utf-8")) if is_of_a_test_file(name)})
    }
    assert found == {}


def is_of_a_test_file(name: str) -> bool:
    """Whether a dotted name is a test file, or something in one."""
    return name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))


def test_an_import_of_a_test_file_is_found() -> None:
    assert is_of_a_test_file("tests.library.test_lstm")
    assert is_of_a_test_file("tests.library.test_lstm.pair")
    assert not is_of_a_test_file("tests.support.lstms.random")


def test_no_folder_is_crowded() -> None:
    assert crowded(checkout_modules()) == {}


def test_a_crowded_folder_is_found() -> None:
    names = [f"tests/library/test_{number}.py" for number in range(MOST_MODULES)]
    assert crowded([*names, "tests/library/__init__.py"]) == {}
    assert crowded([*names, "tests/library/test_more.py"]) == {"tests/library": MOST_MODULES + 1}


def stems(name: str) -> set[str]:
    """A module's name, and what is left of it without one of the endings."""
    return {name, *(name.removesuffix(end) for end in ENDINGS.split() if name.endswith(end))}


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Modules of one folder that differ by an ending alone; `names` are paths of modules in the checkout."""
    # A folder is the module of its __init__.py.
    paths = {PurePosixPath(name.removesuffix("/__init__.py").removesuffix(".py")) for name in names}
    pairs = itertools.combinations(sorted(paths), 2)
    return [(str(a), str(b)) for a, b in pairs if a.parent == b.parent and stems(a.name) & stems(b.name)]


def test_no_two_modules_differ_by_an_ending_alone() -> None:
    assert alike(checkout_modules()) == []


@pytest.mark.parametrize(
    "pair",
    [
        ("study", "studies"),
        ("initial", "initialization"),
        ("normalize", "normalization"),
        ("test_operator", "test_operators"),
    ],
)
def test_modules_alike_are_found(pair: tuple[str, str]) -> None:
    first, second = sorted(f"experiments/{name}" for name in pair)
    assert alike([f"{first}.py", f"{second}.py"]) == [(first, second)]
    assert alike([f"{first}.py", f"{second}/__init__.py"]) == [(first, second)]
    assert alike([f"{first}.py", f"tests/{second.partition('/')[2]}.py"]) == []
