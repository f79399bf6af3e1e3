"""Bugs planted around the kernels of the fused backend: in what they are given, or in what they give."""

from collections.abc import Callable
from typing import Any

import pytest

from atn.backend.fused import backend as fused


def planted(monkeypatch: pytest.MonkeyPatch, operator: str, change: Callable[[Any, Any], Any]) -> None:
    """Compiled kernels of which `operator` answers `change(kernel, arguments)`."""
    right = fused.kernels()

    class Planted:
        def __getattr__(self, name: str) -> Any:
            kernel = getattr(right, name)
            return (lambda given: change(kernel, given)) if name == operator else kernel

    monkeypatch.setattr(fused, "kernels", Planted)
