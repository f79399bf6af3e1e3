"""The stamp without which no experiment starts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import stamp as gate
from experiments.common.environment import ROOT
from experiments.common.errors import ExperimentError, StampError
from experiments.stamp import SOURCES, STAMP, check_stamp, source_digest, write_stamp


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one module in each folder that the checks concern."""
    for folder in SOURCES:
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "module.py").write_text(f"# {folder}\n")
    (tmp_path / "proofs" / "inner" / "paper.toml").write_text("[eq-1]\n")
    for name in ("ops.cpp", "norm.h"):
        (tmp_path / "torch_impl" / name).write_text(f"// {name}\n")
    return tmp_path


def test_a_written_stamp_is_good(root: Path) -> None:
    written = write_stamp("gate", tests=3, claims=2, root=root)
    assert check_stamp(root) == written
    assert (written.scope, written.tests, written.claims) == ("gate", 3, 2)
    assert set(written.versions) == {"python", "numpy", "torch", "sympy", "hypothesis"}
    assert str(written) == f"gate {source_digest(root)}"


def _edit(root: Path) -> None:
    (root / "torch_impl/inner/module.py").write_text("# another\n")


def _edit_claims(root: Path) -> None:
    (root / "proofs/inner/paper.toml").write_text("[eq-2]\n")


def _edit_operators(root: Path) -> None:
    (root / "torch_impl/ops.cpp").write_text("// others\n")


def _edit_header(root: Path) -> None:
    (root / "torch_impl/norm.h").write_text("// another\n")


def _add(root: Path) -> None:
    (root / "reference/new.py").touch()


def _remove(root: Path) -> None:
    (root / "proofs/inner/module.py").unlink()


def _rename(root: Path) -> None:
    (root / "tests/inner/module.py").rename(root / "tests/inner/other.py")


@pytest.mark.parametrize("change", [_edit, _edit_claims, _edit_operators, _edit_header, _add, _remove, _rename])
def test_other_sources_are_not_those_checked(root: Path, change: Callable[[Path], None]) -> None:
    write_stamp("verify", tests=1, claims=1, root=root)
    change(root)
    with pytest.raises(StampError, match=r"not those that were checked.*nox -s verify"):
        check_stamp(root)


def test_every_source_of_the_compiled_operators_is_checked() -> None:
    operators = set((ROOT / "torch_impl/atn/backend/fused/csrc").iterdir())
    assert operators
    assert operators <= set(gate._source_files(ROOT))


@pytest.mark.parametrize(
    "path", ["tests/__pycache__/x.py", "tests/.hypothesis/x.py", "tests/notes.md", "experiments/x.py"]
)
def test_what_the_checks_do_not_concern_changes_nothing(root: Path, path: str) -> None:
    write_stamp("verify", tests=1, claims=1, root=root)
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text("anything")
    check_stamp(root)


def test_content_moved_between_files_is_another_source(root: Path) -> None:
    before = source_digest(root)
    (root / "tests/inner/module.py").write_text("")
    (root / "tests/inner/module.pyx.py").write_text("# tests\n")
    assert source_digest(root) != before


def test_no_stamp(root: Path) -> None:
    with pytest.raises(StampError, match=r"nox -s verify.*nox -s experiments"):
        check_stamp(root)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"digest": 1}', "\udcff"])
def test_a_damaged_stamp(root: Path, content: str) -> None:
    write_stamp("verify", tests=1, claims=1, root=root)
    (root / STAMP).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(StampError, match=r"stamp.json is damaged.*nox -s verify"):
        check_stamp(root)


def test_a_stamp_whose_versions_are_no_table_is_damaged(root: Path) -> None:
    write_stamp("verify", tests=1, claims=1, root=root)
    stamp = json.loads((root / STAMP).read_text())
    (root / STAMP).write_text(json.dumps({**stamp, "versions": "2.13"}))
    with pytest.raises(StampError, match="damaged"):
        check_stamp(root)


@pytest.mark.parametrize("package", ["torch", "numpy"])
def test_another_torch_or_numpy(root: Path, package: str) -> None:
    write_stamp("verify", tests=1, claims=1, root=root)
    stamp = json.loads((root / STAMP).read_text())
    stamp["versions"][package] = "0.0"
    (root / STAMP).write_text(json.dumps(stamp))
    with pytest.raises(StampError, match=f"checked with {package} 0.0, here is"):
        check_stamp(root)


def test_sources_that_change_while_they_are_checked_get_no_stamp(root: Path) -> None:
    before = source_digest(root)
    write_stamp("gate", tests=1, claims=1, expect=before, root=root)
    (root / STAMP).unlink()
    _edit(root)
    with pytest.raises(ExperimentError, match="changed while they were checked"):
        write_stamp("gate", tests=1, claims=1, expect=before, root=root)
    assert not (root / STAMP).exists()


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run_stamp(*arguments: str) -> tuple[int, str, str]:
        status = gate.main(list(arguments), root)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    status, out, _ = run_stamp("digest")
    assert (status, out) == (0, f"{source_digest(root)}\n")
    status, _, err = run_stamp("check")
    assert (status, err.count("\n")) == (3, 1)
    status, out, _ = run_stamp(
        "write", "--scope", "gate", "--tests", "3", "--claims", "2", "--expect", source_digest(root)
    )
    assert (status, out) == (0, f"gate {source_digest(root)}\n")
    assert run_stamp("check")[0] == 0
    assert run_stamp("write", "--scope", "gate", "--tests", "3", "--claims", "2", "--expect", "0")[0] == 1
    assert run_stamp("write", "--scope", "all", "--tests", "3", "--claims", "2")[0] == 2
    assert run_stamp("write", "--scope", "gate")[0] == 2
    status, _, err = run_stamp("write", "--scope", "gate", "--tests", "-1", "--claims", "2")
    assert (status, err.count("\n")) == (2, 1)
    assert "tests is -1; it must be at least 0" in err
    assert run_stamp()[0] == 2
