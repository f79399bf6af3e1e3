"""Reads `claims.toml`: every statement of the paper that can be true or false, with our verdict on it."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

CLAIMS_FILE = Path(__file__).with_name("claims.toml")

VERDICTS = ("holds", "holds under", "misprint", "refuted", "measured")
"""What can be said of a claim; `measured` is left to an experiment, the others are settled by proofs and tests."""

EXPERIMENTS = (
    "copying",
    "adding",
    "denoise",
    "char-ptb",
    "wikitext2",
    "pixel-mnist",
    "statistics",
    "window-study",
)
"""The experiments that a measured claim can wait for."""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

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
        What has to be assumed for the verdict, "" if nothing beyond the paper's own words.
    generality : str
        How general the proof is.
    reason : str
        Why, in one line.
    experiment : str
        The experiment that measures it; "" unless the verdict is "measured".
    """

    id: str
    where: str
    statement: str
    verdict: str
    assumptions: str
    generality: str
    reason: str
    experiment: str = ""


def load_claims(path: Path = CLAIMS_FILE) -> dict[str, Claim]:
    """Read the registry, by id, in the order of the file.

    Raises
    ------
    ValueError
        Naming the claim: an id used twice, a field missing, unknown or not a string, an unknown verdict or experiment,
        "measured" without an experiment or an experiment without "measured", "holds under" without assumptions.
    """
    claims: dict[str, Claim] = {}
    for position, entry in enumerate(tomllib.loads(path.read_text(encoding="utf-8")).get("claim", [])):
        claim = _claim(entry, position)
        if claim.id in claims:
            raise ValueError(f"claim {claim.id!r}: the id is used twice")
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
    if (claim.verdict == "measured") != bool(claim.experiment):
        raise ValueError(f"{name}: an experiment belongs to verdict 'measured' and to no other")
    if claim.experiment and claim.experiment not in EXPERIMENTS:
        raise ValueError(f"{name}: experiment {claim.experiment!r} must be one of {', '.join(EXPERIMENTS)}")
    return claim
