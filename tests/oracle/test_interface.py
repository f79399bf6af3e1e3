"""What the oracle promises to its readers: its names, its reading order and its equations."""

import ast
import re
from pathlib import Path
from typing import Any

import atn_reference

oracle: Any = atn_reference

PACKAGE = Path(str(atn_reference.__file__)).parent
README = PACKAGE.parent / "README.md"
NOT_INTERFACE = {"__init__", "copies", "recurrence", "site", "validation"}


def modules() -> dict[str, ast.Module]:
    return {path.stem: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def public_names(module: ast.Module) -> set[str]:
    """Names that a module defines at its top level without an underscore."""
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_all_is_what_is_public() -> None:
    defined = set().union(*(public_names(tree) for name, tree in modules().items() if name not in NOT_INTERFACE))
    assert set(oracle.__all__) == defined
    assert len(oracle.__all__) == len(defined)
    assert all(hasattr(oracle, name) for name in oracle.__all__)


def test_reading_order_names_every_module() -> None:
    files = set(modules()) - {"__init__"}
    assert set(re.findall(r"``(\w+)``", str(atn_reference.__doc__))) & files == files
    assert set(re.findall(r"`(?:\w+/)?(\w+)\.py`", README.read_text("utf-8"))) == files


def equations(text: str) -> set[int]:
    """Numbers in "Eq. (9)", "Eqs. (7)-(8)", "Eqs. (1), (3), (14)" and "Eqs. (15) and (16)"."""
    numbers: set[int] = set()
    for run in re.findall(r"Eqs?\.\s((?:\(\d+\)(?:-|,\s|\sand\s|,\sand\s)?)+)", text):
        for first, last in re.findall(r"\((\d+)\)(?:-\((\d+)\))?", run):
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def test_every_equation_is_in_the_table_and_in_a_docstring() -> None:
    table = "\n".join(line for line in README.read_text("utf-8").splitlines() if line.startswith("|"))
    documented = (ast.FunctionDef, ast.ClassDef)
    docstrings = [
        ast.get_docstring(node) or ""
        for tree in modules().values()
        for node in tree.body
        if isinstance(node, documented)
    ]
    in_docstrings = set().union(*(equations(docstring) for docstring in docstrings))
    assert equations(table) == in_docstrings == set(range(1, 17))


def test_every_function_cites_its_source() -> None:
    source = re.compile(
        r"Eqs?\. \(\d+\)|\(A\.\d+\)|Prop\. 1|Table B\.1|section \d|\bNP \(\d+\)|torch\.nn\.GRU|Dai and Heckel 2019|"
        r"Vogt et al\. 2022|Barberan et al\. 2022"
    )
    without = [
        f"{module}.{node.name}"
        for module, tree in modules().items()
        if module not in NOT_INTERFACE
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in HELPERS
        if not source.search(ast.get_docstring(node) or "")
    ]
    assert without == []


HELPERS = {"window_slice", "join_memory", "sum_over_steps"}
"""Functions that move arrays about and compute no equation."""
