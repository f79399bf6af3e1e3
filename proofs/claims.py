"""Reads `papers/*.toml`: every statement of a paper that can be true or false, with our verdict on it."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

PAPERS = Path(__file__).with_name("papers")
"""One file for each paper."""

VERDICTS = ("holds", "holds under", "misprint", "refuted", "measured")
"""The verdicts on a claim; an experiment settles `measured`, proofs and tests settle the others."""


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    Attributes
    ----------
    id : str
        The name that tests and proofs refer to.
    where : str
        Section or equation of the paper.
    statement : str
        The claim in our words.
    verdict : str
        One of `VERDICTS`.
    assumptions : str
        The assumptions of the verdict, "" if it needs none beyond those that the paper states.
    generality : str
        How general the proof is.
    reason : str
        The reason for the verdict, in one line.
    experiment : str
        The task of `experiments` that measures it; "" unless the verdict is "measured".
    """

    id: str
    where: str
    statement: str
    verdict: str
    assumptions: str
    generality: str
    reason: str
    experiment: str = ""


class Paper(NamedTuple):
    """A paper and its claims.

    Attributes
    ----------
    title, source : its title, and where it was published
    claims : its claims by id, in the order of the file
    """

    title: str
    source: str
    claims: dict[str, Claim]


def load_papers(folder: Path = PAPERS) -> list[Paper]:
    """Read every paper of the folder, sorted by the field `order` of its file.

    Raises
    ------
    ValueError
        Naming the file: a title, source or order missing or of another type, an order used twice, no file at all.
        Naming the claim: an id used twice, a field missing, unknown or not a string, an unknown verdict or experiment,
        "measured" without an experiment or an experiment without "measured", "holds under" without assumptions or
        "holds" with any.
    """
    papers: dict[int, Paper] = {}
    seen: set[str] = set()
    for path in sorted(folder.glob("*.toml")):
        match tomllib.loads(path.read_text(encoding="utf-8")):
            case {"title": str(title), "source": str(source), "order": int(order), **rest}:
                if order in papers:
                    raise ValueError(f"{path.name}: order {order} is used twice")
                papers[order] = Paper(title, source, _claims(rest.get("claim", []), seen))
            case _:
                raise ValueError(f"{path.name}: title and source must be strings and order an integer")
    if not papers:
        raise ValueError(f"{folder}: has no paper, must have one *.toml at least")
    return [papers[order] for order in sorted(papers)]


def load_claims(folder: Path = PAPERS) -> dict[str, Claim]:
    """Claims of all papers by id, in the order of the papers and their files; raises what `load_papers` raises."""
    return {name: claim for paper in load_papers(folder) for name, claim in paper.claims.items()}


def _claims(entries: list[dict[str, Any]], seen: set[str]) -> dict[str, Claim]:
    claims: dict[str, Claim] = {}
    for position, entry in enumerate(entries):
        claim = _claim(entry, position)
        if claim.id in seen:
            raise ValueError(f"claim {claim.id!r}: the id is used twice")
        seen.add(claim.id)
        claims[claim.id] = claim
    return claims


def _claim(entry: dict[str, Any], position: int) -> Claim:
    name = f"claim {entry.get('id', f'number {position + 1}')!r}"
    known = {field.name for field in fields(Claim)}
    missing, unknown = sorted(known - {"experiment"} - entry.keys()), sorted(entry.keys() - known)
    if missing or unknown:
        raise ValueError(f"{name}: missing fields {missing}, unknown fields {unknown}")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ValueError(f"{name}: every field must be a string")
    claim = Claim(**entry)
    if claim.verdict not in VERDICTS:
        raise ValueError(f"{name}: verdict {claim.verdict!r} must be one of {', '.join(VERDICTS)}")
    if claim.verdict == "holds under" and not claim.assumptions:
        raise ValueError(f"{name}: verdict 'holds under' needs assumptions")
    if claim.verdict == "holds" and claim.assumptions:
        raise ValueError(f"{name}: verdict 'holds' has assumptions; with them it is 'holds under'")
    if (claim.verdict == "measured") != bool(claim.experiment):
        raise ValueError(f"{name}: an experiment belongs to verdict 'measured' and to no other verdict")
    return claim
