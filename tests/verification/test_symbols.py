"""The table of symbols in reference/README.md is true: every code name stands in the code of its column."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "reference" / "README.md"
LIBRARY = ROOT / "torch_impl" / "atn"
TRITON = LIBRARY / "backend" / "triton"
COLUMNS = ("oracle", "library", "C++", "Triton")

RETIRED = frozenset({"dread", "gain", "readout", "shift", "w_hh", "w_ih", "x_hh", "x_ih"})
"""Other names that things of the table once had."""


def python_names(source: str) -> set[str]:
    """Every name, parameter, attribute, function and class of a Python source."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "arg", "attr", "name"):
            if isinstance(value := getattr(node, field, None), str):
                names.add(value)
    return names


def cpp_names(source: str) -> set[str]:
    """Every identifier of a C++ source outside comments and strings."""
    code = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', " ", source, flags=re.DOTALL)
    return set(re.findall(r"[A-Za-z_]\w*", code))


def sources(column: str) -> list[Path]:
    """Files of the code that a column speaks of."""
    if column == "oracle":
        return sorted((ROOT / "reference").rglob("*.py"))
    if column == "C++":
        return sorted(path for kind in ("*.h", "*.cpp") for path in LIBRARY.rglob(kind))
    if column == "Triton":
        return sorted(TRITON.rglob("*.py"))
    return sorted(path for path in LIBRARY.rglob("*.py") if TRITON not in path.parents)


def names_in(paths: Iterable[Path]) -> set[str]:
    """Identifiers of these files."""
    found: set[str] = set()
    for path in paths:
        found |= (python_names if path.suffix == ".py" else cpp_names)(path.read_text("utf-8"))
    return found


def rows(text: str) -> list[dict[str, str]]:
    """Rows of the table of symbols by column."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("| ")]
    start = next(number for number, cells in enumerate(lines) if cells[0] == "symbol")
    return [dict(zip(lines[start], cells, strict=True)) for cells in lines[start + 1 :]]


def code_names(cell: str) -> set[str]:
    """Identifiers between backticks, without the strings among them."""
    code = " ".join(re.findall(r"`([^`]*)`", cell))
    return set(re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"', " ", code)))


def missing(text: str, column: str, names: set[str]) -> list[str]:
    """Names of a column that the code does not have."""
    return sorted(set().union(*(code_names(row[column]) for row in rows(text))) - names)


@pytest.mark.parametrize("column", COLUMNS)
def test_every_code_name_is_in_the_code(column: str) -> None:
    assert missing(README.read_text("utf-8"), column, names_in(sources(column))) == []


@pytest.mark.parametrize("folder", ["reference", "torch_impl", "proofs", "benchmarks"])
def test_no_retired_name_is_left(folder: str) -> None:
    paths = [path for kind in ("*.py", "*.h", "*.cpp") for path in (ROOT / folder).rglob(kind)]
    assert paths
    found = {str(path.relative_to(ROOT)): names_in([path]) & RETIRED for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_table_names_no_retired_name() -> None:
    table = rows(README.read_text("utf-8"))
    assert len(table) > 20
    assert set().union(*(code_names(row[column]) for row in table for column in COLUMNS)) & RETIRED == set()


def test_a_wrong_name_is_found() -> None:
    text = '| symbol | oracle | library | C++ | Triton |\n|---|---|---|---|---|\n| z | `z` | `f(z, "q")` | – | `w` |'
    assert missing(text, "library", python_names("def g(f, z): pass")) == []
    assert missing(text, "library", python_names("def g(f): return '# z'")) == ["z"]
    assert missing(text, "Triton", cpp_names("int v; // w\n")) == ["w"]
    assert missing(text, "C++", set()) == []
