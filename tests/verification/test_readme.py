"""Every module, test, file, link and command that README.md, CONTRIBUTING.md and reference/README.md name is there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.support.commands import faults, nox_commands

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "reference/README.md")

FOLDERS = (
    "",
    "reference/atn_reference",
    "torch_impl/atn",
    "proofs",
    "tests",
    "tests/support",
    "experiments",
    "benchmarks",
)
"""What paths on the pages may be relative to, beside the page's own folder."""

PACKAGES = ("atn", "atn_reference", "benchmarks", "experiments", "proofs", "tests")

SUFFIXES = r"\.(?:py|md|toml|h|cpp|json|csv|jsonl|yml|txt)"

Page = pytest.mark.parametrize("page", PAGES)


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands between backticks in a page's prose."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def is_path(span: str) -> bool:
    """Whether a span is a path: it ends like a file or a folder, or has folders in front of a name."""
    path, *_ = re.split(r"::|: ", span, maxsplit=1)
    return bool(
        re.fullmatch(rf"[\w.*<>/-]+({SUFFIXES}|/)|(tests|proofs|experiments|torch_impl|reference)/[\w/]+", path)
    )


def missing_path(span: str, base: Path) -> str | None:
    """The span, if its file is not there, or the name behind ``::`` or ``: `` is not in it."""
    path, *names = re.split(r"::|: ", span)
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    found = [match for folder in (base, *(ROOT / each for each in FOLDERS)) for match in folder.glob(pattern)]
    if not found:
        return span
    text = found[0].read_text("utf-8") if names else ""
    return span if any(not re.search(rf"\b{name}\b", text) for name in names) else None


def missing_dotted(span: str) -> str | None:
    """The span, if it is a dotted name of one of the packages and there is no such module or member."""
    name = span.split("(", maxsplit=1)[0]
    if not re.fullmatch(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+", name) or re.search(rf"{SUFFIXES}$", name):
        return None
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for member in parts[count:]:
            if not hasattr(found, member):
                return span
            found = getattr(found, member)
        return None
    return span


def missing_test(span: str) -> str | None:
    """The span, if it is the bare name of a test or of a test file and there is none."""
    if not re.fullmatch(r"test_\w+", span):
        return None
    names = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    return None if span in names or any(span in names_in(path) for path in (ROOT / "tests").rglob("*.py")) else span


def names_in(path: Path) -> set[str]:
    """Functions and classes of a module."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kinds)}


def missing(text: str, base: Path) -> list[str]:
    """Every path, module, member and test of a page in the folder `base` that is not there."""
    found = [
        missing_path(span, base) if is_path(span) else missing_dotted(span) or missing_test(span)
        for span in spans(text)
    ]
    return [span for span in found if span is not None]


def broken_links(text: str, base: Path) -> list[str]:
    """Targets of links inside the repository that are not there."""
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose(text))]
    return [target for target in targets if target and "://" not in target and not (base / target).exists()]


@Page
def test_everything_it_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert len([span for span in spans(text) if is_path(span)]) > 3
    assert missing(text, (ROOT / page).parent) == []


@Page
def test_links_lead_somewhere(page: str) -> None:
    assert broken_links((ROOT / page).read_text("utf-8"), (ROOT / page).parent) == []


@Page
def test_nox_commands_are_understood(page: str) -> None:
    commands = nox_commands((ROOT / page).read_text("utf-8"))
    assert {command: found for command in commands if (found := faults(command))} == {}


def test_the_first_command_is_the_demonstration() -> None:
    first, second, *_ = nox_commands((ROOT / "README.md").read_text("utf-8"))
    assert (first.session, first.arguments) == ("experiments", ("copying", "--preset", "demo"))
    assert second.session == "verify"


def misplaced(text: str) -> list[str]:
    """Paths of the table *paper, oracle, library, proof, test* that are not below their column's folder."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    start = next(number for number, cells in enumerate(rows) if "oracle" in cells[1])
    roots = [ROOT / root for cell in rows[start][1:] for root in spans(cell)]
    found = [
        (root, span)
        for cells in rows[start + 2 :]
        for root, cell in zip(roots, cells[1:], strict=True)
        for span in spans(cell)
    ]
    return [span for root, span in found if not (root / span).exists()]


def test_the_table_s_paths_are_those_of_their_columns() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert misplaced(text.partition("## Results so far")[0]) == []


def test_a_path_in_the_wrong_column_is_found() -> None:
    header = "| paper | oracle, `reference/atn_reference` | library, `torch_impl/atn` |\n|---|---|---|\n"
    assert misplaced(header + "| RNN | `networks/rnn.py` | `cells/rnn.py` |") == []
    assert misplaced(header + "| RNN | `cells/rnn.py` | `networks/rnn.py` |") == ["cells/rnn.py", "networks/rnn.py"]


def test_the_one_example_runs() -> None:
    # `nox -s wheel` runs it too, in an environment of its own.
    (example,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102 - the page's own code
    assert names["state"] is not None


@pytest.mark.parametrize(
    "span",
    [
        "norms/windows.py",
        "tests/oracle/test_rnns.py",
        "proofs/atn/window.py::no_such_proof",
        "tests/support/runners.py: NO_SUCH_NAME",
        "proofs/papers/<paper>.tml/",
        "experiments/no_such_folder/",
        "atn.backend.no_such_module",
        "atn.functional.no_such_function",
        "experiments.no_such_module.name",
        "test_no_such_test",
    ],
)
def test_a_wrong_name_is_found(span: str) -> None:
    assert missing(f"See `{span}`.", ROOT) == [span]


@pytest.mark.parametrize(
    "span",
    [
        "norms/window.py",
        "tests/support/runners.py: BACKENDS",
        "proofs/papers/<paper>.toml",
        "experiments/tasks/",
        "atn.backends()",
        "atn.functional.assorted_time_norm",
        "test_rnn",
        "weight_ih",
        "10 ln 8 / (T + 20)",
    ],
)
def test_a_right_name_is_not(span: str) -> None:
    assert missing(f"See `{span}`.", ROOT) == []


def test_a_broken_link_and_a_wrong_command_are_found() -> None:
    assert broken_links("[a](no/file.md) [b](README.md#use-it) [c](https://a.b/c)", ROOT) == ["no/file.md"]
    text = "`nox -s nothing`, `nox -s experiments -- copying --preset demonstrate` or `nox -s experiments -- copy`"
    wrong = [faults(command) for command in nox_commands(text)]
    assert [len(found) for found in wrong] == [1, 1, 1]
    assert wrong[0] == ["no nox session nothing"]
    assert wrong[2] == ["no task copy"]
