"""Nox commands that the project's pages and messages tell a reader to type, and whether they can be understood."""

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from experiments.catalog.registry import TASKS
from experiments.cli.command import parse_task, plan_runs
from experiments.common.errors import UsageError

NOXFILE = Path(__file__).parents[2] / "noxfile.py"
PROG = "nox -s experiments --"


class NoxCommand(NamedTuple):
    """A command ``nox -s <session> -- <arguments>``."""

    session: str
    arguments: tuple[str, ...]


def nox_commands(text: str) -> list[NoxCommand]:
    """The nox commands of a text, each up to its code span's or line's end, a comment or a column of remarks."""
    found = re.findall(r"\bnox -s ([\w-]+)(?: -- (.+?)(?=`| {2}| #| &&|$))?", text, flags=re.MULTILINE)
    return [NoxCommand(session, tuple(shlex.split(arguments))) for session, arguments in found]


def sessions() -> set[str]:
    """Names of the sessions in noxfile.py."""
    functions = [node for node in ast.parse(NOXFILE.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    return {node.name for node in functions if "nox.session" in map(ast.unparse, node.decorator_list)}


def faults(command: NoxCommand) -> list[str]:
    """What is wrong with a command: a session that there is not, or an experiment that cannot be understood."""
    if command.session not in sessions():
        return [f"no nox session {command.session}"]
    if command.session != "experiments" or not command.arguments:
        return []
    name, *arguments = command.arguments
    if name in {"report", "sweep"}:
        return []
    if name not in TASKS:
        return [f"no task {name}"]
    try:
        plan_runs(TASKS[name], parse_task(TASKS[name], arguments, PROG), PROG)
    except UsageError as error:
        return [f"{name}: {error}"]
    return []
