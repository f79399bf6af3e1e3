"""pytest plugin: leaves out the tests that this machine cannot run, and says so in pytest's header.

A test marked `gpu` needs a CUDA device, one marked `data` the real data sets, one marked `ucr` those of the UCR archive
among them, one marked `one_graph` a torch that compiles a layer in one graph, one marked `jax` or `torchrecurrent` the
package of that name. Without them such a test is deselected,
unless the marker expression names the marker: ``-m gpu`` runs the tests of the GPU, and they fail where there is none.
"""

import importlib.util
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
import torch

ONE_GRAPH = (2, 11)
"""First version of torch that compiles and exports a layer in one graph."""

PACKAGES = ("jax", "torchrecurrent")
"""Optional packages, each with a marker of its name."""


def lacking(*, cuda: bool, data_dir: str | None, torch_version: str, packages: Collection[str]) -> dict[str, str]:
    """Marker -> why tests with this marker cannot run.

    Parameters
    ----------
    cuda : bool
        Whether there is a CUDA device.
    data_dir : str or None
        Value of the environment variable ATN_DATA_DIR.
    torch_version : str
        Version of torch, as "2.13.0+cpu".
    packages : Collection of str
        Those of `PACKAGES` that are installed.
    """
    old = tuple(map(int, torch_version.split(".")[:2])) < ONE_GRAPH
    unset = None if data_dir else "ATN_DATA_DIR is not set"
    no_folder = None if data_dir and (Path(data_dir) / "ucr").is_dir() else "ATN_DATA_DIR has no folder ucr"
    reasons = {
        "gpu": None if cuda else "no CUDA device",
        "data": unset,
        "ucr": unset or no_folder,
        "one_graph": f"torch {torch_version} is older than 2.11" if old else None,
    }
    reasons |= {package: None if package in packages else f"{package} is not installed" for package in PACKAGES}
    return {marker: reason for marker, reason in reasons.items() if reason is not None}


def left_out(expression: str) -> dict[str, str]:
    """Marker -> why its tests are left out here; a marker that the expression of ``-m`` names is not."""
    packages = [package for package in PACKAGES if importlib.util.find_spec(package) is not None]
    found = lacking(
        cuda=torch.cuda.is_available(),
        data_dir=os.environ.get("ATN_DATA_DIR"),
        torch_version=torch.__version__,
        packages=packages,
    )
    named = set(re.findall(r"\w+", expression))
    return {marker: reason for marker, reason in found.items() if marker not in named}


def header(reasons: Mapping[str, str]) -> str:
    """Line of pytest's header."""
    if not reasons:
        return "tests left out: none"
    named = ", ".join(f"{marker} ({reason})" for marker, reason in reasons.items())
    return f"tests left out: those marked {named}"


def pytest_report_header(config: pytest.Config) -> str:
    """Name the markers whose tests are left out."""
    return header(left_out(config.option.markexpr))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of these markers."""
    reasons = left_out(config.option.markexpr)
    out = [item for item in items if any(item.get_closest_marker(marker) for marker in reasons)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
