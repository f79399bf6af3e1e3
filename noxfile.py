"""Every check and every run of the project as a command: `nox -s verify`, `nox -s experiments -- copying`, `nox -l`."""

import json
import os
import re
import sys
import time
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
# pip inside virtualenv: it honors constraints.txt and finds CPU builds of torch where the machine offers them.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["verify"]

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
VERIFICATION = "verification.json"
# A worker that has finished its share takes tests of another's, so that all of them end together.
PARALLEL = ("-n", str(os.cpu_count() or 1), "--dist", "worksteal")
QUIET_THREADS = {"OMP_NUM_THREADS": "1"}  # one thread a worker: pytest-xdist already fills the cores

NO_STAMP = 3  # exit status of `experiments.stamp check` where nothing vouches for these sources
FIRST_CHECK = """
First the short check, since these sources have not been checked on this machine: the library against the oracle, and
Table B.1. It takes minutes, how many depends on the machine (one to three on two quiet cores), once for each state of
the sources, and leaves a stamp that the record of every run names: a result of an implementation that nobody checked
would show nothing.
"""


def install(session: nox.Session, *groups: str) -> None:
    """Install the package, editable, and dependency groups of pyproject.toml at the pins of constraints.txt."""
    session.install("-c", "constraints.txt", "-e", ".", *nox.project.dependency_groups(PYPROJECT, *groups))


class Steps:
    """Runs the steps of a session one after another and remembers how each ended."""

    def __init__(self, session: nox.Session) -> None:
        self.session = session
        self.rows: list[tuple[str, str, float]] = []
        self.failed = False

    def run(self, name: str, *command: str, **env: str) -> None:
        """Run one step, unless an earlier one failed."""
        if self.failed:
            self.rows.append((name, "not run", 0.0))
            return
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        try:
            self.session.run(*command, env={**QUIET_THREADS, **env})
        except CommandFailed:
            # Kept for the summary; `finish` fails the session.
            self.failed = True
        self.rows.append((name, "FAILED" if self.failed else "passed", time.monotonic() - start))

    def finish(self, *notes: str) -> None:
        """Print the summary table, and fail the session where a step failed."""
        print(f"\n{'step':<12} {'result':<8} {'seconds':>7}")
        for name, result, seconds in self.rows:
            print(f"{name:<12} {result:<8} {seconds:>7.0f}")
        for note in notes:
            print(note)
        if self.failed:
            self.session.error("a step failed; its output is above the table")


def counts() -> tuple[dict[str, int], int]:
    """Outcomes of the last pytest run that wrote `verification.json`, and the number of claims with evidence."""
    matrix = json.loads((ROOT / VERIFICATION).read_text("utf-8"))
    return matrix["counts"], sum(bool(shown["tests"]) for shown in matrix["claims"].values())


def digest(session: nox.Session) -> str:
    """Digest of the sources that a stamp vouches for, taken before they are checked."""
    return str(session.run("python", "-m", "experiments.stamp", "digest", silent=True)).strip()


def write_stamp(session: nox.Session, scope: str, checked: str) -> None:
    """Write the stamp that experiments require, unless the sources have changed since `checked` was taken."""
    outcomes, claims = counts()
    command = ("python", "-m", "experiments.stamp", "write", "--scope", scope, "--expect", checked)
    session.run(*command, "--tests", str(outcomes["passed"]), "--claims", str(claims))


def has_stamp(session: nox.Session) -> bool:
    """Whether a stamp vouches for the sources as they are. Quiet: that there is none yet is no failure."""
    command = ("python", "-m", "experiments.stamp", "check")
    answer = session.run(*command, silent=True, log=False, success_codes=[0, NO_STAMP])
    return not str(answer).startswith("experiments.stamp:")  # what its messages begin with; else it prints the stamp


