"""Typed command lines, whose errors are one plain line."""

import contextlib
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from experiments.common.errors import UsageError

C = TypeVar("C")


def _path(words: list[str]) -> Path:
    (word,) = words
    if not word:
        raise ValueError("a path must not be empty")
    return Path(word)


FolderPath = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=_path,
        is_instance=lambda instance: isinstance(instance, Path),
        str_from_instance=lambda instance: [str(instance)],
    ),
]
"""Type of an option that names a folder. `Path` alone takes the empty word for the current folder."""


def check_folder(option: str, path: Path | None) -> None:
    """Check that a path for a folder is not a file; the folder need not exist yet.

    Raises
    ------
    UsageError
        Naming the option.
    """
    if path is not None and path.exists() and not path.is_dir():
        raise UsageError(f"{option} {path}: it is not a folder")


def parse_command(kind: type[C], arguments: Sequence[str], prog: str, repeatable: Sequence[str] = ()) -> C:
    """Read `arguments` into the dataclass `kind`; ``--help`` prints and exits as usual.

    Raises
    ------
    UsageError
        With tyro's message about the arguments, in one line, or for an option that is there twice and not `repeatable`,
        of which tyro would keep the last.
    """
    with _one_line_errors(prog):
        command = tyro.cli(kind, prog=prog, args=arguments)
    _check_once(arguments, repeatable)
    return command


def _check_once(arguments: Sequence[str], repeatable: Sequence[str]) -> None:
    words = [word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
    options = [word for word in words if word not in repeatable]
    # A switch and its opposite, --compile and --no-compile, set the same value.
    for option, count in Counter(word.replace("--no-", "--", 1) for word in options).items():
        if count > 1:
            raise UsageError(f"{option} is there {count} times; give it once, with all of its values")


@contextlib.contextmanager
def _one_line_errors(prog: str) -> Iterator[None]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(f"{_first_paragraph(printed.getvalue())} (see {prog} --help)") from None


def _first_paragraph(box: str) -> str:
    """Text between the title of tyro's box and the next rule, without the frame."""
    rows = [line.strip(" │") for line in box.splitlines()[1:]]
    text = itertools.dropwhile(_is_rule, rows)  # the title has a rule of its own where the frame cannot be drawn
    return " ".join(itertools.takewhile(lambda row: not _is_rule(row), text))


def _is_rule(row: str) -> bool:
    return not any(character.isalnum() for character in row)
