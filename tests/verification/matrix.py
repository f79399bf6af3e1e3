"""The matrix of claims: claim, verdict, evidence, largest error; written as `VERIFICATION.md`.

`python -m tests.verification.matrix verification.json` fails where a claim that tests can settle has no passing test.
It renders the matrix from the run's evidence and compares it with the committed `VERIFICATION.md` in everything but
floating-point digits. Where they differ the file is rewritten and the exit code is 1, so that a change of verdict or
of evidence is always seen in a commit.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.report.verdicts import ClaimVerdict, deciding_line, measured_verdicts
from proofs.claims import Claim, Paper, load_papers

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "VERIFICATION.md"
RUNS = ROOT / "experiments" / "runs"
DIGITS = re.compile(r"\d\.\d+e[+-]\d+|\b0\.0\b")
"""How an error is printed; blanked before two matrices are compared."""

HEADER = """\
# Verification matrix

Written by `nox -s verify` from `proofs/papers` and from the tests that passed; not edited by hand. Equation
numbers are those of each paper. The verdict on a *measured* claim is computed from the runs recorded in
`experiments/runs`: confirmed, not confirmed or inconclusive at so many seeds, or pending until they are made. The error
is the largest elementwise one, relative to the largest element, that the tests of the claim saw, by implementation and
dtype.

"""


def verdict(claim: Claim, measured: Mapping[str, ClaimVerdict]) -> str:
    """The verdict in bold; of a measured claim what its runs say, and at how many seeds."""
    if claim.verdict == "measured":
        return f"**measured**: {measured[claim.id].headline}"
    return f"**{claim.verdict}**" + (f": {claim.assumptions}" if claim.assumptions else "")


def kind(claim: Claim, measured: Mapping[str, ClaimVerdict]) -> str:
    """The verdict as the tally counts it."""
    return f"measured and {measured[claim.id].outcome}" if claim.verdict == "measured" else claim.verdict


def evidence(claim: Claim, tests: list[str], measured: Mapping[str, ClaimVerdict]) -> str:
    """Tests; of a measured claim its sentences with their numbers, and the runs behind them."""
    if claim.verdict != "measured":
        return "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)
    parts = measured[claim.id].parts
    runs = dict.fromkeys(run for part in parts for run in part.runs)
    return "<br>".join([*map(deciding_line, parts), *(f"`{run}`" for run in runs)]) or "none yet"


def largest_errors(errors: list[list[Any]]) -> str:
    """Largest error by implementation and dtype."""
    largest: dict[str, float] = {}
    for backend, dtype, _, error in errors:
        key = f"{backend} {dtype}"
        largest[key] = max(error, largest.get(key, 0.0))
    return "<br>".join(f"{key} {error:.1e}" for key, error in sorted(largest.items()))


def render(papers: list[Paper], shown: dict[str, Any], measured: Mapping[str, ClaimVerdict]) -> str:
    """Render the matrix as Markdown, a section for each paper."""
    return HEADER + "\n".join(_section(paper, shown, measured) for paper in papers)


def _section(paper: Paper, shown: dict[str, Any], measured: Mapping[str, ClaimVerdict]) -> str:
    kinds = [kind(claim, measured) for claim in paper.claims.values()]
    tally = ", ".join(f"{kinds.count(name)} {name}" for name in sorted(set(kinds)))
    rows = ["| claim | where | verdict | how general | evidence | largest error |", "|---|---|---|---|---|---|"]
    for name, claim in paper.claims.items():
        cells = (
            f"**{name}**<br>{claim.statement}",
            claim.where,
            verdict(claim, measured),
            "—" if claim.verdict == "measured" else claim.generality,
            evidence(claim, shown[name]["tests"], measured),
            largest_errors(shown[name]["errors"]),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    head = f"## {paper.title}\n\n{paper.source}. {len(paper.claims)} claims: {tally}.\n\n"
    return head + "\n".join(rows) + "\n"


def same_but_for_digits(first: str, second: str) -> bool:
    """Whether two matrices agree in everything but floating-point digits."""
    return DIGITS.sub("#", first) == DIGITS.sub("#", second)


def main(arguments: list[str]) -> int:
    """Compare the committed matrix with the evidence; rewrite it and return 1 where they differ, 2 without evidence."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print(
            "usage: python -m tests.verification.matrix FILE, as pytest --verification FILE writes it", file=sys.stderr
        )
        return 2
    papers, shown = load_papers(), json.loads(Path(arguments[0]).read_text("utf-8"))["claims"]
    claims = {name: claim for paper in papers for name, claim in paper.claims.items()}
    missing = [name for name, claim in claims.items() if claim.verdict != "measured" and not shown[name]["tests"]]
    if missing:
        print(f"{len(missing)} claims have no passing test: {', '.join(missing)}")
        return 1
    matrix = render(papers, shown, measured_verdicts(RUNS))
    if DOCUMENT.exists() and same_but_for_digits(DOCUMENT.read_text("utf-8"), matrix):
        print(f"{DOCUMENT.name} is current: {len(claims)} claims")
        return 0
    DOCUMENT.write_text(matrix, encoding="utf-8")
    print(f"{DOCUMENT.name} was out of date in verdicts or evidence and has been rewritten: look at it and commit it")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