@nox.session
def verify(session: nox.Session) -> None:
    """Run every check: lint, strict types, proofs, oracle, library, invariances, the claims matrix, the stamp."""
    (ROOT / VERIFICATION).unlink(missing_ok=True)
    install(session, "lint", "types", "bench")
    checked = digest(session)
    steps = Steps(session)
    steps.run("lint", "ruff", "check")
    steps.run("format", "ruff", "format", "--check")
    steps.run("spelling", "typos")
    steps.run("types", "mypy")
    steps.run("proofs", "python", "-m", "proofs")
    arguments = (*PARALLEL, "--verification", VERIFICATION)
    steps.run("tests", "python", "-m", "pytest", *arguments, ATN_PROFILE="ci")
    steps.run("claims", "python", "-m", "tests.verification.matrix", VERIFICATION)
    if not (ROOT / VERIFICATION).exists():
        steps.finish()
        return
    outcomes, claims = counts()
    if not steps.failed:
        write_stamp(session, "verify", checked)
    steps.finish(
        f"\n{claims} claims have evidence from tests; the others wait for their experiment (VERIFICATION.md).",
        f"Not run: {outcomes['deselected']} tests that need what this machine lacks, a CUDA device (nox -s gpu) or the",
        "real data sets (ATN_DATA_DIR names their folder) or the packages that only the benchmark compares with, see",
        "pytest's header; nox -s soak, sanitize, wheel, minimums, slurm.",
        "Without a GPU its kernels were interpreted and compiled. That a GPU computes the same, barriers, races,",
        "offsets above 2^31, CUDA graphs, streams and speed are not shown by that: nox -s gpu.",
        f"\n{outcomes['passed']} passed, {outcomes['failed']} failed, {outcomes['skipped']} skipped",
    )


@nox.session
def tests(session: nox.Session) -> None:
    """Run pytest, with any arguments: nox -s tests -- -k lstm."""
    install(session, "test")
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs, env=QUIET_THREADS)


@nox.session
def invariance(session: nox.Session) -> None:
    """Test the 40 cells of Table B.1 on the oracle and every backend, and the invariances of a whole network."""
    install(session, "test")
    session.run("python", "-m", "pytest", *PARALLEL, "-k", "invariance", *session.posargs, env=QUIET_THREADS)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff (all rules but those that pyproject.toml excludes with a reason), its formatter, and the spell check."""
    session.install("-c", "constraints.txt", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("typos")


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy, strict, on the whole repository."""
    install(session, "types", "bench")
    session.run("mypy", *session.posargs)


@nox.session
def proofs(session: nox.Session) -> None:
    """Run every proof, and print every claim of the papers with its verdict."""
    install(session, "proofs")
    session.run("python", "-m", "proofs", *session.posargs)


def lowest(requirement: str) -> str:
    """The requirement with its lower bound as its only version: ``numpy>=2.0`` becomes ``numpy==2.0``."""
    return requirement.replace(">=", "==", 1)


def cpu_build(session: nox.Session, torch: str) -> str | None:
    """The requirement ``torch==X.Y.Z`` for a build without CUDA; None where the session's Python is offered none.

    The builds of the public index for Linux need gigabytes of CUDA; those for the CPU have a version that ends in
    ``+cpu``.
    """
    wanted = torch + "+cpu" if sys.platform == "linux" else torch
    dry_run = ("pip", "install", "--dry-run", "--no-deps", "--quiet", wanted)
    answer = str(session.run(*dry_run, silent=True, log=False, success_codes=[0, 1]))
    return None if "ERROR" in answer else wanted


def pinned_torch() -> str:
    """The requirement of torch in constraints.txt."""
    (pinned,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text("utf-8"), flags=re.MULTILINE)
    return str(pinned)


OLDEST_TRITON = "triton==3.2.0; sys_platform == 'linux' and platform_machine == 'x86_64'"
"""What a build of torch 2.6 with CUDA pins: a newer one breaks its compiler."""


@nox.session(python="3.11")
def minimums(session: nox.Session) -> None:
    """Run the library's tests at the lowest versions that pyproject.toml allows, on the oldest Python it allows.

    Where the oldest torch has no build without CUDA, that of constraints.txt takes its place, and the session says so.
    """
    # The library's tests need the entries of the group `test` itself, and none of the groups that it includes.
    group = [entry for entry in PYPROJECT["dependency-groups"]["test"] if isinstance(entry, str)]
    requirements = [*PYPROJECT["project"]["dependencies"], *group]
    (torch,) = (requirement for requirement in requirements if requirement.startswith("torch"))
    oldest_torch = cpu_build(session, f"{lowest(torch)}.0")
    oldest = [lowest(requirement) for requirement in requirements if requirement != torch]
    if oldest_torch is not None:
        oldest = [requirement for requirement in oldest if not requirement.startswith("triton")] + [OLDEST_TRITON]
    session.install(oldest_torch or pinned_torch(), *oldest)
    session.install("--no-deps", "-e", ".")
    session.run("pip", "check")
    session.run("python", "-m", "pytest", *PARALLEL, "tests/library", *session.posargs, env=QUIET_THREADS)
    if oldest_torch is None:
        session.warn(f"{lowest(torch)} was not tried: it has no build without CUDA here; {pinned_torch()} was")


