"""``python -m tests.verification.slurm_sweep``: a tiny sweep on a real SLURM cluster of one node.

It is run by ``nox -s slurm`` only.

Two runs finish and one ends at a loss that is not finite; the same sweep begun again runs nothing.
"""

import sys
import tempfile
from pathlib import Path

from experiments.cli.main import main
from experiments.training.records.metrics import METRICS, read_metrics
from experiments.training.records.record import load_record
from tests.support.slurm_cluster import cluster, missing_programs

STEPS = 12


def sweep(runs: Path, *more: str) -> list[str]:
    """A sweep of seconds."""
    size = f"T=2 batch=4 hidden=6 k=3 steps={STEPS} validate_every=5".split()
    options = ["--presets", "smoke", "--executor", "slurm", "--jobs", "4", "--minutes", "5", "--unverified"]
    return ["sweep", "copying", *options, "--runs", str(runs), *more, "--set", *size]


def check(runs: Path) -> None:
    """Run the sweeps, and look at the records they leave."""
    assert main([*sweep(runs, "--models", "lstm", "atn")]) == 0
    folders = sorted(runs.glob("copying-*"))
    assert len(folders) == 2, folders
    for folder in folders:
        record = load_record(folder)
        assert record is not None
        assert (record.status, record.step) == ("finished", STEPS)
        assert len(read_metrics(folder / METRICS, STEPS)) == STEPS
    assert not list(runs.glob(".sweep-*")), "scripts and logs of a sweep that went well are still there"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert main(sweep(runs, "--models", "lstm", "atn")) == 0
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before, "finished runs were run again"
    assert main([*sweep(runs, "--models", "lstm"), "lr=1e38"]) == 1
    statuses = [record.status for folder in runs.glob("copying-*") if (record := load_record(folder)) is not None]
    assert sorted(statuses) == ["finished", "finished", "nan"]


if __name__ == "__main__":
    if missing := missing_programs():
        sys.exit(f"no {', '.join(missing)} here: install SLURM and munge (Debian: apt-get install slurm-wlm munge)")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, cluster(Path(folder)):
        check(Path(folder) / "runs")
    print("a sweep on a SLURM cluster of one node: passed")
