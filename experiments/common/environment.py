"""The environment of a run: sources, versions and device."""

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

PACKAGES = ("numpy", "torch", "sympy", "hypothesis")
"""Packages whose versions stand in stamps and records."""

_WRITTEN = (
    ":!experiments/runs",
    ":!experiments/figures",
    ":!experiments/README.md",
    ":!benchmarks/results",
    ":!benchmarks/figures",
    ":!benchmarks/README.md",
)


def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`; "absent" for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def commit(root: Path = ROOT) -> str:
    """Commit of the checkout, followed by "-dirty" if files differ from it; "unknown" without git.

    Files that runs and reports write do not count as a difference.
    """
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return "unknown"
    changes = _git(root, "status", "--porcelain", "--", ".", *_WRITTEN)
    return head if changes == "" else f"{head}-dirty"


def _git(root: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(root), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed git commands
    return answer.stdout.strip() if answer.returncode == 0 else None


def describe(device: torch.device) -> str:
    """Device in words: "cpu: <model>" or "cuda: <model>"."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return f"{device.type}: {name}"


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
