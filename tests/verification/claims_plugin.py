"""pytest plugin: ties tests to the claims of `proofs/papers` and writes what they showed as JSON.

A test marked `@pytest.mark.claim("eq-9")` is evidence for that claim. A marker that names no claim stops the run. With
`--verification FILE` the run writes, for each claim, the tests that passed for it and the largest error they saw;
`tests/verification/matrix.py` makes the matrix of it. Works under pytest-xdist: what a test saw travels in its report's
`user_properties`.
"""

import json
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from proofs.claims import Claim, load_claims
from tests.verification.error_log import ErrorKey, take_errors

COLLECTOR = "claim-collector"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--verification FILE`."""
    parser.addoption(
        "--verification",
        type=Path,
        metavar="FILE",
        help="write the evidence for each claim to FILE as JSON",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start collecting, in the process that reports."""
    config.pluginmanager.register(ClaimCollector(config.getoption("--verification"), load_claims()), COLLECTOR)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a marker that names no claim."""
    collector = item.config.pluginmanager.get_plugin(COLLECTOR)
    assert isinstance(collector, ClaimCollector)
    unknown = sorted(set(_claims_of(item)) - collector.claims.keys())
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: claim marker names {unknown}, which no file of proofs/papers has")


def pytest_runtest_setup() -> None:
    """Forget what an earlier test recorded outside its own run."""
    take_errors()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the claims of a test, and the errors it saw, to its report."""
    report = yield
    if call.when == "call":
        report.user_properties.append(("claims", _claims_of(item)))
        report.user_properties.append(("errors", [[*key, error] for key, error in take_errors().items()]))
    return report


def _claims_of(item: pytest.Item) -> list[str]:
    return [claim for marker in item.iter_markers("claim") for claim in marker.args]


class ClaimCollector:
    """Gathers outcomes, claims and errors from the reports of one run."""

    def __init__(self, target: Path | None, claims: dict[str, Claim]) -> None:
        self.target = target
        self.claims = claims
        self.counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self.deselected = 0
        self.evidence: dict[str, set[str]] = defaultdict(set)
        self.errors: dict[str, dict[ErrorKey, float]] = defaultdict(dict)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what the command line left out."""
        self.deselected += len(items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of pytest-xdist deselected; every worker sees the whole suite."""
        self.deselected = max(self.deselected, getattr(node, "workeroutput", {}).get("deselected", 0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test showed, once its call is over (or its set-up failed or skipped)."""
        if report.when == "call" or report.outcome != PASSED:
            self.counts[report.outcome] += 1
        if report.when == "call" and report.outcome == PASSED:
            self._keep(report.nodeid.split("[")[0], dict(report.user_properties))

    def _keep(self, test: str, properties: dict[str, Any]) -> None:
        for claim in properties["claims"]:
            self.evidence[claim].add(test)
            seen = self.errors[claim]
            for backend, dtype, quantity, error in properties["errors"]:
                key = ErrorKey(backend, dtype, quantity)
                seen[key] = max(error, seen.get(key, 0.0))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the evidence. A worker only says how much it deselected."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["deselected"] = self.deselected
            return
        if self.target is not None:
            self.target.write_text(json.dumps(self._matrix(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def _matrix(self) -> dict[str, Any]:
        return {
            "counts": {**self.counts, "deselected": self.deselected},
            "claims": {
                claim: {
                    "tests": sorted(self.evidence[claim]),
                    "errors": [[*key, error] for key, error in sorted(self.errors[claim].items())],
                }
                for claim in self.claims
            },
        }
