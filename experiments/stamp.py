"""No experiment without the checks: the stamp that a passed check writes, and an experiment asks for.

The stamp holds a digest of the sources that the checks concern. `check_stamp` computes it again, so that a stamp is
good for exactly the sources, and the versions of NumPy and PyTorch, that were checked.

::

    python -m experiments.stamp digest                                            # before the checks
    python -m experiments.stamp write --scope gate --tests 120 --claims 40 --expect <that digest>
    python -m experiments.stamp check                                             # exit 0, or one line and exit 3
"""

import dataclasses
import datetime as dt
import hashlib
import json
import sys
from pathlib import Path
from typing import Literal

from experiments.common.environment import ROOT, versions
from experiments.common.errors import ExperimentError, StampError
from experiments.common.files import write_atomically
from experiments.common.parsing import parse_command

Scope = Literal["verify", "gate"]

STAMP = Path(".verification/stamp.json")
"""Where the stamp is, in the checkout."""

SOURCES = ("reference", "torch_impl", "proofs", "tests")
"""Folders that the checks concern. The code of the experiments is not among them; a record names its commit."""

SUFFIXES = frozenset({".py", ".toml", ".cpp", ".h"})
"""Files inside them that do: the compiled operators are sources as well."""

_DECIDING = ("numpy", "torch")
_REMEDY = "run `nox -s verify`, or `nox -s experiments` which makes the short check first; --unverified goes without"


@dataclasses.dataclass(frozen=True)
class Stamp:
    """Which checks passed, on what."""

    scope: Scope
    """"verify" for all of them, "gate" for the short check."""

    digest: str
    """`source_digest` of the sources checked."""

    versions: dict[str, str]
    """Versions of Python, NumPy, PyTorch, SymPy and Hypothesis."""

    tests: int
    """Tests that passed."""

    claims: int
    """Claims that they are evidence for."""

    date: str
    """When, UTC."""

    def __str__(self) -> str:
        return f"{self.scope} {self.digest}"


def source_digest(root: Path = ROOT) -> str:
    """SHA-256 over path and content of every file of `SOURCES` with one of `SUFFIXES`, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(_source_files(root), key=lambda path: path.relative_to(root).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _source_files(root: Path) -> list[Path]:
    found = [path for folder in SOURCES for path in (root / folder).rglob("*") if path.suffix in SUFFIXES]
    return [path for path in found if not any(_is_cache(part) for part in path.relative_to(root).parts)]


def _is_cache(part: str) -> bool:
    return part == "__pycache__" or part.startswith(".")


def write_stamp(scope: Scope, tests: int, claims: int, expect: str | None = None, root: Path = ROOT) -> Stamp:
    """Write the stamp for the sources as they are now.

    Parameters
    ----------
    scope : {"verify", "gate"}
        Which checks passed.
    tests, claims : int
        Tests that passed, and claims that they are evidence for.
    expect : str, optional
        `source_digest` from before the checks.
    root : Path
        The checkout.

    Raises
    ------
    ExperimentError
        If the sources are not those of `expect`: they changed while they were being checked.
    """
    digest = source_digest(root)
    if expect not in {None, digest}:
        raise ExperimentError("the sources changed while they were checked: no stamp; check them again")
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    stamp = Stamp(scope, digest, versions(), tests, claims, date)
    path = root / STAMP
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, (json.dumps(dataclasses.asdict(stamp), indent=2) + "\n").encode())
    return stamp


def check_stamp(root: Path = ROOT) -> Stamp:
    """Return the stamp, if it is good for the sources and the versions at hand.

    Raises
    ------
    StampError
        Missing or damaged stamp, other sources, other NumPy or PyTorch; the message says what to run.
    """
    stamp = _read_stamp(root / STAMP)
    if stamp.digest != source_digest(root):
        raise StampError(f"the sources are not those that were checked: {_REMEDY}")
    current = versions()
    for package in _DECIDING:
        checked = stamp.versions.get(package)
        if checked != current[package]:
            raise StampError(f"checked with {package} {checked}, here is {current[package]}: {_REMEDY}")
    return stamp


def _read_stamp(path: Path) -> Stamp:
    try:
        stamp = Stamp(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise StampError(f"nothing says that these sources were checked: {_REMEDY}") from None
    except (ValueError, TypeError):
        raise StampError(f"{path} is damaged: {_REMEDY}") from None
    if not isinstance(stamp.versions, dict):
        raise StampError(f"{path} is damaged: {_REMEDY}")
    return stamp


@dataclasses.dataclass(frozen=True)
class Write:
    """Write the stamp."""

    scope: Scope
    """Which checks passed."""

    tests: int
    """Tests that passed."""

    claims: int
    """Claims that they are evidence for."""

    expect: str | None = None
    """Digest from before the checks; the stamp is refused if the sources have changed since."""

    def __post_init__(self) -> None:
        for name in ("tests", "claims"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Command line ``python -m experiments.stamp digest|write|check``; returns the exit status."""
    prog = "python -m experiments.stamp"
    try:
        match arguments:
            case ["digest"]:
                print(source_digest(root))
            case ["check"]:
                print(check_stamp(root))
            case ["write", *rest]:
                options = parse_command(Write, rest, f"{prog} write")
                print(write_stamp(options.scope, options.tests, options.claims, options.expect, root))
            case _:
                print(f"usage: {prog} digest | write --scope verify|gate --tests N --claims N | check", file=sys.stderr)
                return 2
    except ExperimentError as error:
        print(f"experiments.stamp: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
