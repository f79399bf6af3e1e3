"""The matrix of claims: claim, verdict, evidence, largest error; written as `VERIFICATION.md`.

`python -m tests.matrix verification.json` fails where a claim that tests can settle has no passing test. It renders the
matrix from the run's evidence and compares it with the committed `VERIFICATION.md` in everything but floating-point
digits. Where they differ the file is rewritten and the exit code is 1, so that a change of verdict or of evidence is
always seen in a commit.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from experiments.results import load_results
from proofs.registry import Claim, load_claims

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "VERIFICATION.md"
RUNS = ROOT / "experiments" / "runs"
DIGITS = re.compile(r"\d\.\d+e[+-]\d+|\b0\.0\b")
"""How an error is printed; blanked before two matrices are compared."""

HEADER = """\
# Verification matrix

Written by `nox -s verify` from `proofs/claims.toml` and from the tests that passed; not edited by hand. Equation
numbers are those of the paper. *measured* claims wait for their experiment: they are **pending** until its runs are
recorded in `experiments/runs`. The error is the largest elementwise one, relative to the largest element, that the
tests of the claim saw, by implementation and dtype.

"""


def runs_behind(claim: Claim) -> list[str]:
    """Names of the finished, verified, unshortened runs of a measured claim's experiment; smoke runs do not count."""
    return [
        result.record.name
        for result in load_results(RUNS).finished
        if result.record.task == claim.experiment and not (result.record.unverified or result.record.shortened)
    ]


def verdict(claim: Claim) -> str:
    """The verdict; *pending* where a measured claim has no run."""
    return "pending" if claim.verdict == "measured" and not runs_behind(claim) else claim.verdict


def evidence(claim: Claim, tests: list[str]) -> str:
    """Tests, or the runs of an experiment."""
    if claim.verdict == "measured":
        return "<br>".join(f"`{run}`" for run in runs_behind(claim)) or "none yet"
    return "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)


def largest_errors(errors: list[list[Any]]) -> str:
    """Largest error by implementation and dtype."""
    largest: dict[str, float] = {}
    for backend, dtype, _, error in errors:
        key = f"{backend} {dtype}"
        largest[key] = max(error, largest.get(key, 0.0))
    return "<br>".join(f"{key} {error:.1e}" for key, error in sorted(largest.items()))


def render(claims: dict[str, Claim], shown: dict[str, Any]) -> str:
    """Render the matrix as Markdown."""
    verdicts = [verdict(claim) for claim in claims.values()]
    tally = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in sorted(set(verdicts)))
    rows = ["| claim | where | verdict | how general | evidence | largest error |", "|---|---|---|---|---|---|"]
    for name, claim in claims.items():
        cells = (
            f"**{name}**<br>{claim.statement}",
            claim.where,
            f"**{verdict(claim)}**" + (f": {claim.assumptions}" if claim.assumptions else ""),
            "—" if claim.verdict == "measured" else claim.generality,
            evidence(claim, shown[name]["tests"]),
            largest_errors(shown[name]["errors"]),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return HEADER + f"{len(claims)} claims: {tally}.\n\n" + "\n".join(rows) + "\n"


def same_but_for_digits(one: str, other: str) -> bool:
    """Whether two matrices agree in everything but floating-point digits."""
    return DIGITS.sub("#", one) == DIGITS.sub("#", other)


def main(arguments: list[str]) -> int:
    """Compare the committed matrix with the evidence; rewrite it and return 1 where they differ."""
    claims, shown = load_claims(), json.loads(Path(arguments[0]).read_text("utf-8"))["claims"]
    missing = [name for name, claim in claims.items() if claim.verdict != "measured" and not shown[name]["tests"]]
    if missing:
        print(f"{len(missing)} claims have no passing test: {', '.join(missing)}")
        return 1
    matrix = render(claims, shown)
    if DOCUMENT.exists() and same_but_for_digits(DOCUMENT.read_text("utf-8"), matrix):
        print(f"{DOCUMENT.name} is current: {len(claims)} claims")
        return 0
    DOCUMENT.write_text(matrix, encoding="utf-8")
    print(f"{DOCUMENT.name} was out of date in verdicts or evidence and has been rewritten: look at it and commit it")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
