"""Where a line is exempt from a rule of the linter or of the type checker, a reason stands beside it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("", "benchmarks/**/", "experiments/**/", "proofs/**/", "reference/**/", "tests/**/", "torch_impl/**/")
EXEMPTION = re.compile(
    r"#\s*(?:ruff: |flake8: )?(?:noqa\b(?:: ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*)?|type: ?ignore\b(?:\[[^\]]*\])?)(?P<rest>.*)"
)


def without_reason(source: str) -> list[str]:
    """The lines whose exemption is followed by no word."""
    lines = [(line, EXEMPTION.search(line)) for line in source.splitlines()]
    return [line.strip() for line, found in lines if found and not re.search(r"\w", found["rest"])]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.partition("/")[0] or "root")
def test_every_exemption_has_a_reason(folder: str) -> None:
    paths = [path for path in ROOT.glob(f"{folder}*.py") if path != Path(__file__)]
    assert paths
    found = {str(path.relative_to(ROOT)): without_reason(path.read_text("utf-8")) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_one_without_a_reason_is_found() -> None:
    bare = [
        "x = f()  # noqa",
        "x = f()  # noqa: S101, S102",
        "x = f()  # type: ignore[arg-type]",
        "# ruff: noqa: ANN001",
    ]
    assert without_reason("\n".join(bare)) == bare
    assert without_reason("x = f()  # type: ignore[misc]  # torch\ny = 1  # noqa: S101 - so it is\n") == []
