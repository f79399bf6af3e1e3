"""The equation labels are one alphabet: ``eq-9`` of a claim is "Eq. (9)" in the code that computes it and in its tests.

A label is written as the paper prints it, in parentheses after "Eq." or "Eqs.": "Eq. (9)", "Eqs. (7)-(8)",
"Eqs. (12) and (A.2)".
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofs.claims import load_papers

ROOT = Path(__file__).parents[2]
FOLDERS = ("reference", "torch_impl", "proofs", "tests", "experiments", "benchmarks")
LABEL = r"\((?:A\.)?\d+\)"
MENTION = re.compile(
    rf"\bEqs?\.\s+({LABEL}(?:(?:-|,\s+and\s+|,\s+|\s+and\s+|\s+or\s+){LABEL})*)(\s+of\s+that\s+paper)?"
)
BARE = re.compile(r"\bEqs?\.\s+(?:A\.)?\d|\bEquations?\s+\(?(?:A\.)?\d")

NOT_IN_THE_LIBRARY = {
    "eq-11": "backpropagation needs the derivatives of all units, of which this is one unit's",
    "eq-12": "as Eq. (11)",
    "eq-13": "as Eq. (11), and a misprint",
    "eq-a1-a3": "as Eqs. (11)-(13), which these repeat",
    "eq-a4-a7": "a step of the proof of Proposition 1",
    "eq-a8-a10": "a step of the proof of Proposition 1",
    "eq-a11-a12": "a step of the proof of Proposition 1",
    "eq-a13": "a step of the proof of Proposition 1, and refuted",
}
"""Claims on equations that no part of the library computes, each with the reason."""


def labels_of(claim: str) -> list[str]:
    """Labels of a claim: "A.1", "A.2" and "A.3" of ``eq-a1-a3``, "9" of ``eq-9``."""
    first, *rest = re.findall(r"\d+", claim)
    numbers = range(int(first), int(rest[0] if rest else first) + 1)
    return [f"A.{number}" if claim.startswith("eq-a") else str(number) for number in numbers]


def named(text: str) -> set[str]:
    """Labels of this paper that a text names; ``(7)-(9)`` names all three. Those "of that paper" are another's."""
    found: set[str] = set()
    for mention in MENTION.finditer(text):
        if mention[2]:
            continue
        for first, last in re.findall(r"\(((?:A\.)?\d+)\)(?:-\(((?:A\.)?\d+)\))?", mention[1]):
            prefix = "A." if first.startswith("A.") else ""
            start, end = (int(label.removeprefix("A.")) for label in (first, last or first))
            found |= {f"{prefix}{number}" for number in range(start, end + 1)}
    return found


def docstrings(path: Path, *kinds: type[ast.AST]) -> Iterator[str]:
    """Docstrings of the functions or classes of a Python file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


def oracle_labels() -> set[str]:
    """Labels in the docstrings of the oracle's functions."""
    paths = (ROOT / "reference" / "atn_reference").rglob("*.py")
    return set().union(*(named(text) for path in paths for text in docstrings(path, ast.FunctionDef)))


def library_labels() -> set[str]:
    """Labels in the docstrings of the library's functions and classes and in the comments of its C++."""
    root = ROOT / "torch_impl" / "atn"
    texts = [text for path in root.rglob("*.py") for text in docstrings(path, ast.FunctionDef, ast.ClassDef)]
    cpp = [path.read_text("utf-8") for kind in ("*.h", "*.cpp") for path in root.rglob(kind)]
    return set().union(*map(named, [*texts, *cpp]))


def marked_claims() -> set[str]:
    """Claims that some test is marked with, by name."""
    calls = (
        node
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "claim"
    )
    return {str(argument.value) for call in calls for argument in call.args if isinstance(argument, ast.Constant)}


def equation_claims() -> list[str]:
    """Claims of the paper that are about an equation with a number."""
    (paper,) = (paper for paper in load_papers() if paper.title.startswith("Breaking Time Invariance"))
    return [claim for claim in paper.claims if re.fullmatch(r"eq-a?\d+(-a?\d+)?", claim)]


def unnamed(claims: list[str], labels: set[str]) -> list[str]:
    """Claims of which a label is missing among `labels`."""
    return [claim for claim in claims if not set(labels_of(claim)) <= labels]


def test_every_equation_has_a_claim() -> None:
    labels = [label for claim in equation_claims() for label in labels_of(claim)]
    assert labels == [*map(str, range(1, 17)), *(f"A.{number}" for number in range(1, 14))]


def test_the_oracle_names_every_equation_where_it_computes_it() -> None:
    assert unnamed(equation_claims(), oracle_labels()) == []


def test_the_library_names_every_equation_that_it_computes() -> None:
    assert unnamed(equation_claims(), library_labels()) == list(NOT_IN_THE_LIBRARY)


def test_every_equation_has_a_marked_test() -> None:
    assert set(equation_claims()) - marked_claims() == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_label_is_written_in_another_way(folder: str) -> None:
    paths = [path for kind in ("*.py", "*.h", "*.cpp", "*.md") for path in (ROOT / folder).rglob(kind)]
    found = {
        str(path.relative_to(ROOT)): bare
        for path in paths
        if path != Path(__file__) and (bare := BARE.findall(path.read_text("utf-8")))
    }
    assert found == {}


def test_labels_are_read_as_they_are_written() -> None:
    assert labels_of("eq-9") == ["9"]
    assert labels_of("eq-a11-a12") == ["A.11", "A.12"]
    assert named("Eqs. (7)-(9) and (14), Eq.\n(A.2)") == {"7", "8", "9", "14", "A.2"}
    assert named("Eqs. (1), (3)") == {"1", "3"}
    assert named("Eq. (8) of that paper; NP (13); (4)") == set()
    assert unnamed(["eq-8", "eq-a1-a3"], {"8", "A.1", "A.3"}) == ["eq-a1-a3"]
    assert [bool(BARE.search(text)) for text in ("Eqs. 7-8", "(Eq. A.2)", "Equation (5)", "Eq. (5)")] == [
        True,
        True,
        True,
        False,
    ]
