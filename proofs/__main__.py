"""`python -m proofs`: run every proof, then print every claim with its verdict and a line of reasoning."""

import sys
import time
from collections.abc import Sequence

from proofs.claims import Claim, load_papers
from proofs.evidence import open_ends
from proofs.index import PROOFS, Proof

USAGE = "usage: python -m proofs   (it takes no arguments)"


def main(arguments: Sequence[str]) -> int:
    """Run every proof; return 0 if all are established, 1 if some residual is not zero, 2 for a wrong argument."""
    if list(arguments) in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if arguments:
        print(f"unknown argument {arguments[0]!r}; {USAGE}", file=sys.stderr)
        return 2
    papers = load_papers()
    claims = {name: claim for paper in papers for name, claim in paper.claims.items()}
    failed = [proof for number, proof in enumerate(PROOFS, start=1) if not _run(proof, number)]
    for paper in papers:
        print(f"\n{paper.title} ({paper.source})\n")
        for claim in paper.claims.values():
            _print_claim(claim, failed)
    unfounded = sorted({name for proof in PROOFS for name in proof.claims} - claims.keys())
    if unfounded:
        print(f"proofs name claims that no paper has: {', '.join(unfounded)}", file=sys.stderr)
    print(f"\n{len(claims)} claims; {len(PROOFS) - len(failed)} of {len(PROOFS)} proofs established")
    return 1 if failed or unfounded else 0


def _run(proof: Proof, number: int) -> bool:
    print(f"[{number:2}/{len(PROOFS)}] {proof.name} ... ", end="", flush=True)
    start = time.perf_counter()
    evidence = proof.prove()
    unproved = open_ends(evidence)
    verdict = "NOT ESTABLISHED" if unproved else "established"
    print(f"{verdict}, {len(evidence)} statements, {time.perf_counter() - start:.1f} s", flush=True)
    for piece in unproved:
        print(f"        {piece}")
    return not unproved


def _print_claim(claim: Claim, failed: Sequence[Proof]) -> None:
    proofs = [proof for proof in PROOFS if claim.id in proof.claims]
    evidence = f"{len(proofs)} proofs" if len(proofs) != 1 else "1 proof"
    if claim.experiment:
        evidence = f"left to experiment {claim.experiment}"
    elif not proofs:
        evidence = "property tests"
    elif any(proof in failed for proof in proofs):
        evidence = "NOT ESTABLISHED"
    assumptions = f": {claim.assumptions}" if claim.assumptions else ""
    print(f"{claim.id} ({claim.where}): {claim.statement}")
    print(f"    {claim.verdict}{assumptions} [{evidence}]\n    {claim.reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