@nox.session(python=["3.12", "3.13"])
def newer(session: nox.Session) -> None:
    """Run pytest on newer Pythons, each where its interpreter and a build of torch without CUDA are at hand."""
    if cpu_build(session, pinned_torch()) is None:
        session.skip(f"NOT TESTED on Python {session.python}: {pinned_torch()} has no build without CUDA for it here")
    install(session, "test")
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs, env=QUIET_THREADS)


@nox.session
def wheel(session: nox.Session) -> None:
    """Install the built wheel in a clean environment, away from the checkout, and run the README's examples."""
    folder = Path(session.create_tmp())
    for stale in folder.glob("*.whl"):
        stale.unlink()
    session.run("pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT), silent=True)
    (built,) = folder.glob("*.whl")
    session.install("-c", "constraints.txt", str(built))
    # One program, since a later example goes on with the layer of an earlier one.
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    if not examples:
        session.error("README.md has no example in Python")
    (folder / "readme_examples.py").write_text("\n".join(examples), encoding="utf-8")
    session.chdir(folder)
    session.run("python", "-c", "import atn; assert 'site-packages' in atn.__file__, atn.__file__")
    session.run("python", "readme_examples.py")


@nox.session
def soak(session: nox.Session) -> None:
    """Run 20,000 random problems, oracle against every backend, and record their number and the largest errors."""
    install(session, "test")
    session.run(
        "python", "-m", "tests.verification.soak", *(session.posargs or ("--problems", "20000")), env=QUIET_THREADS
    )


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the compiled operators under the address and undefined-behavior sanitizers: 10,000 problems, recorded.

    Not under the thread sanitizer, nor helgrind or drd: `tests/fuzzing/fuzz.py` says why. Wants GCC.
    """
    install(session, "test")
    session.run("python", "-m", "tests.fuzzing.fuzz", *session.posargs, env=QUIET_THREADS)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed, memory and accuracy against the peers; write benchmarks/README.md. Wants a quiet machine."""
    install(session, "bench")
    for peer in nox.project.dependency_groups(PYPROJECT, "peers"):
        # One that cannot be installed here is said to be missing in the record and on the page.
        session.install("-c", "constraints.txt", peer, success_codes=[0, 1])
    session.run("python", "-m", "benchmarks", "run", *session.posargs)
    session.run("python", "-m", "benchmarks.accuracy", env=QUIET_THREADS)
    session.run("python", "-m", "benchmarks", "report")


@nox.session
def gpu(session: nox.Session) -> None:
    """Run what needs a CUDA device; fails where there is none. Takes the torch build that the registry offers."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "test"))
    session.run("python", "-c", "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 'no CUDA device')")
    session.run("python", "-m", "pytest", "-m", "gpu", *session.posargs)


@nox.session
def experiments(session: nox.Session) -> None:
    """Run an experiment: nox -s experiments -- copying --preset demo. Checks these sources first if nothing has yet."""
    install(session, "test")
    if not has_stamp(session):
        print(FIRST_CHECK, flush=True)
        checked = digest(session)
        arguments = ("-q", *PARALLEL, "-m", "gate", "--verification", VERIFICATION)
        session.run("python", "-m", "pytest", *arguments, env={**QUIET_THREADS, "ATN_PROFILE": "ci"})
        write_stamp(session, "gate", checked)
    session.run("python", "-m", "experiments", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """Run a tiny sweep on a real SLURM cluster of one node, which it starts. Wants Debian's slurm-wlm and munge."""
    install(session, "test")
    session.run("python", "-m", "tests.verification.slurm_sweep", env=QUIET_THREADS)
